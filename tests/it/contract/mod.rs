//! The contract of the queue and store seams: one suite for all backends, a test per promise.
//!
//! Takes a way to open a backend; asserts what `Queue` and `Store` promise, through the traits only. A backend joins
//! with one line at the bottom: `contract_tests!(name, open_function);`. Never looks inside a backend.
//!
//! What the traits leave open is decided here, and a new backend is held to it:
//! - A lease takes a Delivery out of its place (in line, or parked) and puts it back there when it ends. `Depth::parked`
//!   and `parked_lanes` count those in place; `Depth::leased` those whose lease has not ended; `waiting_by_class` all
//!   that are not final.
//! - A lease is lost when the Delivery is leased again, cancelled or given back. Its time alone does not lose it: a late
//!   `settle`, `renew`, `park` or `release` still counts while nobody else took it. An INTENT after its end is refused.
//! - Only an OUTCOME closes an INTENT: a Delivery that is parked or released with one comes back with it, and nobody
//!   cancels it until then.
//! - Fences grow over crashes too, so that nobody's lease from before one is taken for a new one.
//! - One suppression entry per address, whatever its case; another one never makes it narrower.

pub(crate) mod accept;
pub(crate) mod bed;
pub(crate) mod cancel;
pub(crate) mod claims;
pub(crate) mod depth;
pub(crate) mod history;
pub(crate) mod intent;
pub(crate) mod lease;
pub(crate) mod model;
pub(crate) mod notes;
pub(crate) mod park;
pub(crate) mod records;
pub(crate) mod settle;
pub(crate) mod waits;

pub(crate) use bed::{Backend, Bed, Mail, at, delivered, intent, lane};

use std::sync::Arc;

use async_trait::async_trait;
use posthaste::queue::Queue;
use posthaste::store::{Memory, Store};

/// One test per promise, in a module named after the backend. `$open` is an `async fn() -> impl Backend`; `$histories`
/// says how many random ones are compared with the reference.
macro_rules! contract_tests {
    ($backend:ident, $open:path, histories: $histories:expr) => {
        mod $backend {
            $crate::contract::contract_tests! { @ $open;
                accept [
                    what_was_accepted_can_be_read,
                    deliveries_come_in_the_order_of_the_recipients,
                    one_call_may_accept_several_messages,
                    an_accept_is_seen_whole_or_not_at_all,
                    a_repeated_call_gets_its_first_answer_and_stores_nothing,
                    a_key_used_for_another_request_is_a_mismatch_and_stores_nothing,
                    an_expired_key_is_as_good_as_a_new_one,
                    keys_of_two_tenants_do_not_meet,
                    of_twins_at_the_same_time_exactly_one_is_new,
                    what_was_accepted_survives_a_crash,
                    a_message_that_is_settled_at_accept_keeps_no_body,
                    an_accept_wakes_the_scheduler,
                ]
                lease [
                    deliveries_go_by_due_time_then_by_order_of_acceptance,
                    a_fresh_one_does_not_wait_for_the_whole_of_a_long_line,
                    nothing_is_leased_before_it_is_due,
                    a_lease_takes_at_most_what_was_asked_for,
                    classes_do_not_mix,
                    what_is_leased_is_not_leased_again_before_the_lease_ends,
                    who_asks_for_work_that_is_out_does_not_extend_its_lease,
                    after_the_lease_ended_it_is_leased_again_under_a_higher_fence,
                    two_who_lease_at_the_same_time_share_nothing,
                    a_renewed_lease_lasts_longer,
                    a_lost_lease_is_reported_and_not_extended,
                    expired_and_held_ones_are_leased_like_all_others,
                    a_released_one_waits_for_its_new_time_without_an_attempt,
                    a_release_under_a_lost_lease_is_passed_over,
                    a_release_wakes_the_scheduler,
                    after_a_crash_work_is_leased_again_under_higher_fences,
                    leases_held_in_memory_end_with_the_process,
                    the_next_due_time_is_the_earliest_in_line,
                ]
                park [
                    parked_ones_go_by_class_then_by_soonest_expiry,
                    lanes_do_not_mix,
                    a_parked_one_stands_in_no_other_line,
                    a_parked_one_is_leased_once_and_returns_to_its_lane_when_the_lease_ends,
                    a_parked_one_may_be_released_into_the_line,
                    a_parking_under_a_lost_lease_is_passed_over,
                    parked_ones_that_have_expired_are_found_under_any_lane,
                    one_that_moved_to_another_lane_is_found_when_it_expires,
                    lanes_are_listed_with_their_numbers,
                    what_was_parked_survives_a_crash,
                ]
                intent [
                    the_holder_of_the_lease_may_send,
                    without_the_lease_nobody_sends,
                    after_the_end_of_the_lease_nobody_sends,
                    what_has_expired_is_not_sent,
                    what_was_suppressed_meanwhile_is_not_sent,
                    a_suppression_of_the_other_stream_stops_nothing,
                    what_is_cancelled_or_final_is_not_sent,
                    an_intent_without_outcome_comes_back_after_a_crash,
                    an_intent_without_outcome_comes_back_when_the_lease_ends,
                    a_refused_intent_leaves_nothing_open,
                    an_outcome_closes_the_intent,
                    only_an_outcome_closes_the_intent,
                    a_lane_in_warm_up_sends_no_more_than_its_cap,
                    a_refused_intent_costs_nothing,
                    an_intent_over_the_cap_leaves_nothing_open,
                    what_was_charged_survives_a_crash,
                    a_clock_that_jumps_back_opens_no_new_budget,
                    of_intents_at_the_same_time_no_more_than_the_cap_are_recorded,
                    what_is_taken_back_may_be_charged_again_and_that_survives_a_crash,
                    nothing_is_taken_back_that_was_not_charged_on_that_day,
                ]
                settle [
                    a_settlement_is_applied_whole,
                    what_a_settlement_does_not_say_stays,
                    a_settlement_survives_a_crash,
                    a_stale_settlement_changes_nothing,
                    the_second_settlement_under_one_lease_is_stale,
                    of_twin_settlements_at_the_same_time_exactly_one_counts,
                    a_late_settlement_counts_while_nobody_else_took_the_lease,
                    each_settlement_of_a_batch_gets_its_own_answer,
                    nothing_leads_out_of_a_final_state,
                    a_hard_bounce_suppresses_the_address_in_the_same_step,
                    events_are_ordered_over_the_whole_store,
                    each_delivery_has_exactly_one_last_event,
                    a_body_lives_until_the_last_settlement,
                    a_settlement_that_waits_wakes_the_scheduler,
                ]
                cancel [
                    what_waits_can_be_cancelled,
                    a_lease_without_intent_is_taken_away,
                    what_is_on_its_way_cannot_be_cancelled,
                    what_may_have_gone_out_cannot_be_cancelled_after_its_lease_either,
                    of_a_cancellation_and_an_intent_at_the_same_time_exactly_one_wins,
                    what_is_final_or_unknown_cannot_be_cancelled,
                    a_cancellation_survives_a_crash,
                ]
                claims [
                    a_source_belongs_to_the_first_who_asks,
                    a_claim_lasts_until_its_time_unless_renewed,
                    what_is_released_is_free_at_once,
                    who_leaves_owns_nothing,
                    the_board_shows_who_is_there_and_what_it_wants,
                    a_later_run_takes_the_place_of_an_earlier_one_at_once,
                    fences_of_sources_grow_over_a_crash,
                    of_two_who_ask_at_the_same_time_exactly_one_gets_it,
                    ownership_never_overlaps,
                ]
                depth [
                    the_depth_equals_a_recount,
                    the_depth_survives_a_crash,
                    settled_messages_are_purged_and_still_counted,
                    a_purge_takes_at_most_what_was_asked_for,
                    an_empty_store_has_no_depth,
                ]
                waits [
                    all_who_wait_are_met_once_in_a_round_and_nobody_else,
                    a_place_is_told_for_whoever_is_not_final,
                    under_a_lane_it_is_told_how_many_stand_before_one,
                ]
                notes [
                    what_was_learnt_is_read_by_kind_and_in_the_order_of_keys,
                    the_last_note_under_a_key_wins,
                    an_empty_value_takes_a_note_away,
                    what_was_learnt_survives_a_crash,
                    as_many_and_as_large_notes_as_may_be_are_kept,
                ]
                records [
                    tenants_are_kept,
                    keys_are_kept,
                    domains_are_kept_by_tenant,
                    a_template_stored_again_is_its_next_version,
                    templates_are_found_by_alias_or_id_of_their_tenant_only,
                    the_newest_templates_are_listed_by_alias,
                    suppressions_are_kept_by_tenant_and_stream,
                    an_address_is_suppressed_whatever_its_case,
                    a_suppression_never_gets_narrower,
                    an_address_can_be_taken_off_the_list,
                    records_survive_a_crash,
                    what_never_was_is_none,
                ]
            }

            #[test]
            fn random_histories_agree_with_the_reference() {
                $crate::contract::model::compare($open, $histories);
            }

        }
    };
    (@ $open:path; $($room:ident [$($promise:ident,)*])*) => {
        $(mod $room {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                let bed = $crate::contract::Bed::new($open().await);
                $crate::contract::$room::$promise(bed).await;
            })*
        })*
    };
}

pub(crate) use contract_tests;

/// The reference itself, checked after every step of the model.
#[derive(Debug)]
pub(crate) struct InMemory(pub(crate) Arc<Memory>);

pub(crate) async fn in_memory() -> InMemory {
    InMemory(Arc::new(Memory::new()))
}

#[async_trait]
impl Backend for InMemory {
    fn queue(&self) -> Arc<dyn Queue> {
        Arc::clone(&self.0) as Arc<dyn Queue>
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.0) as Arc<dyn Store>
    }

    async fn crash(&mut self) {
        self.0.crash();
    }

    fn check(&self) {
        self.0.check();
    }
}

contract_tests!(memory, crate::contract::in_memory, histories: 256);

/// A backend that says it loses its leases in a crash, and keeps them.
struct Stubborn(InMemory);

#[async_trait]
impl Backend for Stubborn {
    fn queue(&self) -> Arc<dyn Queue> {
        self.0.queue()
    }

    fn store(&self) -> Arc<dyn Store> {
        self.0.store()
    }

    async fn crash(&mut self) {}
}

#[test]
#[should_panic(expected = "minimal failing input")]
fn random_histories_find_out_who_differs_from_the_reference() {
    model::compare(|| async { Stubborn(in_memory().await) }, 1024);
}
