//! What an Attempt means.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

macro_rules! named {
    ($(#[$doc:meta])* $type:ident { $($(#[$vdoc:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $type { $($(#[$vdoc])* $variant,)* }

        impl $type {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name that rules, API and metrics use.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl FromStr for $type {
            type Err = ();
            fn from_str(text: &str) -> Result<Self, ()> {
                Self::ALL.iter().copied().find(|one| one.name() == text).ok_or(())
            }
        }
    };
}

named! {
    /// What kind of refusal or failure it was. A label of metrics, so there are few and they are stable.
    BounceClass {
        /// No such mailbox.
        InvalidRecipient = "invalid_recipient",
        /// The mailbox is disabled or abandoned.
        InactiveMailbox = "inactive_mailbox",
        /// The mailbox is full.
        MailboxFull = "mailbox_full",
        /// This one mailbox gets too much mail at the moment.
        RecipientRate = "recipient_rate",
        /// The recipient's domain does not exist or accepts no mail.
        BadDomain = "bad_domain",
        /// Name servers do not answer.
        Dns = "dns",
        /// No connection, or it was lost.
        Network = "network",
        /// Too many connections from us.
        ConnectionLimit = "connection_limit",
        /// Too many messages from us in this time.
        RateLimit = "rate_limit",
        /// Too many messages on this connection: open another.
        SessionLimit = "session_limit",
        /// Come back later, from the same address.
        Greylisted = "greylisted",
        /// The provider is busy or broken.
        Capacity = "capacity",
        /// Our address or netblock has a bad name there.
        IpReputation = "ip_reputation",
        /// The sender's domain has a bad name there.
        DomainReputation = "domain_reputation",
        /// The content looks like spam.
        SpamContent = "spam_content",
        /// A virus or a forbidden file type.
        Attachment = "attachment",
        /// Larger than they take.
        TooLarge = "too_large",
        /// SPF, DKIM, DMARC or alignment.
        Authentication = "authentication",
        /// The recipient's side forbids it for a reason of its own.
        Policy = "policy",
        /// They do not relay for this domain.
        Relaying = "relaying",
        /// TLS failed or is required.
        Tls = "tls",
        /// Name, PTR or EHLO of our address are wrong.
        SourceSetup = "source_setup",
        /// We or they broke SMTP or RFC 5322.
        Protocol = "protocol",
        /// Our own fault: content unreadable, template or signature failed, source address gone.
        Internal = "internal",
        /// No rule matched.
        Unclassified = "unclassified",
    }
}

named! {
    /// Whose doing it is: the key that an answer counts against, and the only one that it may slow down.
    Blame {
        /// The address is wrong: suppress it.
        Recipient = "recipient",
        /// The mailbox has a passing problem.
        Mailbox = "mailbox",
        /// This message: its content, size or form.
        Message = "message",
        /// The tenant's domain: its authentication or its name.
        TenantDomain = "tenant_domain",
        /// The address we send from.
        SourceIp = "source_ip",
        /// The block of addresses around it.
        Netblock = "netblock",
        /// A link in the text.
        Url = "url",
        /// The provider itself.
        Provider = "provider",
        /// The way between us.
        Network = "network",
        /// We: an alarm, never the customer's bounce rate.
        Us = "us",
    }
}

/// What the lane (or whatever Blame names) should do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaneAction {
    /// Nothing: it was about one message or one mailbox.
    None,
    /// Send less of it.
    Slow,
    /// Fewer connections.
    FewerConnections,
    /// Fewer messages a connection; a new one may be opened at once.
    Reconnect,
    /// Stop for this long, then try with one.
    Stop(Duration),
}

/// A bounce class and its Blame, with the rule that said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// What kind.
    pub class: BounceClass,
    /// Whose doing.
    pub blame: Blame,
    /// For the lane.
    pub action: LaneAction,
    /// Name of the rule in `rules/bounces.yaml`, or of the built-in one.
    pub rule: Arc<str>,
}

/// What an Attempt means for its Delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The provider took responsibility.
    Delivered,
    /// Another attempt later.
    Retry {
        /// Why not now.
        cause: Cause,
        /// The time the other side asked for, if it named one.
        after: Option<Duration>,
        /// Whether it counts as an attempt. A refused connection does not.
        counts: bool,
    },
    /// No further attempt.
    Bounce {
        /// Why not.
        cause: Cause,
        /// Whether the address goes on the suppression list.
        suppress: bool,
    },
    /// It may have been accepted.
    Ambiguous {
        /// What was lost.
        cause: Cause,
    },
}
