//! What many lanes and many recipient domains cost: the CPU time of a mail with 500 lanes and 100,000 domains against five.
//!
//! Both engines find their lanes as they would on the internet: a name server says which provider takes a domain's mail. A pair
//! of runs is one with many and one with few, in turns also in which comes first, with as many equal mails, as fast as they
//! are taken. A run has two waves: in the first one each domain is new and is looked up, in the second all are known. Only the
//! engine's own CPU time counts; injector, receivers and name server are on the same cores.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::Args;
use provider_sim::{Keep, Ledger, Receiver};
use serde::Serialize;

use crate::aside::Aside;
use crate::engine::{BY_MX, Engine, EnginePlan, SENDER_DOMAIN};
use crate::fit::{median, now, number};
use crate::load::Load;
use crate::mail::MailShape;
use crate::{names, output, scrape};

/// The most that a mail with many lanes and domains may cost of one with few.
const RATIO_MOST: f64 = 2.0;
/// Recipient domains of the comparison, each with a lane of its own.
const FEW: u64 = 5;
/// Mails in one call.
const BATCH: u64 = 100;
const POLL: Duration = Duration::from_millis(50);
/// Without any delivery for this long a run has failed.
const STALL: Duration = Duration::from_secs(60);
/// The engine shows its lanes and frees what it needs no more within this time.
const SETTLE: Duration = Duration::from_secs(2);

/// Arguments of `lanes`.
#[derive(Debug, Clone, Args)]
pub(crate) struct LanesArguments {
    /// Lanes, on as many sources as `--sources` says; the rest is the number of providers.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=50_000))]
    lanes: u64,
    /// Addresses that it sends from.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=100))]
    sources: u64,
    /// Recipient domains.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    domains: u64,
    /// Mails of a wave; as many as there are domains when left out.
    #[arg(long)]
    messages: Option<u64>,
    /// Pairs of runs.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pairs: u32,
    /// Where data directories are made.
    #[arg(long)]
    directory: Option<PathBuf>,
    /// Print one JSON object as the last line.
    #[arg(long)]
    json: bool,
    /// A small pair that only checks that everything arrives over all lanes.
    #[arg(long)]
    smoke: bool,
}

/// One wave of a run.
#[derive(Debug, Clone, Serialize)]
struct WaveReport {
    cpu_seconds_per_1000: f64,
    messages_per_second: f64,
    resident_mib: f64,
}

/// One run.
#[derive(Debug, Clone, Serialize)]
struct RunReport {
    many: bool,
    /// Lanes that had mail.
    lanes: u64,
    connections: u64,
    /// Before the first mail.
    resident_mib: f64,
    peak_mib: f64,
    /// Domains new, domains known.
    waves: [WaveReport; 2],
}

#[derive(Debug, Serialize)]
struct LanesReport {
    lanes: u64,
    domains: u64,
    messages: u64,
    pairs: u32,
    /// CPU of a mail with many against one with few, median of pairs: domains new, domains known. The aim is 2.
    ratios: [f64; 2],
    cpu_seconds_per_1000_few: [f64; 2],
    cpu_seconds_per_1000_many: [f64; 2],
    peak_mib_few: f64,
    peak_mib_many: f64,
    is_kept: bool,
    runs: Vec<RunReport>,
}

/// What a run is made of.
#[derive(Debug, Clone, Copy)]
struct Shape {
    many: bool,
    sources: u64,
    providers: u64,
    domains: u64,
    messages: u64,
}

pub(crate) async fn run(arguments: &LanesArguments) -> Result<()> {
    let mut arguments = arguments.clone();
    if arguments.smoke {
        (arguments.lanes, arguments.sources, arguments.domains, arguments.pairs) = (20, 2, 600, 1);
    }
    let messages = arguments.messages.unwrap_or(arguments.domains);
    let many = Shape {
        many: true,
        sources: arguments.sources,
        providers: arguments.lanes.div_ceil(arguments.sources),
        domains: arguments.domains,
        messages,
    };
    let few = Shape {
        many: false,
        sources: 1,
        providers: FEW,
        domains: FEW,
        messages,
    };
    let mut runs = Vec::new();
    for pair in 0..arguments.pairs {
        // Whoever comes second finds a warmer machine, so they take turns at that too.
        let order = if pair % 2 == 0 { [few, many] } else { [many, few] };
        for shape in order {
            let report = one_run(&arguments, shape).await?;
            output::note(&format!(
                "pair {}, {} lanes: {:.3} CPU-s for 1,000 mails with new domains, {:.3} with known ones; {:.0}/s and {:.0}/s; \
                 peak {:.0} MiB",
                pair + 1,
                report.lanes,
                report.waves[0].cpu_seconds_per_1000,
                report.waves[1].cpu_seconds_per_1000,
                report.waves[0].messages_per_second,
                report.waves[1].messages_per_second,
                report.peak_mib,
            ));
            runs.push(report);
        }
    }
    let report = sum_up(&arguments, messages, runs);
    output::note(&format!(
        "median of pairs: {:.2} times the CPU with new domains, {:.2} with known ones (at most {RATIO_MOST}); peak {:.0} against {:.0} MiB",
        report.ratios[0], report.ratios[1], report.peak_mib_many, report.peak_mib_few,
    ));
    if arguments.json {
        output::json(&report)?;
    }
    ensure!(
        report.is_kept || arguments.smoke,
        "many lanes and domains cost too much"
    );
    Ok(())
}

fn sum_up(arguments: &LanesArguments, messages: u64, runs: Vec<RunReport>) -> LanesReport {
    let of = |many: bool| runs.iter().filter(move |run| run.many == many);
    let cpu = |run: &RunReport, wave: usize| run.waves[wave].cpu_seconds_per_1000;
    let middle = |many: bool, wave: usize| median(of(many).map(|run| cpu(run, wave)).collect());
    let ratio = |wave: usize| {
        let pairs = of(true).zip(of(false));
        median(pairs.map(|(many, few)| cpu(many, wave) / cpu(few, wave)).collect())
    };
    let peak = |many: bool| median(of(many).map(|run| run.peak_mib).collect());
    let ratios = [0, 1].map(ratio);
    LanesReport {
        lanes: arguments.lanes,
        domains: arguments.domains,
        messages,
        pairs: arguments.pairs,
        ratios,
        cpu_seconds_per_1000_few: [0, 1].map(|wave| middle(false, wave)),
        cpu_seconds_per_1000_many: [0, 1].map(|wave| middle(true, wave)),
        peak_mib_few: peak(false),
        peak_mib_many: peak(true),
        is_kept: ratios.iter().all(|ratio| *ratio <= RATIO_MOST),
        runs,
    }
}

/// One run on a fresh data directory.
async fn one_run(arguments: &LanesArguments, shape: Shape) -> Result<RunReport> {
    // Receivers and name servers are other people's machines: they get a thread of their own.
    let aside = Aside::start()?;
    let ledger = Ledger::new(Keep::Counts);
    let (receiver, names) = aside.run(others(shape.providers, ledger.clone())).await?;
    let plan = plan(shape, receiver.address().port(), names, arguments.directory.clone());
    let mut engine = Engine::start(&plan, None).await?;
    let resident_mib = engine.child.resident_mib()?;
    let first = wave(&engine, &ledger, shape, 1).await?;
    let second = wave(&engine, &ledger, shape, 2).await?;
    tokio::time::sleep(SETTLE).await;
    let lanes = scrape::series(&engine.metrics_text().await?, "posthaste_lane_connections_limit");
    ensure!(
        lanes == shape.providers * shape.sources || !arguments.smoke,
        "{lanes} lanes had mail, not {}",
        shape.providers * shape.sources
    );
    let report = RunReport {
        many: shape.many,
        lanes,
        connections: receiver.counters().connections,
        resident_mib,
        peak_mib: engine.child.peak_mib()?,
        waves: [first, second],
    };
    ensure!(
        ledger.duplicates() == 0 || shape.domains < shape.messages,
        "{} duplicates",
        ledger.duplicates()
    );
    engine.child.stop(Duration::from_secs(30)).await?;
    drop(receiver);
    Ok(report)
}

/// The receiver answers at once: what is measured is the engine.
async fn others(providers: u64, ledger: Ledger) -> Result<(Receiver, SocketAddr)> {
    let receiver = Receiver::builder()
        .ledger(ledger)
        .without_transcripts()
        // All providers' hosts are addresses of this machine.
        .listen(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))
        .await?;
    Ok((receiver, names::serve(providers).await?))
}

fn plan(shape: Shape, port: u16, names: SocketAddr, directory: Option<PathBuf>) -> EnginePlan {
    let source = |source: u64| {
        format!(
            "  - {{id: s{source}, ip: 127.0.0.{}, ehlo: mta{source}.bench.test}}\n",
            source + 2
        )
    };
    let sources: String = (0..shape.sources).map(source).collect();
    let extra = format!(
        "dns: {{servers: [\"{names}\"]}}\ndelivery: {{port: {port}, tls: off, allow_networks: [127.0.0.0/8]}}\nhealth: \
         {{dnsbl: []}}\nsources:\n{sources}",
    );
    EnginePlan {
        sink: BY_MX,
        connections: 0,
        dkim: false,
        directory,
        extra,
        sabotage: None,
    }
}

/// Sends so many mails and waits until all are delivered, those of the waves before too.
async fn wave(engine: &Engine, ledger: &Ledger, shape: Shape, number_of_wave: u64) -> Result<WaveReport> {
    let load = Load {
        address: engine.api,
        key: engine.key.clone(),
        messages: shape.messages,
        connections: 8,
        rate: 0,
        shape: MailShape {
            size: 4096,
            domains: shape.domains,
            batch: BATCH,
            class: None,
            from: format!("shop@{SENDER_DOMAIN}"),
        },
    };
    let (began, cpu) = (now(), engine.child.cpu_seconds()?);
    load.send(&output::bar(shape.messages, "accepted")).await?;
    let wanted = shape.messages * number_of_wave;
    let (mut seen, mut since) = (0, now());
    // What was received is settled a moment later: the engine is asked, once there is reason to.
    while ledger.total() < wanted || delivered(engine).await? < number(wanted) {
        if ledger.total() > seen {
            (seen, since) = (ledger.total(), now());
        }
        if now().duration_since(since) > STALL {
            bail!("{seen} of {wanted} were received, and nothing more for {STALL:?}");
        }
        tokio::time::sleep(POLL).await;
    }
    let seconds = now().duration_since(began).as_secs_f64();
    Ok(WaveReport {
        cpu_seconds_per_1000: (engine.child.cpu_seconds()? - cpu) / number(shape.messages) * 1000.0,
        messages_per_second: number(shape.messages) / seconds,
        resident_mib: engine.child.resident_mib()?,
    })
}

async fn delivered(engine: &Engine) -> Result<f64> {
    Ok(scrape::sum(&engine.metrics_text().await?, "posthaste_delivered_total"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wave_is_compared_with_the_one_of_its_pair() {
        let run = |many, new: f64, known: f64| RunReport {
            many,
            lanes: 1,
            connections: 1,
            resident_mib: 1.0,
            peak_mib: if many { 200.0 } else { 100.0 },
            waves: [new, known].map(|cpu_seconds_per_1000| WaveReport {
                cpu_seconds_per_1000,
                messages_per_second: 1.0,
                resident_mib: 1.0,
            }),
        };
        let arguments = LanesArguments {
            lanes: 500,
            sources: 5,
            domains: 100,
            messages: None,
            pairs: 1,
            directory: None,
            json: false,
            smoke: false,
        };
        for (new, known, kept) in [(0.4, 0.2, true), (0.5, 0.2, false), (0.4, 0.41, false)] {
            let report = sum_up(&arguments, 100, vec![run(false, 0.2, 0.2), run(true, new, known)]);
            assert_eq!(report.is_kept, kept, "{new} {known}: {:?}", report.ratios);
            assert!((report.ratios[0] - new / 0.2).abs() < 1e-9);
        }
    }
}
