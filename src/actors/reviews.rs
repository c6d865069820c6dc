//! Keeps the list of replies that no rule knows over a restart, and shows those of other nodes beside it.
//!
//! Takes the list and the store; writes what has changed as notes, a bounded number at a time, and reads it at the start.
//! Each node keeps its own: counts of two nodes under one key would overwrite each other; it reads what others have to add it up. What cannot be written now is
//! written with the next round; a list that is lost is begun anew, mail does not depend on it.

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::tools::Tools;
use crate::domain::{EnhancedCode, NOTES_PER_CALL_MAX, Node, Note, NoteKind, ProviderId, Stage, Timestamp};
use crate::observe::{SHAPES_MAX, UnknownReply};
use crate::store::{StoreError, decode_note_value, encode_note_value};

/// The form of the records.
const VERSION: u8 = 1;
/// Notes that are read at a start: those of some nodes that share the store.
const NOTES_MAX: usize = 16 * SHAPES_MAX;

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    provider: String,
    code: u16,
    enhanced: Option<(u8, u16, u16)>,
    shape: String,
    stage: String,
    rule: String,
    example: String,
    count: u64,
    first_seen: u64,
    last_seen: u64,
}

/// Adds what this node knew before it was restarted.
///
/// # Errors
/// When the store does not answer.
pub async fn restore(tools: &Tools) -> Result<(), StoreError> {
    let (own, others) = read(tools).await?;
    let list = tools.surroundings.observer.unclassified();
    list.restore(own);
    list.hear(others);
    Ok(())
}

/// Writes what has changed here, then reads what other nodes have by now, if there are any.
pub async fn exchange(tools: &Tools) {
    save(tools).await;
    if tools.ownership.board().nodes.len() <= 1 {
        return;
    }
    match read(tools).await {
        Ok((_, others)) => tools.surroundings.observer.unclassified().hear(others),
        Err(error) => tools.surroundings.observer.store_error(&error),
    }
}

/// What this node has written, and what others have.
async fn read(tools: &Tools) -> Result<(Vec<UnknownReply>, Vec<UnknownReply>), StoreError> {
    let notes = tools.store.notes(NoteKind::Unclassified, NOTES_MAX).await?;
    let prefix = prefix(&tools.ownership.me);
    let (own, others): (Vec<&Note>, Vec<&Note>) = notes.iter().partition(|note| note.key().starts_with(&prefix));
    let replies = |notes: Vec<&Note>| {
        let records = notes.into_iter();
        let records = records.filter_map(|note| decode_note_value::<Record>(VERSION, note.value()));
        records.filter_map(reply_of).collect()
    };
    Ok((replies(own), replies(others)))
}

/// Writes what has changed since the last time.
pub async fn save(tools: &Tools) {
    let observer = &tools.surroundings.observer;
    let list = observer.unclassified();
    let (changed, gone) = list.take_changes();
    if changed.is_empty() && gone.is_empty() {
        return;
    }
    let now = tools.surroundings.clock.now();
    let me = &tools.ownership.me;
    let written = changed.iter().filter_map(|reply| {
        let value = encode_note_value(VERSION, &record_of(reply));
        Note::new(NoteKind::Unclassified, key_of(me, reply), value, now).ok()
    });
    let removed = gone
        .iter()
        .filter_map(|reply| Note::new(NoteKind::Unclassified, key_of(me, reply), Vec::new(), now).ok());
    let notes: Vec<Note> = removed.chain(written).collect();
    for notes in notes.chunks(NOTES_PER_CALL_MAX) {
        if let Err(error) = tools.store.put_notes(notes.to_vec()).await {
            observer.store_error(&error);
            list.put_back(&changed, gone);
            return;
        }
    }
}

/// What the keys of a node's notes begin with.
fn prefix(node: &Node) -> Vec<u8> {
    let mut prefix = node.id.as_str().as_bytes().to_vec();
    prefix.push(0);
    prefix
}

/// The node and a digest of what tells one shape from another.
fn key_of(node: &Node, reply: &UnknownReply) -> Vec<u8> {
    let enhanced = reply.enhanced.map(|code| code.to_string()).unwrap_or_default();
    let told = format!("{}\0{}\0{enhanced}\0{}", reply.provider, reply.code, reply.shape);
    let mut key = prefix(node);
    key.extend_from_slice(digest(&SHA256, told.as_bytes()).as_ref());
    key
}

fn record_of(reply: &UnknownReply) -> Record {
    Record {
        provider: reply.provider.as_str().to_owned(),
        code: reply.code,
        enhanced: reply
            .enhanced
            .map(|EnhancedCode(class, subject, detail)| (class, subject, detail)),
        shape: reply.shape.clone(),
        stage: reply.stage.name().to_owned(),
        rule: reply.rule.clone(),
        example: reply.example.clone(),
        count: reply.count,
        first_seen: reply.first_seen.0,
        last_seen: reply.last_seen.0,
    }
}

fn reply_of(record: Record) -> Option<UnknownReply> {
    Some(UnknownReply {
        provider: ProviderId::from(record.provider.as_str()),
        code: record.code,
        enhanced: record
            .enhanced
            .map(|(class, subject, detail)| EnhancedCode(class, subject, detail)),
        shape: record.shape,
        stage: Stage::of_name(&record.stage)?,
        rule: record.rule,
        example: record.example,
        count: record.count,
        first_seen: Timestamp(record.first_seen),
        last_seen: Timestamp(record.last_seen),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_as_it_was() {
        let reply = UnknownReply {
            provider: ProviderId::from("google"),
            code: 550,
            enhanced: Some(EnhancedCode(5, 7, 1)),
            shape: "no <address>".to_owned(),
            stage: Stage::Dot,
            rule: "unclassified".to_owned(),
            example: "No <address>".to_owned(),
            count: 7,
            first_seen: Timestamp(1),
            last_seen: Timestamp(2),
        };
        let value = encode_note_value(VERSION, &record_of(&reply));
        let read = decode_note_value::<Record>(VERSION, &value).and_then(reply_of);
        assert_eq!(read, Some(reply));
    }
}
