//! A sending domain to be declared.
//!
//! Takes the body of `POST /v1/domains`, gives its fields.

use serde_json::Value;

use super::address::domain_to_ascii;
use super::walk::{At, Fields, Reader};
use crate::api::settings::Limits;
use crate::domain::{Problem, Timestamp};

const DEFAULT_RETURN_PATH: &str = "bounce";

/// A domain as asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainDraft {
    /// A-label, lower case.
    pub name: String,
    /// Left of the name in return paths.
    pub return_path_subdomain: String,
}

/// A domain, or everything that is wrong with it.
pub fn read_domain(value: Value, limits: &Limits, now: Timestamp) -> Result<DomainDraft, Vec<Problem>> {
    let mut reader = Reader::new(limits, now);
    let draft = read(value, &mut reader);
    reader.finish(draft)?.ok_or_else(Vec::new)
}

fn read(value: Value, reader: &mut Reader<'_>) -> Option<DomainDraft> {
    let root = At::Base("");
    let mut fields = Fields::of(value, &root, reader)?;
    let name = read_name(fields.take("name"), &At::Field(&root, "name"), reader);
    let return_path_at = At::Field(&root, "return_path_subdomain");
    let return_path_subdomain = match fields.take("return_path_subdomain") {
        Some(value) => reader.string(value, &return_path_at),
        None => Some(DEFAULT_RETURN_PATH.to_owned()),
    };
    fields.finish(&root, reader);
    let draft = DomainDraft {
        name: name?,
        return_path_subdomain: return_path_subdomain?,
    };
    let whole = format!("{}.{}", draft.return_path_subdomain, draft.name);
    if domain_to_ascii(&whole).as_ref() != Some(&whole) {
        let detail = "Labels of a host name in small letters are expected, like 'bounce'.";
        reader.wrong(&return_path_at, "invalid_domain", detail);
    }
    Some(draft)
}

fn read_name(value: Option<Value>, at: &At<'_>, reader: &mut Reader<'_>) -> Option<String> {
    let Some(value) = value else {
        reader.wrong(at, "required", "The name of the domain.");
        return None;
    };
    let text = reader.string(value, at)?;
    let name = domain_to_ascii(&text);
    let Some(name) = name else {
        reader.wrong(at, "invalid_domain", "This is not a domain name.");
        return None;
    };
    // Nobody owns a suffix that the public registers under. Unlisted ones (`acme.test`) have no such entry.
    let public =
        psl::suffix(name.as_bytes()).is_some_and(|suffix| suffix.is_known() && suffix.as_bytes() == name.as_bytes());
    if public {
        reader.wrong(
            at,
            "invalid_domain",
            "Names are registered under this one; it cannot be yours.",
        );
        return None;
    }
    Some(name)
}
