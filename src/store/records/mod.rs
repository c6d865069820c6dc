//! What durable backends write: a struct per record, a version in front of each, a checksum behind it.
//!
//! Domain types are not stored as they are: they change with the program, stored bytes may not. Every later version must
//! read what an earlier one wrote.

mod admin;
mod codes;
mod delivery;
mod envelope;
mod event;
mod ledger;
mod mark;
mod message;
mod note;
mod spent;

pub(crate) use admin::{
    decode_alias, decode_domain, decode_key, decode_response, decode_suppression, decode_template, decode_tenant,
    encode_alias, encode_domain, encode_key, encode_response, encode_suppression, encode_template, encode_tenant,
};
pub(crate) use codes::Coded;
pub(crate) use delivery::{StoredDelivery, decode_delivery, decode_intent, encode_delivery, encode_intent};
pub(crate) use envelope::Damaged;
pub(crate) use event::{decode_event, encode_event};
pub(crate) use ledger::{Ledger, decode_lane, decode_ledger, encode_lane, encode_ledger};
pub(crate) use mark::{decode_mark, encode_mark};
pub(crate) use message::{decode_body, decode_message, decode_message_age, encode_body, encode_message};
pub(crate) use note::{decode_note, encode_note};
pub(crate) use spent::{decode_spent, encode_spent};

#[cfg(test)]
mod tests;
