//! What the lanes do, as the engine's own metrics tell it.
//!
//! Takes metrics in Prometheus text form, gives one [`LaneView`] for each provider. What a metric does not tell stays
//! empty. Never asks the engine anything else: what the demo shows, a dashboard can show.

use std::collections::BTreeMap;

/// The lanes of one provider, all sources together.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct LaneView {
    /// Connections that are up or being opened.
    pub(super) connections: f64,
    /// Connections that the controller wants.
    pub(super) wanted: Option<f64>,
    /// Connections that the provider is known to allow.
    pub(super) ceiling: Option<f64>,
    /// Messages a second that are allowed.
    pub(super) rate_limit: Option<f64>,
    /// Messages that were delivered.
    pub(super) delivered: f64,
    /// Times that a message was put off.
    pub(super) deferred: f64,
    /// Decisions of the controller.
    pub(super) decisions: f64,
    /// What the lane is, if anything but open.
    pub(super) state: Option<String>,
    /// What most that wait for the lane wait for, and how many wait.
    pub(super) waiting: BTreeMap<String, f64>,
}

impl LaneView {
    /// Why mail waits here, for people.
    pub(super) fn why(&self) -> String {
        let most = self.waiting.iter().max_by(|one, two| one.1.total_cmp(two.1));
        let waits = most.filter(|(_, count)| **count > 0.0);
        match (&self.state, waits) {
            (Some(state), Some((why, count))) => format!("{state}; {count:.0} wait: {why}"),
            (Some(state), None) => state.clone(),
            (None, Some((why, count))) => format!("{count:.0} wait: {why}"),
            (None, None) => String::new(),
        }
    }
}

/// Reads metrics; the key is the id of the provider.
pub(super) fn read(metrics: &str) -> BTreeMap<String, LaneView> {
    let mut lanes: BTreeMap<String, LaneView> = BTreeMap::new();
    for line in metrics.lines() {
        let Some(sample) = Sample::of(line) else { continue };
        let Some(provider) = sample.label("provider") else {
            continue;
        };
        if sample.label("source") == Some("other") {
            continue;
        }
        let lane = lanes.entry(provider.to_owned()).or_default();
        let add = |sum: &mut Option<f64>| *sum = Some(sum.unwrap_or(0.0) + sample.value);
        match sample.name {
            "posthaste_open_connections" => lane.connections += sample.value,
            "posthaste_lane_connections_limit" => add(&mut lane.wanted),
            "posthaste_lane_connections_ceiling" => add(&mut lane.ceiling),
            "posthaste_lane_rate_limit" => add(&mut lane.rate_limit),
            "posthaste_delivered_total" => lane.delivered += sample.value,
            "posthaste_deferred_total" => lane.deferred += sample.value,
            "posthaste_lane_decisions_total" => lane.decisions += sample.value,
            "posthaste_lane_state" if sample.value > 0.0 => {
                let state = sample.label("state").filter(|state| *state != "open");
                lane.state = state.map(str::to_owned).or(lane.state.take());
            }
            "posthaste_lane_waiting" => {
                let why = sample.label("why").unwrap_or_default();
                *lane.waiting.entry(why.to_owned()).or_default() += sample.value;
            }
            _ => {}
        }
    }
    lanes
}

/// One line of Prometheus text.
struct Sample<'a> {
    name: &'a str,
    labels: &'a str,
    value: f64,
}

impl<'a> Sample<'a> {
    fn of(line: &'a str) -> Option<Self> {
        let (name, rest) = line.split_once('{')?;
        let (labels, value) = rest.rsplit_once('}')?;
        let value: f64 = value.trim().parse().ok()?;
        (!name.starts_with('#') && value.is_finite()).then_some(Self { name, labels, value })
    }

    /// A label's value. Ids of ours hold no quotes.
    fn label(&self, name: &str) -> Option<&'a str> {
        let mut rest = self.labels;
        while let Some((key, after)) = rest.split_once("=\"") {
            let (value, after) = after.split_once('"')?;
            if key.trim_start_matches(',').trim() == name {
                return Some(value);
            }
            rest = after;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_read_from_metrics_and_added_up_by_provider() {
        let text = "\
# HELP posthaste_open_connections SMTP connections {that} are up.
posthaste_open_connections{provider=\"google\",source=\"a\"} 3
posthaste_open_connections{source=\"b\",provider=\"google\"} 2
posthaste_lane_connections_limit{source=\"a\",provider=\"google\"} 4
posthaste_lane_connections_ceiling{source=\"a\",provider=\"google\"} 6
posthaste_lane_state{source=\"a\",provider=\"google\",state=\"open\"} 0
posthaste_lane_state{source=\"a\",provider=\"google\",state=\"stopped\"} 1
posthaste_lane_state{source=\"b\",provider=\"google\",state=\"open\"} 1
posthaste_lane_waiting{source=\"a\",provider=\"google\",why=\"lane_stopped\"} 90
posthaste_lane_waiting{source=\"a\",provider=\"google\",why=\"rate\"} 4
posthaste_delivered_total{provider=\"google\",source=\"a\",class=\"critical\"} 10
posthaste_delivered_total{provider=\"google\",source=\"a\",class=\"broadcast\"} 5
posthaste_deferred_total{provider=\"route:company\",class=\"broadcast\",reason=\"greylisted\"} 7
posthaste_lane_rate_limit{source=\"other\",provider=\"other\"} 9
posthaste_queue_leased 4
posthaste_lane_rate_limit{source=\"a\",provider=\"google\"} NaN
";
        let lanes = read(text);
        let google = &lanes["google"];
        assert_eq!(
            (google.connections, google.wanted, google.ceiling),
            (5.0, Some(4.0), Some(6.0))
        );
        assert_eq!((google.delivered, google.rate_limit), (15.0, None));
        assert_eq!(google.why(), "stopped; 90 wait: lane_stopped");
        assert_eq!(lanes["route:company"].deferred, 7.0);
        assert_eq!(lanes.len(), 2, "{lanes:?}");
        assert_eq!(LaneView::default().why(), "");
    }
}
