//! The `posthaste` command: reads arguments, leaves the rest to the library.

use std::process::ExitCode;

use clap::Parser;
use posthaste::cli;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run(cli::Cli::parse())
}
