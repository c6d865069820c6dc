//! What a Recipient gets to see: subject, HTML, text.

/// What one Recipient gets to see.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rendered {
    /// One line.
    pub subject: String,
    /// HTML part.
    pub html: Option<String>,
    /// Plain-text part.
    pub text: Option<String>,
}
