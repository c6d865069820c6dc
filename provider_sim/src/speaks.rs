//! In whose words the receiver of a scenario speaks.
//!
//! Takes a name from a scenario file, gives a [`Behaviour`] that has the words of that provider and no limits: those are
//! the scenario's. Where a profile of the demo says the words of a block for its rate, a milder sentence of the same
//! provider stands here, since a scenario keeps the two apart. Never limits anything itself.

use serde::{Deserialize, Serialize};

use crate::behaviour::{Behaviour, Replies};

/// Whose words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Speaks {
    /// Plain words that generic rules know.
    #[default]
    Plain,
    /// Google's: a block is 421 4.7.28.
    Google,
    /// Outlook.com's: RP-001, RP-003, 4.7.650.
    Outlook,
    /// Yahoo's: \[TSS02\], \[TSS04\].
    Yahoo,
    /// QQ's: temporary refusals as 550.
    Tencent,
    /// A company's Postfix.
    Company,
}

impl Speaks {
    /// A receiver with these words, without any limit.
    #[must_use]
    pub fn behaviour(self) -> Behaviour {
        let (profile, rate) = match self {
            Self::Plain => (Behaviour::default(), PLAIN_RATE),
            Self::Google => (
                Behaviour::google_like(),
                "421 4.7.0 Try again later, closing connection. 98e67ed59e1d1 - gsmtp",
            ),
            Self::Outlook => (
                Behaviour::outlook_like(),
                "421 RP-001 ({host}) Unfortunately, some messages from {ip} weren't sent. Please try again. We have limits \
                 on how many messages can be sent per hour and per day.",
            ),
            Self::Yahoo => (
                Behaviour::yahoo_like(),
                "421 4.7.0 [TSS02] Messages from {ip} temporarily deferred due to unusual traffic; see \
                 https://postmaster.yahooinc.com/error-codes",
            ),
            Self::Tencent => (Behaviour::tencent_like(), TENCENT_RATE),
            Self::Company => (
                Behaviour::company(),
                "450 4.7.1 <{sender}>: Client host rejected: Too many messages from {ip}, slow down",
            ),
        };
        Behaviour {
            name: profile.name,
            host: profile.host,
            replies: Replies {
                rate: rate.to_owned(),
                ..profile.replies
            },
            ..Behaviour::default()
        }
    }
}

const PLAIN_RATE: &str = "450 4.7.1 {host} Too many messages from {ip}, slow down";
const TENCENT_RATE: &str = "550 Ip frequency limited [MDBKHnBPmjYHq8c0kBqsDBk2eyTqPkBIZ IP: {ip}]. \
                            https://service.mail.qq.com/detail/122/1014";

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Speaks; 6] = [
        Speaks::Plain,
        Speaks::Google,
        Speaks::Outlook,
        Speaks::Yahoo,
        Speaks::Tencent,
        Speaks::Company,
    ];

    #[test]
    fn words_come_without_limits_and_a_rate_is_never_told_in_the_words_of_a_block() {
        for speaks in ALL {
            let behaviour = speaks.behaviour();
            let bare = Behaviour {
                name: behaviour.name.clone(),
                host: behaviour.host.clone(),
                replies: behaviour.replies.clone(),
                ..Behaviour::default()
            };
            assert_eq!(behaviour, bare, "{speaks:?}");
            assert_ne!(behaviour.replies.rate, behaviour.replies.reputation, "{speaks:?}");
            assert!(behaviour.replies.rate.len() <= 480, "{speaks:?}");
        }
    }
}
