//! Decisions: pure and synchronous, one file each, found by its name.
//!
//! Takes domain words, settings, `now` and a seed; gives decisions. Never does I/O, reads a clock, draws random numbers,
//! logs or knows an actor.

pub mod admission;
pub mod allowance;
pub mod api_key;
pub mod breaker;
pub mod census;
pub mod classify;
pub mod congestion;
pub mod controller;
pub mod decision;
pub mod dial_guard;
pub mod dip;
pub mod domain_hold;
pub mod dot_guard;
pub mod engagement;
pub mod fairness;
pub mod hold;
pub mod knock;
pub mod lane_gate;
pub mod lane_room;
pub mod latency_floor;
pub mod let_through;
pub mod lowered;
pub mod mx;
pub mod netblock;
pub mod openings;
pub mod ownership;
pub mod pace;
pub mod pace_settings;
pub mod pin_trial;
pub mod pins;
pub mod pins_lint;
pub mod probe_budget;
pub mod projection;
pub mod provider_map;
pub mod rate_meter;
pub mod redis_safety;
pub mod reputation;
pub mod restart;
pub mod retry;
pub mod routing;
pub mod rules_file;
pub mod rules_lint;
pub mod seed;
pub mod session_limit;
pub mod settlement;
pub mod shares;
pub mod shelves;
pub mod source_health;
pub mod standstill;
pub mod tenant_policy;
pub mod token_bucket;
pub mod warmup;
pub mod warmup_ladder;
