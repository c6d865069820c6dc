//! `posthaste demo`: the whole engine against five simulated providers, on this machine alone.
//!
//! `world` starts receivers and engine, `sending` makes and posts the mail, `progress` draws while it flows, `report` asks
//! both sides what became of it and balances. What was received is counted by the receivers, not by the engine.

mod progress;
mod report;
mod sending;
mod world;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;

use super::args::DemoArgs;
use super::output;
use world::World;

/// The demo gives up waiting after this and reports what it has.
const LONGEST: Duration = Duration::from_secs(110);

pub(super) fn run(args: &DemoArgs) -> Result<ExitCode> {
    let args = args.clone();
    actix::System::new().block_on(async move {
        output::note(&format!(
            "Posthaste demo: {} mails through the HTTP API to five simulated providers on loopback, in a temporary folder.\n\
             Retry times are shortened: what takes minutes in the world takes seconds here.",
            args.messages
        ));
        let world = World::start().await?;
        let drawing = progress::Drawing::start(&world, args.messages);
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
