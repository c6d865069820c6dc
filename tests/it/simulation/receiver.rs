//! Receivers that speak SMTP and misbehave by seed. They share no code with what they are to test.
//!
//! Takes connections, tells the book of each dot and of each copy that is kept.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream};

use super::mail::number_in;
use super::network::Incoming;
use super::plan::{Door, Kind};
use super::watched::World;

/// A reply to the dot that is slow comes within this: longer than a lease, sometimes longer than anybody waits.
const SLOW_MILLIS: u64 = 70_000;

/// One connection.
struct Talk {
    world: Arc<World>,
    node: usize,
    door: usize,
    stream: BufReader<DuplexStream>,
    /// The recipient of the transaction.
    number: Option<u32>,
}

/// The connection is over.
struct Over;

/// Serves one connection to its end.
pub(super) async fn serve(world: Arc<World>, incoming: Incoming) {
    let Incoming { node, door, stream } = incoming;
    world.book().doors[door].connections += 1;
    let mut talk = Talk {
        world: Arc::clone(&world),
        node,
        door,
        stream: BufReader::new(stream),
        number: None,
    };
    let over = talk.converse().await;
    debug_assert!(over.is_err(), "a conversation ends by an end");
    talk.forget();
    let now = world.now();
    let mut book = world.book();
    book.doors[door].connections -= 1;
    book.doors[door].active_at = now;
}

impl Talk {
    fn plan(&self) -> Door {
        self.world.book().plan.doors[self.door].clone()
    }

    fn comes(&self, per_mille: u32) -> bool {
        self.world.book().comes(per_mille)
    }

    fn tell(&self, line: &str) {
        self.world.tell(&format!("n{} door{} {line}", self.node, self.door));
    }

    async fn say(&mut self, text: &str) -> Result<(), Over> {
        self.world.wait_up_to(self.plan().reply_millis).await;
        let line = format!("{text}\r\n");
        self.stream.get_mut().write_all(line.as_bytes()).await.map_err(|_| Over)
    }

    async fn line(&mut self) -> Result<String, Over> {
        let mut line = Vec::new();
        let read = self.stream.read_until(b'\n', &mut line).await;
        match read {
            Ok(count) if count > 0 && line.ends_with(b"\n") => Ok(String::from_utf8_lossy(&line).trim_end().to_owned()),
            _ => Err(Over),
        }
    }

    /// Says nothing until the other side goes away.
    async fn silence(&mut self) -> Result<(), Over> {
        loop {
            self.line().await?;
        }
    }

    /// Says nothing about a dot. Nobody may send another message before the reply.
    async fn hush(&mut self) -> Result<(), Over> {
        loop {
            let line = self.line().await?;
            self.hasty(&line);
        }
    }

    /// Nothing may follow a dot before its reply: the replies would be taken for each other's.
    fn hasty(&self, line: &str) {
        if line.starts_with("MAIL") {
            let what = format!("node {} goes on before the reply to its dot", self.node);
            self.world.book().breaks("B11", &what);
        }
    }

    /// The transaction is over.
    fn forget(&mut self) {
        if let Some(number) = self.number.take() {
            let mut book = self.world.book();
            if let Some(facts) = book.mails.get_mut(&number) {
                facts.in_session -= 1;
            }
        }
    }

    async fn converse(&mut self) -> Result<(), Over> {
        let manners = self.plan().manners;
        if self.comes(manners.never_greets) {
            return self.silence().await;
        }
        if self.comes(manners.greets_421) {
            self.tell("greets with 421");
            self.say("421 4.3.2 Too busy, try later").await?;
            return Err(Over);
        }
        self.say("220 mx ESMTP").await?;
        loop {
            let command = self.line().await?;
            let manners = self.plan().manners;
            if self.comes(manners.silent_elsewhere) {
                self.tell("falls silent");
                return self.silence().await;
            }
            let verb = command.get(..4).unwrap_or("").to_ascii_uppercase();
            match &*verb {
                "EHLO" => {
                    let more = if self.plan().pipelining {
                        "250-PIPELINING\r\n"
                    } else {
                        ""
                    };
                    self.say(&format!("250-mx\r\n{more}250 ENHANCEDSTATUSCODES")).await?;
                }
                "MAIL" if self.comes(manners.closes_at_mail) => {
                    self.say("421 4.4.2 Closing").await?;
                    return Err(Over);
                }
                "RCPT" => self.recipient(&command).await?,
                "DATA" => self.data().await?,
                "RSET" => {
                    self.forget();
                    self.say("250 2.0.0 Ok").await?;
                }
                "QUIT" => {
                    self.say("221 2.0.0 Bye").await?;
                    return Err(Over);
                }
                _ => self.say("250 2.1.0 Ok").await?,
            }
        }
    }

    async fn recipient(&mut self, command: &str) -> Result<(), Over> {
        self.forget();
        let manners = self.plan().manners;
        let Some(number) = number_in(command) else {
            return self.say("501 5.1.3 What?").await;
        };
        if self.comes(manners.defers) {
            return self.say("450 4.2.1 Mailbox busy").await;
        }
        if self.comes(manners.throttles) {
            return self
                .say("451 4.7.1 Too many messages from your address, slow down")
                .await;
        }
        if self.comes(manners.bounces) {
            return self.say("550 5.1.1 No such user").await;
        }
        self.number = Some(number);
        if let Some(facts) = self.world.book().mails.get_mut(&number) {
            facts.in_session += 1;
        }
        self.say("250 2.1.5 Ok").await
    }

    async fn data(&mut self) -> Result<(), Over> {
        let Some(number) = self.number else {
            return self.say("503 5.5.1 No recipient").await;
        };
        let manners = self.plan().manners;
        if self.comes(manners.loses_before_dot) {
            self.tell(&format!("loses u{number} before its dot"));
            if self.comes(500) {
                self.say("354 Go").await?;
            }
            return Err(Over);
        }
        self.say("354 Go").await?;
        while self.line().await? != "." {}
        self.dot(number).await?;
        self.forget();
        Ok(())
    }

    async fn dot(&mut self, number: u32) -> Result<(), Over> {
        self.tell(&format!("dot of u{number}"));
        let plan = self.plan();
        {
            let now = self.world.now();
            let mut book = self.world.book();
            book.dot(self.node, number);
            book.doors[self.door].active_at = now;
        }
        let manners = plan.manners;
        if self.comes(manners.defers / 2) {
            return self.say("451 4.3.0 Try again").await;
        }
        if self.comes(manners.bounces / 2) {
            return self.say("554 5.6.0 Not this content").await;
        }
        let keeps_without_reply = match plan.kind {
            Kind::Keeps => true,
            Kind::Drops => false,
            Kind::Coin => self.comes(500),
        };
        if self.comes(manners.loses_after_dot) {
            self.tell(&format!("loses the reply of u{number}, kept: {keeps_without_reply}"));
            if keeps_without_reply {
                let now = self.world.now();
                self.world.book().kept(number, now);
            }
            return Err(Over);
        }
        if self.comes(manners.silent_after_dot) {
            self.tell(&format!("is silent about u{number}, kept: {keeps_without_reply}"));
            if keeps_without_reply {
                let now = self.world.now();
                self.world.book().kept(number, now);
            }
            return self.hush().await;
        }
        let text = if self.comes(manners.odd_after_dot) {
            "OK queued"
        } else {
            "250 2.0.0 Queued"
        };
        self.accept(number, text, keeps_without_reply).await
    }

    /// Keeps it before its reply, or only if somebody is there to hear it.
    async fn accept(&mut self, number: u32, text: &str, keeps_without_reply: bool) -> Result<(), Over> {
        if keeps_without_reply {
            self.keep(number);
        }
        if self.comes(self.plan().manners.slow_after_dot) {
            let wait = self.world.book().chance.u64(0..SLOW_MILLIS);
            tokio::time::sleep(Duration::from_millis(wait)).await;
            if let Some(Ok(early)) = self.stream.fill_buf().now_or_never() {
                let early = String::from_utf8_lossy(early).into_owned();
                self.hasty(&early);
            }
        }
        let said = self.say(text).await;
        if !keeps_without_reply && said.is_ok() {
            self.keep(number);
        }
        said
    }

    fn keep(&self, number: u32) {
        self.tell(&format!("keeps u{number}"));
        let now = self.world.now();
        self.world.book().kept(number, now);
    }
}
