//! The traps of reference/providers.md section 8 and others, each found in a file that has it and in none that has not.

use super::*;

const BOUNCES: &str = include_str!("../../../rules/bounces.yaml");
const PROVIDERS: &str = include_str!("../../../rules/providers.yaml");
const WARMUP: &str = include_str!("../../../rules/warmup.yaml");
const LAST: &str = "  - {name: last, class: unclassified, blame: provider, fallback: yes}\n";

fn bounces(rules: &str) -> String {
    format!("version: 1\nnever_suppress_text: spam\nrules:\n{rules}{LAST}")
}

fn providers(providers: &str) -> String {
    format!("version: 1\ndefault: {{connections: 10}}\nproviders:\n{providers}")
}

const GOOGLE: &str = "  - {id: google, mx: [.google.com]}\n";

/// Rules with exactly these faults at these names.
/// Findings of these two, beside ladders that nobody minds.
fn lint_two(bounces: &str, providers: &str, elsewhere: &[ProviderId]) -> Vec<Finding> {
    let warmup = &ladders("");
    lint(
        Texts {
            bounces,
            providers,
            warmup,
        },
        elsewhere,
    )
}

fn ladders(providers: &str) -> String {
    let providers = if providers.is_empty() { " {}\n" } else { providers };
    format!("version: 1\ndefault: {{steps: [50, 100]}}\nsites: {{steps: [50]}}\nproviders:{providers}")
}

/// Exactly these faults of the ladders of these providers.
#[track_caller]
fn check_ladders(list: &str, expected: &[(&str, Fault)]) {
    let texts = Texts {
        bounces: &bounces(""),
        providers: &providers(GOOGLE),
        warmup: &ladders(&format!("\n{list}")),
    };
    check(&lint(texts, &[ProviderId::from("route:lab")]), expected);
}

#[track_caller]
fn check_bounces(rules: &str, expected: &[(&str, Fault)]) {
    check(&lint_two(&bounces(rules), &providers(GOOGLE), &[]), expected);
}

#[track_caller]
fn check_providers(list: &str, expected: &[(&str, Fault)]) {
    check(&lint_two(&bounces(""), &providers(list), &[]), expected);
}

#[track_caller]
fn check(findings: &[Finding], expected: &[(&str, Fault)]) {
    let found: Vec<(&str, Fault)> = findings.iter().map(|one| (one.name.as_str(), one.fault)).collect();
    let shown: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert_eq!(found, expected, "{}", shown.join("\n"));
}

#[test]
fn what_ships_is_clean() {
    let shown: Vec<String> = lint(
        Texts {
            bounces: BOUNCES,
            providers: PROVIDERS,
            warmup: WARMUP,
        },
        &[],
    )
    .iter()
    .map(ToString::to_string)
    .collect();
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
    let by_route = lint_two(
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
    let found = lint_two(
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
    let found = lint_two(
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
    check(&lint_two("[", "[", &[]), &[("", Fault::Refused), ("", Fault::Refused)]);
}

#[test]
fn a_ladder_that_nobody_climbs_or_that_is_too_steep_is_found_with_its_line() {
    check_ladders(
        "  google: {steps: [40, 80]}\n  'site:mx.example': {steps: [2, 100]}\n",
        &[],
    );
    check_ladders("  gogle: {steps: [40, 80]}\n", &[("gogle", Fault::UnknownProvider)]);
    check_ladders(
        "  'route:lab': {steps: [40, 80]}\n",
        &[("route:lab", Fault::Unreachable)],
    );
    check_ladders("  google: {steps: [50, 100]}\n", &[("google", Fault::Duplicate)]);
    check_ladders("  google: {steps: [40, 80, 170]}\n", &[("google", Fault::Steep)]);
    check_ladders("  google: {steps: [80, 40]}\n", &[("google", Fault::Refused)]);
    let texts = Texts {
        bounces: &bounces(""),
        providers: &providers(GOOGLE),
        warmup: &ladders("\n  google: {start: 50, growth: 9, end: 100}\n"),
    };
    let found = lint(texts, &[]);
    assert_eq!(
        found[0].to_string().split(": ").next(),
        Some("warmup.yaml:5"),
        "{found:?}"
    );
    let texts = Texts {
        warmup: "version: 7",
        ..texts
    };
    assert_eq!(lint(texts, &[])[0].fault, Fault::Refused);
}
