//! How a message is made and read: rendering, MIME, signatures, return paths.
//!
//! Takes a Message, its Body, a Recipient and keys; gives bytes. The same Delivery gives the same bytes, always.
//! Never does I/O, reads a clock or draws random numbers.
