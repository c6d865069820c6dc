//! The library of functions in Redis: every change of the store is one of them, so that it is made whole or not at all.
//!
//! Gives the text of the library and the names of its functions. Both carry a hash of the text, so that two versions of this
//! program can share a database while one replaces the other. The Lua files say what each function takes and gives.

use std::sync::LazyLock;

/// The files of the library in the order in which they are read.
const SOURCES: [&str; 10] = [
    include_str!("functions/prelude.lua"),
    include_str!("functions/line.lua"),
    include_str!("functions/accept.lua"),
    include_str!("functions/entries.lua"),
    include_str!("functions/lease.lua"),
    include_str!("functions/handle.lua"),
    include_str!("functions/records.lua"),
    include_str!("functions/reads.lua"),
    include_str!("functions/claims.lua"),
    include_str!("functions/archive.lua"),
];
/// What stands for the hash in them.
const VERSION_PLACE: &str = "@VERSION@";

static LIBRARY: LazyLock<Library> = LazyLock::new(Library::new);

struct Library {
    text: String,
    version: String,
}

impl Library {
    fn new() -> Self {
        let source = SOURCES.concat();
        let version = format!("{:08x}", crc32fast::hash(source.as_bytes()));
        let text = format!("#!lua name=posthaste_{version}\n{source}").replace(VERSION_PLACE, &version);
        Self { text, version }
    }
}

/// The text for `FUNCTION LOAD`.
pub(super) fn library() -> &'static str {
    &LIBRARY.text
}

/// A function of the library.
#[derive(Debug, Clone, Copy)]
pub(super) struct Function {
    name: &'static str,
    /// Whether it only reads.
    pub(super) reads: bool,
}

impl Function {
    const fn writes(name: &'static str) -> Self {
        Self { name, reads: false }
    }

    const fn reads(name: &'static str) -> Self {
        Self { name, reads: true }
    }

    /// The name by which Redis knows it.
    pub(super) fn full_name(self) -> String {
        format!("posthaste_{}_{}", self.name, LIBRARY.version)
    }
}

pub(super) const BEGIN: Function = Function::writes("begin");
pub(super) const MAKE: Function = Function::writes("make");
pub(super) const FINISH: Function = Function::writes("finish");
pub(super) const ACCEPT: Function = Function::writes("accept");
pub(super) const TAKE_ENTRIES: Function = Function::writes("take_entries");
pub(super) const ACCEPT_ENTRY: Function = Function::writes("accept_entry");
pub(super) const DROP_ENTRY: Function = Function::writes("drop_entry");
pub(super) const BURY_ENTRY: Function = Function::writes("bury_entry");
pub(super) const LEASE: Function = Function::writes("lease");
pub(super) const LEASE_PARKED: Function = Function::writes("lease_parked");
pub(super) const LEASE_EXPIRED: Function = Function::writes("lease_expired");
pub(super) const PARK: Function = Function::writes("park");
pub(super) const RELEASE: Function = Function::writes("release");
pub(super) const RENEW: Function = Function::writes("renew");
pub(super) const INTENT: Function = Function::writes("intent");
pub(super) const CHARGE: Function = Function::writes("charge");
pub(super) const REFUND: Function = Function::writes("refund");
pub(super) const SETTLE: Function = Function::writes("settle");
pub(super) const CANCEL: Function = Function::writes("cancel");
pub(super) const DEPTH: Function = Function::writes("depth");
pub(super) const PURGE: Function = Function::writes("purge");
pub(super) const PUT: Function = Function::writes("put");
pub(super) const PUT_TEMPLATE: Function = Function::writes("put_template");
pub(super) const SUPPRESS: Function = Function::writes("suppress");
pub(super) const FORGIVE: Function = Function::writes("forgive");
pub(super) const NOTE: Function = Function::writes("note");
pub(super) const TAKE_IN: Function = Function::writes("take_in");
pub(super) const REMEMBER: Function = Function::writes("remember");
pub(super) const MEMBERS: Function = Function::reads("members");
pub(super) const CLAIM: Function = Function::writes("claim");
pub(super) const LEAVE: Function = Function::writes("leave");
pub(super) const BOARD: Function = Function::reads("board");
pub(super) const NEXT_DUE: Function = Function::reads("next_due");
pub(super) const LANES: Function = Function::reads("lanes");
pub(super) const LOOK: Function = Function::reads("look");
pub(super) const PLACE: Function = Function::reads("place");
pub(super) const DELIVERIES: Function = Function::reads("deliveries");
pub(super) const EVENTS: Function = Function::reads("events");
pub(super) const GET: Function = Function::reads("get");
pub(super) const NEWEST: Function = Function::reads("newest");
pub(super) const ALL: Function = Function::reads("all");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_and_its_functions_carry_the_hash_of_its_text() {
        let first = library().lines().next();
        assert_eq!(
            first,
            Some(format!("#!lua name=posthaste_{}", LIBRARY.version).as_str())
        );
        assert!(!library().contains(VERSION_PLACE));
        assert_eq!(ACCEPT.full_name(), format!("posthaste_accept_{}", LIBRARY.version));
    }
}
