//! Whether the DNS records of a sending domain are there: what `POST /v1/domains` shows and the janitor looks at again.
//!
//! Takes a domain with its DKIM keys, gives for each key whether its record is found, missing or wrong. Never stores and
//! never decides what a change means for a domain that already sends; [`DomainCheck::status`] says what was seen.

use super::{Answer, Resolver};
use crate::domain::{DkimKey, DomainStatus, SendingDomain};

/// Keys looked for of one domain.
pub const KEYS_MAX: usize = 16;

/// What was found for a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainCheck {
    /// One for each DKIM key, in their order.
    pub records: Vec<RecordCheck>,
}

/// What was found for one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordCheck {
    /// Where it belongs: `<selector>._domainkey.<domain>`.
    pub name: String,
    /// What it should say.
    pub expected: String,
    /// What was found.
    pub status: RecordStatus,
}

/// How a record was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordStatus {
    /// As it should be.
    Found,
    /// There is no TXT record.
    Missing,
    /// There is one, and it is not ours.
    Wrong(WrongRecord),
    /// Name servers did not answer: nothing is known.
    NoAnswer,
}

/// What is wrong with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WrongRecord {
    /// Text, but no DKIM key.
    NotAKey,
    /// Another key, or the same one for another algorithm or version.
    OtherKey,
    /// An empty `p=`: the key is withdrawn (RFC 6376 section 3.6.1).
    Revoked,
    /// More than one key under one selector, so verifiers may see either (RFC 6376 section 3.6.2.2).
    Several,
    /// Its CNAME does not end.
    CnameLoop,
}

impl RecordStatus {
    /// The name that the API uses.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Missing => "missing",
            Self::Wrong(_) => "wrong",
            Self::NoAnswer => "no_answer",
        }
    }
}

impl DomainCheck {
    /// Verified when every key's record is found; failed when one is missing or wrong; none when name servers did not say,
    /// so that what was known stays.
    #[must_use]
    pub fn status(&self) -> Option<DomainStatus> {
        let any = |wanted: fn(RecordStatus) -> bool| self.records.iter().any(|record| wanted(record.status));
        if any(|status| matches!(status, RecordStatus::Missing | RecordStatus::Wrong(_))) || self.records.is_empty() {
            Some(DomainStatus::Failed)
        } else if any(|status| status == RecordStatus::NoAnswer) {
            None
        } else {
            Some(DomainStatus::Verified)
        }
    }
}

/// Looks for the DKIM records of `domain`, at most [`KEYS_MAX`] of them, one after the other.
pub async fn check_domain(domain: &SendingDomain, resolver: &dyn Resolver) -> DomainCheck {
    let mut records = Vec::new();
    for key in domain.dkim.iter().take(KEYS_MAX) {
        let name = format!("{}._domainkey.{}", key.selector, domain.name);
        let status = match resolver.txt(&name).await {
            Answer::Found(texts, _) => compare(key, &texts),
            Answer::Empty(_) | Answer::NoDomain(_) => RecordStatus::Missing,
            Answer::Loop => RecordStatus::Wrong(WrongRecord::CnameLoop),
            Answer::Failed => RecordStatus::NoAnswer,
        };
        records.push(RecordCheck {
            name,
            expected: key.record.clone(),
            status,
        });
    }
    DomainCheck { records }
}

/// The tags of a DKIM record that matter here; all white space is left out.
#[derive(Debug, PartialEq, Eq)]
struct KeyRecord {
    version: String,
    key_type: String,
    public_key: String,
}

/// None when there is no `p=`, which makes it something else than a key.
fn parse(text: &str) -> Option<KeyRecord> {
    let (mut version, mut key_type, mut public_key) = ("DKIM1".to_owned(), "rsa".to_owned(), None);
    for tag in text.split(';') {
        let Some((name, value)) = tag.split_once('=') else {
            continue;
        };
        let value: String = value.chars().filter(|letter| !letter.is_whitespace()).collect();
        match name.trim() {
            "v" => version = value,
            "k" => key_type = value.to_ascii_lowercase(),
            "p" => public_key = Some(value),
            _ => {}
        }
    }
    Some(KeyRecord {
        version,
        key_type,
        public_key: public_key?,
    })
}

fn compare(key: &DkimKey, texts: &[String]) -> RecordStatus {
    let mut found: Vec<KeyRecord> = texts.iter().filter_map(|text| parse(text)).collect();
    found.dedup();
    match found.as_slice() {
        [] if texts.is_empty() => RecordStatus::Missing,
        [] => RecordStatus::Wrong(WrongRecord::NotAKey),
        [one] if one.public_key.is_empty() => RecordStatus::Wrong(WrongRecord::Revoked),
        [one] if parse(&key.record).as_ref() == Some(one) => RecordStatus::Found,
        [_] => RecordStatus::Wrong(WrongRecord::OtherKey),
        _ => RecordStatus::Wrong(WrongRecord::Several),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{DkimAlgorithm, TenantId, Timestamp};
    use crate::resolver::Fixed;

    const RECORD: &str = "v=DKIM1; k=rsa; p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A";

    fn key(selector: &str, record: &str) -> DkimKey {
        DkimKey {
            selector: selector.to_owned(),
            algorithm: DkimAlgorithm::Rsa2048,
            private_der: Vec::new(),
            record: record.to_owned(),
        }
    }

    fn domain(keys: Vec<DkimKey>) -> SendingDomain {
        SendingDomain {
            tenant: TenantId(1),
            name: "example.test".to_owned(),
            status: DomainStatus::Pending,
            return_path_subdomain: "bounce".to_owned(),
            dkim: keys,
            created_at: Timestamp(0),
            checked_at: None,
        }
    }

    fn check(texts: &[&str], expected: RecordStatus) {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        assert_eq!(compare(&key("s1", RECORD), &texts), expected, "{texts:?}");
    }

    #[test]
    fn a_record_is_ours_when_its_key_is() {
        use RecordStatus::{Found, Missing, Wrong};
        check(&[RECORD], Found);
        check(&["p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A"], Found);
        check(&["k=RSA ;\tp = MIIBIjANBgkqhkiG9w0B\n AQEFAAOCAQ8A ; t=y;"], Found);
        check(&["unrelated text", RECORD], Found);
        check(&[RECORD, RECORD], Found);
        check(&[], Missing);
        check(&["v=spf1 -all"], Wrong(WrongRecord::NotAKey));
        check(&["v=DKIM1; p="], Wrong(WrongRecord::Revoked));
        check(&["v=DKIM1; k=rsa; p=AAAA"], Wrong(WrongRecord::OtherKey));
        check(
            &["v=DKIM1; k=ed25519; p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A"],
            Wrong(WrongRecord::OtherKey),
        );
        check(
            &["v=DKIM2; k=rsa; p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A"],
            Wrong(WrongRecord::OtherKey),
        );
        // The letters of base64 have case.
        check(&["p=miibijanbgkqhkig9w0baqefaaocaq8a"], Wrong(WrongRecord::OtherKey));
        check(&[RECORD, "p=AAAA"], Wrong(WrongRecord::Several));
    }

    #[tokio::test]
    async fn every_key_is_looked_for_under_its_selector() {
        let table = Fixed::new()
            .with_txt("s1._domainkey.example.test", &[RECORD])
            .with_txt("s2._domainkey.example.test", &["v=DKIM1; p=AAAA"])
            .failing("s4._domainkey.example.test");
        let keys = ["s1", "s2", "s3", "s4"].map(|selector| key(selector, RECORD)).to_vec();
        let found = check_domain(&domain(keys), &table).await;
        let seen: Vec<(&str, &str)> = found
            .records
            .iter()
            .map(|record| (record.name.as_str(), record.status.name()))
            .collect();
        assert_eq!(
            seen,
            [
                ("s1._domainkey.example.test", "found"),
                ("s2._domainkey.example.test", "wrong"),
                ("s3._domainkey.example.test", "missing"),
                ("s4._domainkey.example.test", "no_answer"),
            ]
        );
    }

    #[test]
    fn silence_changes_nothing_and_one_bad_record_fails_the_domain() {
        use RecordStatus::{Found, Missing, NoAnswer, Wrong};
        for (statuses, expected) in [
            (&[Found, Found][..], Some(DomainStatus::Verified)),
            (&[Found, NoAnswer], None),
            (&[NoAnswer, Missing], Some(DomainStatus::Failed)),
            (&[Found, Wrong(WrongRecord::Revoked)], Some(DomainStatus::Failed)),
            (&[], Some(DomainStatus::Failed)),
        ] {
            let records = statuses.iter().map(|status| RecordCheck {
                name: String::new(),
                expected: String::new(),
                status: *status,
            });
            let check = DomainCheck {
                records: records.collect(),
            };
            assert_eq!(check.status(), expected, "{statuses:?}");
        }
    }
}
