//! What was seen, and what follows from it.

use proptest::prelude::*;

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn found(addresses: &[&str]) -> Seen<IpAddr> {
    Seen::Found(addresses.iter().map(|text| ip(text)).collect())
}

fn bad() -> Finding {
    Finding::Bad("it is".to_owned())
}

fn unclear() -> Finding {
    Finding::Unclear("nobody knows".to_owned())
}

#[track_caller]
fn check(finding: &Finding, expect: &str) {
    let seen = match finding {
        Finding::Good => "good",
        Finding::Bad(detail) | Finding::Unclear(detail) => detail,
    };
    assert_eq!(seen, expect);
    assert_eq!(matches!(finding, Finding::Good), expect == "good");
}

/// A name and what was seen of it.
type Answered = (&'static str, Seen<IpAddr>);

#[test]
fn the_ehlo_name_leads_to_the_address() {
    let own = ip("203.0.113.5");
    check(&ehlo("m.example", own, &found(&["203.0.113.9", "203.0.113.5"])), "good");
    check(
        &ehlo("m.example", own, &found(&["203.0.113.9"])),
        "m.example resolves to 203.0.113.9, not to 203.0.113.5",
    );
    check(&ehlo("m.example", own, &Seen::None), "m.example has no address");
    assert!(matches!(ehlo("m.example", own, &Seen::Unknown), Finding::Unclear(_)));
}

#[test]
fn a_name_counts_only_when_it_leads_back() {
    let own = ip("2001:db8::5");
    let names = Seen::Found(vec!["a.example".to_owned(), "b.example".to_owned()]);
    let (here, there) = (found(&["2001:db8::5"]), found(&["2001:db8::6"]));
    check(&pointer(own, &names, &[there.clone(), here]), "good");
    check(
        &pointer(own, &names, &[there.clone(), Seen::None]),
        "2001:db8::5 has the name a.example, b.example, which does not lead back",
    );
    assert!(matches!(
        pointer(own, &names, &[there, Seen::Unknown]),
        Finding::Unclear(_)
    ));
    check(&pointer(own, &Seen::None, &[]), "2001:db8::5 has no name (PTR)");
    assert!(matches!(pointer(own, &Seen::Unknown, &[]), Finding::Unclear(_)));
}

#[test]
fn a_refusal_of_a_list_is_no_listing() {
    let table: [(&[Answered], &str); 7] = [
        (&[("zen.example", Seen::None), ("b.example", Seen::None)], "good"),
        (&[], "good"),
        (
            &[
                ("zen.example", found(&["127.0.0.2", "127.0.0.4"])),
                ("b.example", Seen::Unknown),
            ],
            "listed at zen.example (127.0.0.2, 127.0.0.4)",
        ),
        (
            &[("zen.example", found(&["127.255.255.254"]))],
            "zen.example does not answer this resolver (127.255.255.254)",
        ),
        (
            &[("zen.example", found(&["127.0.0.2", "127.255.255.252"]))],
            "zen.example does not answer this resolver (127.0.0.2, 127.255.255.252)",
        ),
        (
            &[("gone.example", found(&["192.0.2.7"]))],
            "gone.example answers with 192.0.2.7: it is no list",
        ),
        (&[("zen.example", Seen::Unknown)], "zen.example does not answer"),
    ];
    for (answers, expect) in table {
        let finding = dnsbl(answers.iter().map(|(zone, seen)| (*zone, seen)));
        check(&finding, expect);
        assert_eq!(
            matches!(finding, Finding::Bad(_)),
            expect.starts_with("listed"),
            "{expect}"
        );
    }
}

#[test]
fn addresses_are_reversed_as_the_standards_say() {
    assert_eq!(dnsbl_name(ip("203.0.113.5"), "zen.example"), "5.113.0.203.zen.example");
    assert_eq!(pointer_name(ip("203.0.113.5")), "5.113.0.203.in-addr.arpa");
    // RFC 3596 section 2.5.
    assert_eq!(
        pointer_name(ip("4321:0:1:2:3:4:567:89ab")),
        "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.0.0.0.0.1.2.3.4.ip6.arpa"
    );
}

#[test]
fn a_missing_address_takes_out_at_once_and_a_listing_only_where_that_is_wanted() {
    let mut health = SourceHealth::default();
    assert_eq!(health.fitness(&[Check::Bind]), Fitness::Healthy);
    health.on_look(&[(Check::Dnsbl, bad())]);
    assert_eq!(
        health.fitness(&[Check::Dnsbl]),
        Fitness::Healthy,
        "one look is not enough"
    );
    health.on_look(&[(Check::Dnsbl, bad())]);
    assert_eq!(health.fitness(&[Check::Bind]), Fitness::Suspect);
    assert_eq!(health.fitness(&[Check::Bind, Check::Dnsbl]), Fitness::Out);
    assert_eq!(health.problems(), ["it is"]);
    health.on_look(&[(Check::Bind, bad())]);
    assert_eq!(health.fitness(&[Check::Bind]), Fitness::Out);
    assert_eq!(health.fitness(&[]), Fitness::Suspect);
}

#[test]
fn a_check_that_comes_and_goes_and_one_without_an_answer_change_nothing() {
    let mut health = SourceHealth::default();
    for _ in 0..10 {
        health.on_look(&[(Check::Ehlo, bad())]);
        health.on_look(&[(Check::Ehlo, Finding::Good)]);
    }
    assert_eq!(health.fitness(&[Check::Ehlo]), Fitness::Healthy);
    for _ in 0..2 {
        health.on_look(&[(Check::Ehlo, bad())]);
        health.on_look(&[(Check::Ehlo, unclear())]);
    }
    assert_eq!(health.fitness(&[Check::Ehlo]), Fitness::Out);
    for _ in 0..10 {
        health.on_look(&[
            (Check::Ehlo, unclear()),
            (Check::Ehlo, Finding::Good),
            (Check::Ehlo, bad()),
        ]);
    }
    assert_eq!(health.fitness(&[Check::Ehlo]), Fitness::Out);
    health.on_look(&[(Check::Ehlo, Finding::Good)]);
    health.on_look(&[(Check::Ehlo, Finding::Good)]);
    assert_eq!(health.fitness(&[Check::Ehlo]), Fitness::Healthy);
    assert_eq!(health.problems(), Vec::<String>::new());
}

#[test]
fn checks_have_names_of_their_own_and_places_of_their_own() {
    for (place, check) in Check::ALL.into_iter().enumerate() {
        assert_eq!(check as usize, place);
        assert_eq!(Check::from_name(check.name()), Some(check));
    }
    assert_eq!(Check::from_name("luck"), None);
}

proptest! {
    #[test]
    fn only_two_looks_in_a_row_change_a_mind(looks in proptest::collection::vec(0_u8..3, 0..40)) {
        let mut health = SourceHealth::default();
        let mut clear = Vec::new();
        for look in looks {
            let before = health.of(Check::Dnsbl).bad;
            health.on_look(&[(Check::Dnsbl, match look { 0 => Finding::Good, 1 => bad(), _ => unclear() })]);
            clear.extend((look < 2).then_some(look == 1));
            let after = health.of(Check::Dnsbl).bad;
            if before != after {
                prop_assert!(clear.len() >= 2 && clear[clear.len() - 2..] == [after, after]);
            }
        }
    }
}
