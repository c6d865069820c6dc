//! Numbers and the clock: small helpers that all measurements share.

use std::time::Instant;

/// Now.
#[expect(clippy::disallowed_methods, reason = "a measurement reads the real clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Wall time in milliseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "a measurement reads the real clock")]
pub(crate) fn wall_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A count as a fraction's numerator. Counts of a run are far below 2^52.
#[expect(clippy::cast_precision_loss, reason = "counts of a run are far below 2^52")]
pub(crate) fn number(count: u64) -> f64 {
    count as f64
}

/// The middle one; 0 of nothing.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// The value below which this share of the sorted values lies; 0 of nothing.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a place in a list"
    )]
    let place = (share * number(last as u64)).round() as usize;
    sorted.get(place).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_of_the_sorted_values() {
        for (values, expect) in [(vec![], 0.0), (vec![3.0, 1.0, 2.0], 2.0), (vec![9.0, 1.0], 9.0)] {
            assert!((median(values) - expect).abs() < f64::EPSILON);
        }
    }

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let values: Vec<f64> = (0..=100).map(f64::from).collect();
        assert_eq!(
            (quantile(&values, 0.99), quantile(&values, 0.5), quantile(&[], 0.5)),
            (99.0, 50.0, 0.0)
        );
    }
}
