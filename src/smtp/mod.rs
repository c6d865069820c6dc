//! The client side of SMTP as a machine: bytes in, bytes out.
//!
//! Takes what the other side sent and what should be delivered; gives bytes to send and what became of it. Never touches a
//! socket, a clock or a key: `transport/` does.
