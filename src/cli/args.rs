//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use super::tenants::{self, TenantAction};
use super::{check_config, demo, doctor, keys, lanes, migrate, nodes, output};
use super::{reload, rules, serve, unclassified, warmup, why, why_all};

/// Posthaste: a self-hosted email API platform and delivery engine.
///
/// Without a command it serves: the API on 127.0.0.1:8080, metrics on 127.0.0.1:9464, everything kept in ./data.
#[derive(Debug, Parser)]
#[command(
    name = "posthaste",
    version,
    after_help = "First time here? `posthaste demo` shows it all on this machine in two minutes and leaves nothing behind."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The config file. The one in the project's root is the manual: every key with its default.
    #[arg(long, short, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the engine (the default): accept mail over HTTP, deliver it, report.
    ///
    /// The first start makes a tenant and prints its API key, once. SIGTERM stops gently: no new mail, sessions past the
    /// final dot may finish. A second SIGTERM stops at once.
    Serve(ServeArgs),
    /// Show the engine against five simulated providers: 10,000 mails, a table, a balance.
    ///
    /// Everything is on loopback and in a temporary folder. Retry times are shortened by the demo's config. What was
    /// received is counted by the receivers. Exit code 1 when accepted, final states and received do not agree.
    Demo(DemoArgs),
    /// Check a config file and say what is wrong with it, and where.
    CheckConfig,
    /// Look at everything that mail needs: folder, disk, store, ports, clock, name servers, sources, domains.
    ///
    /// Says what is wrong and what to do about it; exit code 1 when something is. Works beside a running engine and without
    /// one. Changes nothing.
    Doctor {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// List, make or revoke API keys of a running engine.
    Keys {
        /// What to do with keys.
        #[command(subcommand)]
        action: KeyAction,
    },
    /// Move everything from one store into another: `--from embedded:./data --to redis://127.0.0.1/0`, or back.
    ///
    /// Stop all engines first. Can be stopped and run again at any point, with the same words. At the end both sides are
    /// counted, by tenant and state; exit code 1 when that does not balance. The old store keeps what it had and is marked as
    /// moved: no engine starts on it, and nothing moves into it. The new one must be empty.
    ///
    /// DKIM keys are opened and sealed with the `secret.key` in the embedded side's folder (or POSTHASTE_SECRET_KEY). From
    /// Redis into a new folder, put that file there first.
    Migrate {
        /// The store that is full: `embedded:DIRECTORY`, `redis://…` or `rediss://…`.
        #[arg(long, value_name = "STORE")]
        from: String,
        /// The store that is empty.
        #[arg(long, value_name = "STORE")]
        to: String,
    },
    /// Show how lanes stand on this node, or what was decided for one lane, when, and from which reply.
    ///
    /// A lane is a source and a provider, as in `posthaste lanes a google`.
    Lanes {
        /// The source.
        #[arg(requires = "provider")]
        source: Option<String>,
        /// The provider.
        provider: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show which nodes share the store of a running engine, and which source belongs to whom.
    ///
    /// A node says that it is there six times in a lease (`engine.lease`). One that died is listed until its time is over;
    /// then the others take its sources.
    Nodes,
    /// Show how far the warm-ups of new sources are: today's cap, what is used of it, and tomorrow's.
    ///
    /// State: growing; unused (less than half of the cap went out, so it stays); held (too many deferrals or complaints);
    /// halved (a block); idle (no mail for two weeks); done (no cap any more).
    Warmup {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Have the running engine read its config and rules again, as SIGHUP does.
    ///
    /// Everything is checked first: a bad file changes nothing, and what is wrong with it is the answer. Says what is in use
    /// now and what needs a restart.
    Reload,
    /// Look at rules before an engine uses them.
    Rules {
        /// What to do with rules.
        #[command(subcommand)]
        action: RulesAction,
    },
    /// List replies that no rule knows, so that a rule can be written for them.
    Unclassified {
        /// Print JSON, one reply a line: what `posthaste rules replay` reads.
        #[arg(long)]
        json: bool,
    },
    /// Show how tenants are treated for their bounces and complaints; pause or resume a stream of one.
    Tenants {
        /// What to do; nothing shows them.
        #[command(subcommand)]
        action: Option<TenantAction>,
    },
    /// Say why a message has not gone out yet, or what became of it.
    Why {
        /// The id that the API gave: 202's `id`.
        #[arg(required_unless_present = "all")]
        id: Option<String>,
        /// Not one message but all that wait: how many, for what, until when.
        #[arg(long, conflicts_with = "id")]
        all: bool,
        /// With --all: a line for each lane, or for each tenant.
        #[arg(long, value_parser = ["lane", "tenant"], default_value = "lane")]
        by: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Arguments of `serve`.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct ServeArgs {
    /// Start on a Redis whose settings can lose accepted mail (see the README's table).
    #[arg(long)]
    pub allow_volatile_queue: bool,
    /// Begin anew: Redis may hold another store than the one that this data directory knows, or none.
    ///
    /// For one start, after a `migrate` into another Redis, or after a Redis that was emptied on purpose. Mail of the former
    /// store is not delivered from here.
    #[arg(long)]
    pub accept_new_store: bool,
}

/// Arguments of `demo`.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// How many mails to send.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub messages: u64,
    /// Print what the lanes do as one JSON object every two seconds, and the balance as the last line; what is for people goes to
    /// standard error.
    #[arg(long)]
    pub json: bool,
}

/// What to do with keys.
#[derive(Debug, Clone, Subcommand)]
pub enum KeyAction {
    /// Show all keys: id, name, last four characters.
    List,
    /// Make a key and show it, once.
    #[command(visible_alias = "add")]
    Create {
        /// What it is for.
        name: String,
        /// It may also do what operators do: everything under /v1/admin.
        #[arg(long)]
        admin: bool,
    },
    /// Make a key useless, at once.
    Revoke {
        /// Its id, as `list` shows it.
        id: String,
    },
}

/// What to do with rules.
#[derive(Debug, Clone, Subcommand)]
pub enum RulesAction {
    /// Find rules that never match, or not as they look: unreachable ones, contradictions, dead patterns.
    ///
    /// Exit code 1 when there is something to mend.
    Lint {
        /// A directory with bounces.yaml, providers.yaml or warmup.yaml. Default: the rules of the config, else those that are built in.
        #[arg(value_name = "DIR")]
        folder: Option<PathBuf>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show what other rules would have made of recorded replies: which meaning changed, how often.
    Replay {
        /// Recorded replies: JSON lines with provider, stage, code, enhanced, text and count (as `posthaste unclassified
        /// --json` prints them), or the form of tests/corpus/replies.yaml.
        file: PathBuf,
        /// The new rules. Default: those of the config.
        #[arg(long, value_name = "DIR")]
        rules: Option<PathBuf>,
        /// The old rules. Default: those that are built in.
        #[arg(long, value_name = "DIR")]
        against: Option<PathBuf>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    let outcome = match cli.command.unwrap_or(Command::Serve(ServeArgs::default())) {
        Command::Serve(args) => serve::run(cli.config, args),
        Command::Demo(args) => demo::run(&args),
        Command::CheckConfig => check_config::run(cli.config),
        Command::Doctor { json } => doctor::run(cli.config, json),
        Command::Keys { action } => keys::run(cli.config, &action),
        Command::Migrate { from, to } => migrate::run(cli.config, &from, &to),
        Command::Lanes { source, provider, json } => {
            lanes::run(cli.config, source.as_deref().zip(provider.as_deref()), json)
        }
        Command::Nodes => nodes::run(cli.config),
        Command::Warmup { json } => warmup::run(cli.config, json),
        Command::Reload => reload::run(cli.config),
        Command::Unclassified { json } => unclassified::run(cli.config, json),
        Command::Rules { action } => match action {
            RulesAction::Lint { folder, json } => rules::lint(cli.config, folder, json),
            RulesAction::Replay {
                file,
                rules,
                against,
                json,
            } => rules::replay(
                cli.config,
                &rules::Replay {
                    file,
                    rules,
                    against,
                    json,
                },
            ),
        },
        Command::Tenants { action } => tenants::run(cli.config, action.as_ref()),
        Command::Why { id: Some(id), json, .. } => why::run(cli.config, &id, json),
        Command::Why { id: None, by, json, .. } => why_all::run(cli.config, &by, json),
    };
    outcome.unwrap_or_else(|error| {
        output::note(&format!("posthaste: {error:#}"));
        ExitCode::FAILURE
    })
}
