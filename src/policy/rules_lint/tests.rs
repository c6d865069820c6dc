//! The traps of reference/providers.md section 8 and others, each found in a file that has it and in none that has not.

use super::*;

const BOUNCES: &str = include_str!("../../../rules/bounces.yaml");
const PROVIDERS: &str = include_str!("../../../rules/providers.yaml");
const LAST: &str = "  - {name: last, class: unclassified, blame: provider, fallback: yes}\n";

fn bounces(rules: &str) -> String {
    format!("version: 1\nnever_suppress_text: spam\nrules:\n{rules}{LAST}")
}

fn providers(providers: &str) -> String {
    format!("version: 1\ndefault: {{connections: 10}}\nproviders:\n{providers}")
}

const GOOGLE: &str = "  - {id: google, mx: [.google.com]}\n";

/// Rules with exactly these faults at these names.
#[track_caller]
fn check_bounces(rules: &str, expected: &[(&str, Fault)]) {
    check(&lint(&bounces(rules), &providers(GOOGLE), &[]), expected);
}

#[track_caller]
fn check_providers(list: &str, expected: &[(&str, Fault)]) {
    check(&lint(&bounces(""), &providers(list), &[]), expected);
}

#[track_caller]
fn check(findings: &[Finding], expected: &[(&str, Fault)]) {
    let found: Vec<(&str, Fault)> = findings.iter().map(|one| (one.name.as_str(), one.fault)).collect();
    let shown: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert_eq!(found, expected, "{}", shown.join("\n"));
}

#[test]
fn what_ships_is_clean() {
    let shown: Vec<String> = lint(BOUNCES, PROVIDERS, &[]).iter().map(ToString::to_string).collect();
    assert!(shown.is_empty(), "{} findings:\n{}", shown.len(), shown.join("\n"));
}

#[test]
fn a_provider_without_a_match_and_a_rule_under_another_spelling_are_dead() {
    check_providers("  - {id: google, mx: []}\n", &[("google", Fault::Refused)]);
    check_bounces(
        "  - {name: a, provider: [gogle], text: 'no', class: policy, blame: provider}\n",
        &[("a", Fault::UnknownProvider)],
    );
    check_bounces(
        "  - {name: a, provider: [google], text: 'no', class: policy, blame: provider}\n",
        &[],
    );
    let by_route = lint(
        &bounces("  - {name: a, provider: ['route:lab'], text: 'no', class: policy, blame: provider}\n"),
        &providers(GOOGLE),
        &[ProviderId::from("route:lab")],
    );
    check(&by_route, &[]);
}

#[test]
fn a_suffix_with_a_trailing_dot_never_matches() {
    check_providers(
        "  - {id: barracuda, mx: [.barracudanetworks.com.]}\n",
        &[("barracuda", Fault::Refused)],
    );
    check_providers("  - {id: barracuda, mx: [.barracudanetworks.com]}\n", &[]);
}

#[test]
fn a_doubled_backslash_looks_for_a_backslash_and_a_star_repeats_the_last_letter() {
    let rule = |text: &str| format!("  - {{name: a, text: '{text}', class: spam_content, blame: message}}\n");
    check_bounces(&rule(r"dt:\\d+"), &[("a", Fault::Refused)]);
    check_bounces(&rule("DT:SPM*"), &[("a", Fault::LetterRepeated)]);
    check_bounces(&rule(r"dt:spm\b.*"), &[]);
}

#[test]
fn two_rules_for_one_text_with_other_consequences_contradict() {
    // Where one is reached and the other is not, and where both are.
    check_bounces(
        "  - {name: a, text: 'too fast', class: rate_limit, blame: source_ip, action: slow}\n\
         \x20 - {name: b, text: 'too fast', class: rate_limit, blame: source_ip, action: {stop: 1h}}\n",
        &[("b", Fault::Contradiction)],
    );
    check_bounces(
        "  - {name: a, code: [421, 450], text: 'too fast', class: rate_limit, blame: source_ip, action: slow}\n\
         \x20 - {name: b, code: [450, 451], text: '(?:too) fast', class: capacity, blame: provider}\n",
        &[("b", Fault::Contradiction)],
    );
    // A special case before the general one is how rules are meant to be.
    check_bounces(
        "  - {name: a, code: [421], text: 'too fast', class: rate_limit, blame: source_ip, action: slow}\n\
         \x20 - {name: b, code: [4xx], text: 'too fast', class: capacity, blame: provider}\n",
        &[],
    );
    check_bounces(
        "  - {name: a, text: 'too fast', class: rate_limit, blame: source_ip, permanence: bounce, action: slow}\n",
        &[("a", Fault::Contradiction)],
    );
}

#[test]
fn a_bare_policy_code_swallows_what_others_ask_for() {
    check_bounces(
        "  - {name: bare, code: [550], enhanced: [5.7.1], class: policy, blame: provider}\n\
         \x20 - {name: spf, text: 'spf', class: authentication, blame: tenant_domain}\n",
        &[("bare", Fault::Swallows)],
    );
    check_bounces(
        "  - {name: bare, code: [5xx], class: policy, blame: provider}\n\
         \x20 - {name: spf, code: [550], text: 'spf', class: authentication, blame: tenant_domain}\n",
        &[("spf", Fault::Unreachable)],
    );
    check_bounces(
        "  - {name: spf, text: 'spf', class: authentication, blame: tenant_domain}\n\
         \x20 - {name: bare, code: [550], enhanced: [5.7.1], class: policy, blame: provider}\n",
        &[],
    );
    check_bounces(
        "  - {name: full, enhanced: [x.2.2], class: mailbox_full, blame: mailbox}\n\
         \x20 - {name: spf, text: 'spf', class: authentication, blame: tenant_domain}\n",
        &[],
    );
}

#[test]
fn a_threshold_that_counts_over_the_wrong_time_cannot_be_written() {
    let found = lint(
        &bounces("  - {name: a, text: 'no', class: policy, blame: us, threshold: 2/h}\n"),
        &providers(GOOGLE),
        &[],
    );
    check(&found, &[("", Fault::Refused)]);
    assert!(found[0].problem.contains("threshold"), "{}", found[0]);
}

#[test]
fn a_rule_whose_replies_others_take_is_unreachable() {
    check_bounces(
        "  - {name: wide, text: 'block|spam', class: policy, blame: provider}\n\
         \x20 - {name: narrow, code: [550], text: 'blocked by|spamhaus', class: ip_reputation, blame: source_ip}\n",
        &[("narrow", Fault::Unreachable)],
    );
    check_bounces(
        "  - {name: one, text: 'gr[ae]ylist', class: greylisted, blame: provider}\n\
         \x20 - {name: two, text: 'gr(?:a|e)ylist', class: greylisted, blame: provider}\n",
        &[("two", Fault::Duplicate)],
    );
    check_bounces(
        "  - {name: own, provider: [google], text: 'no', class: policy, blame: provider}\n\
         \x20 - {name: any, text: 'no', class: capacity, blame: provider}\n",
        &[],
    );
    // A shadow rule takes nothing from anybody, and is itself heard.
    check_bounces(
        "  - {name: tried, text: 'no', shadow: yes, class: policy, blame: provider}\n\
         \x20 - {name: any, text: 'no', class: capacity, blame: provider}\n",
        &[],
    );
}

#[test]
fn patterns_and_codes_that_nobody_means_are_told() {
    check_bounces(
        "  - {name: a, text: '(?:x+)+y', class: policy, blame: provider}\n",
        &[("a", Fault::Repetition)],
    );
    check_bounces(
        "  - {name: a, text: 'spam|spam', class: policy, blame: provider}\n",
        &[("a", Fault::DeadAlternative)],
    );
    check_bounces(
        "  - {name: a, code: [4xx], enhanced: [5.1.1], class: policy, blame: provider}\n",
        &[("a", Fault::ClassesDiffer)],
    );
    check_bounces(
        "  - {name: a, text: 'spam', class: spam_content, blame: message, action: slow}\n",
        &[("a", Fault::IdleAction)],
    );
    check_bounces(
        "  - {name: a, text: '(', class: policy, blame: us}\n",
        &[("a", Fault::Refused)],
    );
}

#[test]
fn hosts_that_say_too_much_or_nothing_are_told() {
    check_providers("  - {id: uk, mx: [.co.uk]}\n", &[("uk", Fault::PublicSuffix)]);
    check_providers(
        "  - {id: google, mx: [.google.com, mx.google.com]}\n",
        &[("google", Fault::CoveredHost)],
    );
    check_providers(
        "  - {id: a, mx: [.google.com]}\n  - {id: b, mx: [.google.com]}\n",
        &[("b", Fault::Refused)],
    );
}

#[test]
fn one_mistake_hides_no_other() {
    let found = lint(
        &bounces(
            "  - {name: a, class: nonsense, blame: us}\n\
             \x20 - {name: b, provider: [gogle], text: 'x(', class: policy, blame: us}\n\
             \x20 - {name: c, provider: [gogle], text: 'SPM*', class: policy, blame: us}\n",
        ),
        &providers("  - {id: google, mx: [x]}\n  - {id: yahoo, mx: [.a.b.]}\n"),
        &[],
    );
    check(
        &found,
        &[
            ("a", Fault::Refused),
            ("b", Fault::Refused),
            ("c", Fault::UnknownProvider),
            ("c", Fault::LetterRepeated),
            ("google", Fault::Refused),
            ("yahoo", Fault::Refused),
        ],
    );
    assert_eq!(found[0].to_string().split(": ").next(), Some("bounces.yaml:4"));
}

#[test]
fn what_is_no_file_of_rules_is_one_finding_each() {
    check(&lint("[", "[", &[]), &[("", Fault::Refused), ("", Fault::Refused)]);
}
