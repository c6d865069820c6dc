//! Extra header fields, tags and metadata.
//!
//! Takes fields, gives pairs of names and values that are safe in a header and in a report.

use serde_json::Value;

use super::walk::{At, Fields, Reader, is_forbidden, shown};
use crate::mail::headers::{HeaderProblem, check_header};

const TAG_BYTES_MAX: usize = 256;
const METADATA_NAME_BYTES_MAX: usize = 40;
const METADATA_VALUE_BYTES_MAX: usize = 500;

/// `headers`: an object of strings.
pub(super) fn read_headers(value: Option<Value>, at: &At<'_>, reader: &mut Reader<'_>) -> Vec<(String, String)> {
    let at = At::Field(at, "headers");
    let Some(map) = value.and_then(|value| reader.map(value, &at)) else {
        return Vec::new();
    };
    let max = reader.limits.headers;
    if map.len() > max {
        reader.wrong(&at, "too_many", format!("At most {max} headers."));
        return Vec::new();
    }
    let mut headers: Vec<(String, String)> = Vec::with_capacity(map.len());
    for (name, value) in map {
        let name_shown = shown(&name);
        let at = At::Field(&at, &name_shown);
        let Some(value) = reader.string(value, &at) else {
            continue;
        };
        if let Err(problem) = check_header(&name, &value) {
            reader.wrong(&at, header_code(problem), sentence(&problem.to_string()));
        } else if value.chars().any(is_forbidden) {
            let problem = HeaderProblem::Control;
            reader.wrong(&at, header_code(problem), sentence(&problem.to_string()));
        } else if headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(&name)) {
            reader.wrong(&at, "duplicate", "This header is there already, in another spelling.");
        } else {
            headers.push((name, value));
        }
    }
    headers
}

fn header_code(problem: HeaderProblem) -> &'static str {
    match problem {
        HeaderProblem::Name => "invalid_header_name",
        HeaderProblem::Reserved => "reserved_header",
        HeaderProblem::Empty => "required",
        HeaderProblem::Control => "invalid_character",
        HeaderProblem::TooLong => "too_long",
        HeaderProblem::Duplicate => "duplicate",
        HeaderProblem::TooMany => "too_many",
    }
}

/// An error text with a capital letter and a full stop.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).chain(['.']).collect()
}

/// `tags`: an array of names, or of objects with `name` and `value`.
pub(super) fn read_tags(value: Option<Value>, at: &At<'_>, reader: &mut Reader<'_>) -> Vec<(String, String)> {
    let at = At::Field(at, "tags");
    let max = reader.limits.tags;
    let Some(items) = value.and_then(|value| reader.array(value, &at, max)) else {
        return Vec::new();
    };
    let mut tags: Vec<(String, String)> = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let at = At::Index(&at, index);
        let Some(tag) = read_tag(item, &at, reader) else {
            continue;
        };
        if tags.iter().any(|(name, _)| *name == tag.0) {
            reader.wrong(&at, "duplicate", "This tag is there already.");
        } else {
            tags.push(tag);
        }
    }
    tags
}

fn read_tag(value: Value, at: &At<'_>, reader: &mut Reader<'_>) -> Option<(String, String)> {
    if !value.is_object() {
        let name = reader.string(value, at)?;
        return tag_word(name, at, reader).map(|name| (name, String::new()));
    }
    let mut fields = Fields::of(value, at, reader)?;
    let (name_at, value_at) = (At::Field(at, "name"), At::Field(at, "value"));
    let (name, value) = (fields.take("name"), fields.take("value"));
    fields.finish(at, reader);
    let Some(name) = name else {
        reader.wrong(&name_at, "required", "The name of the tag.");
        return None;
    };
    let name = reader.string(name, &name_at);
    let name = name.and_then(|name| tag_word(name, &name_at, reader));
    let value = match value {
        Some(value) => {
            let value = reader.string(value, &value_at)?;
            tag_word(value, &value_at, reader)?
        }
        None => String::new(),
    };
    Some((name?, value))
}

fn tag_word(text: String, at: &At<'_>, reader: &mut Reader<'_>) -> Option<String> {
    let fits = (1..=TAG_BYTES_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if !fits {
        let detail = format!("1 to {TAG_BYTES_MAX} of the characters A-Z a-z 0-9 _ -.");
        reader.wrong(at, "invalid_tag", detail);
        return None;
    }
    Some(text)
}

/// `metadata`: an object of strings.
pub(super) fn read_metadata(value: Option<Value>, at: &At<'_>, reader: &mut Reader<'_>) -> Vec<(String, String)> {
    let at = At::Field(at, "metadata");
    let Some(map) = value.and_then(|value| reader.map(value, &at)) else {
        return Vec::new();
    };
    let max = reader.limits.metadata;
    if map.len() > max {
        reader.wrong(&at, "too_many", format!("At most {max} pairs."));
        return Vec::new();
    }
    let mut metadata = Vec::with_capacity(map.len());
    for (name, value) in map {
        let name_shown = shown(&name);
        let at = At::Field(&at, &name_shown);
        let name_fits = (1..=METADATA_NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(is_forbidden);
        if !name_fits {
            let detail = format!("A name has 1 to {METADATA_NAME_BYTES_MAX} bytes and no control characters.");
            reader.wrong(&at, "invalid_name", detail);
            continue;
        }
        if let Some(value) = reader.line(value, &at, METADATA_VALUE_BYTES_MAX) {
            metadata.push((name, value));
        }
    }
    metadata
}
