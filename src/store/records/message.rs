//! How a Message and its Body are stored: two records, so that the bulk can go when the work is done.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::codes::Coded;
use super::envelope::{Damaged, as_bytes, known, open, seal};
use crate::domain::{
    Attachment, Body, Class, Content, Disposition, Mailbox, Message, MessageId, Recipient, Role, TemplateId, TenantId,
    Timestamp, Variables,
};

#[derive(Serialize, Deserialize)]
struct MessageRecord<'a> {
    created_at: u64,
    tenant: u32,
    class: u8,
    scheduled_at: Option<u64>,
    expires_at: u64,
    #[serde(borrow)]
    from: MailboxRecord<'a>,
    reply_to: Vec<MailboxRecord<'a>>,
    recipients: Vec<RecipientRecord<'a>>,
    subject: &'a str,
    headers: Vec<(&'a str, &'a str)>,
    tags: Vec<(&'a str, &'a str)>,
    metadata: Vec<(&'a str, &'a str)>,
}

#[derive(Serialize, Deserialize)]
struct MailboxRecord<'a> {
    name: Option<&'a str>,
    address: &'a str,
}

#[derive(Serialize, Deserialize)]
struct RecipientRecord<'a> {
    #[serde(borrow)]
    mailbox: MailboxRecord<'a>,
    role: u8,
    /// JSON.
    variables: Option<Cow<'a, str>>,
}

#[derive(Serialize, Deserialize)]
struct BodyRecord<'a> {
    #[serde(borrow)]
    content: ContentRecord<'a>,
    attachments: Vec<AttachmentRecord<'a>>,
}

#[derive(Serialize, Deserialize)]
enum ContentRecord<'a> {
    Inline {
        subject: &'a str,
        html: Option<&'a str>,
        text: Option<&'a str>,
    },
    Template {
        id: Uuid,
        version: u32,
        subject: Option<&'a str>,
        /// JSON.
        variables: Cow<'a, str>,
    },
    BuiltIn {
        name: &'a str,
        subject: Option<&'a str>,
        /// JSON.
        variables: Cow<'a, str>,
    },
}

#[derive(Serialize, Deserialize)]
struct AttachmentRecord<'a> {
    filename: &'a str,
    content_type: &'a str,
    #[serde(serialize_with = "as_bytes")]
    content: &'a [u8],
    content_id: Option<&'a str>,
    disposition: u8,
}

/// The bytes of a Message, without its id (that is the key).
pub(crate) fn encode_message(message: &Message) -> Vec<u8> {
    seal(&MessageRecord {
        created_at: message.created_at.0,
        tenant: message.tenant.0,
        class: message.class.code(),
        scheduled_at: message.scheduled_at.map(|at| at.0),
        expires_at: message.expires_at.0,
        from: mailbox_record(&message.from),
        reply_to: message.reply_to.iter().map(mailbox_record).collect(),
        recipients: message.recipients.iter().map(recipient_record).collect(),
        subject: &message.subject,
        headers: borrowed(&message.headers),
        tags: borrowed(&message.tags),
        metadata: borrowed(&message.metadata),
    })
}

/// The Message in `bytes`.
pub(crate) fn decode_message(id: MessageId, bytes: &[u8]) -> Result<Message, Damaged> {
    let read = || -> Result<Message, Damaged> {
        let record: MessageRecord<'_> = open(bytes)?;
        Ok(Message {
            id,
            tenant: TenantId(record.tenant),
            class: known(Class::from_code(record.class), "class")?,
            created_at: Timestamp(record.created_at),
            scheduled_at: record.scheduled_at.map(Timestamp),
            expires_at: Timestamp(record.expires_at),
            from: mailbox(&record.from),
            reply_to: record.reply_to.iter().map(mailbox).collect(),
            recipients: record.recipients.into_iter().map(recipient).collect::<Result<_, _>>()?,
            subject: record.subject.to_owned(),
            headers: owned(&record.headers),
            tags: owned(&record.tags),
            metadata: owned(&record.metadata),
        })
    };
    read().map_err(|damaged| damaged.of("message", id))
}

/// When the Message in `bytes` was accepted, and how many recipients it has.
pub(crate) fn decode_message_age(id: MessageId, bytes: &[u8]) -> Result<(Timestamp, usize), Damaged> {
    match open::<MessageRecord<'_>>(bytes) {
        Ok(record) => Ok((Timestamp(record.created_at), record.recipients.len())),
        Err(damaged) => Err(damaged.of("message", id)),
    }
}

/// The bytes of a Body.
pub(crate) fn encode_body(body: &Body) -> Vec<u8> {
    let content = match &body.content {
        Content::Inline { subject, html, text } => ContentRecord::Inline {
            subject,
            html: html.as_deref(),
            text: text.as_deref(),
        },
        Content::Template {
            id,
            version,
            subject,
            variables,
        } => ContentRecord::Template {
            id: id.0,
            version: *version,
            subject: subject.as_deref(),
            variables: json(variables),
        },
        Content::BuiltIn {
            name,
            subject,
            variables,
        } => ContentRecord::BuiltIn {
            name,
            subject: subject.as_deref(),
            variables: json(variables),
        },
    };
    seal(&BodyRecord {
        content,
        attachments: body.attachments.iter().map(attachment_record).collect(),
    })
}

/// The Body in `bytes`.
pub(crate) fn decode_body(id: MessageId, bytes: &[u8]) -> Result<Body, Damaged> {
    let read = || -> Result<Body, Damaged> {
        let record: BodyRecord<'_> = open(bytes)?;
        let content = match record.content {
            ContentRecord::Inline { subject, html, text } => Content::Inline {
                subject: subject.to_owned(),
                html: html.map(str::to_owned),
                text: text.map(str::to_owned),
            },
            ContentRecord::Template {
                id,
                version,
                subject,
                variables,
            } => Content::Template {
                id: TemplateId(id),
                version,
                subject: subject.map(str::to_owned),
                variables: parsed(&variables)?,
            },
            ContentRecord::BuiltIn {
                name,
                subject,
                variables,
            } => Content::BuiltIn {
                name: name.to_owned(),
                subject: subject.map(str::to_owned),
                variables: parsed(&variables)?,
            },
        };
        Ok(Body {
            content,
            attachments: record.attachments.iter().map(attachment).collect::<Result<_, _>>()?,
        })
    };
    read().map_err(|damaged| damaged.of("body of message", id))
}

fn attachment_record(attachment: &Attachment) -> AttachmentRecord<'_> {
    AttachmentRecord {
        filename: &attachment.filename,
        content_type: &attachment.content_type,
        content: &attachment.content,
        content_id: attachment.content_id.as_deref(),
        disposition: attachment.disposition.code(),
    }
}

fn attachment(record: &AttachmentRecord<'_>) -> Result<Attachment, Damaged> {
    Ok(Attachment {
        filename: record.filename.to_owned(),
        content_type: record.content_type.to_owned(),
        content: record.content.to_owned(),
        content_id: record.content_id.map(str::to_owned),
        disposition: known(Disposition::from_code(record.disposition), "disposition")?,
    })
}

fn mailbox_record(mailbox: &Mailbox) -> MailboxRecord<'_> {
    MailboxRecord {
        name: mailbox.name.as_deref(),
        address: &mailbox.address,
    }
}

fn mailbox(record: &MailboxRecord<'_>) -> Mailbox {
    Mailbox {
        name: record.name.map(str::to_owned),
        address: record.address.to_owned(),
    }
}

fn recipient_record(recipient: &Recipient) -> RecipientRecord<'_> {
    RecipientRecord {
        mailbox: mailbox_record(&recipient.mailbox),
        role: recipient.role.code(),
        variables: recipient.variables.as_ref().map(json),
    }
}

fn recipient(record: RecipientRecord<'_>) -> Result<Recipient, Damaged> {
    Ok(Recipient {
        mailbox: mailbox(&record.mailbox),
        role: known(Role::from_code(record.role), "role")?,
        variables: record.variables.map(|text| parsed(&text)).transpose()?,
    })
}

fn json(variables: &Variables) -> Cow<'static, str> {
    Cow::Owned(serde_json::to_string(variables).expect("a JSON object has text keys"))
}

fn parsed(text: &str) -> Result<Variables, Damaged> {
    serde_json::from_str(text).map_err(|error| Damaged(format!("variables: {error}")))
}

fn borrowed(pairs: &[(String, String)]) -> Vec<(&str, &str)> {
    pairs
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}
