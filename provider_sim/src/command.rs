//! Reads one command line of SMTP, strictly: a simulated provider that forgives would hide our mistakes.
//!
//! Takes the bytes of a line without its end; gives a [`Command`]. Never does I/O and never looks at the session.

/// One command, as the client spelt it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    Ehlo(String),
    Helo(String),
    Mail {
        sender: String,
        parameters: Vec<(String, Option<String>)>,
    },
    Rcpt {
        recipient: String,
        parameters: Vec<(String, Option<String>)>,
    },
    Data,
    Rset,
    Noop,
    Quit,
    StartTls,
    Auth {
        mechanism: String,
        initial: Option<String>,
    },
    Vrfy,
    /// A known verb with arguments that RFC 5321 does not allow.
    Malformed(&'static str),
    Unknown,
}

/// Reads a command line. Verbs are case-insensitive; everything else is as RFC 5321 section 4.1 writes it.
pub(crate) fn parse(line: &[u8]) -> Command {
    let text = String::from_utf8_lossy(line);
    let (verb, argument) = match text.split_once(' ') {
        Some((verb, argument)) => (verb, argument),
        None => (text.as_ref(), ""),
    };
    match verb.to_ascii_uppercase().as_str() {
        "EHLO" if is_domain(argument) => Command::Ehlo(argument.to_owned()),
        "HELO" if is_domain(argument) => Command::Helo(argument.to_owned()),
        "EHLO" | "HELO" => Command::Malformed("EHLO and HELO take one domain"),
        "MAIL" => mail(argument),
        "RCPT" => rcpt(argument),
        "DATA" => bare(argument, Command::Data),
        "RSET" => bare(argument, Command::Rset),
        "QUIT" => bare(argument, Command::Quit),
        "STARTTLS" => bare(argument, Command::StartTls),
        "NOOP" => Command::Noop,
        "VRFY" => Command::Vrfy,
        "AUTH" => auth(argument),
        _ => Command::Unknown,
    }
}

fn bare(argument: &str, command: Command) -> Command {
    if argument.is_empty() {
        command
    } else {
        Command::Malformed("this command takes no argument")
    }
}

fn is_domain(argument: &str) -> bool {
    !argument.is_empty() && argument.bytes().all(|byte| byte > 32 && byte != 127)
}

fn mail(argument: &str) -> Command {
    match path_and_parameters(argument, "FROM:") {
        Some((sender, parameters)) if sender.is_empty() || is_address(&sender) => Command::Mail { sender, parameters },
        _ => Command::Malformed("expected MAIL FROM:<address> without a space after the colon"),
    }
}

fn rcpt(argument: &str) -> Command {
    match path_and_parameters(argument, "TO:") {
        Some((recipient, parameters)) if is_address(&recipient) || recipient.eq_ignore_ascii_case("postmaster") => {
            Command::Rcpt { recipient, parameters }
        }
        _ => Command::Malformed("expected RCPT TO:<address> without a space after the colon"),
    }
}

type Parameters = Vec<(String, Option<String>)>;

fn path_and_parameters(argument: &str, keyword: &str) -> Option<(String, Parameters)> {
    let head = argument.get(..keyword.len())?;
    if !head.eq_ignore_ascii_case(keyword) {
        return None;
    }
    let rest = argument[keyword.len()..].strip_prefix('<')?;
    let end = path_end(rest)?;
    let path = rest[..end].to_owned();
    let tail = &rest[end + 1..];
    if tail.is_empty() {
        return Some((path, Vec::new()));
    }
    let mut parameters = Vec::new();
    for word in tail.strip_prefix(' ')?.split(' ') {
        if word.is_empty() {
            return None;
        }
        parameters.push(match word.split_once('=') {
            Some((key, value)) => (key.to_ascii_uppercase(), Some(value.to_owned())),
            None => (word.to_ascii_uppercase(), None),
        });
    }
    Some((path, parameters))
}

/// Where the closing `>` of a path stands: one inside a quoted local part does not count.
fn path_end(rest: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (index, byte) in rest.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some(index),
            _ => {}
        }
    }
    None
}

fn is_address(path: &str) -> bool {
    let Some((local, domain)) = path.rsplit_once('@') else {
        return false;
    };
    let quoted = local.len() >= 2 && local.starts_with('"') && local.ends_with('"');
    let clean = |byte: u8| byte > 32 && byte != 127 && byte != b'<' && byte != b'>';
    !local.is_empty()
        && !domain.is_empty()
        && domain.bytes().all(clean)
        && (quoted || local.bytes().all(clean))
        && path.bytes().all(|byte| byte >= 32 && byte != 127)
}

fn auth(argument: &str) -> Command {
    let mut words = argument.split(' ');
    let mechanism = words.next().unwrap_or("").to_ascii_uppercase();
    let initial = words.next().map(str::to_owned);
    if mechanism.is_empty() || words.next().is_some() {
        return Command::Malformed("expected AUTH mechanism [initial-response]");
    }
    Command::Auth { mechanism, initial }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mail_of(sender: &str, parameters: &[(&str, Option<&str>)]) -> Command {
        Command::Mail {
            sender: sender.to_owned(),
            parameters: parameters
                .iter()
                .map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned)))
                .collect(),
        }
    }

    #[test]
    fn commands_are_read_as_rfc_5321_writes_them() {
        let rcpt_of = |recipient: &str| Command::Rcpt {
            recipient: recipient.to_owned(),
            parameters: Vec::new(),
        };
        let table: Vec<(&str, Command)> = vec![
            ("EHLO mx.test", Command::Ehlo("mx.test".into())),
            ("ehlo [127.0.0.1]", Command::Ehlo("[127.0.0.1]".into())),
            ("MAIL FROM:<>", mail_of("", &[])),
            (
                "mail from:<a@b> SIZE=12 smtputf8",
                mail_of("a@b", &[("SIZE", Some("12")), ("SMTPUTF8", None)]),
            ),
            ("MAIL FROM:<\"a>b\"@c>", mail_of("\"a>b\"@c", &[])),
            ("RCPT TO:<a@b.test>", rcpt_of("a@b.test")),
            ("RCPT TO:<postmaster>", rcpt_of("postmaster")),
            ("DATA", Command::Data),
            (
                "AUTH PLAIN AGEAYg==",
                Command::Auth {
                    mechanism: "PLAIN".into(),
                    initial: Some("AGEAYg==".into()),
                },
            ),
            ("XYZZY", Command::Unknown),
            ("", Command::Unknown),
        ];
        for (line, expect) in table {
            assert_eq!(parse(line.as_bytes()), expect, "{line}");
        }
    }

    #[test]
    fn what_rfc_5321_does_not_allow_is_malformed() {
        for line in [
            "EHLO",
            "EHLO two words",
            "MAIL FROM: <a@b>",
            "MAIL FROM:a@b",
            "MAIL FROM:<a@b>SIZE=1",
            "MAIL FROM:<a@b>  SIZE=1",
            "MAIL FROM:<a b@c>",
            "MAIL FROM:<nobody>",
            "RCPT TO:<>",
            "RCPT TO:<a@>",
            "DATA now",
            "AUTH",
        ] {
            assert!(matches!(parse(line.as_bytes()), Command::Malformed(_)), "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_line_makes_the_parser_panic(line in proptest::collection::vec(any::<u8>(), 0..80), verb in 0usize..4) {
            let prefix = ["", "MAIL FROM:<", "RCPT TO:<", "AUTH "][verb];
            let mut whole = prefix.as_bytes().to_vec();
            whole.extend_from_slice(&line);
            let _ = parse(&whole);
        }
    }
}
