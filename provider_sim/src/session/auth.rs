//! AUTH PLAIN and LOGIN (RFC 4954): asks, compares, remembers every attempt.
//!
//! Takes the mechanism and what the client says next; gives an answer and a logged-in session. The credentials are made
//! up by tests, so comparing them in constant time would protect nothing.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::script::Stage;
use crate::transcript::{AuthAttempt, Ended};

use super::conversation::Session;

impl Session {
    /// Whether AUTH is offered now.
    pub(super) fn takes_login(&self) -> bool {
        let login = self.shared.login.as_ref();
        login.is_some_and(|login| !self.logged_in && (self.tls || !login.only_over_tls))
    }

    pub(super) async fn auth(&mut self, mechanism: &str, initial: Option<String>) -> Result<(), Ended> {
        if !self.takes_login() || self.envelope.is_some() {
            self.violated_by_line();
            self.wire.push(b"503 5.5.1 AUTH not available\r\n");
            return Ok(());
        }
        let said = match mechanism {
            "PLAIN" => self.plain(initial).await?,
            "LOGIN" => self.login(initial).await?,
            _ => {
                self.wire.push(b"504 5.5.4 Mechanism not offered\r\n");
                return Ok(());
            }
        };
        let Some((user, password)) = said else {
            self.wire.push(b"501 5.5.2 Cannot decode\r\n");
            return Ok(());
        };
        let right = self
            .shared
            .login
            .as_ref()
            .is_some_and(|login| login.user == user && login.password == password);
        let usual: &[u8] = if right {
            b"235 2.7.0 Authentication successful\r\n"
        } else {
            b"535 5.7.8 Authentication credentials invalid\r\n"
        };
        let accepted = self.answer(Stage::Auth, usual).await?.digit == 2;
        self.logged_in = accepted;
        let attempt = AuthAttempt {
            mechanism: mechanism.to_owned(),
            user,
            password,
            accepted,
            tls: self.tls,
        };
        self.recorder.with(|transcript| transcript.note_auth(attempt));
        Ok(())
    }

    async fn plain(&mut self, initial: Option<String>) -> Result<Option<(String, String)>, Ended> {
        let answer = match initial {
            Some(initial) => initial,
            None => self.ask(b"334 \r\n").await?,
        };
        let Some(decoded) = decode(&answer) else {
            return Ok(None);
        };
        // authorization identity NUL user NUL password (RFC 4616)
        let mut parts = decoded.split('\0');
        let (Some(_), Some(user), Some(password), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Ok(None);
        };
        Ok(Some((user.to_owned(), password.to_owned())))
    }

    async fn login(&mut self, initial: Option<String>) -> Result<Option<(String, String)>, Ended> {
        let user = match initial {
            Some(initial) => initial,
            None => self.ask(b"334 VXNlcm5hbWU6\r\n").await?,
        };
        let password = self.ask(b"334 UGFzc3dvcmQ6\r\n").await?;
        Ok(decode(&user).zip(decode(&password)))
    }

    async fn ask(&mut self, prompt: &[u8]) -> Result<String, Ended> {
        self.wire.push(prompt);
        let line = self.read_line().await?;
        Ok(String::from_utf8_lossy(&line).into_owned())
    }
}

/// `=` stands for an empty response; `*` cancels and, like any other text that is not base64, decodes to nothing.
fn decode(text: &str) -> Option<String> {
    if text == "=" {
        return Some(String::new());
    }
    String::from_utf8(STANDARD.decode(text).ok()?).ok()
}
