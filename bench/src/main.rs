//! Measurements: a load generator for the API, a receiver that is not the bottleneck, and the figures of `RESULTS.md`;
//! and `chaos`, which breaks everything while mail flows and counts every copy.
//!
//! Nothing that CI runs asserts a time: each `--smoke` checks that everything arrives.

mod aside;
mod call;
mod chaos;
mod engine;
mod fit;
mod fleet;
mod flood;
mod isolation;
mod journal;
mod lanes;
mod load;
mod mail;
mod names;
mod output;
mod process;
mod queue_memory;
mod scrape;
mod simulate;
mod sink;
mod w1;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "bench", version, about = "Load, receivers and measurements for Posthaste.")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Send mail to a running engine's API and say how fast it was accepted.
    Load(load::LoadArguments),
    /// Receive mail over SMTP as fast as it comes and count it.
    Sink(sink::SinkArguments),
    /// Start an engine and a sink, send mail through both, measure the whole road.
    W1(w1::W1Arguments),
    /// Measure what waiting for the INTENT costs: W1 with the wait and without it, in turns.
    Journal(journal::JournalArguments),
    /// Fill the queue of an engine whose only route is shut and report its memory.
    QueueMemory(queue_memory::QueueMemoryArguments),
    /// Five providers, one tarpitting and one blocked: what the other three notice of it.
    Isolation(isolation::IsolationArguments),
    /// Codes while a flood of newsletters waits in the same lane. Fails when they wait too long, or newsletters starve.
    ///
    /// One provider with a hidden cap of connections and a known service time gets a flood of broadcast mail, in batches, and
    /// a few codes a second: while the flood is taken in, and while all of it waits. A code's queue delay is the time from the
    /// 202 to the receiver's record, less the service time of its own delivery. Then codes alone could fill the lane, and
    /// broadcast is counted. Exit code 1 unless the 99th percentile of the delay is at most one service time and a second in
    /// both phases, and broadcast keeps a twentieth.
    Flood(flood::FloodArguments),
    /// 500 lanes and 100,000 recipient domains against five: what the engine's CPU time for a mail becomes.
    ///
    /// A name server of its own says which provider takes a domain's mail. Runs come in pairs, many and few in turns; each
    /// has two waves of mails, with domains that have to be looked up and with domains that are known. Exit code 1 when a
    /// mail costs more than twice as much with many, in either wave (median of pairs).
    Lanes(lanes::LanesArguments),
    /// Run the learning controller against simulated receivers on virtual time.
    Simulate(simulate::SimulateArguments),
    /// Kill, freeze and fill everything while mail flows, then count every copy. Fails unless all is accounted for.
    ///
    /// The engines are this program itself, started again. Their receivers write each copy down and sync it before they
    /// answer; one keeps what a broken connection left behind, one drops it, one tosses a coin. A fault comes about every two
    /// seconds. Exit code 1 unless `lost`, `unknown_duplicates`, `phantoms` and `hold_duplicates` are 0, `duplicates` are at
    /// most `ambiguous`, the ledger balances after each restart, and enough happened: 200 accepted for each kill, some of
    /// them ambiguous. `failures` names what was wrong. `--sabotage` builds a deliberate bug in, and must fail.
    Chaos(chaos::ChaosArguments),
    /// Be an engine that a `chaos` run can kill.
    #[command(hide = true)]
    Engine(chaos::EngineArguments),
}

fn main() -> ExitCode {
    let command = match Arguments::parse().command {
        // It makes its own runtimes.
        Command::Engine(arguments) => return chaos::serve(arguments),
        command => command,
    };
    // One thread: the injector must leave the machine to what is measured.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::note(&format!("bench: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(async {
        match command {
            Command::Load(arguments) => load::run(&arguments).await,
            Command::Sink(arguments) => sink::run(&arguments).await,
            Command::W1(arguments) => w1::run(&arguments).await,
            Command::Journal(arguments) => journal::run(&arguments).await,
            Command::QueueMemory(arguments) => queue_memory::run(&arguments).await,
            Command::Isolation(arguments) => isolation::run(&arguments).await,
            Command::Flood(arguments) => flood::run(&arguments).await,
            Command::Lanes(arguments) => lanes::run(&arguments).await,
            Command::Simulate(arguments) => simulate::run(&arguments),
            Command::Chaos(arguments) => chaos::run(&arguments).await,
            Command::Engine(_) => unreachable!("it was started before"),
        }
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::note(&format!("bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
