//! Each part of a scenario, seen from the wire with made-up short times; and that the model answers as the socket does.

use std::time::{Duration, Instant};

use provider_sim::model::{ConnectAnswer, DotAnswer, MailAnswer, Model, Refusal};
use provider_sim::{Reason, Receiver, Scenario};

use crate::client::{Client, Reply, SOON, listen, message};

/// Service and connecting take no time unless a test says so.
fn scenario(text: &str) -> Scenario {
    let usual = match text.contains("service:") {
        true => "",
        false => "service: {mean_ms: 1, distribution: constant}\n",
    };
    let connect = if text.contains("connect_ms:") {
        ""
    } else {
        "connect_ms: 1\n"
    };
    Scenario::parse(&format!("name: test\n{usual}{connect}{text}")).unwrap()
}

async fn play(text: &str) -> Receiver {
    listen(Receiver::builder().scenario(scenario(text), 1)).await
}

/// What a fresh connection hears before it is closed.
async fn turned_away(receiver: &Receiver) -> String {
    let bytes = Client::connect(receiver).await.until_closed().await;
    String::from_utf8(bytes).unwrap()
}

async fn mail(client: &mut Client) -> Reply {
    client.say("MAIL FROM:<a@sender.test>").await
}

#[expect(clippy::disallowed_methods, reason = "a lower bound of real time is what is tested")]
fn now() -> Instant {
    Instant::now()
}

fn since(start: Instant) -> Duration {
    start.elapsed()
}

/// Tries until it works, or a deadline that only a broken receiver meets.
async fn until(mut works: impl AsyncFnMut() -> bool) {
    let tries = async {
        while !works().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, tries).await.expect("it works in the end");
}

#[tokio::test]
async fn one_connection_too_many_is_told_or_closed_without_a_word_until_there_is_room() {
    for (silent, expect) in [
        (false, "421 4.7.0 mx.sim.test Too many connections from 127.0.0.1\r\n"),
        (true, ""),
    ] {
        let receiver = play(&format!("connections: 2\nsilent_close: {silent}")).await;
        let mut first = Client::greeted(&receiver).await;
        let _second = Client::greeted(&receiver).await;
        assert_eq!(turned_away(&receiver).await, expect);
        first.say("QUIT").await;
        assert!(
            receiver
                .wait_until(|receiver| receiver.open_connections() == 1, SOON)
                .await
        );
        Client::greeted(&receiver).await;
        let counters = receiver.counters();
        let told = counters.deferred_for(Reason::ConnectionLimit);
        assert_eq!((told, counters.silent), if silent { (0, 1) } else { (1, 0) });
    }
}

#[tokio::test]
async fn enough_messages_on_a_connection_end_it_and_the_next_begins_anew() {
    let receiver = play("messages_per_connection: 2\nspeaks: yahoo").await;
    let mut client = Client::greeted(&receiver).await;
    for id in ["<1>", "<2>"] {
        assert_eq!(client.deliver("b@x.test", id).await.code(), "250");
    }
    let refused = mail(&mut client).await;
    assert!(refused.0.starts_with("421 Max message per connection"), "{refused:?}");
    assert_eq!(client.until_closed().await, b"");
    let mut next = Client::greeted(&receiver).await;
    assert_eq!(next.deliver("b@x.test", "<3>").await.code(), "250");
}

#[tokio::test]
async fn a_message_needs_a_token_of_each_bucket_and_a_refusal_leaves_the_connection_up() {
    let both = "rates: [{per_second: 1000, burst: 1000}, {per_second: 0.0001, burst: 2}]";
    for at in ["mail", "dot"] {
        let receiver = play(&format!("{both}\nrate_at: {at}")).await;
        let mut client = Client::greeted(&receiver).await;
        for id in ["<1>", "<2>"] {
            assert_eq!(client.deliver("b@x.test", id).await.code(), "250");
        }
        let refused = match at {
            "mail" => mail(&mut client).await,
            _ => client.deliver("b@x.test", "<3>").await,
        };
        assert_eq!(
            refused.0,
            "450 4.7.1 mx.sim.test Too many messages from 127.0.0.1, slow down\r\n"
        );
        assert_eq!(client.say("NOOP").await.code(), "250", "{at}");
        assert_eq!(receiver.ledger().total(), 2);
        assert_eq!(receiver.counters().deferred_for(Reason::Rate), 1);
    }
}

/// Sends MAIL until a bucket runs dry.
async fn run_dry(client: &mut Client) {
    until(async || {
        let dry = mail(client).await.code() == "450";
        client.say("RSET").await;
        dry
    })
    .await;
}

#[tokio::test]
async fn a_penalty_box_stays_shut_when_tokens_are_back_and_opens_when_it_is_over() {
    let bucket = "rates: [{per_second: 100, burst: 1}]";
    let receiver = play(&format!("{bucket}\npenalty_box: {{seconds: 3600}}")).await;
    let mut client = Client::greeted(&receiver).await;
    run_dry_fast(&mut client).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(mail(&mut client).await.code(), "450", "ten tokens would have come");

    let receiver = play(&format!("{bucket}\npenalty_box: {{seconds: 0.1}}")).await;
    let mut client = Client::greeted(&receiver).await;
    run_dry_fast(&mut client).await;
    until(async || mail(&mut client).await.code() == "250").await;
}

/// The same in one flight, so that no token comes between two messages on a slow machine.
async fn run_dry_fast(client: &mut Client) {
    client.send("MAIL FROM:<a@b.test>\r\nRSET\r\n".repeat(20)).await;
    let mut refused = 0;
    for _ in 0..20 {
        refused += u32::from(client.reply().await.code() == "450");
        client.reply().await;
    }
    if refused == 0 {
        run_dry(client).await;
    }
}

#[tokio::test]
async fn a_block_says_4_7_28_ends_the_connection_and_each_try_starts_it_again() {
    let receiver = play(
        "speaks: google\nreputation: {messages: 2, window_seconds: 3600, block_seconds: 0.3, recovery_seconds: 3600}",
    )
    .await;
    let mut client = Client::greeted(&receiver).await;
    for id in ["<1>", "<2>"] {
        assert_eq!(client.deliver("b@x.test", id).await.code(), "250");
    }
    let blocked = mail(&mut client).await.0;
    assert!(
        blocked.starts_with("421-4.7.28 Gmail has detected an unusual rate"),
        "{blocked}"
    );
    assert_eq!(client.until_closed().await, b"");
    assert_eq!(mail(&mut Client::greeted(&receiver).await).await.code(), "421");
    assert_eq!(receiver.blocks(), (1, 1), "a block, and one message while it was on");

    assert!(
        receiver
            .wait_until(|receiver| receiver.open_connections() == 0, SOON)
            .await
    );
    tokio::time::sleep(Duration::from_millis(350)).await;
    let mut canary = Client::greeted(&receiver).await;
    assert_eq!(canary.deliver("b@x.test", "<3>").await.code(), "250");
    let _too_soon = Client::greeted(&receiver).await;
    assert_eq!(
        mail(&mut canary).await.code(),
        "421",
        "two connections are too many at first"
    );
    assert_eq!(receiver.blocks(), (2, 1));
    assert_eq!(receiver.counters().deferred_for(Reason::Reputation), 3);
}

#[tokio::test]
async fn a_greylisted_pair_passes_after_its_delay_from_the_same_sender_only() {
    let receiver = play("speaks: company\ngreylist: {share: 1, delay_seconds: 0.2}").await;
    let mut client = Client::greeted(&receiver).await;
    let mut rcpt = async |sender: &str| {
        client.say("RSET").await;
        assert_eq!(client.say(&format!("MAIL FROM:<{sender}>")).await.code(), "250");
        client.say("RCPT TO:<b@x.test>").await
    };
    let start = now();
    let first = rcpt("a@y.test").await;
    assert!(
        first
            .0
            .starts_with("450 4.2.0 <b@x.test>: Recipient address rejected: Greylisted"),
        "{first:?}"
    );
    until(async || rcpt("a@y.test").await.code() == "250").await;
    assert!(since(start) >= Duration::from_millis(200), "{:?}", since(start));
    assert_eq!(rcpt("other@y.test").await.code(), "450", "another sender starts anew");
    assert!(receiver.counters().deferred_for(Reason::Greylisted) >= 2);
}

#[tokio::test]
async fn bad_backends_fail_whoever_comes() {
    let receiver = play("bad_backends: {share: 1}").await;
    assert_eq!(turned_away(&receiver).await, "");
    let receiver = play("bad_backends: {share: 1, answer: too_many_connections}").await;
    assert!(
        turned_away(&receiver)
            .await
            .starts_with("421 4.7.0 mx.sim.test Too many connections")
    );
    let receiver = play("bad_backends: {share: 1, answer: timeout}").await;
    let mut client = Client::connect(&receiver).await;
    let word = tokio::time::timeout(Duration::from_millis(200), client.reply()).await;
    assert!(word.is_err(), "it says nothing: {word:?}");
    let receiver = play("bad_backends: {share: 0.5}").await;
    for _ in 0..40 {
        Client::connect(&receiver).await.first_word().await;
    }
    let silent = receiver.counters().silent;
    assert!((8..=32).contains(&silent), "about half of forty: {silent}");
}

#[tokio::test]
async fn a_tarpit_makes_the_banner_late_and_later_messages_slow() {
    let receiver = play("tarpit: {banner_ms: 100, message_ms: 150, after_messages: 1}").await;
    let start = now();
    let mut client = Client::greeted(&receiver).await;
    assert!(since(start) >= Duration::from_millis(100), "{:?}", since(start));
    assert_eq!(client.deliver("b@x.test", "<1>").await.code(), "250");
    let start = now();
    assert_eq!(client.deliver("b@x.test", "<2>").await.code(), "250");
    assert!(since(start) >= Duration::from_millis(150), "{:?}", since(start));
}

#[tokio::test]
async fn a_message_takes_its_service_time_and_longer_behind_the_knee() {
    let receiver = play("service: {mean_ms: 100, distribution: constant}\nlatency_knee: 1").await;
    let mut one = Client::greeted(&receiver).await;
    let mut two = Client::greeted(&receiver).await;
    let start = now();
    one.begin("b@x.test").await;
    two.begin("b@x.test").await;
    one.send(message("<1>")).await;
    two.send(message("<2>")).await;
    assert_eq!(one.reply().await.code(), "250");
    assert!(since(start) >= Duration::from_millis(100), "{:?}", since(start));
    assert_eq!(two.reply().await.code(), "250");
    assert!(since(start) >= Duration::from_millis(200), "{:?}", since(start));
}

#[tokio::test]
async fn limits_change_over_time_and_come_again() {
    let receiver =
        play("connections: 1\nsteps: [{at_seconds: 0.2, connections: 2, service_mean_ms: 5}]\nrepeat_seconds: 1000")
            .await;
    let _first = Client::greeted(&receiver).await;
    until(async || Client::connect(&receiver).await.reply().await.code() == "220").await;
    let limits = receiver.hidden_limits().unwrap();
    assert_eq!((limits.connections, limits.service_mean_ms), (Some(2), 5.0));
}

/// What a client does in a script; numbers count the connections that were tried.
#[derive(Debug, Clone, Copy)]
enum Step {
    Connect,
    Send,
    Leave,
}

/// What it hears, on either side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Up,
    TooMany,
    Nothing,
    Accepted,
    Refused(Option<Refusal>),
    Gone,
}

fn script(seed: u64) -> Vec<(Step, usize)> {
    let mut random = fastrand::Rng::with_seed(seed);
    let steps = [Step::Connect, Step::Send, Step::Send, Step::Send, Step::Leave];
    (0..150)
        .map(|_| (steps[random.usize(0..steps.len())], random.usize(0..1000)))
        .collect()
}

fn on_the_model(scenario: &Scenario, seed: u64) -> Vec<Heard> {
    let mut model = Model::new(scenario.clone(), seed);
    let mut up: Vec<u64> = Vec::new();
    let at = Duration::from_millis(1);
    let mut heard = Vec::new();
    for (step, pick) in script(seed) {
        let which = pick % up.len().max(1);
        heard.push(match (step, up.get(which).copied()) {
            (Step::Connect, _) => match model.connect(at).1 {
                ConnectAnswer::Up(id) => {
                    up.push(id);
                    Heard::Up
                }
                ConnectAnswer::TooMany => Heard::TooMany,
                ConnectAnswer::Dead => Heard::Nothing,
                ConnectAnswer::Refused(refusal) => Heard::Refused(Some(refusal)),
            },
            (_, None) => continue,
            (Step::Leave, Some(id)) => {
                model.close(id);
                up.remove(which);
                Heard::Gone
            }
            (Step::Send, Some(id)) => match model.begin(id, at) {
                MailAnswer::Going(_) => match model.dot(at) {
                    DotAnswer::Accepted => Heard::Accepted,
                    DotAnswer::Refused(refusal) => Heard::Refused(Some(refusal)),
                },
                MailAnswer::Refused(_, refusal) => {
                    if refusal != Refusal::Rate {
                        model.close(id);
                        up.remove(which);
                    }
                    Heard::Refused(Some(refusal))
                }
            },
        });
    }
    heard
}

async fn on_a_socket(scenario: &Scenario, seed: u64) -> Vec<Heard> {
    let receiver = listen(Receiver::builder().scenario(scenario.clone(), seed)).await;
    let mut up: Vec<Client> = Vec::new();
    let mut heard = Vec::new();
    for (step, pick) in script(seed) {
        let which = pick % up.len().max(1);
        let gone = async |open: usize| {
            let open = open as u64;
            assert!(
                receiver
                    .wait_until(|receiver| receiver.open_connections() == open, SOON)
                    .await
            );
        };
        heard.push(match (step, up.get_mut(which)) {
            (Step::Connect, _) => {
                let mut client = Client::connect(&receiver).await;
                let said = client.first_word().await;
                match said.as_deref() {
                    Some(word) if word.starts_with("220") => {
                        assert_eq!(client.say("EHLO client.test").await.code(), "250");
                        up.push(client);
                        Heard::Up
                    }
                    said => {
                        drop(client);
                        gone(up.len()).await;
                        said.map_or(Heard::Nothing, |_| Heard::TooMany)
                    }
                }
            }
            (_, None) => continue,
            (Step::Leave, Some(_)) => {
                drop(up.remove(which));
                gone(up.len()).await;
                Heard::Gone
            }
            (Step::Send, Some(client)) => {
                let answer = match mail(client).await {
                    refused if refused.code() != "250" => refused,
                    _ => {
                        assert_eq!(client.say("RCPT TO:<b@x.test>").await.code(), "250");
                        assert_eq!(client.say("DATA").await.code(), "354");
                        client.send(message("<1>")).await;
                        client.reply().await
                    }
                };
                let refusal = refusal_in(&answer.0);
                if answer.code() == "421" {
                    drop(up.remove(which));
                    gone(up.len()).await;
                }
                match refusal {
                    None => Heard::Accepted,
                    refusal => Heard::Refused(refusal),
                }
            }
        });
    }
    heard
}

fn refusal_in(answer: &str) -> Option<Refusal> {
    [
        ("slow down", Refusal::Rate),
        ("bad reputation", Refusal::Reputation),
        ("on this connection", Refusal::MessagesPerConnection),
    ]
    .into_iter()
    .find(|(words, _)| answer.contains(words))
    .map(|(_, refusal)| refusal)
}

#[tokio::test]
async fn the_model_and_the_socket_answer_a_script_alike() {
    let texts = [
        "connections: 3\nmessages_per_connection: 4",
        "connections: 4\nrates: [{per_second: 0.0001, burst: 9}]\nbad_backends: {share: 0.3}",
        "connections: 3\nrates: [{per_second: 0.0001, burst: 5}]\nrate_at: dot\nsilent_close: true",
        "reputation: {messages: 8, window_seconds: 9999, block_seconds: 9999}\nmessages_per_connection: 6",
        "bad_backends: {share: 0.4, answer: too_many_connections}\nconnections: 2\nlatency_knee: 1",
    ];
    for (text, seed) in texts.into_iter().flat_map(|text| [(text, 1), (text, 2), (text, 3)]) {
        let scenario = scenario(text);
        let expect = on_the_model(&scenario, seed);
        assert!(expect.len() > 20, "the script does something");
        assert_eq!(on_a_socket(&scenario, seed).await, expect, "{text} with seed {seed}");
    }
}
