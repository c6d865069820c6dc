//! Reads Prometheus text: what an engine says about itself.

/// Sum over all series of a name, labels or not.
pub(crate) fn sum(text: &str, name: &str) -> f64 {
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        if !rest.starts_with(['{', ' ']) {
            return None;
        }
        rest.rsplit_once(' ')?.1.parse::<f64>().ok()
    });
    values.sum()
}

/// How many series of a name there are.
pub(crate) fn series(text: &str, name: &str) -> u64 {
    let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
    text.lines().filter(of_name).count() as u64
}

/// A quantile of what a histogram without labels took in between two scrapes, within its bucket as if spread evenly.
/// 0 when nothing was taken in; what lies above all bounds counts as the last bound.
pub(crate) fn quantile(before: &str, after: &str, name: &str, share: f64) -> f64 {
    let bucket = format!("{name}_bucket{{le=\"");
    let buckets = |text: &str| -> Vec<(f64, f64)> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(&bucket));
        let read = lines.filter_map(|rest| {
            let (bound, count) = rest.split_once("\"} ")?;
            Some((bound.parse().ok()?, count.parse().ok()?))
        });
        read.collect()
    };
    let earlier = buckets(before);
    let grown = |bound: f64, count: f64| {
        let own = earlier.iter().find(|(other, _)| other.total_cmp(&bound).is_eq());
        count - own.map_or(0.0, |(_, count)| *count)
    };
    let all: Vec<(f64, f64)> = buckets(after)
        .into_iter()
        .map(|(bound, count)| (bound, grown(bound, count)))
        .collect();
    let wanted = all.last().map_or(0.0, |(_, count)| count * share);
    let (mut low, mut below) = (0.0, 0.0);
    for (bound, count) in all {
        if count >= wanted && count > below {
            let within = (wanted - below) / (count - below);
            return if bound.is_finite() {
                low + (bound - low) * within
            } else {
                low
            };
        }
        (low, below) = (if bound.is_finite() { bound } else { low }, count);
    }
    0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_lies_in_its_bucket_and_counts_only_what_came_between() {
        let text = |a: u32, b: u32, all: u32| {
            format!("h_bucket{{le=\"1\"}} {a}\nh_bucket{{le=\"2\"}} {b}\nh_bucket{{le=\"+Inf\"}} {all}\n")
        };
        for (before, after, share, expect) in [
            (text(0, 0, 0), text(50, 100, 100), 0.5, 1.0),
            (text(0, 0, 0), text(50, 100, 100), 0.75, 1.5),
            (text(50, 50, 50), text(50, 150, 150), 0.5, 1.5),
            (text(0, 0, 0), text(0, 0, 10), 0.99, 2.0),
            (String::new(), text(10, 10, 10), 0.5, 0.5),
            (text(5, 5, 5), text(5, 5, 5), 0.5, 0.0),
        ] {
            let found = quantile(&before, &after, "h", share);
            assert!((found - expect).abs() < 1e-9, "{found}, not {expect}");
        }
    }

    #[test]
    fn series_of_one_name_are_summed_and_longer_names_are_others() {
        let text = "# HELP a_total x\na_total{b=\"c d\"} 3\na_total{b=\"e\"} 4\na_total_more 9\nlone 2.5\n";
        for (name, expect) in [("a_total", 7.0), ("lone", 2.5), ("none", 0.0)] {
            assert!((sum(text, name) - expect).abs() < f64::EPSILON, "{name}");
        }
        assert_eq!(["a_total", "lone", "none"].map(|name| series(text, name)), [2, 1, 0]);
    }
}
