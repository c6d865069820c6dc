//! Many mails in one call, with defaults for all of them.
//!
//! Takes an object with `emails`, `defaults` and `mode`, or a bare array of mails; gives a Submission or its problems for
//! each. A field of a mail wins over the default's; `variables`, `headers` and `metadata` are merged name by name. What is
//! wrong with a default is said once for each mail that it spoils, at `/defaults`.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::email::read_email_at;
use super::variables::size;
use super::walk::{At, Fields, Reader};
use crate::api::settings::Limits;
use crate::domain::{Problem, Submission, Timestamp};

/// What becomes of the good mails of a batch when some are bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// They are accepted.
    Permissive,
    /// Nothing is accepted.
    Strict,
}

/// A batch as read.
#[derive(Debug)]
pub struct Batch {
    /// As asked for.
    pub mode: Mode,
    /// Where the mails stand in the document: `/emails`, or empty for a bare array.
    pub base: &'static str,
    /// In order.
    pub items: Vec<Result<Submission, Vec<Problem>>>,
}

/// Fields that are merged name by name.
const MERGED: [&str; 3] = ["variables", "headers", "metadata"];

/// A whole batch; `Err` when not even the mails can be told apart.
pub fn read_batch(value: Value, limits: &Limits, now: Timestamp) -> Result<Batch, Vec<Problem>> {
    let mut reader = Reader::new(limits, now);
    let root = At::Base("");
    let (mode, defaults, emails, base) = match value {
        Value::Array(_) => (None, None, Some(value), ""),
        other => {
            let mut fields = Fields::of(other, &root, &mut reader);
            let mut take = |name| fields.as_mut().and_then(|fields| fields.take(name));
            let taken = (take("mode"), take("defaults"), take("emails"), "/emails");
            if let Some(fields) = fields {
                fields.finish(&root, &mut reader);
            } else {
                return reader.finish(()).and(Err(Vec::new()));
            }
            taken
        }
    };
    let modes = [("permissive", Mode::Permissive), ("strict", Mode::Strict)];
    let mode = mode.and_then(|value| reader.word(value, &At::Field(&root, "mode"), &modes));
    let defaults = defaults.and_then(|value| reader.map(value, &At::Field(&root, "defaults")));
    let emails = read_items(emails, base, &mut reader);
    check_size(&emails, defaults.as_ref(), &mut reader);
    let (emails, defaults) = reader.finish((emails, defaults))?;
    let items = emails
        .into_iter()
        .enumerate()
        .map(|(index, item)| read_item(item, defaults.as_ref(), base, index, limits, now))
        .collect();
    Ok(Batch {
        mode: mode.unwrap_or(Mode::Permissive),
        base,
        items,
    })
}

fn read_items(emails: Option<Value>, base: &str, reader: &mut Reader<'_>) -> Vec<Value> {
    let at = At::Base(base);
    let max = reader.limits.batch;
    let items = emails.map(|value| reader.array(value, &at, max));
    if items
        .as_ref()
        .is_none_or(|items| items.as_ref().is_some_and(Vec::is_empty))
    {
        reader.wrong(&at, "required", "At least one mail.");
    }
    items.flatten().unwrap_or_default()
}

/// Notes a batch that its defaults blow up: a large attachment for five hundred mails.
fn check_size(emails: &[Value], defaults: Option<&Map<String, Value>>, reader: &mut Reader<'_>) {
    let Some(defaults) = defaults else {
        return;
    };
    let each: usize = defaults.values().map(size).sum();
    let max = reader.limits.batch_bytes;
    if each.saturating_mul(emails.len()) > max {
        let detail = format!("With its defaults filled in, the batch would have more than {max} bytes.");
        reader.wrong(&At::Base("/defaults"), "too_large", detail);
    }
}

fn read_item(
    mut item: Value,
    defaults: Option<&Map<String, Value>>,
    base: &str,
    index: usize,
    limits: &Limits,
    now: Timestamp,
) -> Result<Submission, Vec<Problem>> {
    let inherited = match (&mut item, defaults) {
        (Value::Object(item), Some(defaults)) => inherit(item, defaults),
        _ => HashSet::new(),
    };
    let base_at = At::Base(base);
    let at = At::Index(&base_at, index);
    read_email_at(item, &at, limits, now).map_err(|problems| {
        let own = at.pointer();
        problems
            .into_iter()
            .map(|problem| point_to_default(problem, &own, &inherited))
            .collect()
    })
}

/// Fills in the defaults; gives the names of the fields that are the default's alone.
fn inherit<'d>(item: &mut Map<String, Value>, defaults: &'d Map<String, Value>) -> HashSet<&'d str> {
    let mut inherited = HashSet::new();
    for (name, default) in defaults {
        match (item.get_mut(name), default) {
            (None, _) => {
                item.insert(name.clone(), default.clone());
                inherited.insert(name.as_str());
            }
            (Some(Value::Object(own)), Value::Object(default)) if MERGED.contains(&name.as_str()) => {
                for (name, value) in default {
                    if !own.contains_key(name) {
                        own.insert(name.clone(), value.clone());
                    }
                }
            }
            _ => {}
        }
    }
    inherited
}

/// Moves a problem to where its field was written.
fn point_to_default(mut problem: Problem, own: &str, inherited: &HashSet<&str>) -> Problem {
    let rest = problem
        .pointer
        .strip_prefix(own)
        .and_then(|rest| rest.strip_prefix('/'));
    if let Some(rest) = rest {
        let field = rest
            .split('/')
            .next()
            .unwrap_or_default()
            .replace("~1", "/")
            .replace("~0", "~");
        if inherited.contains(field.as_str()) {
            problem.pointer = format!("/defaults/{rest}");
        }
    }
    problem
}
