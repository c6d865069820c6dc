//! Accepted content and the people it goes to.

use std::fmt;

use super::{Class, MessageId, Stream, TemplateId, TenantId, Timestamp};

/// A name and an address. The address is valid and its domain an A-label in lower case, or it was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox {
    /// Display name, free of CR, LF and NUL.
    pub name: Option<String>,
    /// `local@domain`.
    pub address: String,
}

impl Mailbox {
    /// The part after the last `@`.
    #[must_use]
    pub fn domain(&self) -> &str {
        self.address.rsplit_once('@').map_or("", |(_, domain)| domain)
    }
}

impl fmt::Display for Mailbox {
    /// For people and the API; `mail::headers` has the form that goes on the wire.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} <{}>", self.address),
            None => f.write_str(&self.address),
        }
    }
}

/// Where a Recipient stands in the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `To:`.
    To,
    /// `Cc:`.
    Cc,
    /// In no header.
    Bcc,
}

/// Template variables: a JSON object.
pub type Variables = serde_json::Map<String, serde_json::Value>;

/// Address, name, variables.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipient {
    /// Who.
    pub mailbox: Mailbox,
    /// In which header.
    pub role: Role,
    /// Variables of this recipient alone; they win over those of the Body.
    pub variables: Option<Variables>,
}

/// Accepted mail, shared by all its Deliveries: everything but the bulk of the content, which is in [`Body`].
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// Whose.
    pub tenant: TenantId,
    /// How urgent.
    pub class: Class,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it may go at the earliest.
    pub scheduled_at: Option<Timestamp>,
    /// When it is worthless.
    pub expires_at: Timestamp,
    /// `From:`.
    pub from: Mailbox,
    /// `Reply-To:`.
    pub reply_to: Vec<Mailbox>,
    /// All recipients; `DeliveryId::recipient` counts here.
    pub recipients: Vec<Recipient>,
    /// The subject as accepted (for a template: rendered for the first recipient). What the API shows.
    pub subject: String,
    /// Header fields that the caller added; names and values checked.
    pub headers: Vec<(String, String)>,
    /// Labels for search and statistics: name and value.
    pub tags: Vec<(String, String)>,
    /// The caller's own data, given back in events.
    pub metadata: Vec<(String, String)>,
}

impl Message {
    /// The stream it belongs to.
    #[must_use]
    pub fn stream(&self) -> Stream {
        self.class.stream()
    }

    /// The value of `Message-ID:` without angle brackets, the same for all attempts.
    /// Each Recipient has its own, since providers count repeated ones.
    #[must_use]
    pub fn message_id_header(&self, recipient: u16) -> String {
        format!("{}.{recipient}@{}", self.id.0.simple(), self.from.domain())
    }
}

/// The bulk of a Message; deleted when the last Delivery is settled.
#[derive(Debug, Clone, PartialEq)]
pub struct Body {
    /// What to render.
    pub content: Content,
    /// Files that go along.
    pub attachments: Vec<Attachment>,
}

/// Where the text comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Ready text, sent as it is.
    Inline {
        /// Subject line.
        subject: String,
        /// HTML part.
        html: Option<String>,
        /// Plain-text part.
        text: Option<String>,
    },
    /// A stored template in the version pinned at accept.
    Template {
        /// Which.
        id: TemplateId,
        /// Which version of it.
        version: u32,
        /// Replaces the template's subject when given; not rendered.
        subject: Option<String>,
        /// For all recipients.
        variables: Variables,
    },
    /// One of the mails built into the binary, by name (`verification-code`, …).
    BuiltIn {
        /// Which.
        name: String,
        /// Replaces the built-in subject when given; not rendered.
        subject: Option<String>,
        /// For all recipients.
        variables: Variables,
    },
}

/// Whether a file is shown in the text or beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// In the list of files.
    Attachment,
    /// Shown where the HTML refers to `cid:<content_id>`.
    Inline,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Its name, free of CR, LF, NUL and path separators.
    pub filename: String,
    /// Media type, checked.
    pub content_type: String,
    /// The bytes, decoded.
    pub content: Vec<u8>,
    /// For inline files.
    pub content_id: Option<String>,
    /// How it is shown.
    pub disposition: Disposition,
}
