//! The bodies of calls, made before the clock runs.
//!
//! Takes a size, domains and a batch; gives JSON texts that differ in their recipients. A ring of them is enough as long as it
//! has all domains: the engine does not compare mails.

use bytes::Bytes;
use serde_json::{Value, json};

/// Bodies that are made; calls go round them.
const RING: u64 = 512;

/// What mails look like.
#[derive(Debug, Clone)]
pub(crate) struct MailShape {
    /// Bytes of HTML and text together.
    pub(crate) size: usize,
    /// Recipient domains, `d0.test` and so on.
    pub(crate) domains: u64,
    /// Mails in one call.
    pub(crate) batch: u64,
    /// Class, if one is to be named.
    pub(crate) class: Option<String>,
    /// Address of the sender.
    pub(crate) from: String,
}

/// Prebuilt bodies of calls.
#[derive(Debug)]
pub(crate) struct Bodies {
    ring: Vec<Bytes>,
    shape: MailShape,
}

impl Bodies {
    pub(crate) fn new(shape: MailShape) -> Self {
        let calls = (RING / shape.batch.max(1)).max(8);
        let ring = (0..calls)
            .map(|call| body(&shape, call * shape.batch, shape.batch))
            .collect();
        Self { ring, shape }
    }

    /// The body of a call with `mails` mails: of the ring, or a smaller one for the rest.
    pub(crate) fn of(&self, call: u64, mails: u64) -> Bytes {
        // More domains than a ring has mails are made as they are needed: each is to be seen.
        if mails < self.shape.batch || self.shape.domains > RING {
            return body(&self.shape, call * self.shape.batch, mails);
        }
        let place = usize::try_from(call).unwrap_or(0) % self.ring.len();
        self.ring[place].clone()
    }

    /// The path of these calls.
    pub(crate) fn path(&self) -> &'static str {
        if self.shape.batch > 1 {
            "/v1/emails/batch"
        } else {
            "/send-email"
        }
    }
}

fn body(shape: &MailShape, first: u64, mails: u64) -> Bytes {
    let value = if shape.batch > 1 {
        let emails: Vec<Value> = (first..first + mails).map(|number| mail(shape, number)).collect();
        json!({"emails": emails})
    } else {
        mail(shape, first)
    };
    Bytes::from(value.to_string())
}

fn mail(shape: &MailShape, number: u64) -> Value {
    // A third is text, the rest HTML: what mails with both look like.
    let text = prose(shape.size / 3);
    let inner = prose((shape.size - text.len()).saturating_sub(60));
    let html = format!("<!doctype html><html><body><p>{inner}</p></body></html>");
    let mut mail = json!({
        "from": {"email": shape.from, "name": "Acme"},
        "to": format!("user{number}@d{}.test", number % shape.domains.max(1)),
        "subject": format!("Your order {number} is on its way"),
        "html": html,
        "text": text,
    });
    if let Some(class) = &shape.class {
        mail["class"] = json!(class);
    }
    mail
}

/// Plain words in lines of ordinary length, exactly this many bytes.
fn prose(bytes: usize) -> String {
    const LINE: &str = "Your parcel has left our warehouse and will be with you within two days.\n";
    LINE.chars().cycle().take(bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(batch: u64) -> MailShape {
        MailShape {
            size: 4096,
            domains: 5,
            batch,
            class: None,
            from: "shop@bench.test".to_owned(),
        }
    }

    #[test]
    fn html_and_text_have_the_asked_size_together() {
        let mail = mail(&shape(1), 7);
        let length = |name: &str| mail[name].as_str().map_or(0, str::len);
        let total = length("html") + length("text");
        assert!((4060..=4096).contains(&total), "{total}");
        assert_eq!(mail["to"], "user7@d2.test");
    }

    #[test]
    fn each_of_many_domains_gets_its_mail() {
        let bodies = Bodies::new(MailShape {
            domains: 100_000,
            size: 100,
            ..shape(100)
        });
        let value: Value = serde_json::from_slice(&bodies.of(999, 100)).expect("it is JSON");
        assert_eq!(value["emails"][99]["to"], "user99999@d99999.test");
    }

    #[test]
    fn the_last_batch_has_only_what_is_left() {
        let bodies = Bodies::new(shape(100));
        for (mails, expect) in [(100, 100), (7, 7)] {
            let value: Value = serde_json::from_slice(&bodies.of(3, mails)).expect("it is JSON");
            assert_eq!(value["emails"].as_array().map(Vec::len), Some(expect));
        }
    }
}
