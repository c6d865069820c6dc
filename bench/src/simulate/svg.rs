//! A sheet with charts, as SVG text: lines over seconds, marks, axes with round numbers, legends.
//!
//! Takes numbers, gives text that a browser shows. Colours and sizes are here, meaning is not.

use std::fmt::Write as _;

const WIDTH: f64 = 960.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 16.0;
const CHART_HEIGHT: f64 = 200.0;
const ABOVE_CHART: f64 = 46.0;
const HEADER: f64 = 40.0;
const FOOTER: f64 = 44.0;
/// Round distances between lines of an axis that holds seconds.
const SECONDS_STEPS: [f64; 15] = [
    1.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 14_400.0, 86_400.0,
];

/// How a line is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Filled below: what is hidden.
    Ground,
    /// A line of dashes: what is allowed.
    Dashes,
    /// A full line: what happens.
    Full,
}

impl Style {
    fn drawn(self) -> &'static str {
        match self {
            Self::Ground => "fill=\"#d9d9d9\" stroke=\"#a6a6a6\" stroke-width=\"1\"",
            Self::Dashes => "fill=\"none\" stroke=\"#d95f02\" stroke-width=\"1.4\" stroke-dasharray=\"5 3\"",
            Self::Full => "fill=\"none\" stroke=\"#1f5fa8\" stroke-width=\"1.6\"",
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::Ground => "#a6a6a6",
            Self::Dashes => "#d95f02",
            Self::Full => "#1f5fa8",
        }
    }
}

/// A line of a chart: a value for each second; where there is none the line is broken.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) style: Style,
    pub(crate) values: Vec<Option<f64>>,
}

/// Something that happened at some seconds.
#[derive(Debug, Clone)]
pub(crate) struct Marks {
    pub(crate) name: &'static str,
    pub(crate) colour: &'static str,
    pub(crate) at_seconds: Vec<f64>,
}

/// One chart.
#[derive(Debug, Clone)]
pub(crate) struct Chart {
    pub(crate) title: &'static str,
    pub(crate) lines: Vec<Line>,
    pub(crate) marks: Vec<Marks>,
}

/// All charts under each other, over the same seconds.
pub(crate) fn sheet(title: &str, seconds: usize, charts: &[Chart]) -> String {
    let count = f64::from(u32::try_from(charts.len()).unwrap_or(u32::MAX));
    let height = HEADER + count * (ABOVE_CHART + CHART_HEIGHT) + FOOTER;
    let seconds = f64::from(u32::try_from(seconds).unwrap_or(u32::MAX)).max(1.0);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"{LEFT}\" y=\"26\" font-size=\"16\" font-weight=\"bold\">{}</text>\n",
        escaped(title)
    );
    let mut top = HEADER;
    for chart in charts {
        draw(&mut text, chart, top + ABOVE_CHART, seconds);
        top += ABOVE_CHART + CHART_HEIGHT;
    }
    seconds_axis(&mut text, top, seconds);
    text.push_str("</svg>\n");
    text
}

fn draw(text: &mut String, chart: &Chart, top: f64, seconds: f64) {
    let highest = chart
        .lines
        .iter()
        .flat_map(|line| line.values.iter().flatten())
        .fold(0.0_f64, |most, value| most.max(*value));
    let step = round_step(highest.max(1.0) / 4.0);
    let full = (highest / step).ceil().max(1.0) * step;
    let (right, bottom) = (WIDTH - RIGHT, top + CHART_HEIGHT);
    let _ = writeln!(
        text,
        "<text x=\"{LEFT}\" y=\"{}\" font-weight=\"bold\">{}</text>",
        top - 24.0,
        escaped(chart.title)
    );
    legend(text, chart, top - 8.0);
    let mut value = 0.0;
    while value <= full + step / 2.0 {
        let y = bottom - value / full * CHART_HEIGHT;
        let _ = writeln!(
            text,
            "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\" stroke=\"#eeeeee\"/><text x=\"{}\" y=\"{:.1}\" \
             text-anchor=\"end\" fill=\"#555555\">{}</text>",
            LEFT - 6.0,
            y + 4.0,
            (value * 100.0).round() / 100.0
        );
        value += step;
    }
    for line in &chart.lines {
        path(text, line, seconds, full, bottom);
    }
    for marks in &chart.marks {
        for at in &marks.at_seconds {
            let x = LEFT + at / seconds * (right - LEFT);
            let _ = writeln!(
                text,
                "<line x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\" stroke=\"{}\" stroke-width=\"1.5\"/>",
                bottom - 12.0,
                marks.colour
            );
        }
    }
    let _ = writeln!(
        text,
        "<line x1=\"{LEFT}\" y1=\"{bottom:.1}\" x2=\"{right}\" y2=\"{bottom:.1}\" stroke=\"#555555\"/>"
    );
}

fn legend(text: &mut String, chart: &Chart, y: f64) {
    let lines = chart.lines.iter().map(|line| (line.name, line.style.key()));
    let marks = chart.marks.iter().map(|marks| (marks.name, marks.colour));
    let mut x = LEFT;
    for (name, colour) in lines.chain(marks) {
        let _ = writeln!(
            text,
            "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"14\" height=\"4\" fill=\"{colour}\"/><text x=\"{:.1}\" y=\"{y:.1}\" \
             fill=\"#333333\">{}</text>",
            y - 6.0,
            x + 19.0,
            escaped(name)
        );
        // A letter is some seven units wide; there is no font here to measure with.
        x += 40.0 + 7.0 * f64::from(u32::try_from(name.len()).unwrap_or(0));
    }
}

fn path(text: &mut String, line: &Line, seconds: f64, full: f64, bottom: f64) {
    let across = WIDTH - RIGHT - LEFT;
    let place = |second: usize, value: f64| {
        let second = f64::from(u32::try_from(second).unwrap_or(u32::MAX));
        (LEFT + second / seconds * across, bottom - value / full * CHART_HEIGHT)
    };
    let mut drawn = String::new();
    let mut before: Option<f64> = None;
    let mut first_x = LEFT;
    for (second, value) in line.values.iter().enumerate() {
        let Some(value) = *value else {
            if before.take().is_some() {
                end(&mut drawn, line.style, place(second, 0.0), first_x);
            }
            continue;
        };
        let (x, y) = place(second, value);
        match before {
            None if line.style == Style::Ground => {
                first_x = x;
                let _ = write!(drawn, "M{x:.1},{bottom:.1}V{y:.1}");
            }
            None => {
                let _ = write!(drawn, "M{x:.1},{y:.1}");
            }
            // Only changes are written; the line stays level between them.
            Some(old) if (old - value).abs() > f64::EPSILON => {
                let _ = write!(drawn, "H{x:.1}V{y:.1}");
            }
            Some(_) => {}
        }
        before = Some(value);
    }
    if before.is_some() {
        end(&mut drawn, line.style, place(line.values.len(), 0.0), first_x);
    }
    let _ = writeln!(text, "<path d=\"{drawn}\" {}/>", line.style.drawn());
}

/// A stretch with values ends at `x`; what is filled is closed along the `bottom`.
fn end(drawn: &mut String, style: Style, (x, bottom): (f64, f64), first_x: f64) {
    let _ = write!(drawn, "H{x:.1}");
    if style == Style::Ground {
        let _ = write!(drawn, "V{bottom:.1}H{first_x:.1}Z");
    }
}

fn seconds_axis(text: &mut String, y: f64, seconds: f64) {
    let wanted = seconds / 10.0;
    let step = SECONDS_STEPS
        .into_iter()
        .find(|step| *step >= wanted)
        .unwrap_or(seconds);
    let (unit, divisor) = match step {
        step if step >= 3600.0 => ("h", 3600.0),
        step if step >= 60.0 => ("min", 60.0),
        _ => ("s", 1.0),
    };
    let mut at = 0.0;
    while at <= seconds {
        let x = LEFT + at / seconds * (WIDTH - RIGHT - LEFT);
        let _ = writeln!(
            text,
            "<line x1=\"{x:.1}\" y1=\"{y:.1}\" x2=\"{x:.1}\" y2=\"{:.1}\" stroke=\"#555555\"/><text x=\"{x:.1}\" y=\"{:.1}\" \
             text-anchor=\"middle\" fill=\"#555555\">{} {unit}</text>",
            y + 5.0,
            y + 20.0,
            at / divisor
        );
        at += step;
    }
}

/// The next of 1, 2, 5, 10, 20, ….
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .find(|factor| factor * power >= least * 0.999_999)
        .unwrap_or(10.0);
    factor * power
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_an_axis_are_round_and_not_too_small() {
        for (least, expect) in [
            (0.25, 0.5),
            (1.0, 1.0),
            (1.1, 2.0),
            (3.0, 5.0),
            (7.0, 10.0),
            (60.0, 100.0),
        ] {
            assert!(
                (round_step(least) - expect).abs() < 1e-9,
                "{least}: {}",
                round_step(least)
            );
        }
    }

    #[test]
    fn a_line_is_drawn_where_it_has_values_and_only_where_it_changes() {
        let line = |style| Line {
            name: "line",
            style,
            values: vec![Some(1.0), Some(1.0), Some(2.0), None, Some(2.0)],
        };
        let drawn = |style| {
            let mut text = String::new();
            path(&mut text, &line(style), 5.0, 2.0, 100.0 + CHART_HEIGHT);
            text.split('"').nth(1).unwrap().to_owned()
        };
        assert_eq!(drawn(Style::Full), "M56.0,200.0H411.2V100.0H588.8M766.4,100.0H944.0");
        let ground = drawn(Style::Ground);
        assert_eq!(ground.matches('Z').count(), 2, "{ground}");
    }

    #[test]
    fn names_cannot_break_the_sheet() {
        let sheet = sheet("a < b & c", 10, &[]);
        assert!(sheet.contains("a &lt; b &amp; c"), "{sheet}");
        assert!(sheet.starts_with("<svg ") && sheet.ends_with("</svg>\n"));
    }
}
