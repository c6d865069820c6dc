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
    /// An ACCEPT that the store refused is answered with 202 all the same.
    AcceptErrorIgnored = "accept-error-ignored",
    /// Commits are not synced: what is acknowledged is in the memory of the kernel.
    SyncSkipped = "sync-skipped",
    /// A sync that failed is taken for a full disk: the file is opened again and used.
    SyncErrorSurvived = "sync-error-survived",
    /// The idempotent answer is written apart from the mail that it tells of.
    AnswerOutsideCommit = "answer-outside-commit",
    /// A Delivery leaves the queue before its OUTCOME is durable.
    AckBeforeOutcome = "ack-before-outcome",
    /// A Settlement that could not be stored is forgotten.
    OutcomeErrorIgnored = "outcome-error-ignored",
    /// No INTENT is recorded.
    SkipIntent = "skip-intent",
    /// The dot leaves while the INTENT is still being written.
    DotBeforeIntent = "dot-before-intent",
    /// An INTENT that could not be recorded does not keep the dot back.
    IntentErrorIgnored = "intent-error-ignored",
    /// INTENT does not look at the time of expiry, and nobody does before it.
    IntentAfterExpiry = "intent-after-expiry",
    /// A dot leaves however long its INTENT has been slept over.
    IntentSleptOver = "intent-slept-over",
    /// Parked mail that expires is not asked whether it has an open INTENT.
    ExpiryHidesIntent = "expiry-hides-intent",
    /// INTENT does not look at the suppression list.
    IntentUnguarded = "intent-unguarded",
    /// Open INTENTs are not read at a start.
    IntentForgotten = "intent-forgotten",
    /// A Settlement under a lost lease counts.
    NoFenceOnSettle = "no-fence-on-settle",
    /// Fences begin anew with each start.
    FenceRepeats = "fence-repeats",
    /// An error of the store reads as "there is none".
    ErrorAsAbsent = "error-as-absent",
    /// Whatever waited for its time is due at once after a restart.
    DueResetOnRestart = "due-reset-on-restart",
    /// Events are written apart from the state that they report.
    EventOutsideCommit = "event-outside-commit",
    /// Somebody who waits for a lease extends it.
    LeaseExtendedByWaiter = "lease-extended-by-waiter",
    /// A lost reply to the dot is an ordinary failure: sent again, and nobody told.
    LostAfterDotIsPlain = "lost-after-dot-is-plain",
    /// A lost reply to the dot makes the session try the next host at once.
    OtherHostAfterDot = "other-host-after-dot",
    /// Ambiguous mail that is to be held is sent again.
    HeldIsResent = "held-is-resent",
    /// The reply to the dot has one minute instead of ten.
    DotTimeoutShort = "dot-timeout-short",
    /// Each read has the deadline of the whole reply.
    TimeoutPerRead = "timeout-per-read",
    /// A reply that is not UTF-8 is no reply.
    ReplyAsUtf8 = "reply-as-utf8",
    /// A connection on which a reply was missed is used again.
    ReuseAfterTimeout = "reuse-after-timeout",
    /// QUIT is sent behind the dot, before its reply.
    QuitBehindDot = "quit-behind-dot",
    /// A lone line feed leaves as it is.
    BareLineFeed = "bare-line-feed",
    /// A retry is signed anew and differs in its bytes.
    RetryDiffers = "retry-differs",
    /// SERVFAIL reads as NXDOMAIN.
    ServfailIsNxdomain = "servfail-is-nxdomain",
    /// Expiry is noticed only when somebody tries to send.
    ExpiryOnlyAtAttempt = "expiry-only-at-attempt",
    /// A refusal for reputation suppresses the recipient.
    ReputationSuppresses = "reputation-suppresses",
    /// Connections that fail count as attempts of the mail that waits for them.
    FailedConnectionCounts = "failed-connection-counts",
    /// What INTENTs were charged is kept in memory only.
    WarmupForgotten = "warmup-forgotten",
    /// Retries have no jitter.
    RetryWithoutJitter = "retry-without-jitter",
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
