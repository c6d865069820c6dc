//! A template to be stored.
//!
//! Takes the body of `POST /v1/templates`, gives its fields. Whether the Handlebars compile, `api::templates` finds out.

use serde_json::Value;

use super::walk::{At, Fields, Reader};
use crate::api::settings::Limits;
use crate::domain::{Problem, Timestamp};

const ALIAS_BYTES_MAX: usize = 128;

/// A template as asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateDraft {
    /// Its name.
    pub alias: String,
    /// Handlebars.
    pub subject: String,
    /// Handlebars.
    pub html: Option<String>,
    /// Handlebars.
    pub text: Option<String>,
}

/// A template, or everything that is wrong with it.
pub fn read_template(value: Value, limits: &Limits, now: Timestamp) -> Result<TemplateDraft, Vec<Problem>> {
    let mut reader = Reader::new(limits, now);
    let draft = read(value, &mut reader);
    reader.finish(draft)?.ok_or_else(Vec::new)
}

fn read(value: Value, reader: &mut Reader<'_>) -> Option<TemplateDraft> {
    let root = At::Base("");
    let mut fields = Fields::of(value, &root, reader)?;
    let alias = read_alias(fields.take("alias"), &At::Field(&root, "alias"), reader);
    let subject_at = At::Field(&root, "subject");
    let subject_max = reader.limits.subject_bytes;
    let subject = match fields.take("subject") {
        Some(value) => reader.line(value, &subject_at, subject_max),
        None => {
            reader.wrong(&subject_at, "required", "The subject, in Handlebars.");
            None
        }
    };
    let mut part = |name| {
        let at = At::Field(&root, name);
        let text = fields.take(name).and_then(|value| reader.text(value, &at))?;
        let max = reader.limits.template_bytes;
        if text.len() > max {
            reader.wrong(&at, "too_long", format!("At most {max} bytes."));
        }
        Some(text).filter(|text| !text.is_empty())
    };
    let (html, text) = (part("html"), part("text"));
    fields.finish(&root, reader);
    if html.is_none() && text.is_none() && reader.clean() {
        reader.wrong(&At::Field(&root, "html"), "required", "Give 'html', 'text' or both.");
    }
    Some(TemplateDraft {
        alias: alias.unwrap_or_default(),
        subject: subject.unwrap_or_default(),
        html,
        text,
    })
}

/// Small letters, digits, `-` and `_`: it stands in URLs. Never the form of an id.
fn read_alias(value: Option<Value>, at: &At<'_>, reader: &mut Reader<'_>) -> Option<String> {
    let Some(value) = value else {
        reader.wrong(at, "required", "The name of the template.");
        return None;
    };
    let alias = reader.string(value, at)?;
    let fits = (1..=ALIAS_BYTES_MAX).contains(&alias.len())
        && alias.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
        && alias
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_'));
    if !fits || uuid::Uuid::parse_str(&alias).is_ok() {
        let detail = format!("1 to {ALIAS_BYTES_MAX} of the characters a-z 0-9 - _, and not the form of an id.");
        reader.wrong(at, "invalid_alias", detail);
        return None;
    }
    Some(alias)
}
