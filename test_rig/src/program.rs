//! Programs that `tests/tools/setup.sh` unpacked.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

/// A program of an unpacked package, with the libraries that came along.
///
/// # Errors
/// When the package is not there.
pub fn program(package: &str, program: &str) -> io::Result<Command> {
    let place = root().join("target/tools").join(package);
    if !place.join("unpacked.txt").exists() {
        return Err(io::Error::other(format!(
            "{package} is missing: run tests/tools/setup.sh"
        )));
    }
    let mut libraries = Vec::new();
    for folder in ["lib", "usr/lib"].map(|name| place.join(name)) {
        let inside = fs::read_dir(folder).into_iter().flatten().flatten();
        let paths = inside.map(|entry| entry.path());
        libraries.extend(paths.filter(|path| path.to_string_lossy().contains("-linux-gnu")));
    }
    let mut command = Command::new(place.join(program));
    let libraries = std::env::join_paths(libraries).map_err(io::Error::other)?;
    command.env("LD_LIBRARY_PATH", libraries);
    Ok(command)
}

/// The repository's root.
fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}

/// Sends a signal, by its name, to a process that we started.
pub(crate) fn signal(process: u32, name: &str) -> io::Result<()> {
    let status = Command::new("sh")
        .arg("-c")
        .arg(format!("kill -{name} {process}"))
        .status()?;
    match status.success() {
        true => Ok(()),
        false => Err(io::Error::other(format!("kill -{name} {process} failed"))),
    }
}
