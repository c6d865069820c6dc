//! What a producer wrote into an entry: version 1.
//!
//! Takes fields and values, gives tenant, body and idempotency key, or why the entry cannot be read. A field that is not known is
//! refused: a typo must not change what is sent. Looks nothing up and does not read the body.

use super::deciding::Refused;
use crate::api::idempotency::is_key;
use crate::domain::TenantId;

/// The version that is understood.
const VERSION: &[u8] = b"1";
/// The fields of it.
const NAMES: [&str; 4] = ["v", "tenant", "body", "idempotency_key"];

/// An entry that could be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fields {
    /// Whose mail.
    pub(super) tenant: TenantId,
    /// The object that `POST /send-email` takes.
    pub(super) body: Vec<u8>,
    /// As in the head `Idempotency-Key`.
    pub(super) key: Option<String>,
}

/// Reads the fields of an entry.
pub(super) fn read(fields: Vec<(Vec<u8>, Vec<u8>)>) -> Result<Fields, Refused> {
    let mut values: [Option<Vec<u8>>; NAMES.len()] = Default::default();
    let mut strange = None;
    for (name, value) in fields {
        let Some(place) = NAMES.iter().position(|known| known.as_bytes() == name) else {
            strange.get_or_insert_with(|| Refused::new("unknown_field", format!("'{}'.", name.escape_ascii())));
            continue;
        };
        if values[place].replace(value).is_some() {
            strange.get_or_insert_with(|| Refused::new("repeated_field", format!("'{}'.", NAMES[place])));
        }
    }
    let [version, tenant, body, key] = values;
    // Another version may have other fields, so it is the first to be said.
    if version.as_deref().is_some_and(|version| version != VERSION) {
        return Err(Refused::new(
            "unknown_version",
            "Only 'v' '1' is understood.".to_owned(),
        ));
    }
    if let Some(strange) = strange {
        return Err(strange);
    }
    let missing = |name: &str| Refused::new("missing_field", format!("'{name}'."));
    version.ok_or_else(|| missing("v"))?;
    let tenant = tenant.ok_or_else(|| missing("tenant"))?;
    let body = body.ok_or_else(|| missing("body"))?;
    Ok(Fields {
        tenant: read_tenant(&tenant)?,
        body,
        key: key.map(read_key).transpose()?,
    })
}

fn read_tenant(value: &[u8]) -> Result<TenantId, Refused> {
    let is_number = value.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    let number = number.filter(|_| is_number);
    number.map(TenantId).ok_or_else(|| {
        let detail = "'tenant' is the number of a tenant, in digits.";
        Refused::new("invalid_tenant", detail.to_owned())
    })
}

fn read_key(value: Vec<u8>) -> Result<String, Refused> {
    let text = String::from_utf8(value).ok().filter(|text| is_key(text));
    text.ok_or_else(|| {
        let detail = "'idempotency_key' has 1 to 256 visible ASCII characters.";
        Refused::new("invalid_idempotency_key", detail.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: [(&str, &str); 3] = [("v", "1"), ("tenant", "7"), ("body", "{}")];

    fn fields(given: &[(&str, &str)]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let bytes = |text: &str| text.as_bytes().to_vec();
        given.iter().map(|(name, value)| (bytes(name), bytes(value))).collect()
    }

    fn check(given: &[(&str, &str)], expect: Result<Option<&str>, &str>) {
        let found = read(fields(given));
        match (&found, expect) {
            (Ok(found), Ok(key)) => {
                assert_eq!((found.tenant, &*found.body), (TenantId(7), &b"{}"[..]));
                assert_eq!(found.key.as_deref(), key);
            }
            (Err(refused), Err(code)) => assert_eq!(refused.code, code, "{given:?}"),
            _ => panic!("{given:?}: {found:?}"),
        }
    }

    #[test]
    fn an_entry_has_a_version_a_tenant_a_body_and_perhaps_a_key() {
        let with = |name, value| [&GOOD[..], &[(name, value)]].concat();
        check(&GOOD, Ok(None));
        check(&with("idempotency_key", "k-1"), Ok(Some("k-1")));
        check(&with("idempotency_key", ""), Err("invalid_idempotency_key"));
        check(&with("idempotency_key", "ä"), Err("invalid_idempotency_key"));
        check(&with("idempotency-key", "k-1"), Err("unknown_field"));
        check(&with("body", "{}"), Err("repeated_field"));
        check(&[("v", "1"), ("body", "{}")], Err("missing_field"));
        check(&[("v", "1"), ("tenant", "7")], Err("missing_field"));
        check(&GOOD[1..], Err("missing_field"));
        for tenant in ["", "+7", "-7", "x", "4294967296"] {
            check(&[("v", "1"), ("tenant", tenant), ("body", "{}")], Err("invalid_tenant"));
        }
        check(&[], Err("missing_field"));
    }

    #[test]
    fn another_version_is_told_before_its_fields() {
        check(&[("v", "2"), ("to", "a@example.org")], Err("unknown_version"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(given: Vec<(Vec<u8>, Vec<u8>)>) {
            let _ = read(given);
        }
    }
}
