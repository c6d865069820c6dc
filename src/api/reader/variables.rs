//! Template variables: any JSON object of bounded size.
//!
//! Takes a field, gives the object as it is. What a template makes of it is checked by rendering.

use serde_json::Value;

use super::walk::{At, Reader};
use crate::domain::Variables;

/// An object of at most `limits.variables_bytes`.
pub(super) fn read_variables(value: Value, at: &At<'_>, reader: &mut Reader<'_>) -> Option<Variables> {
    let variables = reader.map(value, at)?;
    let max = reader.limits.variables_bytes;
    let size: usize = variables.iter().map(|(name, value)| name.len() + 4 + size(value)).sum();
    if size > max {
        reader.wrong(at, "too_long", format!("At most {max} bytes of variables."));
        return None;
    }
    Some(variables)
}

/// About how many bytes of JSON a value takes. Recursion is bounded by the parser's depth.
pub(super) fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 4,
        Value::Number(_) => 8,
        Value::String(text) => text.len() + 2,
        Value::Array(items) => items.iter().map(|item| size(item) + 1).sum::<usize>() + 2,
        Value::Object(map) => {
            map.iter()
                .map(|(name, value)| name.len() + 4 + size(value))
                .sum::<usize>()
                + 2
        }
    }
}
