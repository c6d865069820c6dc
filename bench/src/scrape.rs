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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_of_one_name_are_summed_and_longer_names_are_others() {
        let text = "# HELP a_total x\na_total{b=\"c d\"} 3\na_total{b=\"e\"} 4\na_total_more 9\nlone 2.5\n";
        for (name, expect) in [("a_total", 7.0), ("lone", 2.5), ("none", 0.0)] {
            assert!((sum(text, name) - expect).abs() < f64::EPSILON, "{name}");
        }
    }
}
