//! Enforces a [`Behaviour`]: decides, per client IP, what is refused and with which words.
//!
//! Takes what the client asks and an age; gives nothing (go on) or a [`Refusal`]. Pure but for its own memory, which is
//! bounded: greylist triples and full mailboxes beyond `ENTRIES_MAX` are treated as known. Never waits or writes.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::behaviour::{Behaviour, Rate, RateAt};
use crate::counters::Reason;
use crate::reply;

/// Most triples, mailboxes and client IPs that are remembered.
const ENTRIES_MAX: usize = 200_000;

/// A refusal: what is said and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    pub(crate) answer: Vec<u8>,
}

/// The memory of one provider.
#[derive(Debug)]
pub(crate) struct Gate {
    behaviour: Behaviour,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    open: HashMap<IpAddr, u32>,
    buckets: HashMap<IpAddr, Bucket>,
    first_seen: HashMap<(IpAddr, String, String), Duration>,
    found_full: HashMap<String, u32>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Duration,
    closed_until: Duration,
}

impl Gate {
    pub(crate) fn new(behaviour: Behaviour) -> Self {
        Self {
            behaviour,
            state: Mutex::default(),
        }
    }

    pub(crate) fn behaviour(&self) -> &Behaviour {
        &self.behaviour
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client connects. Unless refused it counts as connected until [`Gate::disconnect`].
    pub(crate) fn connect(&self, ip: IpAddr) -> Option<Refusal> {
        let limit = self.behaviour.connections_per_ip?;
        let mut state = self.state();
        let open = state.open.entry(ip).or_insert(0);
        if *open >= limit {
            return Some(self.refuse(Reason::ConnectionLimit, ip, "", ""));
        }
        *open += 1;
        None
    }

    /// A client that was not refused has gone.
    pub(crate) fn disconnect(&self, ip: IpAddr) {
        if self.behaviour.connections_per_ip.is_none() {
            return;
        }
        let mut state = self.state();
        if let Some(open) = state.open.get_mut(&ip) {
            *open = open.saturating_sub(1);
            if *open == 0 {
                state.open.remove(&ip);
            }
        }
    }

    /// MAIL, after `before` others on this connection.
    pub(crate) fn mail(&self, ip: IpAddr, before: u64, size: Option<u64>, age: Duration) -> Option<Refusal> {
        let behaviour = &self.behaviour;
        if behaviour
            .messages_per_connection
            .is_some_and(|max| before >= u64::from(max))
        {
            return Some(self.refuse(Reason::MessagesPerConnection, ip, "", ""));
        }
        if let (Some(max), Some(size)) = (behaviour.size_max_bytes, size)
            && size > max
        {
            return Some(self.refuse(Reason::TooBig, ip, "", ""));
        }
        self.rate(RateAt::Mail, ip, age)
    }

    /// RCPT.
    pub(crate) fn rcpt(&self, ip: IpAddr, sender: &str, recipient: &str, age: Duration) -> Option<Refusal> {
        let behaviour = &self.behaviour;
        let reason = if behaviour.is_unknown(recipient) {
            Reason::UnknownUser
        } else if behaviour.is_full(recipient) && self.still_full(recipient) {
            Reason::MailboxFull
        } else if self.is_first_contact(ip, sender, recipient, age) {
            Reason::Greylisted
        } else {
            return None;
        };
        Some(self.refuse(reason, ip, sender, recipient))
    }

    /// The final dot.
    pub(crate) fn dot(
        &self,
        ip: IpAddr,
        recipients: &[String],
        message_id: Option<&str>,
        size: u64,
        age: Duration,
    ) -> Option<Refusal> {
        let behaviour = &self.behaviour;
        if behaviour.size_max_bytes.is_some_and(|max| size > max) {
            return Some(self.refuse(Reason::TooBig, ip, "", ""));
        }
        if let Some(recipient) = recipients.iter().find(|to| behaviour.rejects_content(to, message_id)) {
            return Some(self.refuse(Reason::Content, ip, "", recipient));
        }
        self.rate(RateAt::Dot, ip, age)
    }

    fn rate(&self, at: RateAt, ip: IpAddr, age: Duration) -> Option<Refusal> {
        let rate = self.behaviour.rate.as_ref().filter(|rate| rate.at == at)?;
        let mut state = self.state();
        if state.buckets.len() >= ENTRIES_MAX && !state.buckets.contains_key(&ip) {
            return None;
        }
        let bucket = state.buckets.entry(ip).or_insert_with(|| Bucket {
            tokens: f64::from(rate.burst),
            at: age,
            closed_until: Duration::ZERO,
        });
        if bucket.take(rate, age) {
            return None;
        }
        Some(self.refuse(Reason::Rate, ip, "", ""))
    }

    fn still_full(&self, recipient: &str) -> bool {
        let Some(times) = self.behaviour.mailbox_full_times else {
            return true;
        };
        let mut state = self.state();
        let address = recipient.to_ascii_lowercase();
        if state.found_full.len() >= ENTRIES_MAX && !state.found_full.contains_key(&address) {
            return false;
        }
        let found = state.found_full.entry(address).or_insert(0);
        *found += 1;
        *found <= times
    }

    fn is_first_contact(&self, ip: IpAddr, sender: &str, recipient: &str, age: Duration) -> bool {
        let Some(greylist) = &self.behaviour.greylist else {
            return false;
        };
        let mut state = self.state();
        let triple = (ip, sender.to_ascii_lowercase(), recipient.to_ascii_lowercase());
        if state.first_seen.len() >= ENTRIES_MAX && !state.first_seen.contains_key(&triple) {
            return false;
        }
        let first = *state.first_seen.entry(triple).or_insert(age);
        age.saturating_sub(first) < Duration::from_millis(greylist.delay_ms)
    }

    /// A refusal in this provider's words.
    pub(crate) fn refuse(&self, reason: Reason, ip: IpAddr, sender: &str, recipient: &str) -> Refusal {
        let replies = &self.behaviour.replies;
        let text = match reason {
            Reason::ConnectionLimit => &replies.connection_limit,
            Reason::MessagesPerConnection => &replies.messages_per_connection,
            Reason::Rate => &replies.rate,
            Reason::Greylisted => &replies.greylisted,
            Reason::UnknownUser => &replies.unknown_user,
            Reason::MailboxFull => &replies.mailbox_full,
            Reason::Content => &replies.content,
            Reason::TooBig => &replies.too_big,
            Reason::Storage => "452 4.3.1 Insufficient system storage",
            Reason::Reputation => &replies.reputation,
        };
        let values = [
            ("host", self.behaviour.host.as_str()),
            ("ip", &ip.to_string()),
            ("sender", sender),
            ("recipient", recipient),
        ];
        Refusal {
            reason,
            answer: reply::render(text, &values),
        }
    }
}

impl Bucket {
    fn take(&mut self, rate: &Rate, age: Duration) -> bool {
        let passed = age.saturating_sub(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * rate.per_second).min(f64::from(rate.burst));
        self.at = self.at.max(age);
        if age < self.closed_until || self.tokens < 1.0 {
            if age >= self.closed_until {
                self.closed_until = age + Duration::from_millis(rate.cool_down_ms);
            }
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::behaviour::{Greylist, Share};

    const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn reason(refusal: Option<Refusal>) -> Option<Reason> {
        refusal.map(|refusal| refusal.reason)
    }

    #[test]
    fn a_rate_grants_its_burst_then_its_pace_and_never_more() {
        let gate = Gate::new(Behaviour {
            rate: Some(Rate {
                per_second: 10.0,
                burst: 5,
                at: RateAt::Mail,
                cool_down_ms: 0,
            }),
            ..Behaviour::default()
        });
        let granted = |from: f64, to: f64| {
            let steps = (0..1_000).map(|step| from + (to - from) * f64::from(step) / 1_000.0);
            steps
                .filter(|at| gate.mail(IP, 0, None, seconds(*at)).is_none())
                .count()
        };
        assert_eq!(granted(0.0, 0.0), 5);
        let more = granted(0.0, 10.0);
        assert!((98..=100).contains(&more), "{more}");
        assert_eq!(
            gate.mail("127.0.0.9".parse().unwrap(), 0, None, seconds(10.0)),
            None,
            "another IP has its own"
        );
    }

    #[test]
    fn a_cool_down_refuses_everything_until_it_is_over_and_is_not_extended() {
        let gate = Gate::new(Behaviour {
            rate: Some(Rate {
                per_second: 10.0,
                burst: 1,
                at: RateAt::Dot,
                cool_down_ms: 5_000,
            }),
            ..Behaviour::default()
        });
        let to = ["a@x".to_owned()];
        let dot = |at: f64| reason(gate.dot(IP, &to, None, 1, seconds(at)));
        assert_eq!(dot(0.0), None);
        assert_eq!(dot(0.01), Some(Reason::Rate));
        assert_eq!(dot(4.9), Some(Reason::Rate), "tokens came back, but it is closed");
        assert_eq!(dot(5.1), None);
        assert_eq!(
            gate.mail(IP, 0, None, seconds(0.0)),
            None,
            "this rate is not asked at MAIL"
        );
    }

    #[test]
    fn greylisting_lets_the_same_triple_pass_after_its_delay() {
        let gate = Gate::new(Behaviour {
            greylist: Some(Greylist { delay_ms: 1_000 }),
            ..Behaviour::default()
        });
        let rcpt = |sender: &str, at: f64| reason(gate.rcpt(IP, sender, "b@x", seconds(at)));
        assert_eq!(rcpt("a@y", 0.0), Some(Reason::Greylisted));
        assert_eq!(rcpt("a@y", 0.9), Some(Reason::Greylisted));
        assert_eq!(rcpt("c@y", 1.0), Some(Reason::Greylisted), "another sender starts anew");
        assert_eq!(rcpt("a@y", 1.0), None);
    }

    #[test]
    fn connections_are_counted_per_ip_and_given_back() {
        let gate = Gate::new(Behaviour {
            connections_per_ip: Some(2),
            ..Behaviour::default()
        });
        assert_eq!((gate.connect(IP), gate.connect(IP)), (None, None));
        let refusal = gate.connect(IP).unwrap();
        assert_eq!(
            refusal.answer,
            b"421 4.7.0 mx.sim.test Too many connections from 127.0.0.1\r\n"
        );
        assert_eq!(gate.connect("127.0.0.2".parse().unwrap()), None);
        gate.disconnect(IP);
        assert_eq!(gate.connect(IP), None);
    }

    #[test]
    fn a_full_mailbox_has_room_again_after_its_times() {
        let gate = Gate::new(Behaviour {
            mailbox_full: Share::beginning_with("full"),
            mailbox_full_times: Some(2),
            ..Behaviour::default()
        });
        let rcpt = || reason(gate.rcpt(IP, "a@y", "full@x", Duration::ZERO));
        assert_eq!(
            [rcpt(), rcpt(), rcpt()],
            [Some(Reason::MailboxFull), Some(Reason::MailboxFull), None]
        );
    }
}
