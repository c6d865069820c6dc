//! What is asked of the API: a mixture of classes, batches, several recipients, delayed and short-lived mail.
//!
//! Takes chance, a number and the time; gives a call. Pure. The receivers treat the local parts that begin with `full`
//! and `nobody` as their own rules say.

use bytes::Bytes;
use fastrand::Rng;
use posthaste::domain::{Class, Timestamp};
use serde_json::{Value, json};

use super::account::MailAsked;

/// Domain that the mails come from.
pub(crate) const SENDER_DOMAIN: &str = "chaos.test";
/// Recipient domains, one for each kind of receiver.
pub(crate) const DOMAINS: [&str; 3] = ["keeps.test", "drops.test", "coin.test"];
/// Life of short-lived mail.
const SHORT_LIFE_MS: u64 = 6_000;

/// A call to be made.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) path: &'static str,
    pub(crate) body: Bytes,
    pub(crate) key: Option<String>,
    pub(crate) mails: Vec<MailAsked>,
}

/// The call with this number.
pub(crate) fn draw(random: &mut Rng, number: usize, now_ms: u64) -> Call {
    let key = random.bool().then(|| format!("chaos-{number}-{:016x}", random.u64(..)));
    let batch = random.u8(..100) < 15;
    let count = if batch { random.usize(2..=12) } else { 1 };
    let (mut mails, mut values) = (Vec::new(), Vec::new());
    for index in 0..count {
        let (mail, value) = one(random, number, index, now_ms);
        mails.push(mail);
        values.push(value);
    }
    let (path, body) = match values.pop() {
        Some(value) if values.is_empty() => ("/v1/emails", value),
        last => {
            values.extend(last);
            ("/v1/emails/batch", json!({"emails": values, "mode": "strict"}))
        }
    };
    Call {
        path,
        body: Bytes::from(body.to_string()),
        key,
        mails,
    }
}

fn one(random: &mut Rng, call: usize, index: usize, now_ms: u64) -> (MailAsked, Value) {
    let class = match random.u8(..100) {
        0..25 => Class::Critical,
        25..65 => Class::Transactional,
        _ => Class::Broadcast,
    };
    let count = if random.u8(..100) < 10 { random.usize(2..=4) } else { 1 };
    let recipients: Vec<String> = (0..count).map(|place| address(random, call, index, place)).collect();
    let mut value = json!({
        "from": format!("shop@{SENDER_DOMAIN}"),
        "to": recipients,
        "subject": format!("Order {call}.{index}"),
        "text": "Your parcel has left our warehouse.\n",
        "class": class.name(),
    });
    let mut not_before_ms = 0;
    if random.u8(..100) < 10 {
        not_before_ms = now_ms + random.u64(1_000..5_000);
        value["scheduled_at"] = json!(Timestamp(not_before_ms).to_string());
    } else if class == Class::Critical && random.bool() {
        value["expires_at"] = json!(Timestamp(now_ms + SHORT_LIFE_MS).to_string());
    }
    let mail = MailAsked {
        class,
        recipients,
        not_before_ms,
    };
    (mail, value)
}

fn address(random: &mut Rng, call: usize, index: usize, place: usize) -> String {
    let temper = match random.u8(..100) {
        0..2 => "full-",
        2 => "nobody-",
        _ => "",
    };
    let domain = DOMAINS[random.usize(..DOMAINS.len())];
    format!("{temper}c{call}m{index}r{place}@{domain}")
}

/// The call, the mail and the place in it that an address names.
pub(crate) fn place_of(address: &str) -> Option<(usize, usize, usize)> {
    let local = address.split('@').next()?;
    let (call, rest) = local.rsplit('-').next()?.strip_prefix('c')?.split_once('m')?;
    let (mail, place) = rest.split_once('r')?;
    Some((call.parse().ok()?, mail.parse().ok()?, place.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_its_call_mail_and_place() {
        let mut random = Rng::with_seed(7);
        let mut seen = [false; 3];
        for number in 0..500 {
            let call = draw(&mut random, number, 1_763_895_723_456);
            for (index, mail) in call.mails.iter().enumerate() {
                for (place, address) in mail.recipients.iter().enumerate() {
                    assert_eq!(place_of(address), Some((number, index, place)), "{address}");
                }
                seen[mail.class.index()] = true;
            }
        }
        assert_eq!(seen, [true; 3], "all classes are drawn");
        assert_eq!(place_of("somebody@else.test"), None);
    }

    #[test]
    fn the_same_seed_gives_the_same_calls() {
        let calls = |seed| {
            let mut random = Rng::with_seed(seed);
            let calls = (0..50).map(|number| draw(&mut random, number, 1_000));
            calls.map(|call| (call.body, call.key)).collect::<Vec<_>>()
        };
        assert_eq!(calls(1), calls(1));
        assert_ne!(calls(1), calls(2));
    }
}
