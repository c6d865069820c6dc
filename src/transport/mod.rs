//! The seam that moves bytes: sockets, TLS, deadlines, around the machine of `smtp/`.
//!
//! Takes a plan (source address, host, TLS policy) and mail; gives Attempts' stages and outcomes. Never decides what an
//! answer means.
