//! One rule of `rules/bounces.yaml`: read, checked and made ready to match.
//!
//! Takes the record of the file, gives a [`Rule`]. What a rule may not say is refused here with its name and line, so that
//! a file that loads keeps the laws written at its head.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::reply::Question;
use crate::domain::{Blame, BounceClass, Cause, EnhancedCode, LaneAction, ProviderId, Stage};
use crate::policy::rules_file::{RulesError, duration};

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRules {
    pub(super) version: u32,
    pub(super) never_suppress_text: String,
    pub(super) rules: Vec<serde_saphyr::Spanned<RawRule>>,
}

/// One rule as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRule {
    pub(super) name: String,
    #[serde(default)]
    provider: Vec<String>,
    #[serde(default)]
    code: Vec<String>,
    #[serde(default)]
    enhanced: Vec<String>,
    #[serde(default)]
    stage: Vec<String>,
    text: Option<String>,
    class: String,
    blame: String,
    #[serde(default)]
    action: RawAction,
    #[serde(default)]
    permanence: Permanence,
    #[serde(default)]
    suppress: bool,
    after: Option<String>,
    #[serde(default)]
    fallback: bool,
    #[serde(default)]
    shadow: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawAction {
    #[default]
    None,
    Slow,
    FewerConnections,
    Reconnect,
    Stop(String),
}

/// Whether there is another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Permanence {
    /// As the first digit of the code says.
    #[default]
    Code,
    /// Even after a 5xx.
    Retry,
    /// Even after a 4xx, and even before MAIL FROM.
    Bounce,
}

/// One rule, ready.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) line: u64,
    pub(super) providers: Vec<ProviderId>,
    pub(super) text: Option<String>,
    pub(super) cause: Cause,
    pub(super) permanence: Permanence,
    pub(super) suppress: bool,
    pub(super) after: Option<Duration>,
    /// A reply that only this one matches is not really known.
    pub(super) fallback: bool,
    /// It judges nothing; what it would have said is reported.
    pub(super) shadow: bool,
    pub(super) codes: Vec<CodePattern>,
    pub(super) enhanced: Vec<EnhancedPattern>,
    pub(super) stages: Vec<Stage>,
}

impl Rule {
    /// Checks a rule of the file.
    pub(super) fn new(raw: RawRule, line: u64) -> Result<Self, RulesError> {
        let wrong = |problem: String| RulesError::rule(&raw.name, line, problem);
        let class: BounceClass = raw
            .class
            .parse()
            .map_err(|()| wrong(format!("there is no class {:?}", raw.class)))?;
        let blame: Blame = raw
            .blame
            .parse()
            .map_err(|()| wrong(format!("there is no blame {:?}", raw.blame)))?;
        let action = raw.action.read().map_err(wrong)?;
        let codes = each(&raw.code, "code", CodePattern::parse).map_err(wrong)?;
        let enhanced = each(&raw.enhanced, "enhanced", EnhancedPattern::parse).map_err(wrong)?;
        let stages = each(&raw.stage, "stage", stage).map_err(wrong)?;
        let after = match &raw.after {
            None => None,
            Some(text) => Some(duration(text).ok_or_else(|| wrong(format!("after: {text:?} is not like 10m")))?),
        };
        if raw.name.is_empty() {
            return Err(wrong("a rule needs a name".to_owned()));
        }
        if raw.suppress && (blame != Blame::Recipient || raw.permanence == Permanence::Retry) {
            return Err(wrong(
                "only a bounce that is the recipient's doing may suppress".to_owned(),
            ));
        }
        if raw.after.is_some() && raw.permanence == Permanence::Bounce {
            return Err(wrong("a bounce has no next attempt: leave out after".to_owned()));
        }
        if raw.shadow && raw.fallback {
            return Err(wrong("a shadow rule judges nothing: leave out fallback".to_owned()));
        }
        // In a literal string of YAML two backslashes are two backslashes: such a pattern looks for a backslash.
        if raw.text.as_ref().is_some_and(|text| text.contains(r"\\")) {
            return Err(wrong("text: write one backslash, not two".to_owned()));
        }
        Ok(Self {
            line,
            providers: raw.provider.iter().map(|id| ProviderId::from(id.as_str())).collect(),
            text: raw.text,
            cause: Cause {
                class,
                blame,
                action,
                rule: Arc::from(raw.name),
            },
            permanence: raw.permanence,
            suppress: raw.suppress,
            after,
            fallback: raw.fallback,
            shadow: raw.shadow,
            codes,
            enhanced,
            stages,
        })
    }

    /// Whether everything but the text fits.
    pub(super) fn fits(&self, question: &Question<'_>) -> bool {
        self.fits_code(question.code)
            && (self.stages.is_empty() || self.stages.contains(&question.stage))
            && (self.enhanced.is_empty()
                || question
                    .enhanced
                    .is_some_and(|code| self.enhanced.iter().any(|pattern| pattern.fits(code))))
    }

    /// Whether it may match a reply with this code.
    pub(super) fn fits_code(&self, code: u16) -> bool {
        self.codes.is_empty() || self.codes.iter().any(|pattern| pattern.fits(code))
    }

    /// Whether it matches every reply of every provider.
    pub(super) fn asks_nothing(&self) -> bool {
        self.providers.is_empty()
            && self.codes.is_empty()
            && self.enhanced.is_empty()
            && self.stages.is_empty()
            && self.text.is_none()
    }
}

impl RawAction {
    fn read(&self) -> Result<LaneAction, String> {
        Ok(match self {
            Self::None => LaneAction::None,
            Self::Slow => LaneAction::Slow,
            Self::FewerConnections => LaneAction::FewerConnections,
            Self::Reconnect => LaneAction::Reconnect,
            Self::Stop(text) => {
                LaneAction::Stop(duration(text).ok_or_else(|| format!("action: {text:?} is not like 10m"))?)
            }
        })
    }
}

/// Reads each item of a list, or says which one is wrong.
fn each<T>(items: &[String], field: &str, read: fn(&str) -> Option<T>) -> Result<Vec<T>, String> {
    items
        .iter()
        .map(|item| read(item).ok_or_else(|| format!("{field}: {item:?} is not one")))
        .collect()
}

/// The stages at which there are replies.
fn stage(name: &str) -> Option<Stage> {
    Stage::of_name(name).filter(|stage| stage.has_replies())
}

/// `421`, `45x`, `5xx`: lowest and highest code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CodePattern(pub(super) u16, pub(super) u16);

impl CodePattern {
    fn parse(text: &str) -> Option<Self> {
        let digits = text.trim_end_matches('x');
        let shaped = text.len() == 3 && !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !shaped || !matches!(digits.as_bytes()[0], b'4' | b'5') {
            return None;
        }
        let low = text.replace('x', "0").parse().ok()?;
        let high = text.replace('x', "9").parse().ok()?;
        Some(Self(low, high))
    }

    fn fits(self, code: u16) -> bool {
        (self.0..=self.1).contains(&code)
    }
}

/// `5.7.1`, `4.7`, `x.1.1`, `5.7.606-649`: class, subject, and lowest and highest detail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EnhancedPattern {
    pub(super) class: Option<u8>,
    pub(super) subject: u16,
    pub(super) detail: (u16, u16),
}

impl EnhancedPattern {
    fn parse(text: &str) -> Option<Self> {
        let number = |part: &str| -> Option<u16> {
            let shaped = (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
            if shaped { part.parse().ok() } else { None }
        };
        let mut parts = text.split('.');
        let class = match parts.next()? {
            "x" => None,
            "4" => Some(4),
            "5" => Some(5),
            _ => return None,
        };
        let subject = number(parts.next()?)?;
        let detail = match parts.next() {
            None => (0, u16::MAX),
            Some(part) => match part.split_once('-') {
                None => (number(part)?, number(part)?),
                Some((low, high)) => (number(low)?, number(high)?),
            },
        };
        (parts.next().is_none() && detail.0 <= detail.1).then_some(Self { class, subject, detail })
    }

    fn fits(self, code: EnhancedCode) -> bool {
        self.class.is_none_or(|class| class == code.0)
            && self.subject == code.1
            && (self.detail.0..=self.detail.1).contains(&code.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_patterns_are_digits_and_then_x() {
        assert_eq!(CodePattern::parse("421"), Some(CodePattern(421, 421)));
        assert_eq!(CodePattern::parse("45x"), Some(CodePattern(450, 459)));
        assert_eq!(CodePattern::parse("5xx"), Some(CodePattern(500, 599)));
        for bad in [
            "", "xxx", "x50", "5x0", "4", "42", "4211", "250", "3xx", "5XX", "+21", "5é",
        ] {
            assert_eq!(CodePattern::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn enhanced_patterns_match_whole_numbers_from_the_left() {
        let fits = |pattern: &str, code: &str| {
            let pattern = EnhancedPattern::parse(pattern).unwrap_or_else(|| panic!("{pattern} is a pattern"));
            pattern.fits(code.parse().expect("is a code"))
        };
        for (pattern, code, expected) in [
            ("5.7.1", "5.7.1", true),
            ("5.7.1", "5.7.10", false),
            ("5.7.1", "4.7.1", false),
            ("x.7.1", "4.7.1", true),
            ("4.7", "4.7.650", true),
            ("5.1", "5.10.1", false),
            ("5.7.606-649", "5.7.606", true),
            ("5.7.606-649", "5.7.649", true),
            ("5.7.606-649", "5.7.650", false),
        ] {
            assert_eq!(fits(pattern, code), expected, "{pattern} {code}");
        }
        for bad in [
            "", "5", "x", "2.1.1", "5.", "5.7.", "5.7.1.1", "5.7.9-1", "5.7.x", "5.1000", "5.+1", "5.7.1-",
        ] {
            assert_eq!(EnhancedPattern::parse(bad), None, "{bad}");
        }
    }
}
