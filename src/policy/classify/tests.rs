//! Tests of the door: which rule wins, what a file may not say, and what failures mean.

use std::sync::LazyLock;
use std::time::Duration;

use super::*;
use crate::domain::{
    Attempt, AttemptOutcome, Blame, BounceClass, DeliveryId, DnsFailure, Failure, Fence, LaneAction, MessageId,
    ProviderId, Reply, Stage, Timestamp, Verdict,
};

static BUILT_IN: LazyLock<Classifier> = LazyLock::new(Classifier::built_in);

fn attempt(stage: Stage, outcome: AttemptOutcome) -> Attempt {
    Attempt {
        delivery: DeliveryId {
            message: MessageId(uuid::Uuid::nil()),
            recipient: 0,
        },
        fence: Fence(1),
        number: 1,
        lane: None,
        host: String::new(),
        address: None,
        tls: false,
        started_at: Timestamp(0),
        ended_at: Timestamp(1),
        stage,
        outcome,
    }
}

fn reply(code: u16, enhanced: &str, text: &str) -> Reply {
    Reply {
        code,
        enhanced: enhanced.parse().ok(),
        text: text.to_owned(),
        odd: false,
    }
}

fn refused(classifier: &Classifier, provider: &str, stage: Stage, reply: Reply) -> Verdict {
    classifier.verdict(
        &ProviderId::from(provider),
        &attempt(stage, AttemptOutcome::Refused(reply)),
    )
}

fn failed(stage: Stage, failure: Failure) -> Verdict {
    BUILT_IN.verdict(
        &ProviderId::from("other"),
        &attempt(stage, AttemptOutcome::Failed(failure)),
    )
}

fn rule_of(verdict: &Verdict) -> &str {
    match verdict {
        Verdict::Retry { cause, .. } | Verdict::Bounce { cause, .. } | Verdict::Ambiguous { cause } => &cause.rule,
        Verdict::Delivered => "delivered",
    }
}

const LAST: &str = "  - {name: last, class: unclassified, blame: provider}\n";

fn file(rules: &str) -> String {
    format!("version: 1\nnever_suppress_text: spam\nrules:\n{rules}{LAST}")
}

#[test]
fn rules_of_the_provider_come_first_then_the_order_of_the_file_counts() {
    let classifier = Classifier::from_yaml(&file(
        "  - {name: any, code: [550], class: policy, blame: provider}\n\
         \x20 - {name: later, code: [550], class: policy, blame: provider}\n\
         \x20 - {name: own, provider: [google], code: [550], text: 'no', class: policy, blame: provider}\n",
    ))
    .expect("the file is right");
    let classifier = &classifier;
    for (provider, code, text, expected) in [
        ("google", 550, "no", "own"),
        ("google", 550, "yes", "any"),
        ("yahoo", 550, "no", "any"),
        ("google", 551, "no", "last"),
    ] {
        let verdict = refused(classifier, provider, Stage::RcptTo, reply(code, "", text));
        assert_eq!(rule_of(&verdict), expected, "{provider} {code} {text}");
    }
}

#[test]
fn an_enhanced_code_repeated_on_each_line_does_not_part_words() {
    let verdict = refused(
        &BUILT_IN,
        "google",
        Stage::Dot,
        reply(421, "4.7.28", "an unusual rate from your DKIM 4.7.28 domain"),
    );
    assert_eq!(rule_of(&verdict), "google-rate-domain");
}

#[test]
fn before_mail_from_nobody_is_judged_and_no_attempt_counts() {
    let classifier = &*BUILT_IN;
    for (stage, code, counted) in [
        (Stage::Banner, 554, false),
        (Stage::Ehlo, 550, false),
        (Stage::StartTls, 454, false),
        (Stage::Auth, 535, false),
        (Stage::Banner, 421, false),
        (Stage::MailFrom, 421, true),
        (Stage::RcptTo, 451, true),
    ] {
        let verdict = refused(classifier, "other", stage, reply(code, "", "go away"));
        assert!(
            matches!(verdict, Verdict::Retry { counts, .. } if counts == counted),
            "{stage:?} {code}: {verdict:?}"
        );
    }
}

#[test]
fn a_time_named_in_the_text_wins_over_the_rule() {
    let classifier = &*BUILT_IN;
    for (text, minutes) in [
        ("Ip frequency limited", 10),
        ("Ip frequency limited, retry after 30 minutes", 30),
    ] {
        let verdict = refused(classifier, "tencent", Stage::MailFrom, reply(550, "", text));
        let expected = Some(Duration::from_secs(minutes * 60));
        assert!(
            matches!(verdict, Verdict::Retry { after, .. } if after == expected),
            "{verdict:?}"
        );
    }
}

#[test]
fn a_refusal_without_a_4_or_5_judges_nobody() {
    let verdict = refused(&BUILT_IN, "google", Stage::RcptTo, reply(354, "", "go on"));
    assert_eq!(rule_of(&verdict), "built-in/unexpected-code");
    assert!(matches!(verdict, Verdict::Retry { .. }));
}

/// A file that is refused with an error that holds all of `expected`.
fn check_refused(yaml: &str, expected: &[&str]) {
    let error = Classifier::from_yaml(yaml).expect_err(yaml).to_string();
    for part in expected {
        assert!(error.contains(part), "{error:?} says nothing of {part:?} for\n{yaml}");
    }
}

#[test]
fn a_wrong_rule_is_refused_with_name_and_line() {
    let check = check_refused;
    let rule = |fields: &str| file(&format!("  - {{name: bad, {fields}}}\n"));
    check(&rule("class: nonsense, blame: us"), &["line 4", "bad", "nonsense"]);
    check(&rule("class: policy, blame: nobody"), &["line 4", "bad", "nobody"]);
    check(
        &rule("class: policy, blame: us, code: [6xx]"),
        &["line 4", "bad", "code", "6xx"],
    );
    check(&rule("class: policy, blame: us, enhanced: [5.x]"), &["bad", "enhanced"]);
    check(
        &rule("class: policy, blame: us, stage: [lunch]"),
        &["bad", "stage", "lunch"],
    );
    check(
        &rule("class: policy, blame: us, stage: [resolve]"),
        &["bad", "stage", "resolve"],
    );
    check(&rule("class: policy, blame: us, after: soon"), &["bad", "after"]);
    check(
        &rule("class: policy, blame: us, action: {stop: long}"),
        &["bad", "action"],
    );
    check(
        &rule("class: policy, blame: us, text: '(open'"),
        &["line 4", "bad", "text"],
    );
    check(
        &rule("class: policy, blame: us, text: 'a*'"),
        &["bad", "matches every text"],
    );
    check(
        &rule(r"class: policy, blame: us, text: '\\d'"),
        &["bad", "one backslash"],
    );
    check(
        &rule("class: policy, blame: us, text: '(a{500}){500}'"),
        &["bad", "text"],
    );
    check(
        &rule("class: policy, blame: provider, suppress: yes"),
        &["bad", "suppress"],
    );
    check(
        &rule("class: policy, blame: recipient, suppress: yes, permanence: retry"),
        &["bad", "suppress"],
    );
    check(
        &rule("class: policy, blame: us, permanence: bounce, after: 1h"),
        &["bad", "after"],
    );
    check(&rule("class: policy, blame: us, colour: red"), &["colour", "line 4"]);
    check(&rule("class: policy"), &["blame", "line 4"]);
}

#[test]
fn rules_that_do_not_fit_together_are_refused() {
    let check = check_refused;
    check(
        &file("  - {name: last, code: [550], class: policy, blame: us}\n"),
        &["line 5", "last", "another rule of this name"],
    );
    check(
        &file("  - {name: first, class: policy, blame: us}\n"),
        &["line 4", "first", "never match"],
    );
    check(
        "version: 1\nnever_suppress_text: spam\nrules:\n  - {name: only, code: [550], class: policy, blame: us}\n",
        &["only", "every reply has a meaning"],
    );
    check(
        "version: 1\nnever_suppress_text: spam\nrules: []\n",
        &["there are none"],
    );
    check(&file("").replace("version: 1", "version: 2"), &["version", "2"]);
    check(&file("").replace("spam", "'('"), &["never_suppress_text"]);
    check("[", &["line"]);
}

/// A failure that is retried: its class and blame, and whether it counts as an attempt.
fn check_retried(stage: Stage, failure: Failure, class: BounceClass, blame: Blame, counted: bool) {
    match failed(stage, failure.clone()) {
        Verdict::Retry { cause, counts, .. } => {
            let found = (cause.class, cause.blame, counts);
            assert_eq!(found, (class, blame, counted), "{stage:?} {failure:?}");
        }
        other => panic!("{stage:?} {failure:?}: {other:?}"),
    }
}

#[test]
fn failures_of_the_way_are_retried_and_count_from_mail_from_on() {
    let check = |stage, failure, counted| check_retried(stage, failure, BounceClass::Network, Blame::Network, counted);
    check(Stage::Connect, Failure::ConnectionRefused, false);
    check(Stage::Connect, Failure::Timeout, false);
    check(Stage::Connect, Failure::Network("no route".to_owned()), false);
    check(Stage::Banner, Failure::ConnectionLost, false);
    check(Stage::MailFrom, Failure::ConnectionLost, true);
    check(Stage::RcptTo, Failure::Timeout, true);
    check(Stage::Body, Failure::ConnectionLost, true);
    let not_smtp = Failure::Protocol("HTTP/1.1 400".to_owned());
    check_retried(Stage::Banner, not_smtp, BounceClass::Protocol, Blame::Provider, false);
    let expired = Failure::Tls("expired".to_owned());
    check_retried(Stage::StartTls, expired, BounceClass::Tls, Blame::Provider, false);
}

#[test]
fn failures_of_name_service_and_of_ours_are_retried_and_never_count() {
    let dns = |failure, blame| check_retried(Stage::Resolve, Failure::Dns(failure), BounceClass::Dns, blame, false);
    dns(DnsFailure::NoAnswer, Blame::Network);
    dns(DnsFailure::NoAddress, Blame::Recipient);
    dns(DnsFailure::CnameLoop, Blame::Recipient);
    dns(DnsFailure::NoDomainUnconfirmed, Blame::Recipient);
    let ours = |stage, failure| check_retried(stage, failure, BounceClass::Internal, Blame::Us, false);
    ours(Stage::Prepare, Failure::Local("no key".to_owned()));
    ours(Stage::Body, Failure::Local("address gone".to_owned()));
    ours(Stage::Data, Failure::Panicked);
}

#[test]
fn from_the_dot_on_whatever_is_lost_is_ambiguous() {
    for failure in [
        Failure::ConnectionLost,
        Failure::Timeout,
        Failure::Network("reset".to_owned()),
        Failure::Protocol("2500K".to_owned()),
        Failure::Tls("close without notify".to_owned()),
        Failure::Local("disk".to_owned()),
        Failure::Panicked,
    ] {
        let verdict = failed(Stage::Dot, failure.clone());
        assert!(matches!(verdict, Verdict::Ambiguous { .. }), "{failure:?}: {verdict:?}");
    }
}

#[test]
fn what_can_never_work_bounces_without_suppression() {
    for (failure, class) in [
        (Failure::Dns(DnsFailure::NoDomain), BounceClass::BadDomain),
        (Failure::Dns(DnsFailure::NullMx), BounceClass::BadDomain),
        (Failure::Dns(DnsFailure::Forbidden), BounceClass::BadDomain),
        (Failure::Unsupported("SIZE 1000".to_owned()), BounceClass::TooLarge),
        (Failure::Unsupported("no SMTPUTF8".to_owned()), BounceClass::Protocol),
    ] {
        match failed(Stage::Resolve, failure.clone()) {
            Verdict::Bounce { cause, suppress: false } => assert_eq!(cause.class, class, "{failure:?}"),
            other => panic!("{failure:?}: {other:?}"),
        }
    }
}

#[test]
fn a_2xx_after_the_dot_is_delivered() {
    let outcome = AttemptOutcome::Accepted(reply(250, "2.0.0", "your spam is blocked"));
    let verdict = BUILT_IN.verdict(&ProviderId::from("google"), &attempt(Stage::Dot, outcome));
    assert_eq!(verdict, Verdict::Delivered);
}

#[test]
fn a_lane_stops_for_its_address_and_not_for_one_tenants_domain() {
    let check =
        |text: &str, expected: LaneAction| match refused(&BUILT_IN, "google", Stage::Dot, reply(421, "4.7.28", text)) {
            Verdict::Retry { cause, .. } => assert_eq!(lane_action(&cause), expected, "{cause:?}"),
            other => panic!("{other:?}"),
        };
    check(
        "unusual rate from your IP address",
        LaneAction::Stop(Duration::from_secs(600)),
    );
    check(
        "unusual rate from your IP Netblock",
        LaneAction::Stop(Duration::from_secs(600)),
    );
    check("unusual rate from your DKIM domain", LaneAction::None);
    check("unusual rate for one of your URL domains", LaneAction::None);
}
