//! One mail: the object that `POST /send-email` takes and a batch has many of.
//!
//! Takes an object, gives a Submission or everything that is wrong with it.

use serde_json::Value;

use super::attachments::{encoded_bytes, read_attachments};
use super::labels::{read_headers, read_metadata, read_tags};
use super::people::{read_from, read_recipients, read_reply_to};
use super::time::read_time;
use super::variables::read_variables;
use super::walk::{At, Fields, Reader};
use crate::api::settings::Limits;
use crate::domain::{Class, Mailbox, Problem, Stream, Submission, SubmittedContent, Timestamp, Variables};

/// Longest name or id of a template.
const REFERENCE_BYTES_MAX: usize = 256;
/// What headers and MIME structure add to a mail, roughly.
const FRAME_BYTES: usize = 4096;

/// One mail that is the whole document.
pub fn read_email(value: Value, limits: &Limits, now: Timestamp) -> Result<Submission, Vec<Problem>> {
    read_email_at(value, &At::Base(""), limits, now)
}

/// One mail at a place in a larger document.
pub(super) fn read_email_at(
    value: Value,
    at: &At<'_>,
    limits: &Limits,
    now: Timestamp,
) -> Result<Submission, Vec<Problem>> {
    let mut reader = Reader::new(limits, now);
    let submission = read(value, at, &mut reader);
    // Without a Submission there is a problem: reading gives up only after noting why.
    reader.finish(submission)?.ok_or_else(Vec::new)
}

fn read(value: Value, at: &At<'_>, reader: &mut Reader<'_>) -> Option<Submission> {
    let mut fields = Fields::of(value, at, reader)?;
    let from = read_from(fields.take("from"), at, reader);
    let recipients = read_recipients(&mut fields, at, reader);
    let reply_to = read_reply_to(fields.take("reply_to"), at, reader);
    let content = read_content(&mut fields, at, reader);
    let attachments = read_attachments(fields.take("attachments"), at, reader);
    let headers = read_headers(fields.take("headers"), at, reader);
    let tags = read_tags(fields.take("tags"), at, reader);
    let metadata = read_metadata(fields.take("metadata"), at, reader);
    let classes = Class::ALL.map(|class| (class.name(), class));
    let class = fields
        .take("class")
        .and_then(|value| reader.word(value, &At::Field(at, "class"), &classes));
    let streams = [Stream::Transactional, Stream::Broadcast].map(|stream| (stream.name(), stream));
    let stream = fields
        .take("stream")
        .and_then(|value| reader.word(value, &At::Field(at, "stream"), &streams));
    let scheduled_at = fields
        .take("scheduled_at")
        .and_then(|value| read_time(value, &At::Field(at, "scheduled_at"), reader));
    let expires_at = fields
        .take("expires_at")
        .and_then(|value| read_time(value, &At::Field(at, "expires_at"), reader));
    fields.finish(at, reader);
    let unknown = Mailbox {
        name: None,
        address: String::new(),
    };
    let submission = Submission {
        from: from.unwrap_or(unknown),
        recipients,
        reply_to,
        content,
        attachments,
        headers,
        tags,
        metadata,
        class,
        stream,
        scheduled_at,
        expires_at,
    };
    check_size(&submission, at, reader);
    Some(submission)
}

/// Ready text or a template, never both and never neither.
fn read_content(fields: &mut Fields, at: &At<'_>, reader: &mut Reader<'_>) -> SubmittedContent {
    let subject_max = reader.limits.subject_bytes;
    let subject = fields.take("subject").map(|value| {
        reader
            .line(value, &At::Field(at, "subject"), subject_max)
            .unwrap_or_default()
    });
    let given = (fields.take("html"), fields.take("text"));
    let has_text = given.0.is_some() || given.1.is_some();
    let html = given.0.and_then(|value| reader.text(value, &At::Field(at, "html")));
    let text = given.1.and_then(|value| reader.text(value, &At::Field(at, "text")));
    let variables_at = At::Field(at, "variables");
    let variables = fields.take("variables");
    let has_variables = variables.is_some();
    let variables = variables.and_then(|value| read_variables(value, &variables_at, reader));
    if let Some(template) = fields.take("template") {
        if has_text {
            let detail = "A mail has either 'template' or 'html' and 'text'.";
            reader.wrong(&At::Field(at, "template"), "conflict", detail);
        }
        return read_template(template, subject, variables.unwrap_or_default(), at, reader);
    }
    if has_variables {
        reader.wrong(&variables_at, "conflict", "Variables go with a 'template'.");
    }
    if !has_text {
        reader.wrong(&At::Field(at, "html"), "required", "Give 'html', 'text' or 'template'.");
    } else if html.as_deref().unwrap_or_default().is_empty() && text.as_deref().unwrap_or_default().is_empty() {
        reader.wrong(&At::Field(at, "html"), "required", "The mail is empty.");
    }
    if subject.is_none() {
        reader.wrong(
            &At::Field(at, "subject"),
            "required",
            "A mail without a template needs a subject.",
        );
    }
    SubmittedContent::Inline {
        subject: subject.unwrap_or_default(),
        html: html.filter(|html| !html.is_empty()),
        text: text.filter(|text| !text.is_empty()),
    }
}

/// `template` in both its forms. Variables at the top win over those inside.
fn read_template(
    value: Value,
    subject: Option<String>,
    top: Variables,
    at: &At<'_>,
    reader: &mut Reader<'_>,
) -> SubmittedContent {
    let template_at = At::Field(at, "template");
    let (mut version, mut variables) = (None, Variables::new());
    let mut reference = None;
    if value.is_object() {
        if let Some(mut fields) = Fields::of(value, &template_at, reader) {
            let id_at = At::Field(&template_at, "id");
            match fields.take("id") {
                Some(id) => reference = reader.line(id, &id_at, REFERENCE_BYTES_MAX),
                None => reader.wrong(&id_at, "required", "Id or alias of the template."),
            }
            version = fields
                .take("version")
                .and_then(|value| reader.count(&value, &At::Field(&template_at, "version")));
            variables = fields
                .take("variables")
                .and_then(|value| read_variables(value, &At::Field(&template_at, "variables"), reader))
                .unwrap_or_default();
            fields.finish(&template_at, reader);
        }
    } else {
        reference = reader.line(value, &template_at, REFERENCE_BYTES_MAX);
    }
    variables.extend(top);
    SubmittedContent::Template {
        reference: reference.unwrap_or_default(),
        version,
        subject,
        variables,
    }
}

/// Notes mail that is too large for the wire. The size is estimated: text as it is, files in base64.
fn check_size(submission: &Submission, at: &At<'_>, reader: &mut Reader<'_>) {
    let text = match &submission.content {
        SubmittedContent::Inline { html, text, .. } => {
            html.as_ref().map_or(0, String::len) + text.as_ref().map_or(0, String::len)
        }
        SubmittedContent::Template { .. } => 0,
    };
    let files = submission.attachments.iter();
    let files: usize = files.map(|file| encoded_bytes(&file.content)).sum();
    let max = reader.limits.message_bytes;
    if text + files + FRAME_BYTES > max {
        let field = if files > text { "attachments" } else { "html" };
        let detail = format!("The mail would have more than {max} bytes.");
        reader.wrong(&At::Field(at, field), "too_large", detail);
    }
}
