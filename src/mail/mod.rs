//! How a message is made and read: rendering, MIME, signatures, return paths.
//!
//! Takes a Message, its Body, a Recipient and keys; gives bytes. The same Delivery gives the same bytes, always.
//! Never does I/O, reads a clock or draws random numbers.
//!
//! ```text
//! Content ── render / builtin ──► Rendered ── compose ──► bytes ── dkim ──► signed bytes
//!                                     ▲ text (when there is only HTML)        return_path ──► MAIL FROM
//! ```

pub mod builtin;
mod builtin_variables;
pub mod compose;
pub mod dkim;
pub mod encoding;
pub mod headers;
mod html_entities;
pub mod parameters;
pub mod render;
pub mod return_path;
pub mod template_needs;
pub mod template_scan;
mod template_walk;
pub mod text;
