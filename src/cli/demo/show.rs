//! `posthaste demo` from its first to its last line.
//!
//! Takes the arguments; starts the world, sends, waits a bounded time, reports, stops. Gives exit code 1 when the ledger does
//! not balance.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;

use super::world::World;
use super::{progress, report, sending};
use crate::cli::args::DemoArgs;
use crate::cli::output;

/// The demo gives up waiting after this and reports what it has.
const LONGEST: Duration = Duration::from_secs(110);

pub(in crate::cli) fn run(args: &DemoArgs) -> Result<ExitCode> {
    let args = args.clone();
    actix::System::new().block_on(async move {
        output::note(&format!(
            "Posthaste demo: {} mails through the HTTP API to five simulated providers on loopback, in a temporary folder.\n\
             Each hides a limit that the engine has to find. Times are shortened: what takes minutes in the world takes \
             seconds here.",
            args.messages
        ));
        let world = World::start(args.messages).await?;
        let drawing = progress::Drawing::start(&world, args.messages, args.json);
        let started = world.clock.now();
        let sent = sending::send_all(&world, args.messages, &drawing).await?;
        let left = LONGEST.saturating_sub(world.clock.now().since(started));
        world.wait_until_settled(left).await;
        let seconds = world.clock.now().since(started).as_secs_f64();
        drawing.finish();
        let report = report::Report::make(&world, &sent, seconds).await?;
        report.print(args.json);
        world.stop().await;
        Ok(if report.balances() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}
