//! What the machine gives: folder, disk, key, store, ports, clock.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::super::{beside, serve};
use super::report::{Line, Mark};
use crate::app::{SECRET_KEY_FILE, SECRET_KEY_VARIABLE};
use crate::clock::Clock;
use crate::config::{Settings, StoreSettings};
use crate::domain::Timestamp;

/// Less free space than this, in MiB, is bad; less than the second deserves a look.
const FREE_MIB_LEAST: u64 = 256;
const FREE_MIB_ENOUGH: u64 = 2_048;
/// No clock is right that shows an earlier time: this program is younger (2025-01-01).
const EARLIEST: Timestamp = Timestamp(1_735_689_600_000);
/// The engine reads the clock at its start; later corrections do not reach it.
const CLOCKS_DIFFER_MAX: Duration = Duration::from_secs(5);
/// A Redis that does not answer by then does not answer.
const REDIS_LONGEST: Duration = Duration::from_secs(3);

/// What a running engine says of itself: the answer of `/v1/admin/why`; none when none runs or it does not answer.
pub(super) async fn engine(settings: &Settings) -> Option<Value> {
    beside::ask(settings, "GET", "/v1/admin/why", None).await.ok()
}

/// Everything but names.
pub(super) async fn look(settings: &Settings, engine: &Option<Value>) -> Vec<Line> {
    let mut lines = vec![running(settings, engine)];
    lines.extend(folder(&settings.data));
    lines.push(disk(&settings.data));
    lines.push(secret(&settings.data));
    lines.push(store(settings, engine.is_some()).await);
    lines.push(port("api.listen", settings.api_listen, engine.is_some()));
    lines.extend(
        settings
            .metrics_listen
            .map(|address| port("metrics.listen", address, engine.is_some())),
    );
    lines.push(clock(engine.as_ref()));
    lines
}

fn running(settings: &Settings, engine: &Option<Value>) -> Line {
    let line = |mark, detail: String| Line::new("engine", "running", mark, detail);
    match engine {
        None => line(Mark::Skipped, format!("no engine runs on {}", settings.data.display())),
        Some(engine) => match engine["without_reason"].as_u64() {
            Some(0) | None => line(Mark::Good, format!("{} wait", engine["waiting"])),
            Some(count) => line(Mark::Bad, format!("{count} deliveries wait for nothing"))
                .remedy("This is a defect: the log names them. Please report it."),
        },
    }
}

fn folder(data: &Path) -> Vec<Line> {
    let line = |mark, detail: String| Line::new("data", "folder", mark, detail);
    let name = data.display();
    let Ok(about) = std::fs::metadata(data) else {
        return vec![line(
            Mark::Skipped,
            format!("{name} is not there; the first start makes it"),
        )];
    };
    let probe = data.join(".doctor");
    let written = std::fs::write(&probe, b"").and_then(|()| std::fs::remove_file(&probe));
    let mut lines = vec![match written {
        Ok(()) => line(Mark::Good, format!("{name} can be written to")),
        Err(error) => line(Mark::Bad, format!("{name}: {error}"))
            .remedy("Run this as the engine's user, or give the folder to that user."),
    }];
    if about.permissions().mode() & 0o077 != 0 {
        lines.push(
            line(Mark::Warning, format!("others on this machine may look into {name}"))
                .remedy(format!("chmod 700 {name}")),
        );
    }
    lines
}

fn disk(data: &Path) -> Line {
    let folder = data
        .ancestors()
        .find(|folder| folder.exists())
        .unwrap_or(Path::new("."));
    match rustix::fs::statvfs(folder) {
        Ok(about) => {
            let free_mib = about.f_bavail.saturating_mul(about.f_frsize) / (1024 * 1024);
            let mark = match free_mib {
                FREE_MIB_ENOUGH.. => Mark::Good,
                FREE_MIB_LEAST.. => Mark::Warning,
                _ => Mark::Bad,
            };
            Line::new("data", "disk", mark, format!("{free_mib} MiB are free"))
                .remedy("Make room: accepts are refused with 503 when the disk is full.")
        }
        Err(error) => Line::new("data", "disk", Mark::Warning, error.to_string()),
    }
}

fn secret(data: &Path) -> Line {
    let line = |mark, detail: String| Line::new("data", "secret key", mark, detail);
    if serve::variable(SECRET_KEY_VARIABLE).is_some() {
        return line(Mark::Good, format!("in {SECRET_KEY_VARIABLE}"));
    }
    let path = data.join(SECRET_KEY_FILE);
    match std::fs::metadata(&path) {
        Ok(about) if about.permissions().mode() & 0o077 == 0 => {
            line(Mark::Good, format!("{}; keep a copy elsewhere", path.display()))
        }
        Ok(_) => line(Mark::Bad, format!("others on this machine may read {}", path.display()))
            .remedy(format!("chmod 600 {}", path.display())),
        Err(_) => line(Mark::Skipped, "the first start makes it".to_owned()),
    }
}

async fn store(settings: &Settings, is_running: bool) -> Line {
    let line = |mark, detail: String| Line::new("store", "store", mark, detail);
    if is_running {
        return line(Mark::Good, "the engine reads it".to_owned());
    }
    match &settings.store {
        StoreSettings::Embedded(_) => match settings.data.join("posthaste.redb").metadata() {
            Ok(about) => line(
                Mark::Good,
                format!("{} MiB; it is checked at a start", about.len() / (1024 * 1024)),
            ),
            Err(_) => line(Mark::Skipped, "the first start makes it".to_owned()),
        },
        StoreSettings::Redis { server, .. } => match server.ping(REDIS_LONGEST).await {
            Ok(()) => line(
                Mark::Good,
                "Redis answers; its settings are checked at a start".to_owned(),
            ),
            Err(problem) => line(Mark::Bad, problem).remedy("Start it, or put `store` right in the config."),
        },
    }
}

fn port(name: &str, address: SocketAddr, is_running: bool) -> Line {
    let line = |mark, detail: String| Line::new("ports", name, mark, detail);
    let free = TcpListener::bind(address);
    match (free, is_running) {
        (Err(_), true) => line(
            Mark::Good,
            format!("something listens on {address}, and the engine runs"),
        ),
        (Ok(_), true) => line(
            Mark::Warning,
            format!("nobody listens on {address}, though the engine runs"),
        )
        .remedy("The engine was started with another config: start it again."),
        (Ok(_), false) => line(Mark::Good, format!("{address} is free")),
        (Err(error), false) => {
            line(Mark::Bad, format!("{address}: {error}")).remedy("Stop what has it, or choose another address.")
        }
    }
}

fn clock(engine: Option<&Value>) -> Line {
    let now = Clock::system().now();
    let line = |mark, detail: String| Line::new("clock", "clock", mark, detail);
    if now < EARLIEST {
        return line(Mark::Bad, format!("it is {now} here")).remedy("Set the clock, and keep it by NTP.");
    }
    let theirs = engine.and_then(|engine| engine["at"].as_str()?.parse::<jiff::Timestamp>().ok());
    let theirs = theirs.and_then(|at| u64::try_from(at.as_millisecond()).ok());
    match theirs.map(|at| Duration::from_millis(at.abs_diff(now.0))) {
        Some(differ) if differ > CLOCKS_DIFFER_MAX => line(
            Mark::Bad,
            format!("the engine's clock is {} s off this machine's", differ.as_secs()),
        )
        .remedy("Start the engine again: it reads the clock once."),
        _ => line(Mark::Good, now.to_string()),
    }
}
