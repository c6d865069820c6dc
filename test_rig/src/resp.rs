//! Enough of Redis' protocol to give a server orders. Written here, so that the rig and what is tested share no mistake.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// A reply that takes longer is an error.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sends commands over one connection; gives the last reply as text, elements of arrays on lines of their own.
pub(crate) fn call(socket: &Path, commands: &[Vec<&str>]) -> io::Result<String> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut connection = BufReader::new(stream);
    let mut last = String::new();
    for words in commands {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request += &format!("${}\r\n{word}\r\n", word.len());
        }
        connection.get_mut().write_all(request.as_bytes())?;
        last = reply(&mut connection)?;
    }
    Ok(last)
}

fn reply(connection: &mut BufReader<UnixStream>) -> io::Result<String> {
    let mut line = String::new();
    if connection.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let line = line.trim_end();
    let (kind, rest) = line.split_at_checked(1).ok_or(io::ErrorKind::InvalidData)?;
    let count = || rest.parse::<i64>().map_err(io::Error::other);
    match kind {
        "+" | ":" => Ok(rest.to_owned()),
        "$" => {
            let Ok(length) = usize::try_from(count()?) else {
                return Ok(String::new());
            };
            let mut bytes = vec![0; length + 2];
            connection.read_exact(&mut bytes)?;
            bytes.truncate(length);
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        }
        "*" => {
            let elements: io::Result<Vec<String>> = (0..count()?).map(|_| reply(connection)).collect();
            Ok(elements?.join("\n"))
        }
        _ => Err(io::Error::other(rest.to_owned())),
    }
}
