//! A private redis-server: its own folder and socket, to be killed, frozen and started again.
//!
//! Takes [`RedisOptions`]; gives a server that answers. It is killed when the value is dropped. As it comes it keeps
//! everything: `appendonly yes`, `appendfsync everysec`, `noeviction`, no snapshots.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::program::{program, signal};
use crate::{Certificates, free_port, resp};

/// Looks at a starting server, and the pause between two: half a minute, for a busy machine that loads much.
const LOOKS: u32 = 3_000;
const PAUSE: Duration = Duration::from_millis(10);

/// How a server is to be.
#[derive(Debug, Clone, Default)]
pub struct RedisOptions {
    settings: Vec<(String, String)>,
    data: Option<PathBuf>,
    tcp: bool,
    tls: Option<Certificates>,
}

impl RedisOptions {
    /// The defaults: a socket and no port.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A line of redis.conf. One that is given again replaces the earlier one, but for `user`.
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> Self {
        if key != "user" {
            self.settings.retain(|(known, _)| known != key);
        }
        self.settings.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Listens on a free port of 127.0.0.1, too. The port stays the same through restarts.
    #[must_use]
    pub fn tcp(mut self) -> Self {
        self.tcp = true;
        self
    }

    /// The port speaks TLS with this certificate, and asks for none.
    #[must_use]
    pub fn tls(mut self, certificates: &Certificates) -> Self {
        self.tcp = true;
        self.tls = Some(certificates.clone());
        self
    }

    /// Keeps its data in this folder instead of its own: on a small file system, say.
    #[must_use]
    pub fn data(mut self, folder: &Path) -> Self {
        self.data = Some(folder.to_owned());
        self
    }
}

/// A running server.
#[derive(Debug)]
pub struct RedisServer {
    folder: TempDir,
    port: Option<u16>,
    tls: bool,
    password: Option<String>,
    child: Child,
}

impl RedisServer {
    /// Starts one and waits until it answers.
    ///
    /// # Errors
    /// When the program is not there, ends, or does not answer in half a minute; with what it wrote.
    pub fn start(options: &RedisOptions) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = options.tcp.then(free_port);
        fs::write(folder.path().join("redis.conf"), conf(options, folder.path(), port))?;
        let password = options.settings.iter().find(|(key, _)| key == "requirepass");
        let mut server = Self {
            child: spawn(folder.path())?,
            port,
            tls: options.tls.is_some(),
            password: password.map(|(_, password)| password.clone()),
            folder,
        };
        server.wait()?;
        Ok(server)
    }

    /// Its Unix socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    /// Its port, when it has one.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Where clients find it: `redis+unix://`, or by its port `redis://` or `rediss://`.
    #[must_use]
    pub fn url(&self) -> String {
        match self.port {
            None => format!("redis+unix://{}", self.socket().display()),
            Some(port) if self.tls => format!("rediss://127.0.0.1:{port}"),
            Some(port) => format!("redis://127.0.0.1:{port}"),
        }
    }

    /// The id of its process.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Gives it a command; gives the reply as text, elements of arrays on lines of their own.
    ///
    /// # Errors
    /// When it does not answer, or with an error.
    pub fn call(&self, words: &[&str]) -> io::Result<String> {
        let mut commands = Vec::new();
        if let Some(password) = &self.password {
            commands.push(vec!["AUTH", password]);
        }
        commands.push(words.to_vec());
        resp::call(&self.socket(), &commands)
    }

    /// Changes a setting of the running server.
    ///
    /// # Errors
    /// When it refuses.
    pub fn config_set(&self, key: &str, value: &str) -> io::Result<()> {
        self.call(&["CONFIG", "SET", key, value]).map(|_| ())
    }

    /// One line of `INFO`, such as `used_memory`.
    ///
    /// # Errors
    /// When it does not answer or knows no such line.
    pub fn info(&self, name: &str) -> io::Result<String> {
        let all = self.call(&["INFO", "everything"])?;
        let line = all.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(|value| value.trim().to_owned())
            .ok_or_else(|| io::Error::other(format!("INFO has no {name}")))
    }

    /// Kills it, as by `kill -9`.
    ///
    /// # Errors
    /// When the system cannot.
    pub fn kill(&mut self) -> io::Result<()> {
        if self.child.try_wait()?.is_none() {
            self.child.kill()?;
            self.child.wait()?;
        }
        Ok(())
    }

    /// Whether it has ended, by itself or killed.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn ended(&mut self) -> io::Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Starts it again on what it left, killing it first if it runs; waits until it answers and has loaded.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn restart(&mut self) -> io::Result<()> {
        self.kill()?;
        self.child = spawn(self.folder.path())?;
        self.wait()
    }

    /// Freezes it: connections stay and nothing is answered.
    ///
    /// # Errors
    /// When the system cannot.
    pub fn freeze(&self) -> io::Result<()> {
        signal(self.child.id(), "STOP")
    }

    /// Goes on after [`Self::freeze`].
    ///
    /// # Errors
    /// When the system cannot.
    pub fn thaw(&self) -> io::Result<()> {
        signal(self.child.id(), "CONT")
    }

    /// What it wrote.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = fs::read(self.folder.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a starting process is waited for, and nothing else runs here"
    )]
    fn wait(&mut self) -> io::Result<()> {
        for _ in 0..LOOKS {
            if self.child.try_wait()?.is_some() {
                break;
            }
            if self.call(&["PING"]).is_ok_and(|pong| pong == "PONG") {
                return Ok(());
            }
            std::thread::sleep(PAUSE);
        }
        self.kill()?;
        Err(io::Error::other(format!("redis-server did not start:\n{}", self.log())))
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

fn spawn(folder: &Path) -> io::Result<Child> {
    let log = File::options().create(true).append(true).open(folder.join("log"))?;
    program("redis", "usr/bin/redis-server")?
        .arg(folder.join("redis.conf"))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
}

fn conf(options: &RedisOptions, folder: &Path, port: Option<u16>) -> String {
    let data = options.data.as_deref().unwrap_or(folder);
    let plain = port.filter(|_| options.tls.is_none()).unwrap_or(0);
    let mut lines = vec![
        ("bind", "127.0.0.1".to_owned()),
        ("port", plain.to_string()),
        ("dir", data.display().to_string()),
        ("unixsocket", folder.join("redis.sock").display().to_string()),
        ("daemonize", "no".to_owned()),
        ("save", "\"\"".to_owned()),
        ("appendonly", "yes".to_owned()),
        ("appendfsync", "everysec".to_owned()),
        ("maxmemory-policy", "noeviction".to_owned()),
    ];
    if let (Some(tls), Some(port)) = (&options.tls, port) {
        lines.push(("tls-port", port.to_string()));
        lines.push(("tls-cert-file", tls.certificate.display().to_string()));
        lines.push(("tls-key-file", tls.key.display().to_string()));
        lines.push(("tls-ca-cert-file", tls.authority.display().to_string()));
        lines.push(("tls-auth-clients", "no".to_owned()));
    }
    lines.retain(|(key, _)| !options.settings.iter().any(|(set, _)| set == key));
    let chosen = options.settings.iter().map(|(key, value)| (&**key, value.clone()));
    let all = lines.into_iter().chain(chosen);
    all.map(|(key, value)| format!("{key} {value}\n")).collect()
}
