//! What comes from another store: taken in as it was there.

use super::super::super::records::{
    StoredDelivery, encode_alias, encode_body, encode_domain, encode_event, encode_intent, encode_key, encode_message,
    encode_response, encode_template, encode_tenant,
};
use super::super::fault::Fault;
use super::super::keys::{delivery_key, event_key, forget_key, message_key, named_key, template_key};
use super::super::turn::Turn;
use super::accept::answer_key;
use crate::domain::Fence;
use crate::queue::{Intent, LeaseRef};
use crate::store::archive::{Archived, ArchivedDelivery, ArchivedMessage};

/// Takes an item in. What is there already stays as it is, or is written again the same.
pub(in super::super) fn take_in(turn: &mut Turn<'_, '_>, item: &Archived) -> Result<(), Fault> {
    turn.dirty = true;
    match item {
        Archived::Tenant(tenant) => {
            turn.tables
                .tenants
                .insert(tenant.id.0, encode_tenant(tenant).as_slice())?;
        }
        Archived::Key(key) => {
            turn.tables.keys.insert(&key.hash, encode_key(key).as_slice())?;
        }
        Archived::Domain(domain) => {
            let key = named_key(domain.tenant, &domain.name);
            turn.tables
                .domains
                .insert(key.as_slice(), encode_domain(domain).as_slice())?;
        }
        Archived::Template(template) => {
            // Versions come oldest first, so the last one is the newest.
            let key = template_key(template.id.0, template.version);
            turn.tables
                .templates
                .insert(&key, encode_template(template).as_slice())?;
            let alias = named_key(template.tenant, &template.alias);
            let newest = encode_alias(template.id, template.version);
            turn.tables.aliases.insert(alias.as_slice(), newest.as_slice())?;
        }
        Archived::Suppression(entry) => turn.put_suppression(entry.clone())?,
        Archived::Answer(key, answer) => {
            let key = answer_key(key);
            turn.tables
                .answers
                .insert(key.as_slice(), encode_response(answer).as_slice())?;
            let end = forget_key(answer.expires_at, &key);
            turn.tables.answer_ends.insert(end.as_slice(), ())?;
        }
        Archived::Note(note) => turn.put_note(note)?,
        Archived::Charged(lane, spent) => turn.put_spent(lane, *spent)?,
        Archived::Message(archived) => take_in_message(turn, archived)?,
    }
    Ok(())
}

fn take_in_message(turn: &mut Turn<'_, '_>, archived: &ArchivedMessage) -> Result<(), Fault> {
    let id = archived.message.id;
    let key = message_key(id);
    let known = turn
        .tables
        .messages
        .insert(&key, encode_message(&archived.message).as_slice())?;
    if known.is_some() {
        return Ok(());
    }
    drop(known);
    turn.state.ledger.messages += 1;
    let alone = archived.deliveries.len() == 1;
    let unsettled = archived
        .deliveries
        .iter()
        .filter(|one| !one.delivery.state.is_final())
        .count();
    if let Some(body) = &archived.body {
        turn.tables.bodies.insert(&key, encode_body(body).as_slice())?;
    }
    if unsettled > 0 && !alone {
        turn.tables
            .unsettled
            .insert(&key, u32::try_from(unsettled).unwrap_or(u32::MAX))?;
    }
    for one in &archived.deliveries {
        take_in_delivery(turn, one, alone)?;
    }
    for event in &archived.events {
        let ledger = &mut turn.state.ledger;
        ledger.sequence = ledger.sequence.max(event.sequence);
        let bytes = encode_event(event.delivery.recipient, event.at, &event.kind);
        turn.tables
            .events
            .insert(&event_key(id, event.sequence), bytes.as_slice())?;
    }
    Ok(())
}

fn take_in_delivery(turn: &mut Turn<'_, '_>, one: &ArchivedDelivery, alone: bool) -> Result<(), Fault> {
    let delivery = one.delivery.clone();
    let (id, is_final) = (delivery.id, delivery.state.is_final());
    let parked = match one.parked.as_ref().filter(|_| !is_final) {
        Some(lane) => Some(turn.lane_number(lane)?),
        None => None,
    };
    let stored = StoredDelivery {
        delivery,
        parked,
        alone,
    };
    turn.put_delivery(&stored)?;
    turn.count_new(&stored.delivery);
    if !is_final {
        turn.step_in(&stored)?;
    }
    if let Some(open) = &one.open_intent {
        let intent = Intent {
            lease: LeaseRef {
                delivery: id,
                // Nobody holds it any more.
                fence: Fence(0),
            },
            attempt: open.attempt,
            lane: open.lane.clone(),
            host: open.host.clone(),
            at: open.at,
            charge: None,
        };
        turn.tables
            .intents
            .insert(&delivery_key(id), encode_intent(&intent).as_slice())?;
        turn.state.intents.insert(id, open.clone());
    }
    Ok(())
}
