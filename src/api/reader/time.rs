//! Times as callers write them: RFC 3339, or `in 15 minutes`.
//!
//! Takes a field and the time now, gives a Timestamp. Whether the time is sensible, `policy::admission` decides.

use std::time::Duration;

use serde_json::Value;

use super::walk::{At, Reader};
use crate::domain::Timestamp;

/// A time, or a problem.
pub(super) fn read_time(value: Value, at: &At<'_>, reader: &mut Reader<'_>) -> Option<Timestamp> {
    let text = reader.string(value, at)?;
    let time = absolute(&text).or_else(|| relative(&text, reader.now));
    if time.is_none() {
        let detail = "A time like '2026-11-24T09:00:00Z' (RFC 3339) or 'in 15 minutes' is expected.";
        reader.wrong(at, "invalid_time", detail);
    }
    time
}

fn absolute(text: &str) -> Option<Timestamp> {
    let instant: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(instant.as_millisecond()).ok().map(Timestamp)
}

fn relative(text: &str, now: Timestamp) -> Option<Timestamp> {
    let mut words = text.strip_prefix("in ")?.split_ascii_whitespace();
    let number: u32 = words.next()?.parse().ok()?;
    let unit_seconds = match words.next()? {
        "second" | "seconds" | "sec" | "s" => 1,
        "minute" | "minutes" | "min" | "m" => 60,
        "hour" | "hours" | "h" => 3_600,
        "day" | "days" | "d" => 86_400,
        _ => return None,
    };
    let span = Duration::from_secs(u64::from(number) * unit_seconds);
    words.next().is_none().then(|| now.plus(span))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_763_895_723_456);

    #[test]
    fn reads_instants_and_spans() {
        let table = [
            ("2025-11-23T11:02:03.456Z", Some(NOW.0)),
            ("2025-11-23T12:02:03.456+01:00", Some(NOW.0)),
            ("in 15 minutes", Some(NOW.0 + 900_000)),
            ("in 1 hour", Some(NOW.0 + 3_600_000)),
            ("in 2 days", Some(NOW.0 + 172_800_000)),
            ("tomorrow", None),
            ("2025-11-23", None),
            ("2025-11-23T11:02:03", None),
            ("1969-01-01T00:00:00Z", None),
            ("in -5 minutes", None),
            ("in 5 minutes please", None),
            ("in 5 fortnights", None),
            ("", None),
        ];
        for (text, expect) in table {
            let got = absolute(text).or_else(|| relative(text, NOW));
            assert_eq!(got.map(|at| at.0), expect, "{text:?}");
        }
    }
}
