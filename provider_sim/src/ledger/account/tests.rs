//! Tests of the ledger: what was received against what was sent.

use super::*;

fn copy(recipient: &str, message_id: Option<&str>) -> Received {
    Received {
        provider: "sim".into(),
        sender: "a@sender.test".into(),
        recipient: recipient.to_owned(),
        message_id: message_id.map(Into::into),
        at_ms: 1,
        size_bytes: 3,
        bytes: Some(Arc::from(&b"abc"[..])),
        peer: "127.0.0.1:1".parse().unwrap(),
        connection: 1,
        helo: "client.test".into(),
        tls: false,
    }
}

impl Ledger {
    async fn record(&self, copies: Vec<Received>, content_hash: u64) -> io::Result<()> {
        self.make_durable(&copies, content_hash).await?;
        self.enter(copies, content_hash);
        Ok(())
    }
}

#[tokio::test]
async fn a_second_copy_of_the_same_message_for_the_same_recipient_is_a_duplicate() {
    let ledger = Ledger::default();
    for (recipient, id) in [("a@x", "<1>"), ("A@X", "<1>"), ("b@x", "<1>"), ("a@x", "<2>")] {
        ledger.record(vec![copy(recipient, Some(id))], 0).await.unwrap();
    }
    let expect = Totals {
        total: 4,
        unique: 3,
        duplicates: 1,
    };
    assert_eq!(ledger.totals(), expect);
    assert_eq!(ledger.copies("a@x", "<1>"), 2);
    assert_eq!(ledger.copies("a@x", "<3>"), 0);
    assert_eq!(ledger.records_for("a@x").len(), 3);
}

#[tokio::test]
async fn without_a_message_id_the_content_tells_messages_apart() {
    let ledger = Ledger::new(Keep::Counts);
    for hash in [7, 7, 8] {
        ledger.record(vec![copy("a@x", None)], hash).await.unwrap();
    }
    assert_eq!((ledger.unique(), ledger.duplicates()), (2, 1));
    assert!(ledger.records().is_empty(), "counting keeps no records");
}

#[tokio::test]
async fn records_and_bytes_are_bounded_but_counts_are_not() {
    let ledger = Ledger::new(Keep::Everything {
        records_max: 2,
        bytes_max: 4,
    });
    for id in ["<1>", "<2>", "<3>"] {
        ledger.record(vec![copy("a@x", Some(id))], 0).await.unwrap();
    }
    let records = ledger.records();
    let kept: Vec<bool> = records.iter().map(|record| record.bytes.is_some()).collect();
    assert_eq!((kept, ledger.total()), (vec![true, false], 3));
}

#[tokio::test]
async fn waiting_ends_when_the_condition_holds_and_fails_when_it_never_does() {
    let ledger = Ledger::default();
    let waiter = {
        let ledger = ledger.clone();
        tokio::spawn(async move { ledger.wait_for_total(2, Duration::from_secs(30)).await })
    };
    for id in ["<1>", "<2>"] {
        ledger.record(vec![copy("a@x", Some(id))], 0).await.unwrap();
    }
    waiter.await.unwrap().unwrap();
    let late = ledger.wait_for_total(3, Duration::from_millis(1)).await;
    assert_eq!(late.unwrap_err().totals.total, 2);
}

#[tokio::test]
async fn the_journal_survives_its_writer_and_a_torn_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let ledger = Ledger::with_journal(Keep::Counts, &path).unwrap();
    let writes = (0..20).map(|number| {
        let ledger = ledger.clone();
        tokio::spawn(async move { ledger.record(vec![copy("a@x", Some(&format!("<{number}>")))], 0).await })
    });
    for write in writes.collect::<Vec<_>>() {
        write.await.unwrap().unwrap();
    }
    drop(ledger);
    let mut torn = std::fs::read(&path).unwrap();
    torn.extend_from_slice(br#"{"provider":"si"#);
    std::fs::write(&path, torn).unwrap();

    let again = Ledger::with_journal(Keep::Counts, &path).unwrap();
    assert_eq!(
        again.totals(),
        Totals {
            total: 20,
            unique: 20,
            duplicates: 0
        }
    );
    again.record(vec![copy("a@x", Some("<3>"))], 0).await.unwrap();
    assert_eq!(
        (again.duplicates(), Ledger::read_journal(&path).unwrap().len()),
        (1, 21)
    );
}
