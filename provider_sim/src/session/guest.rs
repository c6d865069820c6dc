//! A conversation with a receiver that has hidden limits: what the scenario says, and when.
//!
//! Takes the guest that came in with the connection; gives refusals in the words of the receiver. Without a scenario there
//! is no guest, and nothing here happens.

use std::time::Duration;

use crate::counters::Reason;
use crate::gate::Refusal;
use crate::transcript::Ended;

use super::conversation::Session;

impl Session {
    /// What the scenario says to MAIL, after the time that saying so takes.
    pub(super) async fn hidden_mail(&mut self) -> Result<Option<Refusal>, Ended> {
        let age = self.shared.clock.age();
        let Some(Err((reason, after))) = self.guest.as_mut().map(|guest| guest.mail(age)) else {
            return Ok(None);
        };
        self.wire.flush().await?;
        self.wire.pause(after).await?;
        Ok(Some(self.refusal(reason, "", "")))
    }

    /// What the scenario says to RCPT.
    pub(super) fn hidden_rcpt(&self, recipient: &str) -> Option<Refusal> {
        let sender = &self.envelope.as_ref()?.sender;
        let age = self.shared.clock.age();
        let greylisted = self.guest.as_ref()?.is_greylisted(sender, recipient, age);
        greylisted.then(|| self.refusal(Reason::Greylisted, sender, recipient))
    }

    /// Waits until the message under way has taken its time. A shutdown does not end it: its content is here.
    pub(super) async fn hidden_service(&mut self) -> Result<(), Ended> {
        let due = self.guest.as_ref().and_then(|guest| guest.due());
        let left = due.map_or(Duration::ZERO, |due| due.saturating_sub(self.shared.clock.age()));
        if !left.is_zero() {
            self.wire.flush().await?;
            tokio::time::sleep(left).await;
        }
        Ok(())
    }

    /// What the scenario says to the dot.
    pub(super) fn hidden_dot(&mut self) -> Option<Refusal> {
        let age = self.shared.clock.age();
        let reason = self.guest.as_mut()?.dot(age)?;
        Some(self.refusal(reason, "", ""))
    }

    /// The message under way is taken back.
    pub(super) fn hidden_reset(&mut self) {
        if let Some(guest) = &mut self.guest {
            guest.abandon();
        }
    }

    fn refusal(&self, reason: Reason, sender: &str, recipient: &str) -> Refusal {
        self.shared.gate.refuse(reason, self.peer.ip(), sender, recipient)
    }
}
