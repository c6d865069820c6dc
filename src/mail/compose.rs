//! Putting a message together: header fields, MIME parts, one block of bytes.
//!
//! Takes an accepted Message, what was rendered for one Recipient and the files; gives the bytes that go on the wire, CRLF
//! everywhere, 7-bit (but for addresses that need SMTPUTF8), no line longer than 998 octets. The bytes are a function of the
//! Delivery: Date is when the Message was accepted, Message-ID and boundaries come from its id, so that a retry is
//! byte-identical and a receiver can recognise it. Never writes `Bcc`, never looks at a clock.
//!
//! The parts are put together here and not by mail-builder: that one takes boundaries and ids from clock and host name unless
//! every part is told otherwise, and leaves line breaks in addresses to its caller. What remains of its work is this file.

use jiff::civil::DateTime;
use jiff::tz::Offset;

use super::encoding::{Encoding, write_base64, write_text};
use super::headers::{self, write_addresses, write_ready, write_unstructured};
use super::parameters::write_parameter;
use super::render::Rendered;
use crate::domain::{Attachment, DeliveryId, Disposition, Mailbox, Message, Role, Timestamp};

/// Header fields that Posthaste adds of its own.
#[derive(Debug, Clone, Copy, Default)]
pub struct ComposeExtra<'a> {
    /// Name of this installation for the `Received` field of the submission; none leaves the field out.
    pub received_by: Option<&'a str>,
    /// Further fields, ready for the wire (List-Unsubscribe, Feedback-ID). They win over fields of the caller with the
    /// same name.
    pub headers: &'a [(&'a str, String)],
}

/// The bytes of one Delivery of `message`: to the recipient with index `recipient`.
#[must_use]
pub fn compose(
    message: &Message,
    rendered: &Rendered,
    attachments: &[Attachment],
    recipient: u16,
    extra: &ComposeExtra<'_>,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(size_guess(rendered, attachments));
    write_header(&mut out, message, &rendered.subject, recipient, extra);
    let delivery = DeliveryId {
        message: message.id,
        recipient,
    };
    Parts {
        out,
        boundary: format!("=_{}.{}", delivery.message.0.simple(), delivery.recipient),
    }
    .write(rendered, attachments)
}

/// Whether the header cannot be written in ASCII, so that the receiver must offer SMTPUTF8 (RFC 6531).
#[must_use]
pub fn needs_smtputf8(message: &Message) -> bool {
    let visible = message
        .recipients
        .iter()
        .filter(|recipient| recipient.role != Role::Bcc);
    let others = visible.map(|recipient| &recipient.mailbox).chain(&message.reply_to);
    !message.from.address.is_ascii() || others.into_iter().any(|mailbox| !mailbox.address.is_ascii())
}

/// `Mon, 23 Nov 2026 11:02:03 +0000` (RFC 5322, 3.3).
#[must_use]
pub fn date(at: Timestamp) -> String {
    const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let seconds = i64::try_from(at.0 / 1000).unwrap_or(i64::MAX);
    let instant = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX);
    let civil: DateTime = Offset::UTC.to_datetime(instant);
    // Both indices are in range: jiff counts months from 1 to 12 and week days from 0 to 6.
    let day = DAYS[usize::try_from(civil.weekday().to_monday_zero_offset()).unwrap_or(0)];
    let month = MONTHS[usize::try_from(civil.month() - 1).unwrap_or(0)];
    format!(
        "{day}, {} {month} {:04} {:02}:{:02}:{:02} +0000",
        civil.day(),
        civil.year(),
        civil.hour(),
        civil.minute(),
        civil.second()
    )
}

/// Enough for the usual message, so that the buffer grows once at most.
fn size_guess(rendered: &Rendered, attachments: &[Attachment]) -> usize {
    let texts = rendered.html.as_ref().map_or(0, String::len) + rendered.text.as_ref().map_or(0, String::len);
    let files: usize = attachments.iter().map(|file| file.content.len() / 57 * 78 + 512).sum();
    2048 + texts + texts / 8 + files
}

fn write_header(out: &mut Vec<u8>, message: &Message, subject: &str, recipient: u16, extra: &ComposeExtra<'_>) {
    let date = date(message.created_at);
    if let Some(host) = extra.received_by {
        let value = format!("by {host} (Posthaste) with HTTP id {}; {date}", message.id.0.simple());
        write_ready(out, "Received", &value);
    }
    write_ready(out, "Date", &date);
    write_addresses(out, "From", [&message.from]);
    write_addresses(out, "Reply-To", &message.reply_to);
    let visible = |role: Role| -> Vec<&Mailbox> {
        let with_role = message.recipients.iter().filter(|one| one.role == role);
        with_role.map(|one| &one.mailbox).collect()
    };
    let (to, cc) = (visible(Role::To), visible(Role::Cc));
    if to.is_empty() && cc.is_empty() {
        write_ready(out, "To", "undisclosed-recipients:;");
    }
    write_addresses(out, "To", to);
    write_addresses(out, "Cc", cc);
    write_unstructured(out, "Subject", subject);
    write_ready(
        out,
        "Message-ID",
        &format!("<{}>", message.message_id_header(recipient)),
    );
    for (name, value) in extra.headers {
        write_ready(out, name, value);
    }
    for (name, value) in &message.headers {
        let ours = extra.headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
        // Checked at accept; what is stored may be older than today's check, so it is asked again.
        if !ours && headers::check_header(name, value).is_ok() {
            write_unstructured(out, name, value);
        }
    }
    out.extend_from_slice(b"MIME-Version: 1.0\r\n");
}

/// The MIME tree being written.
struct Parts {
    out: Vec<u8>,
    /// What all boundaries of this message begin with. `=_` can occur neither in quoted-printable nor in base64, and
    /// `encoding` keeps it out of 7-bit lines.
    boundary: String,
}

/// What is shown: text, HTML, both.
#[derive(Clone, Copy)]
enum Shown<'a> {
    Text(&'a str),
    Html(&'a str),
    Both { text: &'a str, html: &'a str },
}

impl Parts {
    fn write(mut self, rendered: &Rendered, attachments: &[Attachment]) -> Vec<u8> {
        let shown = match (rendered.text.as_deref(), rendered.html.as_deref()) {
            (Some(text), Some(html)) => Shown::Both { text, html },
            (None, Some(html)) => Shown::Html(html),
            (text, None) => Shown::Text(text.unwrap_or("")),
        };
        // Only HTML can refer to a picture; without it, inline files are files like the others.
        let is_related = |file: &&Attachment| {
            !matches!(shown, Shown::Text(_)) && file.disposition == Disposition::Inline && file.content_id.is_some()
        };
        let (related, mixed): (Vec<_>, Vec<_>) = attachments.iter().partition(is_related);
        if mixed.is_empty() {
            self.shown(shown, &related);
        } else {
            self.begin_multipart("mixed", None);
            self.delimiter("mixed");
            self.shown(shown, &related);
            for file in mixed {
                self.delimiter("mixed");
                self.file(file);
            }
            self.close("mixed");
        }
        self.out
    }

    fn shown(&mut self, shown: Shown<'_>, related: &[&Attachment]) {
        match shown {
            Shown::Text(text) => self.text("text/plain", text),
            Shown::Html(html) => self.html(html, related),
            Shown::Both { text, html } => {
                self.begin_multipart("alternative", None);
                self.delimiter("alternative");
                self.text("text/plain", text);
                self.delimiter("alternative");
                self.html(html, related);
                self.close("alternative");
            }
        }
    }

    fn html(&mut self, html: &str, related: &[&Attachment]) {
        if related.is_empty() {
            return self.text("text/html", html);
        }
        self.begin_multipart("related", Some("text/html"));
        self.delimiter("related");
        self.text("text/html", html);
        for file in related {
            self.delimiter("related");
            self.file(file);
        }
        self.close("related");
    }

    fn text(&mut self, content_type: &str, text: &str) {
        let encoding = Encoding::for_text(text);
        self.line(&["Content-Type: ", content_type, "; charset=utf-8"]);
        self.line(&["Content-Transfer-Encoding: ", encoding.name()]);
        self.line(&[]);
        write_text(&mut self.out, text, encoding);
    }

    fn file(&mut self, file: &Attachment) {
        let content_type = file_type(&file.content_type);
        self.line(&["Content-Type: ", content_type]);
        self.line(&["Content-Transfer-Encoding: base64"]);
        let disposition = match file.disposition {
            Disposition::Attachment => "attachment",
            Disposition::Inline => "inline",
        };
        self.out.extend_from_slice(b"Content-Disposition: ");
        self.out.extend_from_slice(disposition.as_bytes());
        write_parameter(&mut self.out, "filename", &file.filename);
        self.line(&[]);
        if let Some(id) = file.content_id.as_deref().filter(|id| is_content_id(id)) {
            self.line(&["Content-ID: <", id, ">"]);
        }
        self.line(&[]);
        write_base64(&mut self.out, &file.content);
    }

    fn begin_multipart(&mut self, kind: &str, root: Option<&str>) {
        let boundary = std::mem::take(&mut self.boundary);
        self.line(&["Content-Type: multipart/", kind, ";"]);
        if let Some(root) = root {
            self.line(&["\ttype=\"", root, "\";"]);
        }
        self.line(&["\tboundary=\"", &boundary, ".", kind, "\""]);
        self.line(&[]);
        self.boundary = boundary;
    }

    fn delimiter(&mut self, kind: &str) {
        let boundary = std::mem::take(&mut self.boundary);
        self.line(&["--", &boundary, ".", kind]);
        self.boundary = boundary;
    }

    fn close(&mut self, kind: &str) {
        let boundary = std::mem::take(&mut self.boundary);
        self.line(&["--", &boundary, ".", kind, "--"]);
        self.boundary = boundary;
    }

    fn line(&mut self, pieces: &[&str]) {
        for piece in pieces {
            self.out.extend_from_slice(piece.as_bytes());
        }
        self.out.extend_from_slice(b"\r\n");
    }
}

/// Whether text can stand between the angle brackets of `Content-ID`.
#[must_use]
pub fn is_content_id(id: &str) -> bool {
    /// Leaves room for the name of the field on one line.
    const CONTENT_ID_MAX: usize = 250;
    let good = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b'"' | b'\\' | b'(' | b')');
    !id.is_empty() && id.len() <= CONTENT_ID_MAX && id.bytes().all(good)
}

/// Whether this is a media type for a file: `type/subtype`, not one that needs parts of its own inside.
#[must_use]
pub fn is_file_type(content_type: &str) -> bool {
    /// RFC 6838, 4.2: 127 for each side.
    const SIDE_MAX: usize = 127;
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
    let side = |text: &str| !text.is_empty() && text.len() <= SIDE_MAX && text.bytes().all(good);
    let Some((kind, subkind)) = content_type.split_once('/') else {
        return false;
    };
    // RFC 2046, 5.1 and 5.2 forbid base64 for these.
    let composite = kind.eq_ignore_ascii_case("multipart") || kind.eq_ignore_ascii_case("message");
    side(kind) && side(subkind) && !composite
}

fn file_type(content_type: &str) -> &str {
    let bare = content_type.split(';').next().unwrap_or("").trim();
    if is_file_type(bare) {
        bare
    } else {
        "application/octet-stream"
    }
}

#[cfg(test)]
mod tests;
