//! Log lines at info level and above name no person and no subject.

use std::io::Write;
use std::sync::{Arc, Mutex};

use tracing_subscriber::fmt::MakeWriter;

use super::bed::{Bed, mail};

/// Keeps what is logged.
#[derive(Debug, Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic while writing").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[actix_web::test]
async fn no_address_and_no_subject_is_logged_at_info_level() {
    let lines = Lines::default();
    // For the whole process: the engine logs on several threads.
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_ansi(false)
        .with_writer(lines.clone())
        .try_init()
        .expect("no other test of this binary installs a subscriber for the process");
    let bed = Bed::start().await;
    let secret = "Zeppelin";
    for user in ["dorothea.brooke", "nobody.casaubon"] {
        bed.send(&format!("{user}@good.test"), secret, "critical").await;
    }
    for user in ["celia.brooke", "will.ladislaw", "tertius.lydgate", "rosamond.vincy"] {
        bed.send(&format!("{user}@grey.test"), secret, "transactional").await;
        bed.send(&format!("{user}@shut.test"), secret, "transactional").await;
    }
    let malformed = mail("fred.vincy@good.test\r\nBcc: mary.garth@good.test", secret, "critical");
    let (status, answer) = bed.post("/v1/emails", &malformed).await;
    assert_eq!(status, 422, "{answer}");
    bed.wait_for_metrics(&[
        r#"posthaste_delivered_total{provider="route:good",source="default",class="critical"} 1"#,
        r#"posthaste_bounced_total{provider="route:good",class="critical",reason="invalid_recipient"} 1"#,
        r#"posthaste_deferred_total{provider="route:grey",class="transactional",reason="greylisted"} 4"#,
    ])
    .await;
    bed.stop().await;
    let logged = String::from_utf8(lines.0.lock().expect("no panic while writing").clone()).expect("UTF-8");
    // Something was captured, from the engine's own threads too.
    assert!(logged.contains("lane shut"), "{logged}");
    for secret in [
        secret,
        "brooke",
        "casaubon",
        "ladislaw",
        "lydgate",
        "vincy",
        "garth",
        "good.test",
        "no-reply",
    ] {
        assert!(!logged.contains(secret), "{secret} is in\n{logged}");
    }
}
