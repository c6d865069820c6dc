//! Senders and recipients: a string, an object with `email`, `name` and (for recipients) `variables`, or an array of these.
//!
//! Takes fields, gives Mailboxes and Recipients. A person is named once: two copies of one mail are never meant.

use std::collections::HashSet;

use serde_json::Value;

use super::address::{AddressError, parse_address, parse_mailbox};
use super::variables::read_variables;
use super::walk::{At, Fields, Reader, is_forbidden, shown};
use crate::domain::{Mailbox, Recipient, Role};

/// Longest display name given as a field of its own.
const NAME_BYTES_MAX: usize = 255;

/// `from`. Its display name must not pretend to be another address.
pub(super) fn read_from(value: Option<Value>, at: &At<'_>, reader: &mut Reader<'_>) -> Option<Mailbox> {
    let at = At::Field(at, "from");
    let Some(value) = value else {
        reader.wrong(&at, "required", "Who the mail is from.");
        return None;
    };
    let mailbox = read_mailbox(value, &at, reader)?;
    if let Some(name) = &mailbox.name
        && names_another_address(name, &mailbox.address)
    {
        reader.wrong(
            &at,
            "misleading_name",
            "The name contains an address that is not the sender's.",
        );
        return None;
    }
    Some(mailbox)
}

/// `reply_to`.
pub(super) fn read_reply_to(value: Option<Value>, at: &At<'_>, reader: &mut Reader<'_>) -> Vec<Mailbox> {
    let Some(value) = value else {
        return Vec::new();
    };
    let at = At::Field(at, "reply_to");
    let Value::Array(items) = value else {
        return read_mailbox(value, &at, reader).into_iter().collect();
    };
    if items.len() > reader.limits.recipients {
        let max = reader.limits.recipients;
        reader.wrong(&at, "too_many", format!("At most {max} addresses."));
        return Vec::new();
    }
    let each = items.into_iter().enumerate();
    each.filter_map(|(index, item)| read_mailbox(item, &At::Index(&at, index), reader))
        .collect()
}

/// `to`, `cc` and `bcc`, in this order. Variables of their own go with a template only.
pub(super) fn read_recipients(fields: &mut Fields, at: &At<'_>, reader: &mut Reader<'_>) -> Vec<Recipient> {
    let templated = fields.has("template");
    let roles = [("to", Role::To), ("cc", Role::Cc), ("bcc", Role::Bcc)];
    let mut recipients = Vec::new();
    let mut room = reader.limits.recipients;
    for (name, role) in roles {
        let at = At::Field(at, name);
        match fields.take(name) {
            Some(Value::Array(items)) if items.len() > room => {
                let max = reader.limits.recipients;
                let detail = format!("At most {max} recipients, to, cc and bcc together.");
                reader.wrong(&at, "too_many", detail);
            }
            Some(Value::Array(items)) if items.is_empty() && role == Role::To => {
                reader.wrong(&at, "required", "At least one recipient.");
            }
            Some(Value::Array(items)) => {
                room -= items.len();
                let each = items.into_iter().enumerate();
                recipients.extend(
                    each.filter_map(|(index, item)| {
                        read_recipient(item, role, templated, &At::Index(&at, index), reader)
                    }),
                );
            }
            Some(_) if room == 0 => reader.wrong(&at, "too_many", "Too many recipients."),
            Some(value) => {
                room -= 1;
                recipients.extend(read_recipient(value, role, templated, &at, reader));
            }
            None if role == Role::To => reader.wrong(&at, "required", "Who the mail is for."),
            None => {}
        }
    }
    if reader.clean() {
        find_twins(&recipients, at, reader);
    }
    recipients
}

fn read_recipient(
    value: Value,
    role: Role,
    templated: bool,
    at: &At<'_>,
    reader: &mut Reader<'_>,
) -> Option<Recipient> {
    let (mailbox, variables) = match value {
        Value::Object(_) => {
            let mut fields = Fields::of(value, at, reader)?;
            let variables = fields
                .take("variables")
                .and_then(|value| read_variables(value, &At::Field(at, "variables"), reader));
            if variables.is_some() && !templated {
                reader.wrong(
                    &At::Field(at, "variables"),
                    "conflict",
                    "Variables go with a 'template'.",
                );
            }
            let mailbox = read_mailbox_fields(&mut fields, at, reader);
            fields.finish(at, reader);
            (mailbox?, variables)
        }
        other => (read_mailbox(other, at, reader)?, None),
    };
    Some(Recipient {
        mailbox,
        role,
        variables,
    })
}

fn read_mailbox(value: Value, at: &At<'_>, reader: &mut Reader<'_>) -> Option<Mailbox> {
    if value.is_object() {
        let mut fields = Fields::of(value, at, reader)?;
        let mailbox = read_mailbox_fields(&mut fields, at, reader);
        fields.finish(at, reader);
        return mailbox;
    }
    let text = reader.string(value, at)?;
    parse_mailbox(&text)
        .map_err(|error| refuse(&text, error, at, reader))
        .ok()
}

fn read_mailbox_fields(fields: &mut Fields, at: &At<'_>, reader: &mut Reader<'_>) -> Option<Mailbox> {
    let name = fields
        .take("name")
        .and_then(|value| reader.line(value, &At::Field(at, "name"), NAME_BYTES_MAX));
    let at = At::Field(at, "email");
    let Some(value) = fields.take("email") else {
        reader.wrong(&at, "required", "The address.");
        return None;
    };
    let text = reader.string(value, &at)?;
    let parsed = if text.chars().any(is_forbidden) {
        Err(AddressError::Control)
    } else {
        parse_address(text.trim())
    };
    let address = parsed.map_err(|error| refuse(&text, error, &at, reader)).ok()?;
    let name = name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    Some(Mailbox { name, address })
}

fn refuse(text: &str, error: AddressError, at: &At<'_>, reader: &mut Reader<'_>) {
    let detail = match error {
        AddressError::Syntax => format!("'{}' is not an email address.", shown(text)),
        other => other.to_string(),
    };
    reader.wrong(at, error.code(), detail);
}

/// Notes recipients that stand in the mail twice.
fn find_twins(recipients: &[Recipient], at: &At<'_>, reader: &mut Reader<'_>) {
    if recipients.len() < 2 {
        return;
    }
    let mut seen = HashSet::with_capacity(recipients.len());
    let mut position = (Role::To, 0);
    for recipient in recipients {
        if recipient.role != position.0 {
            position = (recipient.role, 0);
        }
        if !seen.insert(recipient.mailbox.address.to_lowercase()) {
            let field = match recipient.role {
                Role::To => "to",
                Role::Cc => "cc",
                Role::Bcc => "bcc",
            };
            let field = At::Field(at, field);
            let detail = "This recipient is named before; nobody gets two copies.";
            reader.wrong(&At::Index(&field, position.1), "duplicate_recipient", detail);
        }
        position.1 += 1;
    }
}

/// Whether a display name shows an address, and not the sender's own.
fn names_another_address(name: &str, address: &str) -> bool {
    name.split(|character: char| character.is_whitespace() || "<>()[]\",;:'".contains(character))
        .filter(|word| word.contains('@'))
        .filter_map(|word| parse_address(word).ok())
        .any(|word| !word.eq_ignore_ascii_case(address))
}
