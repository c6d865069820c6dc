//! What one API call asks for, not yet accepted.

use super::{Attachment, Class, Mailbox, Recipient, Stream, Timestamp, Variables};

/// Where the text of a Submission comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum SubmittedContent {
    /// Ready text.
    Inline {
        /// Subject line.
        subject: String,
        /// HTML part.
        html: Option<String>,
        /// Plain-text part.
        text: Option<String>,
    },
    /// A stored or built-in template, by id or alias.
    Template {
        /// As the caller wrote it.
        reference: String,
        /// A certain version; none means the newest.
        version: Option<u32>,
        /// Replaces the template's subject.
        subject: Option<String>,
        /// For all recipients.
        variables: Variables,
    },
}

/// One mail as asked for: syntax checked, nothing looked up yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Submission {
    /// `From:`.
    pub from: Mailbox,
    /// All recipients, `to` before `cc` before `bcc`.
    pub recipients: Vec<Recipient>,
    /// `Reply-To:`.
    pub reply_to: Vec<Mailbox>,
    /// The text.
    pub content: SubmittedContent,
    /// Files.
    pub attachments: Vec<Attachment>,
    /// Extra header fields.
    pub headers: Vec<(String, String)>,
    /// Labels.
    pub tags: Vec<(String, String)>,
    /// The caller's own data.
    pub metadata: Vec<(String, String)>,
    /// What the caller asked for; the default follows the stream.
    pub class: Option<Class>,
    /// What the caller asked for; the default is transactional.
    pub stream: Option<Stream>,
    /// Not before then.
    pub scheduled_at: Option<Timestamp>,
    /// Not after then.
    pub expires_at: Option<Timestamp>,
}

/// One thing wrong with a call: where, what kind, and in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// JSON pointer (RFC 6901) to the field, e.g. `/to/0`.
    pub pointer: String,
    /// Stable code, e.g. `invalid_email`.
    pub code: &'static str,
    /// For people.
    pub detail: String,
}

impl Problem {
    /// A problem with the field at `pointer`.
    pub fn new(pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            code,
            detail: detail.into(),
        }
    }
}
