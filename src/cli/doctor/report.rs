//! What the doctor found: lines with a mark, what was seen, and what to do about it.

use serde_json::{Value, json};

/// How a line came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// As it should be.
    Good,
    /// Not so: exit code 1.
    Bad,
    /// It works, and somebody should look at it; or it could not be told.
    Warning,
    /// Not looked at.
    Skipped,
}

impl Mark {
    fn sign(self) -> char {
        match self {
            Self::Good => '✓',
            Self::Bad => '✗',
            Self::Warning => '!',
            Self::Skipped => '–',
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Warning => "warning",
            Self::Skipped => "skipped",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    area: &'static str,
    name: String,
    mark: Mark,
    detail: String,
    remedy: Option<String>,
}

impl Line {
    /// What was seen of `name`.
    pub(super) fn new(area: &'static str, name: impl Into<String>, mark: Mark, detail: impl Into<String>) -> Self {
        Self {
            area,
            name: name.into(),
            mark,
            detail: detail.into(),
            remedy: None,
        }
    }

    /// The same, with what to do about it; a good line needs nothing.
    pub(super) fn remedy(self, remedy: impl Into<String>) -> Self {
        let needs = matches!(self.mark, Mark::Bad | Mark::Warning);
        Self {
            remedy: needs.then(|| remedy.into()),
            ..self
        }
    }
}

/// All lines.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) lines: Vec<Line>,
}

impl Report {
    /// Whether nothing is bad.
    pub(super) fn is_good(&self) -> bool {
        self.count(Mark::Bad) == 0
    }

    fn count(&self, mark: Mark) -> usize {
        self.lines.iter().filter(|line| line.mark == mark).count()
    }

    pub(super) fn text(&self) -> Vec<String> {
        let mut text = Vec::new();
        let mut area = "";
        for line in &self.lines {
            if line.area != area {
                area = line.area;
                text.push(area.to_owned());
            }
            text.push(format!("  {} {}: {}", line.mark.sign(), line.name, line.detail));
            text.extend(line.remedy.iter().map(|remedy| format!("      → {remedy}")));
        }
        let (bad, warnings) = (self.count(Mark::Bad), self.count(Mark::Warning));
        text.push(match (bad, warnings) {
            (0, 0) => "All is well.".to_owned(),
            _ => format!("{bad} bad, {warnings} to look at."),
        });
        text
    }

    pub(super) fn json(&self) -> Value {
        let checks = self.lines.iter().map(|line| {
            json!({
                "area": line.area,
                "name": line.name,
                "result": line.mark.name(),
                "detail": line.detail,
                "remedy": line.remedy,
            })
        });
        json!({"healthy": self.is_good(), "checks": checks.collect::<Vec<_>>()})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_shows_what_is_wrong_and_what_to_do() {
        let line = |name: &str, mark| Line::new("sources", name, mark, "seen").remedy("do this");
        let report = Report {
            lines: vec![
                Line::new("config", "file", Mark::Good, "config.yaml"),
                line("a bind", Mark::Good),
                line("a ehlo", Mark::Bad),
                line("a dnsbl", Mark::Warning),
                line("b", Mark::Skipped),
            ],
        };
        assert_eq!(
            report.text(),
            [
                "config",
                "  ✓ file: config.yaml",
                "sources",
                "  ✓ a bind: seen",
                "  ✗ a ehlo: seen",
                "      → do this",
                "  ! a dnsbl: seen",
                "      → do this",
                "  – b: seen",
                "1 bad, 1 to look at.",
            ]
        );
        assert!(!report.is_good());
        assert_eq!(report.json()["checks"][2]["result"], "bad");
        assert_eq!(report.json()["healthy"], false);
        let good = Report {
            lines: vec![line("a", Mark::Warning)],
        };
        assert!(good.is_good(), "a warning is no failure");
    }
}
