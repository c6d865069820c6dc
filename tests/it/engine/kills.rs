//! The process is killed or stopped under load, again and again; afterwards the account balances.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use provider_sim::{Behaviour, Receiver};
use serde_json::Value;

use super::bed::{Http, WITHIN, behaving, door, mail, sum};
use super::process::{Home, Process};

/// Calls at the same time.
const CALLERS: usize = 6;

/// What the callers know.
#[derive(Default)]
struct Account {
    /// Ids by recipient, for all calls that were answered with 202.
    accepted: RefCell<BTreeMap<String, String>>,
    /// Recipients of calls that were never answered: they may be stored or not.
    unanswered: RefCell<BTreeSet<String>>,
    calls: Cell<u64>,
    stop: Cell<bool>,
}

/// Calls until it is told to stop or nobody answers any more.
async fn call(http: Http, account: Rc<Account>) {
    while !account.stop.get() {
        let number = account.calls.replace(account.calls.get() + 1);
        let to = format!("user{number}@example.test");
        match http.post("/v1/emails", &mail(&to)).await {
            Ok(answer) if answer.status == 202 => {
                let id = answer.body["id"].as_str().expect("an id").to_owned();
                account.accepted.borrow_mut().insert(to, id);
            }
            Ok(answer) => {
                assert_eq!(answer.status, 503, "{answer:?}");
                return;
            }
            Err(_) => {
                account.unanswered.borrow_mut().insert(to);
                return;
            }
        }
    }
}

fn load(http: &Http, account: &Rc<Account>) -> Vec<tokio::task::JoinHandle<()>> {
    account.stop.set(false);
    (0..CALLERS)
        .map(|_| actix_web::rt::spawn(call(http.clone(), Rc::clone(account))))
        .collect()
}

async fn joined(callers: Vec<tokio::task::JoinHandle<()>>) {
    for caller in callers {
        tokio::time::timeout(WITHIN, caller)
            .await
            .expect("in time")
            .expect("no assertion failed");
    }
}

/// Waits until nothing waits any more, then holds the ledgers of all sides against each other. Gives how many were called
/// ambiguous.
async fn balance(process: &Process, account: &Account, receiver: &Receiver) -> u64 {
    let waiting = |text: &str| sum(text, "posthaste_queue_depth", &[]);
    let accepted = account.accepted.borrow().clone();
    for id in accepted.values() {
        let wait = async {
            loop {
                let shown = process.http.email(id).await;
                if shown["status"] == "delivered" {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        assert!(
            tokio::time::timeout(WITHIN, wait).await.is_ok(),
            "{:#}",
            process.http.email(id).await
        );
    }
    let mut ambiguous = 0;
    for (address, id) in &accepted {
        let shown: Value = process.http.email(id).await;
        let recipient = &shown["recipients"][0];
        assert_eq!(recipient["email"].as_str(), Some(address.as_str()));
        let own = recipient["ambiguous"].as_u64().expect("a number");
        let message_id = recipient["message_id"].as_str().expect("an id");
        let copies = receiver.ledger().copies(address, message_id);
        assert!(copies >= 1, "lost: {shown:#}");
        assert!(copies <= 1 + own, "{copies} copies that we do not know of: {shown:#}");
        ambiguous += own;
    }
    let quiet = async {
        while waiting(&process.metrics().await) > 0.0 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(WITHIN, quiet).await.expect("everything ends");
    let unanswered = account.unanswered.borrow().clone();
    let mut phantoms = 0;
    for record in receiver.ledger().records() {
        if !accepted.contains_key(&record.recipient) {
            assert!(
                unanswered.contains(&record.recipient),
                "nobody sent mail to {}",
                record.recipient
            );
            phantoms += 1;
        }
    }
    let text = process.metrics().await;
    let unique = receiver.ledger().unique();
    assert_eq!(
        sum(&text, "posthaste_deliveries", &[("state", "delivered")]).to_bits(),
        f64::from(u32::try_from(unique).expect("few")).to_bits(),
        "what the engine calls delivered is what the receiver holds"
    );
    assert_eq!(
        sum(&text, "posthaste_deliveries", &[]).to_bits(),
        f64::from(u32::try_from(unique).expect("few")).to_bits(),
        "and there is nothing else"
    );
    assert!(unique >= accepted.len() as u64 && unique <= accepted.len() as u64 + phantoms);
    assert!(receiver.ledger().duplicates() <= ambiguous + phantoms);
    ambiguous
}

async fn receiver() -> Receiver {
    behaving(Behaviour {
        message_delay_ms: 15,
        ..Behaviour::default()
    })
    .await
}

#[actix_web::test]
async fn nothing_accepted_is_lost_when_the_process_is_killed_again_and_again() {
    let receiver = receiver().await;
    let mut home = Home::new(&[door("example.test", &receiver)]);
    let account = Rc::new(Account::default());
    for round in 1..=5 {
        let process = home.start().await;
        let callers = load(&process.http, &account);
        let before = receiver.ledger().total();
        receiver
            .ledger()
            .wait_for_total(before + 25 + round * 7, WITHIN)
            .await
            .expect("it flows");
        process.kill().await;
        joined(callers).await;
    }
    let process = home.start().await;
    assert!(
        account.accepted.borrow().len() > 100,
        "{}",
        account.accepted.borrow().len()
    );
    balance(&process, &account, &receiver).await;
    assert_eq!(process.terminate().await, Some(0));
}

#[actix_web::test]
async fn a_gentle_stop_under_load_loses_and_doubles_nothing() {
    let receiver = receiver().await;
    let mut home = Home::new(&[door("example.test", &receiver)]);
    let account = Rc::new(Account::default());
    for _ in 0..4 {
        let process = home.start().await;
        let callers = load(&process.http, &account);
        let before = receiver.ledger().total();
        receiver
            .ledger()
            .wait_for_total(before + 25, WITHIN)
            .await
            .expect("it flows");
        assert_eq!(process.terminate().await, Some(0));
        joined(callers).await;
    }
    let process = home.start().await;
    let ambiguous = balance(&process, &account, &receiver).await;
    assert_eq!((ambiguous, receiver.ledger().duplicates()), (0, 0));
    assert_eq!(process.terminate().await, Some(0));
}
