//! What commands print: the one place that writes to standard output and standard error.

use std::io::Write;

/// A line for the user, on standard output. That nobody reads it is no reason to end an engine.
pub(super) fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// A line beside the result, on standard error.
pub(super) fn note(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
