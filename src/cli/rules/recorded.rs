//! Files of recorded replies.
//!
//! Takes JSON lines (`provider`, `stage`, `code`, `enhanced`, `text`, `count`: what `posthaste unclassified --json` prints)
//! or the form of `tests/corpus/replies.yaml`; gives replies as they came. A line that cannot be read is an error with its
//! number: a comparison over half a file would mislead. Keys that it does not know are left alone.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;

use crate::domain::{EnhancedCode, ProviderId, Reply, Stage};
use crate::policy::classify::replay::Recorded;
use crate::smtp::{Progress, ReplyParser};

/// Largest file that is read.
const FILE_BYTES_MAX: u64 = 256 << 20;

#[derive(Debug, Deserialize)]
struct Line {
    provider: String,
    stage: String,
    code: u16,
    #[serde(default)]
    enhanced: Option<String>,
    text: String,
    #[serde(default = "once")]
    count: u64,
}

#[derive(Debug, Deserialize)]
struct Case {
    reply: String,
    from: From,
    #[serde(default = "once")]
    count: u64,
}

#[derive(Debug, Deserialize)]
struct From {
    provider: String,
    stage: String,
}

fn once() -> u64 {
    1
}

/// Reads a file of either form.
pub(super) fn read(path: &Path) -> Result<Vec<Recorded>> {
    let file = std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut text = String::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
    let read = read.with_context(|| format!("cannot read {}", path.display()))?;
    if read as u64 > FILE_BYTES_MAX {
        bail!(
            "{}: a file of replies has at most {FILE_BYTES_MAX} bytes",
            path.display()
        );
    }
    parse(&text).with_context(|| path.display().to_string())
}

fn parse(text: &str) -> Result<Vec<Recorded>> {
    let first = text.lines().map(str::trim).find(|line| !line.is_empty());
    match first {
        None => Ok(Vec::new()),
        Some(first) if first.starts_with('{') => lines(text),
        Some(_) => corpus(text),
    }
}

fn lines(text: &str) -> Result<Vec<Recorded>> {
    let lines = text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty());
    lines
        .map(|(line, number)| of_line(line).with_context(|| format!("line {number}")))
        .collect()
}

fn of_line(line: &str) -> Result<Recorded> {
    let line: Line = serde_json::from_str(line)?;
    let enhanced = match line.enhanced.as_deref() {
        None | Some("") => None,
        Some(code) => Some(
            code.parse::<EnhancedCode>()
                .map_err(|()| anyhow!("{code:?} is no enhanced code"))?,
        ),
    };
    Ok(Recorded {
        provider: ProviderId::from(line.provider.as_str()),
        stage: stage(&line.stage)?,
        reply: Reply {
            code: line.code,
            enhanced,
            text: line.text,
            odd: false,
        },
        count: line.count,
    })
}

fn corpus(text: &str) -> Result<Vec<Recorded>> {
    let cases: Vec<serde_saphyr::Spanned<Case>> = serde_saphyr::from_str(text).map_err(|error| anyhow!("{error}"))?;
    cases
        .into_iter()
        .map(|case| {
            let line = case.defined.line();
            of_case(case.value).with_context(|| format!("line {line}"))
        })
        .collect()
}

fn of_case(case: Case) -> Result<Recorded> {
    Ok(Recorded {
        provider: ProviderId::from(case.from.provider.as_str()),
        stage: stage(&case.from.stage)?,
        reply: as_on_the_wire(&case.reply)?,
        count: case.count,
    })
}

/// Reads a reply as a session would.
fn as_on_the_wire(text: &str) -> Result<Reply> {
    let mut parser = ReplyParser::default();
    let wire: String = text.lines().map(|line| format!("{line}\r\n")).collect();
    match parser.feed(wire.as_bytes()) {
        (_, Progress::Complete) => Ok(parser.reply()),
        (_, Progress::Partial | Progress::Broken) => bail!("{text:?} is no reply of a mail server"),
    }
}

fn stage(name: &str) -> Result<Stage> {
    Stage::of_name(name).filter(|stage| stage.has_replies()).ok_or_else(|| {
        anyhow!("{name:?} is no stage with replies: banner, ehlo, starttls, auth, mail_from, rcpt_to, data, body, dot")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_give_the_same_reply() {
        let line =
            r#"{"provider":"google","stage":"dot","code":421,"enhanced":"4.7.28","text":"slow down now","count":1}"#;
        let case = "# a comment\n- reply: \"421-4.7.28 slow\\n421 4.7.28 down now\"\n  from: {provider: google, stage: dot}\n  means: {any: thing}\n";
        let (line, case) = (parse(line).expect("JSON lines"), parse(case).expect("a corpus"));
        assert_eq!(
            (line[0].reply.code, line[0].reply.enhanced),
            (case[0].reply.code, case[0].reply.enhanced)
        );
        assert_eq!(
            (&line[0].provider, line[0].stage, line[0].count),
            (&case[0].provider, case[0].stage, case[0].count)
        );
        assert!(case[0].reply.text.contains("down now"), "{:?}", case[0].reply.text);
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named() {
        for (text, says) in [
            (
                "{\"provider\":\"a\",\"stage\":\"dot\",\"code\":421,\"text\":\"x\"}\n\n{\"provider\":1}",
                "line 3",
            ),
            (
                "{\"provider\":\"a\",\"stage\":\"lunch\",\"code\":421,\"text\":\"x\"}",
                "lunch",
            ),
            (
                "{\"provider\":\"a\",\"stage\":\"dot\",\"code\":421,\"enhanced\":\"4.7\",\"text\":\"x\"}",
                "4.7",
            ),
            ("- reply: 'hello'\n  from: {provider: a, stage: dot}\n", "line 1"),
            ("- from: {provider: a, stage: dot}\n", "reply"),
        ] {
            let error = format!("{:#}", parse(text).expect_err(text));
            assert!(error.contains(says), "{error:?} says nothing of {says:?}");
        }
        assert_eq!(parse("\n\n").expect("nothing"), Vec::new());
    }
}
