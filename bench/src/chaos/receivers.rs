//! Three receivers in this process, which survives everything: one keeps a message whose client went away after the dot,
//! one drops it, one tosses a coin. Two of them also go away themselves after a dot, now and then: with the message, and
//! without it.
//!
//! Takes a folder; gives addresses, and afterwards all copies from the synced files. A copy is in its file before the 250.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use provider_sim::{Act, Behaviour, JournalLine, Keep, Ledger, OnLost, Receiver, Script, Share, Stage};

use super::mail::DOMAINS;

/// Between dot and 250: kills hit the wait for the answer.
const DOT_WAIT_MS: u64 = 60;
/// Connections of the engine to each receiver.
const CONNECTIONS: u32 = 12;
/// Of all messages so many are refused for their content.
const REJECTED: f64 = 0.01;

/// The message of a connection whose answer never comes.
const UNANSWERED_MESSAGE: u64 = 8;

/// The receivers of a run.
#[derive(Debug)]
pub(crate) struct Receivers {
    all: Vec<(Receiver, PathBuf)>,
}

impl Receivers {
    /// Starts all three.
    pub(crate) async fn start(folder: &Path) -> Result<Self> {
        let mut all = Vec::new();
        for (domain, on_lost) in DOMAINS.into_iter().zip([OnLost::Keep, OnLost::Drop, OnLost::Coin]) {
            let path = folder.join(format!("{domain}.jsonl"));
            let ledger = Ledger::with_journal(Keep::Counts, &path).with_context(|| path.display().to_string())?;
            let receiver = Receiver::builder()
                .behaviour(Behaviour {
                    name: domain.to_owned(),
                    message_delay_ms: DOT_WAIT_MS,
                    on_lost,
                    unknown_users: Share::beginning_with("nobody-"),
                    mailbox_full: Share::beginning_with("full-"),
                    mailbox_full_times: Some(2),
                    reject_share: REJECTED,
                    ..Behaviour::default()
                })
                .script(script(on_lost))
                .ledger(ledger)
                .without_transcripts()
                .listen(SocketAddr::from(([127, 0, 0, 1], 0)))
                .await?;
            all.push((receiver, path));
        }
        Ok(Self { all })
    }

    /// The routes of an engine's config: each domain at its receiver.
    pub(crate) fn routes(&self) -> String {
        let mut text = String::from("routes:\n");
        for ((receiver, _), domain) in self.all.iter().zip(DOMAINS) {
            let address = receiver.address();
            text += &format!(
                "  - {{name: {name}, domains: [\"{domain}\"], host: {ip}, port: {port}, tls: off, connections: \
                 {CONNECTIONS}, messages_per_connection: 200}}\n",
                name = domain.trim_end_matches(".test"),
                ip = address.ip(),
                port = address.port(),
            );
        }
        text
    }

    /// Sessions that can wait for the answer to their dot at the same time.
    pub(crate) fn sessions_max(engines: u64) -> u64 {
        u64::from(CONNECTIONS) * DOMAINS.len() as u64 * engines
    }

    /// Copies so far.
    pub(crate) fn copies(&self) -> u64 {
        self.all.iter().map(|(receiver, _)| receiver.ledger().total()).sum()
    }

    /// Every copy, as the files hold it.
    pub(crate) fn read(&self) -> Result<Vec<JournalLine>> {
        let mut copies = Vec::new();
        for (_, path) in &self.all {
            copies.extend(Ledger::read_journal(path).with_context(|| path.display().to_string())?);
        }
        Ok(copies)
    }
}

/// What a receiver does wrong itself.
fn script(on_lost: OnLost) -> Script {
    let unanswered = Script::new().on_message(UNANSWERED_MESSAGE);
    match on_lost {
        OnLost::Keep => Script::new(),
        OnLost::Drop => unanswered.at(Stage::Dot, Act::Close),
        OnLost::Coin => unanswered.at(Stage::Dot, [Act::Keep, Act::Reset]),
    }
}
