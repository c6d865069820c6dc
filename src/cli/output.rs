//! What commands print: the one place that writes to standard output and standard error.

/// A line for the user, on standard output.
#[expect(clippy::print_stdout, reason = "commands speak to people")]
pub(super) fn say(line: &str) {
    println!("{line}");
}

/// A line beside the result, on standard error.
#[expect(clippy::print_stderr, reason = "commands speak to people")]
pub(super) fn note(line: &str) {
    eprintln!("{line}");
}
