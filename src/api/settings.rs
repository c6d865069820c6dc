//! Every bound and every name of the API that an operator may set, with its default.
//!
//! Takes nothing, gives numbers. Never decides: the parts that use a bound name it in their refusals.

use std::time::Duration;

const MIB: usize = 1024 * 1024;

/// What one call may hold. Shown to callers in the problems that name them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Recipients of one mail: to, cc and bcc together. At most 65,535.
    pub recipients: usize,
    /// Mails in one batch.
    pub batch: usize,
    /// Attachments of one mail.
    pub attachments: usize,
    /// Size of one mail on the wire, attachments encoded. Bytes.
    pub message_bytes: usize,
    /// Size of a batch after its defaults were filled in. Bytes.
    pub batch_bytes: usize,
    /// Length of a subject. Bytes.
    pub subject_bytes: usize,
    /// Extra header fields of one mail.
    pub headers: usize,
    /// Tags of one mail.
    pub tags: usize,
    /// Pairs of metadata of one mail.
    pub metadata: usize,
    /// Template variables of one mail or one recipient. Bytes of JSON, roughly.
    pub variables_bytes: usize,
    /// One part of a template. Bytes.
    pub template_bytes: usize,
    /// Problems that one answer lists.
    pub problems: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            recipients: 50,
            batch: 500,
            attachments: 25,
            message_bytes: 25 * MIB,
            batch_bytes: 100 * MIB,
            subject_bytes: 998,
            headers: 50,
            tags: 10,
            metadata: 20,
            variables_bytes: 64 * 1024,
            template_bytes: 512 * 1024,
            problems: 100,
        }
    }
}

/// Settings of the API.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiSettings {
    /// What one call may hold.
    pub limits: Limits,
    /// Body of a call that sends mail. Bytes.
    pub body_bytes_max: usize,
    /// Body of any other call. Bytes.
    pub small_body_bytes_max: usize,
    /// Bodies in hand at the same time, over all calls; beyond it calls get 503. Bytes. The process needs about three
    /// times this at its peak, since a body is held as text, as JSON and as mail for a moment.
    pub body_memory_bytes_max: usize,
    /// The head of a request must have come within this.
    pub head_timeout: Duration,
    /// A body must have come within this.
    pub body_timeout: Duration,
    /// After this, a body must have come at [`ApiSettings::body_bytes_per_second_min`] on average.
    pub body_grace: Duration,
    /// The slowest client that is served. Bytes a second.
    pub body_bytes_per_second_min: usize,
    /// Connections of one worker thread; further ones wait in the kernel.
    pub connections_per_worker_max: usize,
    /// Requests a second of one key, with bursts of one second; none means no limit and no `RateLimit` headers.
    pub requests_per_second: Option<u32>,
    /// What `Retry-After` says when we are full or going away.
    pub retry_after: Duration,
    /// An `Idempotency-Key` is remembered for this long.
    pub idempotency_life: Duration,
    /// Keys, domains and templates are looked up again after this, so that other nodes' changes are seen.
    pub cache_life: Duration,
    /// Entries of one cache.
    pub cache_entries_max: usize,
    /// Entries of a list when the caller does not say.
    pub list_default: usize,
    /// Entries of a list at most.
    pub list_max: usize,
    /// Events of one timeline at most.
    pub events_max: usize,
    /// Where clients reach us, without a slash at the end; the `type` of problem documents begins with it. Empty gives
    /// references relative to the request.
    pub public_url: String,
    /// The SPF record that return-path domains should publish, e.g. `v=spf1 ip4:203.0.113.7 -all`; none shows none.
    pub spf_record: Option<String>,
    /// The MX host that return-path domains should publish; none shows none.
    pub return_path_host: Option<String>,
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            body_bytes_max: 50 * MIB,
            small_body_bytes_max: 2 * MIB,
            body_memory_bytes_max: 256 * MIB,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(60),
            body_grace: Duration::from_secs(10),
            body_bytes_per_second_min: 1024,
            connections_per_worker_max: 10_000,
            requests_per_second: None,
            retry_after: Duration::from_secs(5),
            idempotency_life: Duration::from_secs(24 * 3600),
            cache_life: Duration::from_secs(5),
            cache_entries_max: 10_000,
            list_default: 20,
            list_max: 100,
            events_max: 1_000,
            public_url: String::new(),
            spf_record: None,
            return_path_host: None,
        }
    }
}
