//! Walking a JSON document: where we are, what is left, what was wrong.
//!
//! Takes `Value`s, gives typed values and collects Problems. Pointers are built only when there is a problem. Never knows
//! what the fields mean.

use serde_json::{Map, Value};

use crate::api::settings::Limits;
use crate::domain::{Problem, Timestamp};

/// A place in the document, as a chain to its root.
#[derive(Debug, Clone, Copy)]
pub(crate) enum At<'a> {
    /// The document, or the part of it that a pointer names.
    Base(&'a str),
    /// A field of an object.
    Field(&'a At<'a>, &'a str),
    /// An element of an array.
    Index(&'a At<'a>, usize),
}

impl At<'_> {
    /// The JSON pointer to this place.
    pub(crate) fn pointer(&self) -> String {
        match self {
            Self::Base(base) => (*base).to_owned(),
            Self::Field(parent, name) => format!("{}/{}", parent.pointer(), name.replace('~', "~0").replace('/', "~1")),
            Self::Index(parent, index) => format!("{}/{index}", parent.pointer()),
        }
    }
}

/// Goes through one document and remembers what is wrong with it.
#[derive(Debug)]
pub(crate) struct Reader<'l> {
    /// What a call may hold.
    pub(crate) limits: &'l Limits,
    /// For times that are relative.
    pub(crate) now: Timestamp,
    problems: Vec<Problem>,
}

impl<'l> Reader<'l> {
    /// A reader that has found nothing yet.
    pub(crate) fn new(limits: &'l Limits, now: Timestamp) -> Self {
        Self {
            limits,
            now,
            problems: Vec::new(),
        }
    }

    /// Notes a problem. Beyond the limit they are only known to exist.
    pub(crate) fn wrong(&mut self, at: &At<'_>, code: &'static str, detail: impl Into<String>) {
        if self.problems.len() < self.limits.problems {
            self.problems.push(Problem::new(at.pointer(), code, detail));
        }
    }

    /// Whether nothing was wrong so far.
    pub(crate) fn clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// The value, if nothing was wrong.
    pub(crate) fn finish<T>(self, value: T) -> Result<T, Vec<Problem>> {
        if self.problems.is_empty() {
            Ok(value)
        } else {
            Err(self.problems)
        }
    }

    /// A string, or a problem.
    pub(crate) fn string(&mut self, value: Value, at: &At<'_>) -> Option<String> {
        match value {
            Value::String(text) => Some(text),
            other => {
                self.wrong(
                    at,
                    "invalid_type",
                    format!("A string is expected, not {}.", kind(&other)),
                );
                None
            }
        }
    }

    /// A string that may stand in a header: no CR, LF, NUL or other control characters, at most `bytes_max` long.
    pub(crate) fn line(&mut self, value: Value, at: &At<'_>, bytes_max: usize) -> Option<String> {
        let text = self.string(value, at)?;
        if text.chars().any(is_forbidden) {
            let detail = "CR, LF, NUL and other control characters are not allowed here.";
            self.wrong(at, "invalid_character", detail);
            return None;
        }
        if text.len() > bytes_max {
            self.wrong(at, "too_long", format!("At most {bytes_max} bytes."));
            return None;
        }
        Some(text)
    }

    /// A text of any length without NUL.
    pub(crate) fn text(&mut self, value: Value, at: &At<'_>) -> Option<String> {
        let text = self.string(value, at)?;
        if text.as_bytes().contains(&0) {
            self.wrong(at, "invalid_character", "NUL is not allowed here.");
            return None;
        }
        Some(text)
    }

    /// A whole number from 1 to 2^32 − 1.
    pub(crate) fn count(&mut self, value: &Value, at: &At<'_>) -> Option<u32> {
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
        if number.is_none_or(|number| number == 0) {
            self.wrong(at, "invalid_type", "A whole number of 1 or more is expected.");
            return None;
        }
        number
    }

    /// An object, or a problem.
    pub(crate) fn map(&mut self, value: Value, at: &At<'_>) -> Option<Map<String, Value>> {
        match value {
            Value::Object(map) => Some(map),
            other => {
                self.wrong(
                    at,
                    "invalid_type",
                    format!("An object is expected, not {}.", kind(&other)),
                );
                None
            }
        }
    }

    /// An array of at most `max` elements, or a problem.
    pub(crate) fn array(&mut self, value: Value, at: &At<'_>, max: usize) -> Option<Vec<Value>> {
        match value {
            Value::Array(items) if items.len() > max => {
                self.wrong(at, "too_many", format!("At most {max}; these are {}.", items.len()));
                None
            }
            Value::Array(items) => Some(items),
            other => {
                self.wrong(
                    at,
                    "invalid_type",
                    format!("An array is expected, not {}.", kind(&other)),
                );
                None
            }
        }
    }

    /// One of a few words.
    pub(crate) fn word<T: Copy>(&mut self, value: Value, at: &At<'_>, words: &[(&str, T)]) -> Option<T> {
        let text = self.string(value, at)?;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.wrong(at, "invalid_value", format!("One of: {}.", known.join(", ")));
        }
        found.map(|(_, meaning)| *meaning)
    }
}

/// The fields of an object, taken out one by one; what is left at the end nobody knows.
#[derive(Debug)]
pub(crate) struct Fields {
    map: Map<String, Value>,
}

impl Fields {
    /// All fields of `value`; none when it is no object.
    pub(crate) fn of(value: Value, at: &At<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.map(value, at).map(|map| Self { map })
    }

    /// A field. `null` is the same as leaving it out.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.map.remove(name).filter(|value| !value.is_null())
    }

    /// Whether a field is there and not `null`, without taking it.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.map.get(name).is_some_and(|value| !value.is_null())
    }

    /// Notes the fields that were not taken.
    pub(crate) fn finish(self, at: &At<'_>, reader: &mut Reader<'_>) {
        for name in self.map.keys() {
            reader.wrong(&At::Field(at, &shown(name)), "unknown_field", "There is no such field.");
        }
    }
}

/// Whether a character must not stand in anything that becomes part of a header: controls, and the two Unicode line ends
/// that some programs treat as line feeds.
pub(crate) fn is_forbidden(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}')
}

/// What a value is, for people.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// The caller's own text as it may be repeated to them: short.
pub(crate) fn shown(text: &str) -> String {
    const CHARACTERS_MAX: usize = 80;
    if text.chars().nth(CHARACTERS_MAX).is_none() {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(CHARACTERS_MAX).collect();
    short.push('…');
    short
}
