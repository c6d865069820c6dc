//! What is printed: the one place that writes to standard output and standard error.

use std::time::Duration;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

/// A line of the result, on standard output.
#[expect(clippy::print_stdout, reason = "a measurement speaks to people")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}

/// A line beside the result, on standard error.
#[expect(clippy::print_stderr, reason = "a measurement speaks to people")]
pub(crate) fn note(line: &str) {
    eprintln!("{line}");
}

/// One JSON object, as one line.
pub(crate) fn json(value: &impl Serialize) -> Result<()> {
    say(&serde_json::to_string(value)?);
    Ok(())
}

/// The name of a choice, as it is written on the command line.
pub(crate) fn name_of(choice: impl clap::ValueEnum) -> String {
    let value = choice.to_possible_value();
    value.map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// A bar for `length` mails; indicatif shows nothing when standard error is no terminal.
pub(crate) fn bar(length: u64, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {per_sec}");
    let bar = ProgressBar::new(length).with_message(what);
    bar.enable_steady_tick(Duration::from_millis(500));
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
