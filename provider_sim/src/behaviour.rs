//! How a provider behaves: its limits, tempers and reply texts, as data that a file may hold.
//!
//! Takes nothing, gives [`Behaviour`]. Every share of users or messages is decided by a hash, so that a retry meets the
//! same answer and a test can compute what to expect. Enforced by `gate.rs`; the five of the demo are in `profiles.rs`.

use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

/// A provider's behaviour. The default accepts everything at once. Times are in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Behaviour {
    /// Name in counters and records.
    pub name: String,
    /// Host name in the banner and the EHLO answer.
    pub host: String,
    /// Connections at once from one client IP; one more is refused at the banner with `replies.connection_limit`.
    pub connections_per_ip: Option<u32>,
    /// Messages (MAIL commands) on one connection; the next MAIL gets `replies.messages_per_connection` and a close.
    pub messages_per_connection: Option<u32>,
    /// How many messages a client IP may send.
    pub rate: Option<Rate>,
    /// First contacts wait.
    pub greylist: Option<Greylist>,
    /// Who does not exist here.
    pub unknown_users: Share,
    /// Whose mailbox is full.
    pub mailbox_full: Share,
    /// How often such a mailbox is found full before it has room again. `None`: always.
    pub mailbox_full_times: Option<u32>,
    /// Which messages are refused for their content after the dot, by hash of recipient and Message-ID; from 0 to 1.
    pub reject_share: f64,
    /// Largest message, in bytes; announced by SIZE and enforced at MAIL and after the dot.
    pub size_max_bytes: Option<u64>,
    /// How long the banner takes.
    pub banner_delay_ms: u64,
    /// How long each message takes, between its dot and the answer.
    pub message_delay_ms: u64,
    /// What becomes of a message whose client is gone when the answer to its dot is due.
    pub on_lost: OnLost,
    /// What it says.
    pub replies: Replies,
}

/// What a provider does with a message that it has taken in full and cannot answer: the client closed after the dot.
/// Real ones differ: Postfix keeps it, Exim drops it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnLost {
    /// Accepts it.
    #[default]
    Keep,
    /// Throws it away.
    Drop,
    /// One or the other, by hash of recipient and Message-ID.
    Coin,
}

/// A token bucket per client IP. A message takes a token; without one, the answer is `replies.rate`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Tokens that come in a second.
    pub per_second: f64,
    /// Tokens that fit; the bucket starts full.
    pub burst: u32,
    /// Where the client hears of it.
    #[serde(default)]
    pub at: RateAt,
    /// After a refusal everything is refused for this long.
    #[serde(default)]
    pub cool_down_ms: u64,
}

/// Where a rate limit answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RateAt {
    /// At MAIL: cheap for both sides.
    #[default]
    Mail,
    /// After the dot: the whole message was sent in vain.
    Dot,
}

/// Greylisting by (client IP, envelope sender, envelope recipient).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Greylist {
    /// A triple is refused until this long after it was first seen.
    pub delay_ms: u64,
}

/// Some of all recipients.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Share {
    /// Local parts that begin with one of these belong to it.
    pub local_part_prefixes: Vec<String>,
    /// Of all others this share does, by hash of the address; from 0 to 1.
    pub share: f64,
}

impl Share {
    /// Recipients whose local part begins with `prefix`.
    #[must_use]
    pub fn beginning_with(prefix: &str) -> Self {
        Self {
            local_part_prefixes: vec![prefix.to_owned()],
            share: 0.0,
        }
    }

    /// This share of all recipients.
    #[must_use]
    pub fn of_all(share: f64) -> Self {
        Self {
            local_part_prefixes: Vec::new(),
            share,
        }
    }

    /// Whether `recipient` belongs to it. `salt` keeps two shares of one provider apart.
    fn contains(&self, recipient: &str, salt: &str) -> bool {
        let address = recipient.to_ascii_lowercase();
        self.local_part_prefixes
            .iter()
            .any(|prefix| address.starts_with(&prefix.to_ascii_lowercase()))
            || draw(salt, &address, "") < self.share
    }

    fn is_empty(&self) -> bool {
        self.local_part_prefixes.is_empty() && self.share <= 0.0
    }
}

impl Behaviour {
    /// Whether `recipient` is unknown here.
    #[must_use]
    pub fn is_unknown(&self, recipient: &str) -> bool {
        !self.unknown_users.is_empty() && self.unknown_users.contains(recipient, "unknown")
    }

    /// Whether the mailbox of `recipient` is one of the full ones.
    #[must_use]
    pub fn is_full(&self, recipient: &str) -> bool {
        !self.mailbox_full.is_empty() && self.mailbox_full.contains(recipient, "full")
    }

    /// Whether this message would be refused for its content.
    #[must_use]
    pub fn rejects_content(&self, recipient: &str, message_id: Option<&str>) -> bool {
        self.reject_share > 0.0 && draw("content", recipient, message_id.unwrap_or("")) < self.reject_share
    }

    /// Whether this message is thrown away when its client is gone before the answer.
    #[must_use]
    pub fn drops_lost(&self, recipient: &str, message_id: Option<&str>) -> bool {
        match self.on_lost {
            OnLost::Keep => false,
            OnLost::Drop => true,
            OnLost::Coin => draw("lost", recipient, message_id.unwrap_or("")) < 0.5,
        }
    }
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            name: "sim".to_owned(),
            host: "mx.sim.test".to_owned(),
            connections_per_ip: None,
            messages_per_connection: None,
            rate: None,
            greylist: None,
            unknown_users: Share::default(),
            mailbox_full: Share::default(),
            mailbox_full_times: None,
            reject_share: 0.0,
            size_max_bytes: None,
            banner_delay_ms: 0,
            message_delay_ms: 0,
            on_lost: OnLost::default(),
            replies: Replies::default(),
        }
    }
}

/// What a provider says, whole replies with their codes. Several lines stand apart by `\n`. Placeholders: `{host}`,
/// `{ip}` (the client), `{sender}`, `{recipient}`, `{id}` (a number of this message).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Replies {
    /// Greeting.
    pub banner: String,
    /// The message is accepted.
    pub accepted: String,
    /// Too many connections.
    pub connection_limit: String,
    /// Too many messages on this connection.
    pub messages_per_connection: String,
    /// Too many messages from this IP.
    pub rate: String,
    /// Blocked for reputation: only scenarios do that.
    pub reputation: String,
    /// Greylisted.
    pub greylisted: String,
    /// No such user.
    pub unknown_user: String,
    /// Mailbox full.
    pub mailbox_full: String,
    /// Content refused.
    pub content: String,
    /// Message too big.
    pub too_big: String,
}

impl Default for Replies {
    fn default() -> Self {
        let text = str::to_owned;
        Self {
            banner: text("220 {host} ESMTP ready"),
            accepted: text("250 2.0.0 OK: queued as {id}"),
            connection_limit: text("421 4.7.0 {host} Too many connections from {ip}"),
            messages_per_connection: text("421 4.7.0 {host} Too many messages on this connection"),
            rate: text("421 4.7.28 {host} Too many messages from {ip}, try again later"),
            reputation: text("421 4.7.1 {host} Your IP {ip} has a bad reputation and is blocked for now"),
            greylisted: text("451 4.7.1 <{recipient}>: Greylisted, please try again later"),
            unknown_user: text("550 5.1.1 <{recipient}>: Recipient address rejected: User unknown"),
            mailbox_full: text("452 4.2.2 <{recipient}>: Mailbox full"),
            content: text("554 5.7.1 Message rejected as spam"),
            too_big: text("552 5.3.4 Message too big"),
        }
    }
}

/// A number from 0 to 1 that depends on its arguments only.
pub(crate) fn draw(salt: &str, first: &str, second: &str) -> f64 {
    let mut hasher = std::collections::hash_map::DefaultHasher::new();
    (salt, first, second).hash(&mut hasher);
    #[expect(clippy::cast_precision_loss, reason = "53 bits are plenty for a share")]
    let fraction = (hasher.finish() >> 11) as f64 / (1u64 << 53) as f64;
    fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_holds_about_that_many_and_always_the_same() {
        let behaviour = Behaviour {
            unknown_users: Share::of_all(0.2),
            mailbox_full: Share::of_all(0.2),
            ..Behaviour::default()
        };
        let users: Vec<String> = (0..5_000).map(|number| format!("user{number}@x.test")).collect();
        let unknown: Vec<&String> = users.iter().filter(|user| behaviour.is_unknown(user)).collect();
        let both = unknown.iter().filter(|user| behaviour.is_full(user)).count();
        assert!((900..1_100).contains(&unknown.len()), "{}", unknown.len());
        assert!(
            (130..270).contains(&both),
            "the two shares do not depend on each other: {both}"
        );
        assert!(unknown.iter().all(|user| behaviour.is_unknown(&user.to_uppercase())));
    }

    #[test]
    fn prefixes_name_users_and_nobody_is_named_by_default() {
        let behaviour = Behaviour {
            unknown_users: Share::beginning_with("Nobody"),
            ..Behaviour::default()
        };
        assert!(behaviour.is_unknown("nobody7@x.test"));
        assert!(!behaviour.is_unknown("somebody@x.test"));
        assert!(!Behaviour::default().is_unknown("nobody@x.test"));
    }

    #[test]
    fn a_behaviour_can_be_written_down_in_part_and_typos_are_errors() {
        let read: Behaviour =
            serde_json::from_str(r#"{"name":"x","rate":{"per_second":2.5,"burst":3},"greylist":{"delay_ms":5}}"#)
                .unwrap();
        assert_eq!(
            read.rate.as_ref().map(|rate| (rate.burst, rate.at)),
            Some((3, RateAt::Mail))
        );
        assert_eq!(read.replies, Replies::default());
        let written = serde_json::to_string(&read).unwrap();
        assert_eq!(serde_json::from_str::<Behaviour>(&written).unwrap(), read);
        assert!(serde_json::from_str::<Behaviour>(r#"{"conections_per_ip":3}"#).is_err());
    }
}
