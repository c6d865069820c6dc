//! The contract on a cluster of three, in four partitions.
//!
//! Left out: what speaks of the order between messages, which may be in different partitions; of idempotency keys with ids that
//! were not chosen for them; and of equal settlements at the same time, which a cluster's client may have repeated itself.

use posthaste::store::RedisSettings;
use test_rig::{RedisCluster, RedisOptions};

use super::contract::InRedis;
use crate::contract::Bed;

/// Runs promises one after the other, each on a store of its own in one cluster.
macro_rules! on_a_cluster {
    ($($room:ident [$($promise:ident,)*])*) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn the_contract_holds_on_a_cluster() {
            let cluster = RedisCluster::start(3, &RedisOptions::new()).expect("the cluster starts");
            $($(
                println!("{}::{}", stringify!($room), stringify!($promise));
                let backend = InRedis::at(settings(&cluster, stringify!($promise))).await;
                $crate::contract::$room::$promise(Bed::new(backend)).await;
            )*)*
        }
    };
}

fn settings(cluster: &RedisCluster, prefix: &str) -> RedisSettings {
    let mut settings = RedisSettings::at("");
    settings.urls = cluster.urls();
    settings.prefix = prefix.to_owned();
    settings.partitions = Some(4);
    settings
}

on_a_cluster! {
    accept [
        what_was_accepted_can_be_read,
        deliveries_come_in_the_order_of_the_recipients,
        an_accept_is_seen_whole_or_not_at_all,
        a_message_that_is_settled_at_accept_keeps_no_body,
        an_accept_wakes_the_scheduler,
    ]
    lease [
        nothing_is_leased_before_it_is_due,
        a_lease_takes_at_most_what_was_asked_for,
        classes_do_not_mix,
        what_is_leased_is_not_leased_again_before_the_lease_ends,
        after_the_lease_ended_it_is_leased_again_under_a_higher_fence,
        two_who_lease_at_the_same_time_share_nothing,
        a_renewed_lease_lasts_longer,
        a_lost_lease_is_reported_and_not_extended,
        a_released_one_waits_for_its_new_time_without_an_attempt,
        after_a_crash_work_is_leased_again_under_higher_fences,
        the_next_due_time_is_the_earliest_in_line,
    ]
    park [
        lanes_do_not_mix,
        a_parked_one_stands_in_no_other_line,
        a_parked_one_is_leased_once_and_returns_to_its_lane_when_the_lease_ends,
        lanes_are_listed_with_their_numbers,
        what_was_parked_survives_a_crash,
    ]
    intent [
        the_holder_of_the_lease_may_send,
        without_the_lease_nobody_sends,
        after_the_end_of_the_lease_nobody_sends,
        what_was_suppressed_meanwhile_is_not_sent,
        a_suppression_of_the_other_stream_stops_nothing,
        only_an_outcome_closes_the_intent,
    ]
    settle [
        a_settlement_is_applied_whole,
        a_settlement_survives_a_crash,
        a_stale_settlement_changes_nothing,
        the_second_settlement_under_one_lease_is_stale,
        each_settlement_of_a_batch_gets_its_own_answer,
        nothing_leads_out_of_a_final_state,
        a_hard_bounce_suppresses_the_address_in_the_same_step,
        events_are_ordered_over_the_whole_store,
        a_body_lives_until_the_last_settlement,
    ]
    cancel [
        a_lease_without_intent_is_taken_away,
        what_is_on_its_way_cannot_be_cancelled,
        of_a_cancellation_and_an_intent_at_the_same_time_exactly_one_wins,
        a_cancellation_survives_a_crash,
    ]
    depth [
        the_depth_equals_a_recount,
        the_depth_survives_a_crash,
        settled_messages_are_purged_and_still_counted,
        a_purge_takes_at_most_what_was_asked_for,
        an_empty_store_has_no_depth,
    ]
    records [
        tenants_are_kept,
        keys_are_kept,
        domains_are_kept_by_tenant,
        a_template_stored_again_is_its_next_version,
        suppressions_are_kept_by_tenant_and_stream,
        an_address_can_be_taken_off_the_list,
        records_survive_a_crash,
    ]
}
