//! What the observer shows for what it was told.

use super::*;
use crate::domain::{DeliveryId, Failure, Fence, MessageId, SourceId};

fn lane(provider: &str) -> Lane {
    Lane {
        source: SourceId::from("a"),
        provider: ProviderId::from(provider),
    }
}

fn attempt(lane: Lane) -> Attempt {
    Attempt {
        delivery: DeliveryId {
            message: MessageId(uuid::Uuid::nil()),
            recipient: 0,
        },
        fence: Fence(1),
        number: 1,
        lane: Some(lane),
        host: "mx.example".to_owned(),
        address: None,
        tls: false,
        started_at: Timestamp(0),
        ended_at: Timestamp(1),
        stage: Stage::Dot,
        outcome: AttemptOutcome::Failed(Failure::Timeout),
    }
}

#[track_caller]
fn check_shown(observer: &Observer, line: &str) {
    let text = observer.render();
    assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
}

#[test]
fn strangers_cannot_grow_the_number_of_labels_nor_our_memory() {
    let observer = Observer::new();
    for site in 0..1_000 {
        let lane = lane(&format!("site:mx{site}.example"));
        observer.attempted(&attempt(lane.clone()), Class::Critical);
        observer.connection_failed(&lane, Stage::Connect);
    }
    let text = observer.render();
    for name in ["posthaste_attempts_total{", "posthaste_connect_failures_total{"] {
        let series = text.lines().filter(|line| line.starts_with(name)).count();
        assert_eq!(series, PROVIDER_LABELS_MAX + 1, "{name}");
    }
    assert_eq!(observer.attempts.len(), PROVIDER_LABELS_MAX + 1);
    let others = 1_000 - PROVIDER_LABELS_MAX;
    let labels = r#"provider="other",source="a",class="critical",outcome="failed""#;
    check_shown(&observer, &format!("posthaste_attempts_total{{{labels}}} {others}"));
}

#[test]
fn providers_of_rules_and_routes_keep_their_names_however_many_strangers_came_first() {
    let observer = Observer::new();
    for site in 0..1_000 {
        observer.connection_failed(&lane(&format!("site:mx{site}.example")), Stage::Connect);
    }
    for provider in ["google", "route:smarthost"] {
        observer.connection_failed(&lane(provider), Stage::Banner);
        let labels = format!(r#"provider="{provider}",source="a",stage="banner""#);
        check_shown(&observer, &format!("posthaste_connect_failures_total{{{labels}}} 1"));
    }
}

#[test]
fn every_metric_is_described_once_it_has_a_value() {
    let observer = Observer::new();
    observer.accepted(Class::Critical, 3);
    check_shown(&observer, r#"posthaste_accepted_total{class="critical"} 3"#);
    let text = observer.render();
    let help = "# HELP posthaste_accepted_total Deliveries that were accepted";
    assert!(text.contains(help), "{text}");
}

#[test]
fn counters_that_should_stay_at_zero_are_shown_from_the_start() {
    let observer = Observer::new();
    observer.actor_started("settler");
    for line in [
        r#"posthaste_ambiguous_total{class="broadcast"} 0"#,
        r#"posthaste_possible_duplicates_total{class="critical"} 0"#,
        r#"posthaste_ended_total{state="expired",class="transactional"} 0"#,
        r#"posthaste_store_errors_total{kind="full"} 0"#,
        r#"posthaste_actor_restarts_total{kind="settler"} 0"#,
    ] {
        check_shown(&observer, line);
    }
    observer.actor_panicked("settler");
    observer.actor_started("settler");
    check_shown(&observer, r#"posthaste_actor_restarts_total{kind="settler"} 1"#);
}

#[test]
fn depths_beyond_32_bits_are_not_clipped() {
    let observer = Observer::new();
    let mut depth = Depth {
        by_state: [0; 11],
        waiting_by_class: [0, 5_000_000_000, 0],
        oldest: Some(Timestamp(1_000)),
        leased: 0,
        parked: 0,
        messages: 0,
    };
    observer.depth(&depth, Timestamp(3_500));
    check_shown(&observer, r#"posthaste_queue_depth{class="transactional"} 5000000000"#);
    check_shown(&observer, "posthaste_queue_oldest_seconds 2.5");
    depth.oldest = None;
    observer.depth(&depth, Timestamp(9_000));
    check_shown(&observer, "posthaste_queue_oldest_seconds 0");
}

#[test]
fn only_phases_that_were_reached_are_measured() {
    let observer = Observer::new();
    let times = PhaseTimes {
        envelope: Some(Duration::from_millis(3)),
        ..PhaseTimes::default()
    };
    observer.phases(&times);
    check_shown(&observer, r#"posthaste_smtp_phase_seconds_count{phase="envelope"} 1"#);
    check_shown(&observer, r#"posthaste_smtp_phase_seconds_sum{phase="envelope"} 0.003"#);
    let text = observer.render();
    assert!(!text.contains(r#"posthaste_smtp_phase_seconds_count{phase="dot"} 1"#));
}

#[test]
fn connections_are_counted_up_and_down() {
    let observer = Observer::new();
    let lane = lane("google");
    observer.connection_opening(&lane);
    observer.connection_opening(&lane);
    observer.connection_closed(&lane);
    check_shown(
        &observer,
        r#"posthaste_open_connections{provider="google",source="a"} 1"#,
    );
}
