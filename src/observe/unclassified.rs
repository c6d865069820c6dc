//! Replies that no rule knows, for review.
//!
//! Takes refusals that only a fallback rule matched; gives a bounded list of their shapes with counts. Equal complaints
//! differ in addresses, numbers and ids only, so they are counted by `policy::classify::shape_of`. When the list is full, the
//! rarest shape that was not seen for the longest time makes room, and what is forgotten is counted. Holds no address of a
//! person: the example has them masked. What other nodes have collected is kept beside it, and added up for reviewers.

use std::collections::{HashMap, hash_map};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::{EnhancedCode, ProviderId, Reply, Stage, Timestamp};
use crate::policy::classify::{shape_of, without_addresses};

/// Shapes that are kept.
pub const SHAPES_MAX: usize = 1_000;

/// Replies of one shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownReply {
    /// Who gave them.
    pub provider: ProviderId,
    /// The code.
    pub code: u16,
    /// The enhanced code, if there was one.
    pub enhanced: Option<EnhancedCode>,
    /// The text without addresses, numbers and ids.
    pub shape: String,
    /// The stage of the last one.
    pub stage: Stage,
    /// The fallback rule that judged it.
    pub rule: String,
    /// The last one's text, without addresses.
    pub example: String,
    /// How many there were.
    pub count: u64,
    /// When the first was given.
    pub first_seen: Timestamp,
    /// When the last was given.
    pub last_seen: Timestamp,
}

/// The list. One for each engine.
#[derive(Debug, Default)]
pub struct Unclassified(Mutex<Shapes>);

#[derive(Debug, Default)]
struct Shapes {
    known: HashMap<Key, Entry>,
    /// Kept by the store and known no more.
    gone: Vec<UnknownReply>,
    forgotten: u64,
    /// What other nodes have.
    others: Vec<UnknownReply>,
}

#[derive(Debug)]
struct Entry {
    reply: UnknownReply,
    /// The store has it, in some form.
    is_kept: bool,
    /// The store does not have it as it is.
    is_changed: bool,
}

type Key = (ProviderId, u16, Option<EnhancedCode>, String);

fn key_of(reply: &UnknownReply) -> Key {
    (reply.provider.clone(), reply.code, reply.enhanced, reply.shape.clone())
}

impl Unclassified {
    fn shapes(&self) -> MutexGuard<'_, Shapes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A reply came that only the fallback rule `rule` matched.
    pub fn note(&self, provider: &ProviderId, stage: Stage, reply: &Reply, rule: &str, now: Timestamp) {
        let shape = shape_of(&reply.text);
        let example = without_addresses(&reply.text);
        let mut shapes = self.shapes();
        let key = (provider.clone(), reply.code, reply.enhanced, shape.clone());
        if let Some(entry) = shapes.known.get_mut(&key) {
            entry.is_changed = true;
            let known = &mut entry.reply;
            known.count = known.count.saturating_add(1);
            known.last_seen = now;
            known.stage = stage;
            rule.clone_into(&mut known.rule);
            known.example = example;
            return;
        }
        let new = UnknownReply {
            provider: provider.clone(),
            code: reply.code,
            enhanced: reply.enhanced,
            shape,
            stage,
            rule: rule.to_owned(),
            example,
            count: 1,
            first_seen: now,
            last_seen: now,
        };
        shapes.insert(key, new, false);
    }

    /// What was known before a restart; counts add up with what came since.
    pub fn restore(&self, replies: Vec<UnknownReply>) {
        let mut shapes = self.shapes();
        for reply in replies {
            let key = key_of(&reply);
            if let Some(entry) = shapes.known.get_mut(&key) {
                entry.is_kept = true;
                entry.is_changed = true;
                entry.reply.count = entry.reply.count.saturating_add(reply.count);
                entry.reply.first_seen = entry.reply.first_seen.min(reply.first_seen);
                continue;
            }
            shapes.insert(key, reply, true);
        }
    }

    /// What the store does not have as it is, and what it has and may throw away.
    #[must_use]
    pub fn take_changes(&self) -> (Vec<UnknownReply>, Vec<UnknownReply>) {
        let mut shapes = self.shapes();
        let changed = shapes.known.values_mut().filter(|entry| entry.is_changed);
        let changed = changed.map(|entry| {
            (entry.is_kept, entry.is_changed) = (true, false);
            entry.reply.clone()
        });
        let changed = changed.collect();
        (changed, std::mem::take(&mut shapes.gone))
    }

    /// The store could not take these changes: they come again with the next ones.
    pub fn put_back(&self, changed: &[UnknownReply], gone: Vec<UnknownReply>) {
        let mut shapes = self.shapes();
        for reply in changed {
            if let Some(entry) = shapes.known.get_mut(&key_of(reply)) {
                entry.is_changed = true;
            }
        }
        let room = SHAPES_MAX.saturating_sub(shapes.gone.len());
        shapes.gone.extend(gone.into_iter().take(room));
    }

    /// This is what other nodes have collected by now.
    pub fn hear(&self, others: Vec<UnknownReply>) {
        self.shapes().others = others;
    }

    /// All shapes that came to this node, the most frequent first, then the latest.
    #[must_use]
    pub fn list(&self) -> Vec<UnknownReply> {
        sorted(self.shapes().known.values().map(|entry| entry.reply.clone()).collect())
    }

    /// The same over all nodes, at most [`SHAPES_MAX`] of them.
    #[must_use]
    pub fn list_of_all(&self) -> Vec<UnknownReply> {
        let others = self.shapes().others.clone();
        let mut all: HashMap<Key, UnknownReply> = HashMap::new();
        for reply in self.list().into_iter().chain(others) {
            match all.entry(key_of(&reply)) {
                hash_map::Entry::Occupied(mut known) => known.get_mut().add(reply),
                hash_map::Entry::Vacant(place) => drop(place.insert(reply)),
            }
        }
        let mut list = sorted(all.into_values().collect());
        list.truncate(SHAPES_MAX);
        list
    }

    /// Shapes that made room for others.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.shapes().forgotten
    }
}

impl UnknownReply {
    /// Another node's count of the same shape; the later one is the example.
    fn add(&mut self, other: Self) {
        let count = self.count.saturating_add(other.count);
        let first_seen = self.first_seen.min(other.first_seen);
        if other.last_seen > self.last_seen {
            *self = other;
        }
        (self.count, self.first_seen) = (count, first_seen);
    }
}

fn sorted(mut list: Vec<UnknownReply>) -> Vec<UnknownReply> {
    list.sort_by(|left, right| {
        (right.count, right.last_seen, &left.shape).cmp(&(left.count, left.last_seen, &right.shape))
    });
    list
}

impl Shapes {
    fn insert(&mut self, key: Key, reply: UnknownReply, is_kept: bool) {
        if self.known.len() >= SHAPES_MAX {
            self.forget_rarest();
        }
        let entry = Entry {
            reply,
            is_kept,
            is_changed: !is_kept,
        };
        self.known.insert(key, entry);
    }

    fn forget_rarest(&mut self) {
        let rarest = self
            .known
            .iter()
            .min_by_key(|(_, entry)| (entry.reply.count, entry.reply.last_seen))
            .map(|(key, _)| key.clone());
        let Some(entry) = rarest.and_then(|key| self.known.remove(&key)) else {
            return;
        };
        self.forgotten += 1;
        if entry.is_kept && self.gone.len() < SHAPES_MAX {
            self.gone.push(entry.reply);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn note(list: &Unclassified, text: &str, at: u64) {
        let reply = Reply {
            code: 550,
            enhanced: None,
            text: text.to_owned(),
            odd: false,
        };
        list.note(
            &ProviderId::from("google"),
            Stage::RcptTo,
            &reply,
            "code-x",
            Timestamp(at),
        );
    }

    #[test]
    fn equal_complaints_are_counted_as_one_with_first_last_and_an_example() {
        let list = Unclassified::default();
        note(&list, "<a@example.org> is odd, id 123", 5);
        note(&list, "who knows", 6);
        note(&list, "<b@example.net> is odd, id 9", 7);
        let seen = list.list();
        assert_eq!(seen.len(), 2);
        let odd = &seen[0];
        assert_eq!(
            (odd.count, odd.first_seen, odd.last_seen),
            (2, Timestamp(5), Timestamp(7))
        );
        assert_eq!(odd.example, "<address> is odd, id 9");
    }

    #[test]
    fn a_flood_of_new_shapes_pushes_out_no_frequent_one() {
        let list = Unclassified::default();
        note(&list, "seen twice", 1);
        note(&list, "seen twice", 2);
        let word = |mut number: usize| {
            let mut word = String::new();
            while word.len() < 4 {
                word.push(char::from(b'a' + u8::try_from(number % 26).unwrap_or(0)));
                number /= 26;
            }
            word
        };
        for number in 0..3 * SHAPES_MAX {
            note(&list, &word(number), 10 + number as u64);
        }
        let seen = list.list();
        assert_eq!(seen.len(), SHAPES_MAX);
        assert_eq!(seen[0].shape, "seen twice");
        assert_eq!(list.forgotten() as usize, 3 * SHAPES_MAX + 1 - SHAPES_MAX);
    }

    #[test]
    fn what_was_known_before_a_restart_adds_up() {
        let (before, after) = (Unclassified::default(), Unclassified::default());
        note(&before, "old and new", 1);
        note(&before, "old", 2);
        note(&after, "old and new", 9);
        after.restore(before.list());
        let seen = after.list();
        assert_eq!(seen.len(), 2);
        assert_eq!(
            (seen[0].count, seen[0].first_seen, seen[0].last_seen),
            (2, Timestamp(1), Timestamp(9))
        );
    }

    #[test]
    fn counts_of_all_nodes_add_up_and_each_keeps_its_own() {
        let (one, two) = (Unclassified::default(), Unclassified::default());
        note(&one, "both, id 1", 1);
        note(&one, "one alone", 2);
        note(&two, "both, id 22", 5);
        note(&two, "both, id 333", 6);
        one.hear(two.list());
        let seen = one.list_of_all();
        assert_eq!((seen.len(), one.list().len()), (2, 2));
        let both = &seen[0];
        assert_eq!(
            (both.count, both.first_seen, both.last_seen),
            (3, Timestamp(1), Timestamp(6))
        );
        assert_eq!(both.example, "both, id 333", "the latest");
        assert_eq!(
            one.take_changes().0.iter().map(|reply| reply.count).sum::<u64>(),
            2,
            "its own alone is kept"
        );
        one.hear(Vec::new());
        assert_eq!(one.list_of_all(), one.list());
    }

    #[test]
    fn no_more_shapes_are_shown_than_may_be() {
        let list = Unclassified::default();
        note(&list, "mine", 1);
        let mine = list.list().remove(0);
        let reply = |number: usize| UnknownReply {
            shape: format!("{number}"),
            count: number as u64,
            ..mine.clone()
        };
        let others = (0..SHAPES_MAX + 5).map(reply).collect();
        list.hear(others);
        let seen = list.list_of_all();
        assert_eq!((seen.len(), seen[0].count as usize), (SHAPES_MAX, SHAPES_MAX + 4));
    }

    #[test]
    fn only_what_changed_is_written_again_and_what_could_not_be_written_comes_back() {
        let list = Unclassified::default();
        note(&list, "one", 1);
        note(&list, "two", 2);
        let (changed, gone) = list.take_changes();
        assert_eq!((changed.len(), gone.len()), (2, 0));
        list.put_back(&changed, gone);
        assert_eq!(list.take_changes().0.len(), 2, "they were not written");
        assert_eq!(list.take_changes().0.len(), 0, "now they are");
        note(&list, "two", 3);
        let (changed, _) = list.take_changes();
        assert_eq!((changed.len(), changed[0].count), (1, 2));
    }

    proptest! {
        #[test]
        fn no_address_stays_in_the_list(text in "\\PC{0,80}") {
            let list = Unclassified::default();
            note(&list, &text, 1);
            let seen = list.list();
            prop_assert!(!seen[0].example.contains('@') && !seen[0].shape.contains('@'));
        }
    }
}
