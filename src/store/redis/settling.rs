//! What becomes of leased deliveries, as arguments: parkings, releases, settlements.
//!
//! The new record is made here, from the record under the fence; the function writes it if the fence still holds.

use std::collections::HashMap;

use super::super::outcome::{apply, suppression_for};
use super::super::records::{encode_event, encode_suppression};
use super::link::Arguments;
use super::names::delivery_key;
use super::values::{encode_value, parked_score, score};
use crate::domain::{Delivery, EventKind, Settlement, Stream, Suppression, TenantId};
use crate::queue::{LeaseRef, Parking, Release};

/// What one call changes at most.
pub(super) const CHANGES_PER_CALL: usize = 200;

/// Items by partition, each with its place among all.
pub(super) fn by_partition<T>(items: Vec<T>, partition_of: impl Fn(&T) -> usize) -> HashMap<usize, Vec<(usize, T)>> {
    let mut groups: HashMap<usize, Vec<(usize, T)>> = HashMap::new();
    for (place, item) in items.into_iter().enumerate() {
        groups.entry(partition_of(&item)).or_default().push((place, item));
    }
    groups
}

/// Adds the lease that something is done under.
pub(super) fn add_lease(arguments: &mut Arguments, lease: LeaseRef) {
    arguments.bytes(delivery_key(lease.delivery)).text(lease.fence.0);
}

/// Adds a parking of `held`.
pub(super) fn add_parking(arguments: &mut Arguments, parking: &Parking, held: &Delivery) {
    let mut delivery = held.clone();
    delivery.why = Some(parking.why);
    delivery.due_at = parking.until.unwrap_or(delivery.due_at);
    add_lease(arguments, parking.lease);
    arguments.bytes(encode_value(&delivery, Some(&parking.lane)));
    arguments.text(parked_score(&delivery)).text(score(delivery.expires_at));
}

/// Adds a release of `held`.
pub(super) fn add_release(arguments: &mut Arguments, release: &Release, held: &Delivery) {
    let mut delivery = held.clone();
    delivery.why = Some(release.why);
    delivery.due_at = release.due_at;
    add_lease(arguments, release.lease);
    arguments
        .bytes(encode_value(&delivery, None))
        .text(score(delivery.due_at));
}

/// Adds a Settlement of `held`, with the events that `events` gives; gives the entry of the suppression list that it makes.
pub(super) fn add_settlement(
    arguments: &mut Arguments,
    settlement: &Settlement,
    lease: LeaseRef,
    held: &Delivery,
    events: &[EventKind],
) -> Option<Suppression> {
    let entry = settlement.suppress.map(|reason| {
        let entry = suppression_for(held, reason, settlement.at);
        lower_case(entry)
    });
    let mut delivery = held.clone();
    apply(&mut delivery, settlement);
    add_lease(arguments, lease);
    arguments
        .bytes(encode_value(&delivery, None))
        .text(score(delivery.due_at));
    match &entry {
        Some(entry) => add_suppression(arguments, entry),
        None => {
            arguments.text("").text("").text("").text("");
        }
    }
    arguments.text(events.len());
    for kind in events {
        arguments.bytes(encode_event(settlement.delivery.recipient, settlement.at, kind));
    }
    entry
}

/// Adds an entry of the suppression list: its address, its stream, its record, and that of the same entry for all mail.
pub(super) fn add_suppression(arguments: &mut Arguments, entry: &Suppression) {
    let wide = Suppression {
        stream: None,
        ..entry.clone()
    };
    arguments.text(suppression_field(entry.tenant, &entry.address));
    arguments.text(stream_code(entry.stream));
    arguments
        .bytes(encode_suppression(entry))
        .bytes(encode_suppression(&wide));
}

/// The entry with its address as it is looked up.
pub(super) fn lower_case(entry: Suppression) -> Suppression {
    Suppression {
        address: entry.address.to_lowercase(),
        ..entry
    }
}

/// Where the entry of an address is.
pub(super) fn suppression_field(tenant: TenantId, address: &str) -> String {
    format!("{tenant}:{}", address.to_lowercase())
}

/// For what an entry holds, as the functions know it.
pub(super) fn stream_code(stream: Option<Stream>) -> char {
    match stream {
        None => '0',
        Some(Stream::Transactional) => '1',
        Some(Stream::Broadcast) => '2',
    }
}
