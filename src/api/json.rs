//! Bytes to JSON, stricter than `serde_json::Value`: a name that stands twice in an object is refused, since two programs
//! would read two different mails out of it.
//!
//! Takes bytes and somebody to ask for memory, gives a `Value`. Depth is bounded by serde_json (128), the number of values
//! by the memory that is granted: `[0,0,0,…]` grows sixteenfold when parsed. Never looks at meaning.

use std::cell::Cell;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Values between two requests for memory.
const STEP: usize = 1024;
/// What one value costs at least: its own size.
const VALUE_BYTES: usize = size_of::<Value>();

/// Why bytes gave no JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum JsonError {
    /// Not JSON, or a name twice; in words, with line and column.
    Syntax(String),
    /// More values than there is memory for at the moment.
    Memory,
}

/// Parses one JSON document. `grow` is asked for the bytes that the values take beyond the text; `false` stops.
pub(crate) fn parse(bytes: &[u8], grow: &dyn Fn(usize) -> bool) -> Result<Value, JsonError> {
    let meter = Meter {
        values: Cell::new(0),
        refused: Cell::new(false),
        grow,
    };
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Strict(&meter)
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value));
    match value {
        Ok(value) => Ok(value),
        Err(_) if meter.refused.get() => Err(JsonError::Memory),
        Err(error) => Err(JsonError::Syntax(bounded(&error.to_string()))),
    }
}

struct Meter<'g> {
    values: Cell<usize>,
    refused: Cell<bool>,
    grow: &'g dyn Fn(usize) -> bool,
}

impl Meter<'_> {
    fn count<E: de::Error>(&self) -> Result<(), E> {
        let values = self.values.get() + 1;
        self.values.set(values);
        if values.is_multiple_of(STEP) && !(self.grow)(STEP * VALUE_BYTES) {
            self.refused.set(true);
            return Err(E::custom("too many values"));
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
struct Strict<'m>(&'m Meter<'m>);

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.0.count()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            if map.contains_key(&name) {
                return Err(de::Error::custom(format_args!(
                    "the name {name:?} stands twice in one object"
                )));
            }
            map.insert(name, entries.next_value_seed(self)?);
        }
        Ok(Value::Object(map))
    }
}

/// Error texts quote the caller's own names; keep them short.
fn bounded(text: &str) -> String {
    if text.len() <= 200 {
        return text.to_owned();
    }
    let start: String = text.chars().take(120).collect();
    let end: String = text
        .chars()
        .rev()
        .take(40)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .collect();
    format!("{start}…{end}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &[u8]) -> Result<Value, JsonError> {
        parse(text, &|_| true)
    }

    #[test]
    fn reads_what_serde_json_reads() {
        for text in [
            r#"{"a":[1,-2,3.5,null,true,"x\u00e9"],"b":{}}"#,
            "18446744073709551616",
            "[]",
            "\"\\u0000\"",
        ] {
            let expect: Value = serde_json::from_str(text).expect("valid");
            assert_eq!(check(text.as_bytes()), Ok(expect), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_not_one_clear_document() {
        let deep = "[".repeat(200);
        let bad: [&[u8]; 10] = [
            b"",
            b"{",
            b"{} {}",
            b"{\"a\":1,\"a\":2}",
            b"[{\"x\":{\"y\":1,\"y\":1}}]",
            b"1e999",
            b"\"\\ud800\"",
            b"\"\xff\"",
            b"'a'",
            deep.as_bytes(),
        ];
        for text in bad {
            assert!(
                matches!(check(text), Err(JsonError::Syntax(_))),
                "{:?}",
                String::from_utf8_lossy(text)
            );
        }
    }

    #[test]
    fn stops_when_no_memory_is_granted() {
        let text = format!("[{}0]", "0,".repeat(10_000));
        let granted = Cell::new(0);
        let grow = |bytes| {
            granted.set(granted.get() + bytes);
            granted.get() < 4 * STEP * VALUE_BYTES
        };
        assert_eq!(parse(text.as_bytes(), &grow), Err(JsonError::Memory));
    }

    proptest! {
        #[test]
        fn never_panics_and_agrees_with_serde_json(text in "[\\[\\]{}\",:0-9a-c\\\\ .eE+-]{0,60}") {
            if let Ok(value) = check(text.as_bytes()) {
                prop_assert_eq!(value, serde_json::from_str::<Value>(&text).expect("ours is the stricter one"));
            }
        }
    }
}
