//! What both mail servers have in common: a folder of their own, a port, a maildir, logs that a failed test shows.
//!
//! Takes a folder and a command; gives a running server that ends with the value. Its worker processes watch the first one
//! and end by themselves.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use tempfile::TempDir;

/// Longest wait for anything a peer does. Generous: a machine that is busy is no failure.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at what is waited for.
const LOOK: Duration = Duration::from_millis(20);
/// Account (and its group) that servers work under when root starts them: `mail` of every Debian.
pub(super) const MAIL_ACCOUNT: u32 = 8;

/// What servers write when a client does not keep to the protocol, or when they are ill themselves.
const COMPLAINTS: [&str; 14] = [
    "improper command pipelining",
    "synchronization error",
    "protocol error",
    "syntax error",
    "lost connection",
    "unexpected disconnection",
    "connection lost",
    "too many",
    "timeout",
    "warning:",
    "error:",
    "fatal:",
    "panic",
    "rejected",
];

/// Waits until `done` gives something.
pub(super) async fn eventually<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            match done() {
                Some(found) => return found,
                None => tokio::time::sleep(LOOK).await,
            }
        }
    };
    let found = tokio::time::timeout(PATIENCE, looking).await;
    found.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

/// A port that nobody listens on. It is not one of those that the system gives out, so nobody gets it by chance before the
/// server takes it.
fn free_port() -> u16 {
    let some = std::iter::repeat_with(|| fastrand::u16(20_000..30_000));
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    some.take(100).find(free).expect("a free port")
}

/// A folder for one server, and what is known before it starts.
pub(super) struct Ground {
    pub(super) folder: TempDir,
    pub(super) port: u16,
    /// Who starts the server.
    pub(super) owner: u32,
}

impl Ground {
    pub(super) fn new(maildir: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let owner = fs::metadata(folder.path()).unwrap().uid();
        let port = free_port();
        let ground = Self { folder, port, owner };
        ground.directory(maildir);
        let key = rcgen::generate_simple_self_signed(vec!["peer.test".to_owned()]).unwrap();
        ground.file("certificate.pem", &key.cert.pem());
        ground.file("key.pem", &key.signing_key.serialize_pem());
        ground.give("key.pem");
        ground
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn file(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Makes a directory that the server may write to.
    pub(super) fn directory(&self, name: &str) {
        fs::create_dir_all(self.path(name)).unwrap();
        self.give(name);
    }

    /// The account that the server works under.
    pub(super) fn account(&self) -> u32 {
        if self.owner == 0 { MAIL_ACCOUNT } else { self.owner }
    }

    fn give(&self, name: &str) {
        if self.owner == 0 {
            chown(self.path(name), Some(MAIL_ACCOUNT), Some(MAIL_ACCOUNT)).unwrap();
        }
    }
}

/// A program of one of the unpacked packages, with the libraries that came along.
pub(super) fn program(package: &str, program: &str) -> (PathBuf, Command) {
    let place = crate::mail_peers::root().join("target/tools").join(package);
    assert!(
        place.join("unpacked.txt").exists(),
        "{package} is missing: run tests/tools/setup.sh"
    );
    let mut libraries = vec![place.join("usr/lib/postfix")];
    for folder in ["lib", "usr/lib"].map(|name| place.join(name)) {
        let inside = fs::read_dir(folder)
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().path());
        libraries.extend(inside.filter(|path| path.to_string_lossy().contains("-linux-gnu")));
    }
    let mut command = Command::new(place.join(program));
    command.env("LD_LIBRARY_PATH", std::env::join_paths(libraries).unwrap());
    (place, command)
}

/// Whether a server answers, asked in a way that it does not complain about.
fn greeted(port: u16) -> std::io::Result<()> {
    let mut connection = BufReader::new(TcpStream::connect(("127.0.0.1", port))?);
    connection.get_ref().set_read_timeout(Some(PATIENCE))?;
    for (expect, say) in [("220 ", "QUIT\r\n"), ("221 ", "")] {
        let mut line = String::new();
        connection.read_line(&mut line)?;
        if !line.starts_with(expect) {
            return Err(std::io::Error::other(line));
        }
        connection.get_mut().write_all(say.as_bytes())?;
    }
    Ok(())
}

/// What Postfix says of the machine it runs on, not of us: on a virtual machine the clock of the file system and that of
/// the processes can be a second apart.
const OF_THE_MACHINE: [&str; 2] = ["file system clock is", "resetting file time stamps"];

/// The first line of a log that complains about a client, or of an ill server.
fn complaint_in(log: &str) -> Option<String> {
    let log = log.to_lowercase();
    let has = |line: &str, words: &[&str]| words.iter().any(|word| line.contains(word));
    let mut lines = log.lines();
    let found = lines.find(|line| has(line, &COMPLAINTS) && !has(line, &OF_THE_MACHINE));
    found.map(str::to_owned)
}

#[test]
fn a_clock_that_is_ahead_is_no_complaint_but_what_stands_beside_it_is() {
    let clock = "postfix/cleanup[7]: warning: file system clock is 1 seconds ahead of local clock\n\
                 postfix/cleanup[7]: warning: resetting file time stamps - this hurts performance\n";
    assert_eq!(complaint_in(clock), None);
    let ours = "postfix/smtpd[8]: improper command pipelining after EHLO";
    assert_eq!(
        complaint_in(&format!("{clock}{ours}\n")).as_deref(),
        Some(&*ours.to_lowercase())
    );
}

/// A running mail server.
pub(super) struct Peer {
    /// For messages of tests.
    pub(super) name: &'static str,
    pub(super) port: u16,
    ground: Ground,
    maildir: &'static str,
    logs: &'static [&'static str],
    server: Child,
}

impl Peer {
    /// Starts `command` and waits until it listens.
    pub(super) async fn start(
        name: &'static str,
        ground: Ground,
        maildir: &'static str,
        logs: &'static [&'static str],
        mut command: Command,
    ) -> Self {
        let output = fs::File::create(ground.path("output")).unwrap();
        command.stdin(std::process::Stdio::null());
        command.stdout(output.try_clone().unwrap()).stderr(output);
        let mut peer = Self {
            name,
            port: ground.port,
            ground,
            maildir,
            logs,
            server: command.spawn().unwrap(),
        };
        eventually("the server answers", || {
            let ended = peer.server.try_wait().unwrap();
            assert!(ended.is_none(), "{name} did not start:\n{}", peer.log());
            greeted(peer.port).ok()
        })
        .await;
        peer
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.ground.path(name)
    }

    /// Makes the server read its configuration again.
    pub(super) fn reload(&self) {
        let command = format!("kill -HUP {}", self.server.id());
        let done = Command::new("sh").arg("-c").arg(command).status().unwrap();
        assert!(done.success());
    }

    /// What the server wrote, everywhere.
    pub(super) fn log(&self) -> String {
        let files = self.logs.iter().chain(&["output"]);
        files
            .map(|name| fs::read(self.path(name)).unwrap_or_default())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .collect()
    }

    /// How many lines of the log have all these words.
    pub(super) fn lines_with(&self, words: &[&str]) -> usize {
        let log = self.log();
        let has_all = |line: &&str| words.iter().all(|word| line.contains(word));
        log.lines().filter(has_all).count()
    }

    /// The messages in the mailbox, without those still being written.
    pub(super) fn mailbox(&self) -> Vec<Vec<u8>> {
        let new = self.path(self.maildir).join("new");
        let files = fs::read_dir(new).into_iter().flatten();
        files.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect()
    }

    /// Waits for `count` messages.
    pub(super) async fn mailbox_of(&self, count: usize) -> Vec<Vec<u8>> {
        let enough = || Some(self.mailbox()).filter(|mailbox| mailbox.len() >= count);
        eventually(&format!("{count} messages in the mailbox"), enough).await
    }

    /// The first line of the log that finds fault with a client, or with the server itself. In lower case.
    pub(super) fn complaint(&self) -> Option<String> {
        complaint_in(&self.log())
    }

    #[track_caller]
    pub(super) fn assert_no_complaints(&self) {
        assert_eq!(self.complaint(), None, "{}", self.name);
    }
}

impl Drop for Peer {
    #[expect(clippy::print_stdout, reason = "the logs of a failed test")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- {}\n{}", self.name, self.log());
        }
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Lines as the mailbox file has them: servers on this system end them with LF.
pub(super) fn write_eml(folder: &Path, number: usize, message: &[u8]) {
    fs::write(folder.join(format!("{number:04}.eml")), message).unwrap();
}
