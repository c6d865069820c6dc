//! What is wrong with the files in `rules/` although they can be read: rules that never match, or not as they look.
//!
//! Takes the texts of `bounces.yaml`, `providers.yaml` and `warmup.yaml`; gives [`Finding`]s, all of them and not the first
//! alone. Those that a loader refuses are among them. Never changes a file, and never judges what a rule says, only whether it can be
//! heard: `tests/corpus` is for the other.

use std::fmt;

use super::classify::lint::lint_bounces;
use super::provider_map::lint::lint_providers;
use super::rules_file::RulesError;
use super::warmup_ladder::lint_ladders;
use crate::domain::ProviderId;

/// A file of `rules/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RulesFile {
    /// What replies mean.
    Bounces,
    /// Who runs mailboxes.
    Providers,
    /// How new Sources are made known.
    Warmup,
}

impl RulesFile {
    /// Its name in the directory.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bounces => "bounces.yaml",
            Self::Providers => "providers.yaml",
            Self::Warmup => "warmup.yaml",
        }
    }
}

/// What is wrong with a rule or a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The file cannot be used with it.
    Refused,
    /// It names a provider that `providers.yaml` does not have.
    UnknownProvider,
    /// Whatever it matches, an earlier rule takes.
    Unreachable,
    /// An earlier rule has the same text and the same consequence.
    Duplicate,
    /// Another rule has the same text and another consequence.
    Contradiction,
    /// It asks for no text and takes what later rules ask for.
    Swallows,
    /// One of its alternatives matches nothing that the others do not match.
    DeadAlternative,
    /// A repetition holds for the last letter of a word alone.
    LetterRepeated,
    /// A repetition of a repetition, or a very large one.
    Repetition,
    /// A pattern too long to be read.
    TooLong,
    /// Code and enhanced code of different classes: no server says both.
    ClassesDiffer,
    /// An action for something that no lane stands for, so that nothing is done.
    IdleAction,
    /// A host name under which half the Internet would belong to the provider.
    PublicSuffix,
    /// A host that another name of the same provider covers.
    CoveredHost,
    /// A step of a ladder that receivers take for a burst.
    Steep,
}

impl Fault {
    /// The word that is printed, e.g. `unreachable`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::UnknownProvider => "unknown_provider",
            Self::Unreachable => "unreachable",
            Self::Duplicate => "duplicate",
            Self::Contradiction => "contradiction",
            Self::Swallows => "swallows",
            Self::DeadAlternative => "dead_alternative",
            Self::LetterRepeated => "letter_repeated",
            Self::Repetition => "repetition",
            Self::TooLong => "too_long",
            Self::ClassesDiffer => "classes_differ",
            Self::IdleAction => "idle_action",
            Self::PublicSuffix => "public_suffix",
            Self::CoveredHost => "covered_host",
            Self::Steep => "steep",
        }
    }
}

/// One thing to mend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// In which file.
    pub file: RulesFile,
    /// Line of the rule, from 1; 0 when it is about the file, or the text names the line itself.
    pub line: u64,
    /// Name of the rule or id of the provider; empty when it is about the file.
    pub name: String,
    /// What kind.
    pub fault: Fault,
    /// One sentence.
    pub problem: String,
}

impl Finding {
    pub(super) fn of_error(file: RulesFile, error: &RulesError) -> Self {
        let (line, name, problem) = match error {
            RulesError::Rule { name, line, problem } => (*line, name.clone(), problem.clone()),
            RulesError::Shape(_) | RulesError::TooLarge => (0, String::new(), error.to_string()),
        };
        Self {
            file,
            line,
            name,
            fault: Fault::Refused,
            problem,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.file.name())?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        f.write_str(": ")?;
        if !self.name.is_empty() {
            write!(f, "{}: ", self.name)?;
        }
        write!(f, "{} [{}]", self.problem, self.fault.name())
    }
}

/// The texts of all files.
#[derive(Debug, Clone, Copy)]
pub struct Texts<'t> {
    /// That of `bounces.yaml`.
    pub bounces: &'t str,
    /// That of `providers.yaml`.
    pub providers: &'t str,
    /// That of `warmup.yaml`.
    pub warmup: &'t str,
}

/// Looks at all files. `elsewhere` are providers that the config names, by routes for example.
#[must_use]
pub fn lint(texts: Texts<'_>, elsewhere: &[ProviderId]) -> Vec<Finding> {
    let (mut known, mut findings) = lint_providers(texts.providers);
    known.extend(elsewhere.iter().cloned());
    findings.extend(lint_bounces(texts.bounces, &known));
    findings.extend(lint_ladders(texts.warmup, &known));
    findings.sort_by_key(|finding| (finding.file, finding.line, finding.fault));
    findings
}

#[cfg(test)]
mod tests;
