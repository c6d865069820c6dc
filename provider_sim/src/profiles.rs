//! Five providers for the demo: each with another temper, and with the words that its original uses.
//!
//! Takes a name, gives a [`Behaviour`]. The limits are not those of the originals, which allow thousands a day to a cold
//! IP: they are scaled so that some 2,000 messages to each from one machine meet every limit and are through in less than a
//! minute. Reply texts are the originals' (see the bounce rules that must recognise them), with reserved host names.

use crate::behaviour::{Behaviour, Greylist, Rate, RateAt, Replies, Share};

/// Names that [`Behaviour::named`] knows.
pub const PROFILES: [&str; 6] = ["plain", "google", "outlook", "yahoo", "tencent", "company"];

impl Behaviour {
    /// The profile of this name: `plain` accepts everything at once.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "plain" => Self {
                name: "plain".to_owned(),
                ..Self::default()
            },
            "google" => Self::google_like(),
            "outlook" => Self::outlook_like(),
            "yahoo" => Self::yahoo_like(),
            "tencent" => Self::tencent_like(),
            "company" => Self::company(),
            _ => return None,
        })
    }

    /// Counts per IP and, over its rate, refuses after the dot with five lines of 421-4.7.28. Few unknown users.
    #[must_use]
    pub fn google_like() -> Self {
        Self {
            name: "google".to_owned(),
            host: "mx.google-like.test".to_owned(),
            rate: Some(Rate {
                per_second: 250.0,
                burst: 300,
                at: RateAt::Dot,
                cool_down_ms: 500,
            }),
            unknown_users: Share::of_all(0.01),
            size_max_bytes: Some(35_882_577),
            replies: Replies {
                banner: "220 {host} ESMTP 98e67ed59e1d1-2f9 - gsmtp".to_owned(),
                accepted: "250 2.0.0 OK  1722470400 98e67ed59e1d1-{id} - gsmtp".to_owned(),
                rate: lines(&GOOGLE_BLOCK),
                reputation: lines(&GOOGLE_BLOCK),
                unknown_user: lines(&[
                    "550-5.1.1 The email account that you tried to reach does not exist. Please try",
                    "550-5.1.1 double-checking the recipient's email address for typos or",
                    "550-5.1.1 unnecessary spaces. For more information, go to",
                    "550 5.1.1  https://support.google.com/mail/?p=NoSuchUser 98e67ed59e1d1 - gsmtp",
                ]),
                too_big: "552 5.3.4 Your message exceeded Google's message size limits. 98e67ed59e1d1 - gsmtp"
                    .to_owned(),
                ..Replies::default()
            },
            ..Self::default()
        }
    }

    /// Allows few connections from one IP and refuses more at the banner with RP-003.
    #[must_use]
    pub fn outlook_like() -> Self {
        Self {
            name: "outlook".to_owned(),
            host: "mx.outlook-like.test".to_owned(),
            connections_per_ip: Some(4),
            message_delay_ms: 5,
            unknown_users: Share::of_all(0.01),
            size_max_bytes: Some(37_748_736),
            replies: Replies {
                banner: "220 {host} Microsoft ESMTP MAIL Service ready".to_owned(),
                accepted: "250 2.6.0 <{id}@{host}> [InternalId={id}] Queued mail for delivery".to_owned(),
                connection_limit: "421 RP-003 ({host}) Unfortunately, some messages from {ip} weren't sent. Please try \
                                   again. We have limits on the number of concurrent connections that can be opened \
                                   from your IP. You can also refer to http://mail.live.com/mail/troubleshooting.aspx#errors."
                    .to_owned(),
                rate: OUTLOOK_BLOCK.to_owned(),
                reputation: OUTLOOK_BLOCK.to_owned(),
                unknown_user: "550 5.5.0 Requested action not taken: mailbox unavailable (S2017062302).".to_owned(),
                mailbox_full: "452 4.2.2 The recipient's mailbox is full".to_owned(),
                content: "550 SC-001 ({host}) Unfortunately, messages from {ip} weren't sent. Please contact your Internet \
                          service provider since part of their network is on our block list."
                    .to_owned(),
                ..Replies::default()
            },
            ..Self::default()
        }
    }

    /// Closes after a number of messages per connection, and answers MAIL with 421 \[TSS04\] over its rate.
    #[must_use]
    pub fn yahoo_like() -> Self {
        Self {
            name: "yahoo".to_owned(),
            host: "mta.yahoo-like.test".to_owned(),
            messages_per_connection: Some(20),
            rate: Some(Rate {
                per_second: 250.0,
                burst: 400,
                at: RateAt::Mail,
                cool_down_ms: 0,
            }),
            unknown_users: Share::of_all(0.01),
            size_max_bytes: Some(41_943_040),
            replies: Replies {
                banner: "220 {host} ESMTP ready".to_owned(),
                accepted: "250 ok dirdel".to_owned(),
                messages_per_connection: "421 Max message per connection reached, closing transmission channel"
                    .to_owned(),
                rate: TSS04.to_owned(),
                reputation: TSS04.to_owned(),
                unknown_user:
                    "554 delivery error: dd This user doesn't have a yahoo.com account ({recipient}) [0] - {host}"
                        .to_owned(),
                content: "554 5.7.9 Message not accepted for policy reasons. See \
                          https://postmaster.yahooinc.com/error-codes"
                    .to_owned(),
                ..Replies::default()
            },
            ..Self::default()
        }
    }

    /// Slow, few messages per connection, and says 550 where others say 421: `Ip frequency limited` means later, not never.
    #[must_use]
    pub fn tencent_like() -> Self {
        Self {
            name: "tencent".to_owned(),
            host: "mx.tencent-like.test".to_owned(),
            messages_per_connection: Some(8),
            rate: Some(Rate {
                per_second: 150.0,
                burst: 200,
                at: RateAt::Mail,
                cool_down_ms: 1_000,
            }),
            message_delay_ms: 25,
            unknown_users: Share::of_all(0.01),
            size_max_bytes: Some(73_400_320),
            replies: Replies {
                banner: "220 {host} XMail Esmtp QQ Mail Server.".to_owned(),
                accepted: "250 OK: queued as {id}".to_owned(),
                messages_per_connection:
                    "550 Connection frequency limited. https://service.mail.qq.com/detail/122/1014".to_owned(),
                rate: "550 Ip frequency limited [MDBKHnBPmjYHq8c0kBqsDBk2eyTqPkBIZ IP: {ip}]. \
                       https://service.mail.qq.com/detail/122/1014"
                    .to_owned(),
                unknown_user:
                    "550 The recipient may contain a non-existent account, please check the recipient address."
                        .to_owned(),
                content: "550 Mail content denied. https://service.mail.qq.com/detail/122/169".to_owned(),
                ..Replies::default()
            },
            ..Self::default()
        }
    }

    /// A small company's own server: greylists, takes its time, knows its users, and some of their mailboxes are full.
    #[must_use]
    pub fn company() -> Self {
        Self {
            name: "company".to_owned(),
            host: "mail.company.test".to_owned(),
            connections_per_ip: Some(10),
            greylist: Some(Greylist { delay_ms: 1_000 }),
            unknown_users: Share {
                local_part_prefixes: vec!["nobody".to_owned()],
                share: 0.04,
            },
            mailbox_full: Share::of_all(0.01),
            mailbox_full_times: Some(2),
            banner_delay_ms: 50,
            message_delay_ms: 10,
            size_max_bytes: Some(10_240_000),
            replies: Replies {
                banner: "220 {host} ESMTP Postfix (Debian/GNU)".to_owned(),
                connection_limit: "421 4.7.0 {host} Error: too many connections from {ip}".to_owned(),
                greylisted: "450 4.2.0 <{recipient}>: Recipient address rejected: Greylisted, see \
                             http://postgrey.schweikert.ch/help/company.test.html"
                    .to_owned(),
                unknown_user:
                    "550 5.1.1 <{recipient}>: Recipient address rejected: User unknown in local recipient table"
                        .to_owned(),
                mailbox_full: "452 4.2.2 <{recipient}>: Recipient address rejected: Mailbox full".to_owned(),
                too_big: "552 5.3.4 Message size exceeds fixed limit".to_owned(),
                ..Replies::default()
            },
            ..Self::default()
        }
    }
}

const GOOGLE_BLOCK: [&str; 5] = [
    "421-4.7.28 Gmail has detected an unusual rate of unsolicited mail originating",
    "421-4.7.28 from your IP address [{ip}]. To protect our users from spam,",
    "421-4.7.28 mail sent from your IP address has been temporarily rate limited.",
    "421-4.7.28 For more information, go to",
    "421 4.7.28  https://support.google.com/mail/?p=UnsolicitedRateLimitError 98e67ed59e1d1 - gsmtp",
];
const OUTLOOK_BLOCK: &str = "451 4.7.650 The mail server [{ip}] has been temporarily rate limited due to IP reputation. For \
                             e-mail delivery information, see https://postmaster.live.com (S775)";
const TSS04: &str = "421 4.7.0 [TSS04] Messages from {ip} temporarily deferred due to unexpected volume or user \
                     complaints - 4.16.55.1; see https://postmaster.yahooinc.com/error-codes";

fn lines(lines: &[&str]) -> String {
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_can_be_named_and_written_down() {
        for name in PROFILES {
            let behaviour = Behaviour::named(name).unwrap();
            assert_eq!(behaviour.name, name);
            let written = serde_json::to_string(&behaviour).unwrap();
            assert_eq!(
                serde_json::from_str::<Behaviour>(&written).unwrap(),
                behaviour,
                "{name}"
            );
        }
        assert_eq!(Behaviour::named("hotmail"), None);
    }

    #[test]
    fn every_text_is_a_whole_reply_within_the_line_length_of_smtp() {
        for name in PROFILES {
            let written = serde_json::to_value(Behaviour::named(name).unwrap().replies).unwrap();
            for (which, text) in written.as_object().unwrap() {
                let lines: Vec<&str> = text.as_str().unwrap().lines().collect();
                let last = lines.len() - 1;
                for (index, line) in lines.iter().enumerate() {
                    let separator = if index == last { " " } else { "-" };
                    assert!(line.len() <= 480, "{name}.{which}: {line}");
                    assert_eq!(line.get(..3), lines[0].get(..3), "{name}.{which}: one code");
                    assert_eq!(line.get(3..4), Some(separator), "{name}.{which}: {line}");
                }
            }
        }
    }
}
