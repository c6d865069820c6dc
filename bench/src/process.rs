//! A process that is measured: its CPU time and memory as Linux tells them, and its end when nobody needs it any more.

use std::process::{Child as StdChild, Command};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::fit::number;

/// Ticks of `/proc/<pid>/stat` a second: fixed by the kernel's interface on Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// A running process; killed when dropped.
#[derive(Debug)]
pub(crate) struct Child {
    child: StdChild,
}

impl Child {
    pub(crate) fn spawn(mut command: Command, what: &str) -> Result<Self> {
        let child = command
            .spawn()
            .with_context(|| format!("cannot start the {what}: {:?}", command.get_program()))?;
        Ok(Self { child })
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// CPU seconds so far, user and system.
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        cpu_seconds_of(self.child.id())
    }

    /// Most memory that was resident, in MiB.
    pub(crate) fn peak_mib(&self) -> Result<f64> {
        self.memory_mib("VmHWM:")
    }

    /// Memory that is resident now, in MiB.
    pub(crate) fn resident_mib(&self) -> Result<f64> {
        self.memory_mib("VmRSS:")
    }

    fn memory_mib(&self, name: &str) -> Result<f64> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(&path).with_context(|| path.clone())?;
        mib(&status, name).with_context(|| format!("{path} has no {name}"))
    }

    /// Its standard output, once, if it was piped.
    pub(crate) fn take_stdout(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks it to stop (SIGTERM) and waits; after `patience` it is killed.
    pub(crate) async fn stop(&mut self, patience: Duration) -> Result<bool> {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status()?;
        let ended = async {
            while self.is_running() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        Ok(tokio::time::timeout(patience, ended).await.is_ok())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU seconds of a process so far, user and system.
pub(crate) fn cpu_seconds_of(process: u32) -> Result<f64> {
    let path = format!("/proc/{process}/stat");
    let stat = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    cpu_seconds(&stat).with_context(|| format!("{path} looks different"))
}

/// The command name stands in parentheses and may hold blanks; what follows is plain. Fields 14 and 15 of `proc(5)`.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(number(user + system) / TICKS_PER_SECOND)
}

fn mib(status: &str, name: &str) -> Option<f64> {
    let line = status.lines().find(|line| line.starts_with(name))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(number(kib) / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_behind_a_name_with_blanks_and_parentheses() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 900 0 0 0 250 50 0 0 20 0 7 0 100 1000 200";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds("nonsense"), None);
    }

    #[test]
    fn memory_is_given_in_mib() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(
            ["VmHWM:", "VmRSS:", "None:"].map(|name| mib(status, name)),
            [Some(2.0), Some(1.0), None]
        );
    }
}
