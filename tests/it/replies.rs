//! The rules in `rules/` against a corpus of replies: what a provider says is taken for what it means.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use posthaste::domain::{
    Attempt, AttemptOutcome, Blame, DeliveryId, EnhancedCode, Fence, MessageId, ProviderId, Reply, Stage, Timestamp,
    Verdict,
};
use posthaste::policy::classify::{Classifier, Meaning};
use proptest::prelude::*;
use serde::Deserialize;

const CORPUS: &str = include_str!("../corpus/replies.yaml");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    reply: String,
    from: From,
    means: Means,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct From {
    provider: String,
    stage: String,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Means {
    verdict: String,
    class: String,
    blame: String,
    #[serde(default = "none")]
    action: String,
    after: Option<String>,
}

fn none() -> String {
    "none".to_owned()
}

static CLASSIFIER: LazyLock<Classifier> = LazyLock::new(Classifier::built_in);

static CASES: LazyLock<Vec<Case>> =
    LazyLock::new(|| serde_saphyr::from_str(CORPUS).expect("the corpus is well-formed"));

fn stage(name: &str) -> Stage {
    let found = Stage::of_name(name).filter(|stage| stage.has_replies());
    found.unwrap_or_else(|| panic!("there is no stage {name}"))
}

/// Reads a reply as the wire has it. Enhanced codes of later lines stay in the text: some parsers leave them there.
fn parse(raw: &str) -> Reply {
    let code = raw[..3].parse().expect("a reply starts with its code");
    let texts: Vec<&str> = raw.lines().map(|line| line.get(4..).unwrap_or("")).collect();
    let text = texts.join(" ");
    let (first, rest) = text.split_once(' ').unwrap_or((&text, ""));
    match first.parse::<EnhancedCode>() {
        Ok(enhanced) => Reply {
            code,
            enhanced: Some(enhanced),
            text: rest.to_owned(),
            odd: false,
        },
        Err(()) => Reply {
            code,
            enhanced: None,
            text,
            odd: false,
        },
    }
}

fn judge(provider: &str, stage: Stage, reply: Reply) -> Verdict {
    let attempt = Attempt {
        delivery: DeliveryId {
            message: MessageId(uuid::Uuid::nil()),
            recipient: 0,
        },
        fence: Fence(1),
        number: 1,
        lane: None,
        host: "mx.example.org".to_owned(),
        address: None,
        tls: true,
        started_at: Timestamp(0),
        ended_at: Timestamp(1000),
        stage,
        outcome: AttemptOutcome::Refused(reply),
    };
    CLASSIFIER.verdict(&ProviderId::from(provider), &attempt)
}

/// A Verdict in the words of the corpus, and the rule that gave it.
fn in_words(verdict: &Verdict) -> (Means, String) {
    let meaning = Meaning::of(verdict).expect("a refusal is not delivered");
    let means = Means {
        verdict: meaning.verdict.to_owned(),
        class: meaning.class.name().to_owned(),
        blame: meaning.blame.name().to_owned(),
        action: meaning.action_name(),
        after: meaning.after_name(),
    };
    (means, meaning.rule.to_string())
}

#[test]
fn each_reply_of_the_corpus_means_what_it_says_there() {
    let mut wrong = Vec::new();
    for case in CASES.iter() {
        let verdict = judge(&case.from.provider, stage(&case.from.stage), parse(&case.reply));
        let (means, rule) = in_words(&verdict);
        if means != case.means {
            wrong.push(format!(
                "{} at {}: {}\n   is {:?} by {rule}\n   not {:?}",
                case.from.provider, case.from.stage, case.reply, means, case.means
            ));
        }
    }
    assert!(wrong.is_empty(), "{} replies:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn each_rule_is_proven_by_a_reply() {
    let used: BTreeSet<String> = CASES
        .iter()
        .map(|case| judge(&case.from.provider, stage(&case.from.stage), parse(&case.reply)))
        .map(|verdict| in_words(&verdict).1)
        .collect();
    let idle: Vec<&str> = CLASSIFIER.rules().filter(|rule| !used.contains(*rule)).collect();
    assert!(idle.is_empty(), "no reply of the corpus is judged by {idle:?}");
}

/// The providers whose replies the rules must know, with the least number of replies that prove it.
#[test]
fn each_of_the_large_providers_has_its_part_of_the_corpus() {
    for (provider, least) in [
        ("google", 60),
        ("yahoo", 35),
        ("outlook-consumer", 25),
        ("microsoft365", 35),
        ("apple", 12),
        ("comcast", 7),
        ("spectrum", 13),
        ("orange", 7),
        ("gmx-webde", 6),
        ("mimecast", 8),
        ("tencent", 20),
        ("netease", 20),
        ("other", 150),
    ] {
        let count = CASES.iter().filter(|case| case.from.provider == provider).count();
        assert!(count >= least, "{provider}: {count}");
    }
}

/// Whoever has a bad name with a provider loses no recipient by it: no reply about address, netblock, domain, link or pace
/// suppresses, and no such rule even asks for it.
#[test]
fn no_reply_about_us_suppresses_anybody() {
    for case in CASES.iter() {
        let verdict = judge(&case.from.provider, stage(&case.from.stage), parse(&case.reply));
        if let Verdict::Bounce { cause, suppress: true } = verdict {
            assert_eq!(cause.blame, Blame::Recipient, "{}", case.reply);
        }
    }
}

/// A reply that only a fallback rule matches is told to be unknown, and no other.
#[test]
fn replies_that_no_rule_knows_are_told_from_the_others() {
    for (code, enhanced, text, unknown) in [
        (550, None, "zzz", true),
        (451, None, "zzz", true),
        (550, Some(EnhancedCode(5, 7, 1)), "zzz", true),
        (550, Some(EnhancedCode(5, 1, 1)), "zzz", false),
        (550, None, "no such user", false),
        (452, Some(EnhancedCode(4, 2, 2)), "zzz", false),
    ] {
        let reply = Reply {
            code,
            enhanced,
            text: text.to_owned(),
            odd: false,
        };
        let judged = CLASSIFIER.refused(&ProviderId::from("other"), Stage::RcptTo, &reply);
        assert_eq!(judged.is_unknown, unknown, "{reply:?}: {:?}", judged.verdict);
    }
}

#[test]
fn the_corpus_is_large_and_says_nothing_twice() {
    let cases = &*CASES;
    assert!(cases.len() >= 450, "{}", cases.len());
    let mut seen = BTreeSet::new();
    for case in cases {
        let key = (&case.reply, &case.from.provider, &case.from.stage);
        assert!(seen.insert(key), "twice: {}", case.reply);
    }
}

proptest! {
    /// B18 of the sabotage list: reputation and policy refusals never suppress, in whatever words, at whatever provider.
    #[test]
    fn a_refusal_that_speaks_of_reputation_never_suppresses(
        case in 0usize..CASES.len(),
        word in prop::sample::select(vec![
            "listed on zen.spamhaus.org", "your IP has a poor reputation", "blocked", "rejected by policy", "spam",
            "SPF check failed", "rate limited", "too many messages", "banned", "on our blacklist", "throttled",
        ]),
        before: bool,
        enhanced in prop::option::of((4u8..=5, 0u16..8, 0u16..30)),
    ) {
            let case = &CASES[case];
        let mut reply = parse(&case.reply);
        reply.text = if before { format!("{word} {}", reply.text) } else { format!("{} {word}", reply.text) };
        if let Some((class, subject, detail)) = enhanced {
            reply.enhanced = Some(EnhancedCode(class, subject, detail));
        }
        let verdict = judge(&case.from.provider, stage(&case.from.stage), reply.clone());
        prop_assert!(!matches!(verdict, Verdict::Bounce { suppress: true, .. }), "{:?} is {:?}", reply, verdict);
    }

    #[test]
    fn a_policy_code_never_suppresses_and_nothing_suppresses_before_rcpt_to(
        provider in prop::sample::select(vec!["google", "yahoo", "microsoft365", "tencent", "other"]),
        code in 400u16..600,
        detail in 0u16..700,
        text in "(user unknown|no such user|mailbox disabled|\\PC{0,60})",
        early in prop::sample::select(vec![Stage::Banner, Stage::Ehlo, Stage::StartTls, Stage::Auth, Stage::MailFrom]),
    ) {
            let reply = |enhanced| Reply { code, enhanced, text: text.clone(), odd: false };
        let class = if code < 500 { 4 } else { 5 };
        let policy = judge(provider, Stage::RcptTo, reply(Some(EnhancedCode(class, 7, detail))));
        let before = judge(provider, early, reply(Some(EnhancedCode(class, 1, 1))));
        for verdict in [policy, before] {
            prop_assert!(!matches!(verdict, Verdict::Bounce { suppress: true, .. }), "{:?}", verdict);
        }
    }
}
