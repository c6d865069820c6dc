//! One run as a picture: what the receiver hides, what the lane allows itself, and what happens.
//!
//! Takes a scenario and the outcome of one run of it; gives SVG. The sheet itself is in `svg`.

use provider_sim::Scenario;
use provider_sim::model::Refusal;

use super::svg::{Chart, Line, Marks, Style, sheet};
use super::world::{Outcome, Point, Refused};

/// A chart is some 900 units wide: throughput is the mean of windows that leave so many points.
const POINTS: usize = 240;

/// The picture of one run.
pub(crate) fn plot(scenario: &Scenario, messages_max: u32, outcome: &Outcome) -> String {
    let seconds = outcome.delivered.len();
    let hidden = (0..seconds).map(|second| scenario.capacity(middle(second), messages_max));
    let cap = (0..seconds).map(|second| scenario.limits(middle(second)).connections.map(f64::from));
    let line = |name, style, values| Line { name, style, values };
    let traced = |value: fn(&Point) -> Option<f64>| outcome.trace.iter().map(value).collect::<Vec<_>>();
    let rate = Chart {
        title: "messages a second",
        lines: vec![
            line("hidden capacity", Style::Ground, hidden.collect()),
            line("allowed by the lane", Style::Dashes, traced(|point| point.rate)),
            line("delivered", Style::Full, smooth(&outcome.delivered)),
        ],
        marks: vec![
            marks("refused: too fast", "#7b3294", outcome, Refused::Message(Refusal::Rate)),
            marks(
                "blocked: 4.7.28",
                "#d7191c",
                outcome,
                Refused::Message(Refusal::Reputation),
            ),
        ],
    };
    let connections = Chart {
        title: "connections",
        lines: vec![
            line("hidden cap", Style::Ground, cap.collect()),
            line(
                "wanted by the lane",
                Style::Dashes,
                traced(|point| Some(f64::from(point.wanted))),
            ),
            line("up", Style::Full, traced(|point| Some(f64::from(point.up)))),
        ],
        marks: vec![marks("connection refused", "#7b3294", outcome, Refused::Connection)],
    };
    sheet(&scenario.name, seconds, &[rate, connections].map(without_empty))
}

/// What never happened needs no place in the legend.
fn without_empty(mut chart: Chart) -> Chart {
    chart.lines.retain(|line| line.values.iter().any(Option::is_some));
    chart.marks.retain(|marks| !marks.at_seconds.is_empty());
    chart
}

fn marks(name: &'static str, colour: &'static str, outcome: &Outcome, which: Refused) -> Marks {
    let refused = outcome.refused.iter().filter(|(_, what)| *what == which);
    Marks {
        name,
        colour,
        at_seconds: refused.map(|(at, _)| *at).collect(),
    }
}

/// The mean of each window, told for each of its seconds.
fn smooth(delivered: &[u32]) -> Vec<Option<f64>> {
    let window = (delivered.len() / POINTS).max(1);
    let mean = |seconds: &[u32]| {
        let sum: u32 = seconds.iter().sum();
        let count = u32::try_from(seconds.len()).unwrap_or(u32::MAX);
        vec![Some(f64::from(sum) / f64::from(count)); seconds.len()]
    };
    delivered.chunks(window).flat_map(mean).collect()
}

fn middle(second: usize) -> f64 {
    f64::from(u32::try_from(second).unwrap_or(u32::MAX)) + 0.5
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throughput_is_smoothed_and_nothing_of_it_is_lost() {
        let delivered: Vec<u32> = (0..1000).map(|second| second % 7).collect();
        let smooth = smooth(&delivered);
        let sum: f64 = smooth.iter().flatten().sum();
        assert_eq!(smooth.len(), delivered.len());
        assert!((sum - f64::from(delivered.iter().sum::<u32>())).abs() < 1e-6, "{sum}");
        assert!(smooth.windows(2).filter(|pair| pair[0] != pair[1]).count() <= POINTS + 10);
    }
}
