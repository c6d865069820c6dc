//! `posthaste doctor`: looks at everything that mail needs, says what is wrong and what to do.
//!
//! `machine` looks at folder, disk, key, store, ports and clock; `names` at what name servers say of sources and domains;
//! `report` shows it. Works beside a running engine and without one, and changes nothing.

mod examination;
mod machine;
mod names;
mod report;

pub(super) use examination::run;
