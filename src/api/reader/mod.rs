//! JSON to Submissions: one code path for single mails and batches.
//!
//! Takes a parsed `Value`, moves its strings out of it and walks on after each problem, so that an answer names everything
//! that is wrong, by JSON pointer (RFC 6901). Unknown fields are problems: a typo must not change what is sent. Checks
//! syntax only; what needs a look-up is `policy::admission`'s and `api::prepare`'s.

mod address;
mod attachments;
mod batch;
mod domain;
mod email;
mod labels;
mod people;
mod template;
mod time;
mod variables;
mod walk;

pub use address::{AddressError, domain_to_ascii, parse_address, parse_mailbox};
pub use batch::{Batch, Mode, read_batch};
pub use domain::{DomainDraft, read_domain};
pub use email::read_email;
pub use template::{TemplateDraft, read_template};
pub(crate) use walk::is_forbidden;
