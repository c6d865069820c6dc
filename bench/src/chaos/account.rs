//! What the callers know: what each call asked for, and how it was answered.
//!
//! Takes calls and answers; gives sums. Plain data. A recipient is used once, so that its address names the call, the
//! mail and the place in it.

use posthaste::domain::Class;

/// One mail of a call.
#[derive(Debug, Clone)]
pub(crate) struct MailAsked {
    pub(crate) class: Class,
    pub(crate) recipients: Vec<String>,
    /// No copy may be seen before this, in milliseconds since 1970; 0: it may go at once.
    pub(crate) not_before_ms: u64,
}

/// How a call was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Not yet.
    Open,
    /// 202, with the ids of its mails.
    Accepted(Vec<String>),
    /// Surely not stored.
    Refused,
    /// Nobody knows: the connection broke, or the store did not answer.
    Unanswered,
}

/// A call.
#[derive(Debug, Clone)]
pub(crate) struct CallAsked {
    pub(crate) mails: Vec<MailAsked>,
    pub(crate) outcome: Outcome,
}

impl CallAsked {
    fn deliveries(&self) -> u64 {
        self.mails.iter().map(|mail| mail.recipients.len() as u64).sum()
    }
}

/// All calls of a run, in the order of their numbers.
#[derive(Debug, Default)]
pub(crate) struct Account {
    calls: Vec<CallAsked>,
    accepted: u64,
    unsure: u64,
    pub(crate) refused: u64,
    /// Calls that were answered with "the disk is full" or "the store is not available".
    pub(crate) store_refusals: u64,
    /// Keyed calls that had to be repeated.
    pub(crate) repeated: u64,
    /// Answers that no call of ours should get.
    pub(crate) surprises: Vec<String>,
}

impl Account {
    /// A call is about to be made; gives its number.
    pub(crate) fn open(&mut self, mails: Vec<MailAsked>) -> usize {
        let call = CallAsked {
            mails,
            outcome: Outcome::Open,
        };
        self.unsure += call.deliveries();
        self.calls.push(call);
        self.calls.len() - 1
    }

    /// The call was answered, or never will be.
    pub(crate) fn close(&mut self, number: usize, outcome: Outcome) {
        let Some(call) = self.calls.get_mut(number) else { return };
        let deliveries = call.deliveries();
        match &outcome {
            Outcome::Accepted(_) => {
                self.unsure -= deliveries;
                self.accepted += deliveries;
            }
            Outcome::Refused => {
                self.unsure -= deliveries;
                self.refused += 1;
            }
            Outcome::Open | Outcome::Unanswered => {}
        }
        call.outcome = outcome;
    }

    /// The number that the next call gets.
    pub(crate) fn next(&self) -> usize {
        self.calls.len()
    }

    /// Deliveries that were answered with 202.
    pub(crate) fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Deliveries that may be stored or not.
    pub(crate) fn unsure(&self) -> u64 {
        self.unsure
    }

    pub(crate) fn calls(&self) -> &[CallAsked] {
        &self.calls
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_are_unsure_until_their_call_is_answered() {
        let mail = || MailAsked {
            class: Class::Critical,
            recipients: vec!["a@x.test".to_owned(), "b@x.test".to_owned()],
            not_before_ms: 0,
        };
        let mut account = Account::default();
        let check = |account: &Account, expect: (u64, u64)| {
            assert_eq!((account.accepted(), account.unsure()), expect);
        };
        for number in 0..4 {
            assert_eq!(account.open(vec![mail(), mail()]), number);
        }
        check(&account, (0, 16));
        account.close(0, Outcome::Accepted(vec!["1".to_owned(), "2".to_owned()]));
        check(&account, (4, 12));
        account.close(1, Outcome::Refused);
        check(&account, (4, 8));
        account.close(2, Outcome::Unanswered);
        check(&account, (4, 8));
    }
}
