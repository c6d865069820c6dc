//! What other rules would have made of replies that were really given.
//!
//! Takes two [`Classifier`]s and recorded replies; gives how often they differ, and in what. Replies of one provider whose
//! meaning changes in the same way are one [`Change`] with an example. Never changes a rule or a Delivery.

use std::collections::BTreeMap;

use super::classifier::Classifier;
use super::meaning::Meaning;
use crate::domain::{ProviderId, Reply, Stage};

/// A reply that was given, so often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// By whom.
    pub provider: ProviderId,
    /// To what.
    pub stage: Stage,
    /// What was said.
    pub reply: Reply,
    /// How often.
    pub count: u64,
}

/// Replies that mean something else now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// One of them.
    pub example: Recorded,
    /// How many different ones.
    pub replies: u64,
    /// How often they were given.
    pub count: u64,
    /// What they meant.
    pub old: Meaning,
    /// What they mean.
    pub new: Meaning,
}

/// The difference between two sets of rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Different replies.
    pub replies: u64,
    /// How often all of them were given.
    pub count: u64,
    /// How often those were given that only a fallback of the old rules knew.
    pub unknown_before: u64,
    /// The same with the new rules.
    pub unknown_now: u64,
    /// The differences, the most frequent first.
    pub changes: Vec<Change>,
}

impl Comparison {
    /// How often replies were given whose meaning changes.
    #[must_use]
    pub fn changed(&self) -> u64 {
        self.changes.iter().map(|change| change.count).sum()
    }
}

/// Judges each reply twice.
#[must_use]
pub fn compare(old: &Classifier, new: &Classifier, recorded: &[Recorded]) -> Comparison {
    let mut comparison = Comparison::default();
    let mut changes: BTreeMap<(ProviderId, String, String), Change> = BTreeMap::new();
    for one in recorded {
        let before = old.refused(&one.provider, one.stage, &one.reply);
        let now = new.refused(&one.provider, one.stage, &one.reply);
        comparison.replies += 1;
        comparison.count = comparison.count.saturating_add(one.count);
        if before.is_unknown {
            comparison.unknown_before = comparison.unknown_before.saturating_add(one.count);
        }
        if now.is_unknown {
            comparison.unknown_now = comparison.unknown_now.saturating_add(one.count);
        }
        let (Some(before), Some(now)) = (Meaning::of(&before.verdict), Meaning::of(&now.verdict)) else {
            continue;
        };
        if before.equals(&now) {
            continue;
        }
        let key = (
            one.provider.clone(),
            format!("{before} {}", before.rule),
            format!("{now} {}", now.rule),
        );
        let change = changes.entry(key).or_insert_with(|| Change {
            example: one.clone(),
            replies: 0,
            count: 0,
            old: before,
            new: now,
        });
        change.replies += 1;
        change.count = change.count.saturating_add(one.count);
    }
    comparison.changes = changes.into_values().collect();
    comparison.changes.sort_by_key(|change| std::cmp::Reverse(change.count));
    comparison
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: &str = "  - {name: last, class: unclassified, blame: provider, fallback: yes}\n";

    fn rules(rules: &str) -> Classifier {
        Classifier::from_yaml(&format!("version: 1\nnever_suppress_text: spam\nrules:\n{rules}{LAST}")).expect("rules")
    }

    fn said(provider: &str, text: &str, count: u64) -> Recorded {
        Recorded {
            provider: ProviderId::from(provider),
            stage: Stage::RcptTo,
            reply: Reply {
                code: 550,
                enhanced: None,
                text: text.to_owned(),
                odd: false,
            },
            count,
        }
    }

    #[test]
    fn only_what_has_another_consequence_is_a_change_and_the_most_frequent_comes_first() {
        let old = rules("  - {name: a, text: 'full', class: mailbox_full, blame: mailbox}\n");
        let new = rules(
            "  - {name: other-name, text: 'full', class: mailbox_full, blame: mailbox}\n\
             \x20 - {name: late, text: 'too fast', class: rate_limit, blame: source_ip, permanence: retry}\n\
             \x20 - {name: gone, text: 'gone', class: invalid_recipient, blame: recipient}\n",
        );
        let recorded = [
            said("google", "it is full", 100),
            said("google", "gone 1", 2),
            said("google", "gone 2", 3),
            said("yahoo", "too fast", 40),
            said("yahoo", "who knows", 7),
        ];
        let found = compare(&old, &new, &recorded);
        let changes: Vec<(&str, u64, u64, &str)> = found
            .changes
            .iter()
            .map(|change| {
                (
                    change.example.provider.as_str(),
                    change.replies,
                    change.count,
                    &*change.new.rule,
                )
            })
            .collect();
        assert_eq!(changes, [("yahoo", 1, 40, "late"), ("google", 2, 5, "gone")]);
        assert_eq!((found.replies, found.count, found.changed()), (5, 152, 45));
        assert_eq!((found.unknown_before, found.unknown_now), (52, 7));
        assert_eq!(compare(&new, &new, &recorded).changed(), 0);
    }
}
