//! Judges attempts by the rules.
//!
//! Takes the text of `rules/bounces.yaml` once, then attempts; gives Verdicts.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use regex::bytes::{Regex, RegexBuilder};

use super::failure;
use super::reply::{Found, MATCHER_BYTES_MAX, PATTERN_BYTES_MAX, Question, Shelf, check_pattern};
use super::rule::{Permanence, RawRules, Rule};
use super::wait::WaitReader;
use crate::domain::{
    Attempt, AttemptOutcome, Blame, BounceClass, Cause, LaneAction, ProviderId, Reply, Stage, Verdict,
};
use crate::policy::rules_file::{RulesError, read};
use crate::sabotage::{self, Bug};

/// The form of the file that this program reads.
const VERSION: u32 = 1;
/// Rules in a file.
const RULES_MAX: usize = 2000;

/// A Verdict, and what else is worth knowing about how it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// What the attempt means.
    pub verdict: Verdict,
    /// Whether only a fallback rule matched: no rule knows this reply, and somebody should look at it.
    pub is_unknown: bool,
    /// What a shadow rule would have said instead.
    pub shadow: Option<Verdict>,
}

impl Judgement {
    /// What the lane has to do about it.
    #[must_use]
    pub fn lane_action(&self) -> LaneAction {
        match &self.verdict {
            Verdict::Delivered => LaneAction::None,
            Verdict::Retry { cause, .. } | Verdict::Bounce { cause, .. } | Verdict::Ambiguous { cause } => {
                lane_action(cause)
            }
        }
    }
}

/// Judges attempts. Made once, shared by all; it holds no state of its own.
#[derive(Debug)]
pub struct Classifier {
    pub(super) rules: Vec<Rule>,
    by_provider: HashMap<ProviderId, Shelf>,
    any_temporary: Shelf,
    any_permanent: Shelf,
    never_suppress: Regex,
    wait: WaitReader,
}

impl Classifier {
    /// The text of the rules that are built in.
    pub const BUILT_IN: &str = include_str!("../../../rules/bounces.yaml");

    /// The rules that are built in.
    #[must_use]
    pub fn built_in() -> Self {
        Self::from_yaml(Self::BUILT_IN).expect("tests read the built-in rules")
    }

    /// Rules of an operator; the form is described at the head of `rules/bounces.yaml`.
    pub fn from_yaml(yaml: &str) -> Result<Self, RulesError> {
        let raw = read_raw(yaml)?;
        let mut rules = Vec::with_capacity(raw.rules.len());
        for spanned in raw.rules {
            let line = spanned.defined.line();
            rules.push(Rule::new(spanned.value, line)?);
        }
        check(&rules)?;
        Self::of_rules(rules, &raw.never_suppress_text)
    }

    /// Puts checked rules on their shelves.
    pub(super) fn of_rules(rules: Vec<Rule>, never_suppress: &str) -> Result<Self, RulesError> {
        let generic = |rule: &Rule, digit: u16| {
            rule.providers.is_empty() && (digit * 100..digit * 100 + 100).any(|code| rule.fits_code(code))
        };
        let any_temporary = Shelf::new(&rules, |rule| generic(rule, 4))?;
        let any_permanent = Shelf::new(&rules, |rule| generic(rule, 5))?;
        let mut by_provider = HashMap::new();
        for provider in rules.iter().flat_map(|rule| rule.providers.iter()) {
            if !by_provider.contains_key(provider) {
                let shelf = Shelf::new(&rules, |rule| rule.providers.contains(provider))?;
                by_provider.insert(provider.clone(), shelf);
            }
        }
        Ok(Self {
            by_provider,
            any_temporary,
            any_permanent,
            never_suppress: text_guard(never_suppress)?,
            wait: WaitReader::new(),
            rules,
        })
    }

    /// What `attempt` means. `provider` is who runs the mailbox, and decides which rules are asked first.
    #[must_use]
    pub fn verdict(&self, provider: &ProviderId, attempt: &Attempt) -> Verdict {
        self.judge(provider, attempt).verdict
    }

    /// The same, with what the reviewers of rules want to know.
    #[must_use]
    pub fn judge(&self, provider: &ProviderId, attempt: &Attempt) -> Judgement {
        let known = |verdict| Judgement {
            verdict,
            is_unknown: false,
            shadow: None,
        };
        match &attempt.outcome {
            AttemptOutcome::Accepted(_) => known(Verdict::Delivered),
            AttemptOutcome::Refused(reply) => self.refused(provider, attempt.stage, reply),
            AttemptOutcome::Failed(failure) => known(failure::verdict(attempt.stage, failure)),
        }
    }

    /// Names of the rules, in the order of the file.
    pub fn rules(&self) -> impl Iterator<Item = &str> + '_ {
        self.rules.iter().map(|rule| &*rule.cause.rule)
    }

    /// Providers that rules are written for.
    pub fn providers(&self) -> impl Iterator<Item = &ProviderId> + '_ {
        self.by_provider.keys()
    }

    /// What a reply means that `provider` gave at this stage.
    #[must_use]
    pub fn refused(&self, provider: &ProviderId, stage: Stage, reply: &Reply) -> Judgement {
        let question = Question::new(reply, stage);
        let found = self.find(Some(provider), &question);
        let Some(rule) = found.rule.map(|index| &self.rules[index]) else {
            return unexpected(stage);
        };
        Judgement {
            verdict: self.verdict_by(rule, &question),
            is_unknown: rule.fallback,
            shadow: found.shadow.map(|index| self.verdict_by(&self.rules[index], &question)),
        }
    }

    /// The rules for a reply: of its provider first, then of anybody. None of them for a code that is neither 4xx nor 5xx.
    pub(super) fn find(&self, provider: Option<&ProviderId>, question: &Question<'_>) -> Found {
        let any = match question.code {
            400..=499 => &self.any_temporary,
            500..=599 => &self.any_permanent,
            _ => return Found::default(),
        };
        let own = provider
            .and_then(|provider| self.by_provider.get(provider))
            .map(|shelf| shelf.find(&self.rules, question))
            .unwrap_or_default();
        if own.rule.is_some() {
            return own;
        }
        let any = any.find(&self.rules, question);
        Found {
            rule: any.rule,
            shadow: own.shadow.or(any.shadow),
        }
    }

    /// The shelves: rules that are asked together, as indexes in their order.
    pub(super) fn shelves(&self) -> Vec<Vec<usize>> {
        let own = self.by_provider.values();
        let all = own.chain([&self.any_temporary, &self.any_permanent]);
        all.map(|shelf| shelf.rules().collect()).collect()
    }

    fn verdict_by(&self, rule: &Rule, question: &Question<'_>) -> Verdict {
        let judged = question.stage >= Stage::MailFrom;
        let bounces = match rule.permanence {
            Permanence::Retry => false,
            Permanence::Bounce => true,
            Permanence::Code => judged && question.code >= 500,
        };
        if bounces {
            Verdict::Bounce {
                cause: rule.cause.clone(),
                suppress: (rule.suppress || sabotage::is(Bug::ReputationSuppresses)) && self.may_suppress(question),
            }
        } else {
            Verdict::Retry {
                cause: rule.cause.clone(),
                after: self.wait.read(&question.text).or(rule.after),
                counts: judged,
            }
        }
    }

    /// The law over all rules: no address is suppressed before it was named, nor for policy or reputation.
    fn may_suppress(&self, question: &Question<'_>) -> bool {
        if sabotage::is(Bug::ReputationSuppresses) {
            return question.code >= 500;
        }
        question.stage >= Stage::RcptTo
            && question.code >= 500
            && question.enhanced.is_none_or(|code| code.1 != 7)
            && !self.never_suppress.is_match(&question.text)
    }
}

/// What a lane has to do about a Cause: nothing, unless the Cause blames what the lane stands for. A domain that is over its
/// quota must not stop the other tenants who send from the same address.
#[must_use]
pub fn lane_action(cause: &Cause) -> LaneAction {
    match cause.blame {
        Blame::SourceIp | Blame::Netblock | Blame::Provider | Blame::Network | Blame::Us => cause.action,
        Blame::Recipient | Blame::Mailbox | Blame::Message | Blame::TenantDomain | Blame::Url => LaneAction::None,
    }
}

/// Reads the file and checks what is not about single rules.
pub(super) fn read_raw(yaml: &str) -> Result<RawRules, RulesError> {
    let raw: RawRules = read(yaml)?;
    if raw.version != VERSION {
        let problem = format!("is {}, and this program reads {VERSION}", raw.version);
        return Err(RulesError::rule("version", 0, problem));
    }
    if raw.rules.len() > RULES_MAX {
        return Err(RulesError::rule("rules", 0, format!("at most {RULES_MAX} of them")));
    }
    Ok(raw)
}

/// What holds for the rules as a whole.
pub(super) fn check(rules: &[Rule]) -> Result<(), RulesError> {
    let mut names = HashSet::new();
    for rule in rules {
        let wrong = |problem: String| RulesError::rule(&rule.cause.rule, rule.line, problem);
        if !names.insert(&*rule.cause.rule) {
            return Err(wrong("there is another rule of this name".to_owned()));
        }
        if let Some(text) = &rule.text {
            check_pattern(text).map_err(|error| wrong(format!("text: {error}")))?;
        }
    }
    let catch_all = rules.iter().position(|rule| rule.asks_nothing() && !rule.shadow);
    match (catch_all, rules.last()) {
        (Some(index), _) if index + 1 == rules.len() => Ok(()),
        (Some(index), _) => Err(RulesError::rule(
            &rules[index].cause.rule,
            rules[index].line,
            "it asks nothing, so the rules after it never match",
        )),
        (None, Some(last)) => Err(RulesError::rule(
            &last.cause.rule,
            last.line,
            "the last rule must ask nothing, so that every reply has a meaning",
        )),
        (None, None) => Err(RulesError::rule("rules", 0, "there are none")),
    }
}

fn text_guard(pattern: &str) -> Result<Regex, RulesError> {
    check_pattern(pattern)
        .and_then(|()| {
            RegexBuilder::new(pattern)
                .case_insensitive(true)
                .unicode(false)
                .dot_matches_new_line(true)
                .size_limit(PATTERN_BYTES_MAX)
                .dfa_size_limit(MATCHER_BYTES_MAX)
                .build()
                .map_err(|error| error.to_string())
        })
        .map_err(|error| RulesError::rule("never_suppress_text", 0, error))
}

/// A refusal that is neither 4xx nor 5xx: the other side is out of step. Nobody was judged.
fn unexpected(stage: Stage) -> Judgement {
    let verdict = Verdict::Retry {
        cause: Cause {
            class: BounceClass::Protocol,
            blame: Blame::Provider,
            action: LaneAction::None,
            rule: Arc::from("built-in/unexpected-code"),
        },
        after: None::<Duration>,
        counts: stage >= Stage::MailFrom,
    };
    Judgement {
        verdict,
        is_unknown: true,
        shadow: None,
    }
}
