//! Giving an answer: the usual one, or what the script has in its place.
//!
//! Takes a stage and the usual answer; gives what was really said, because the session believes its own words: a
//! recipient whose RCPT the script refused is not a recipient.

use crate::gate::Refusal;
use crate::reply;
use crate::script::{Act, Stage};
use crate::transcript::Ended;

use super::conversation::Session;

/// What was said.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// First digit of the last line; 0 for none.
    pub(super) digit: u8,
    /// It began with 220.
    pub(super) ready: bool,
    /// Something was said at all.
    pub(super) answered: bool,
    /// Keywords of an EHLO answer, in capitals.
    pub(super) keywords: Vec<String>,
}

impl Session {
    /// Answers at a stage where the behaviour may refuse.
    pub(super) async fn answer_or_refuse(
        &mut self,
        stage: Stage,
        refusal: Option<Refusal>,
        usual: &[u8],
        recipient: Option<&str>,
    ) -> Result<Given, Ended> {
        let acts = self.scripted(stage, recipient);
        if let (Some(refusal), None) = (&refusal, &acts) {
            self.shared
                .counts
                .refused(refusal.reason, reply::digit(&refusal.answer));
        }
        let usual = refusal.as_ref().map_or(usual, |refusal| &refusal.answer);
        let full = refusal.as_ref().is_some_and(|refusal| refusal.reason.ends_connection());
        match acts {
            Some(acts) => self.perform(&acts, usual).await,
            None if full => {
                self.wire.push(usual);
                Err(Ended::Closed)
            }
            None => self.say(stage, usual),
        }
    }

    /// Answers at a stage where the behaviour has no say.
    pub(super) async fn answer(&mut self, stage: Stage, usual: &[u8]) -> Result<Given, Ended> {
        match self.scripted(stage, None) {
            Some(acts) => self.perform(&acts, usual).await,
            None => self.say(stage, usual),
        }
    }

    pub(super) fn say(&mut self, stage: Stage, answer: &[u8]) -> Result<Given, Ended> {
        self.wire.push(answer);
        if reply::closes(answer) {
            return Err(Ended::Closed);
        }
        Ok(match stage {
            Stage::Ehlo => Given::of(answer),
            _ => Given {
                digit: reply::digit(answer),
                ready: answer.starts_with(b"220"),
                answered: true,
                keywords: Vec::new(),
            },
        })
    }

    /// Does the acts in order, with the usual answer at the end if none of them answered.
    pub(super) async fn perform(&mut self, acts: &[Act], usual: &[u8]) -> Result<Given, Ended> {
        let mut given = Given::default();
        for act in acts {
            match act {
                Act::Reply(text) => {
                    self.wire.push(text);
                    self.wire.push(b"\r\n");
                    given = Given::of(text);
                    if reply::closes(text) {
                        return Err(Ended::Closed);
                    }
                }
                Act::Raw(bytes) => {
                    self.wire.push(bytes);
                    given = Given::of(bytes);
                }
                Act::Drip(bytes, interval) => {
                    for byte in bytes {
                        self.wire.push(&[*byte]);
                        self.wire.flush().await?;
                        self.wire.pause(*interval).await?;
                    }
                    given = Given::of(bytes);
                }
                Act::Usual => {
                    self.wire.push(usual);
                    given = Given::of(usual);
                }
                Act::Extra(bytes) => self.wire.push(bytes),
                Act::Flush => self.wire.flush().await?,
                Act::Delay(time) => {
                    self.wire.flush().await?;
                    self.wire.pause(*time).await?;
                }
                Act::Wait(gate) => {
                    self.wire.flush().await?;
                    self.wire.until_shutdown(gate.pass()).await?;
                }
                Act::Listen => self.wire.fill_idle().await?,
                Act::Keep | Act::Present(_) => {}
                Act::Close => return Err(Ended::Closed),
                Act::Reset => {
                    self.wire.flush().await?;
                    return Err(Ended::Reset);
                }
                Act::Silence => loop {
                    self.wire.fill_idle().await?;
                    self.wire.discard_pending();
                },
            }
        }
        if !given.answered && !usual.is_empty() {
            self.wire.push(usual);
            given = Given::of(usual);
            if reply::closes(usual) {
                return Err(Ended::Closed);
            }
        }
        Ok(given)
    }
}

impl Given {
    fn of(answer: &[u8]) -> Self {
        let keyword = |line: &[u8]| {
            let words = line.get(4..).unwrap_or_default();
            let word = words
                .split(|byte| byte.is_ascii_whitespace())
                .next()
                .unwrap_or_default();
            String::from_utf8_lossy(word).to_ascii_uppercase()
        };
        Self {
            digit: reply::digit(answer),
            ready: answer.starts_with(b"220"),
            answered: true,
            keywords: answer.split(|byte| *byte == b'\n').skip(1).map(keyword).collect(),
        }
    }
}

/// Whether the message counts as accepted, given that the usual answer would accept it or not.
pub(super) fn keeps(acts: &[Act], usual_accepts: bool) -> bool {
    if acts.iter().any(|act| matches!(act, Act::Keep)) {
        return true;
    }
    for act in acts {
        match act {
            Act::Reply(answer) | Act::Raw(answer) | Act::Drip(answer, _) => return reply::digit(answer) == 2,
            Act::Usual => return usual_accepts,
            Act::Close | Act::Reset | Act::Silence => return false,
            _ => {}
        }
    }
    usual_accepts
}
