//! Deliberate bugs, each of which a test must catch: the proof that the tests can fail.
//!
//! Takes the name of a bug from the environment variable `POSTHASTE_SABOTAGE`, read once; gives whether it is built in.
//! Only a build with the feature `failpoints` has any of it: elsewhere [`is`] is `false` at compile time and the names are
//! not in the binary, which `test.sh` checks. `tests/sabotage.tsv` says which test catches which bug.

macro_rules! bugs {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A deliberate bug.
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub enum Bug { $($(#[$doc])* $variant,)* }

        #[cfg(feature = "failpoints")]
        impl Bug {
            /// All of them, with the names by which they are chosen.
            pub const ALL: &[(Self, &'static str)] = &[$((Self::$variant, $name),)*];
        }
    };
}

bugs! {
    /// The 202 leaves before the commit.
    AcceptBeforeCommit = "accept-before-commit",
    /// A Settlement is answered before it is durable, or lost on the way.
    AckBeforeOutcome = "ack-before-outcome",
    /// No INTENT is recorded.
    SkipIntent = "skip-intent",
    /// The dot leaves while the INTENT is still being written.
    DotBeforeIntent = "dot-before-intent",
    /// A Settlement under a lost lease counts.
    NoFenceOnSettle = "no-fence-on-settle",
    /// An error of the store reads as "there is none".
    ErrorAsAbsent = "error-as-absent",
    /// Whatever waited for its time is due at once after a restart.
    DueResetOnRestart = "due-reset-on-restart",
    /// Events are written apart from the state that they report.
    EventOutsideCommit = "event-outside-commit",
    /// Somebody who waits for a lease extends it.
    LeaseExtendedByWaiter = "lease-extended-by-waiter",
}

/// Whether this bug is built in.
#[cfg(feature = "failpoints")]
#[must_use]
pub fn is(bug: Bug) -> bool {
    use std::sync::OnceLock;
    static CHOSEN: OnceLock<Option<Bug>> = OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| {
        let name = std::env::var("POSTHASTE_SABOTAGE")
            .ok()
            .filter(|name| !name.is_empty())?;
        let known = Bug::ALL.iter().find(|(_, known)| *known == name);
        Some(
            known
                .unwrap_or_else(|| panic!("POSTHASTE_SABOTAGE: there is no bug {name}"))
                .0,
        )
    });
    *chosen == Some(bug)
}

/// Whether this bug is built in: never, in a build that ships.
#[cfg(not(feature = "failpoints"))]
#[must_use]
pub const fn is(_: Bug) -> bool {
    false
}
