//! How a Delivery is stored in Redis: its record, with what the functions must know of it in front.
//!
//! In front: the state's place in `State::ALL`, the class's in `Class::ALL`, the length of the lane (two bytes) and the lane
//! under which it is parked. The rest is the sealed record of `store::records`.

use super::super::records::{Damaged, StoredDelivery, decode_delivery, encode_delivery};
use crate::domain::{Delivery, DeliveryId, Lane, ProviderId, SourceId, State, Timestamp};

/// Bytes in front of the lane.
const HEAD: usize = 4;
/// Times beyond this one are "never" as scores: a score is a floating-point number and exact up to 2^53.
const SCORE_MAX: u64 = 1 << 52;
/// A class's share of the score by which parked ones are ordered: more than any expiry.
const CLASS_SCORE: u64 = 1 << 43;

/// The value of a Delivery that is parked under `lane`, or not parked.
pub(super) fn encode_value(delivery: &Delivery, lane: Option<&Lane>) -> Vec<u8> {
    let lane = lane.map(encode_lane).unwrap_or_default();
    let stored = StoredDelivery {
        delivery: delivery.clone(),
        parked: None,
        alone: false,
    };
    let record = encode_delivery(&stored);
    let mut value = Vec::with_capacity(HEAD + lane.len() + record.len());
    value.push(state_code(delivery.state));
    value.push(u8::try_from(delivery.class.index()).expect("there are three classes"));
    value.extend_from_slice(&length(lane.len()).to_be_bytes());
    value.extend_from_slice(&lane);
    value.extend_from_slice(&record);
    value
}

/// The Delivery in a value.
pub(super) fn decode_value(id: DeliveryId, value: &[u8]) -> Result<Delivery, Damaged> {
    let cut = || Damaged("it is too short".to_owned()).of("delivery", id);
    let (head, rest) = value.split_first_chunk::<HEAD>().ok_or_else(cut)?;
    let lane = usize::from(u16::from_be_bytes([head[2], head[3]]));
    let record = rest.get(lane..).ok_or_else(cut)?;
    Ok(decode_delivery(id, record)?.delivery)
}

/// A lane as part of a key and of values.
pub(super) fn encode_lane(lane: &Lane) -> Vec<u8> {
    let (source, provider) = (lane.source.as_str(), lane.provider.as_str());
    let mut bytes = Vec::with_capacity(2 + source.len() + provider.len());
    bytes.extend_from_slice(&length(source.len()).to_be_bytes());
    bytes.extend_from_slice(source.as_bytes());
    bytes.extend_from_slice(provider.as_bytes());
    bytes
}

/// The bytes of the lane in front of a record; none if it is not parked.
pub(super) fn lane_of(value: &[u8]) -> Option<&[u8]> {
    let (head, rest) = value.split_first_chunk::<HEAD>()?;
    let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
    rest.get(..length).filter(|lane| !lane.is_empty())
}

/// The lane in `bytes`.
pub(super) fn decode_lane(bytes: &[u8]) -> Result<Lane, Damaged> {
    let read = || {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let (source, provider) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        Some(Lane {
            source: SourceId::from(std::str::from_utf8(source).ok()?),
            provider: ProviderId::from(std::str::from_utf8(provider).ok()?),
        })
    };
    read().ok_or_else(|| Damaged("the name of a lane cannot be read".to_owned()))
}

/// A time as a score.
pub(super) fn score(at: Timestamp) -> u64 {
    at.0.min(SCORE_MAX)
}

/// The time of a score.
pub(super) fn time_of_score(score: u64) -> Timestamp {
    match score {
        SCORE_MAX.. => Timestamp::NEVER,
        millis => Timestamp(millis),
    }
}

/// The order of those who are parked under a lane: by class, then by expiry.
pub(super) fn parked_score(delivery: &Delivery) -> u64 {
    let class = u64::try_from(delivery.class.index()).unwrap_or_default();
    class * CLASS_SCORE + delivery.expires_at.0.min(CLASS_SCORE - 1)
}

/// The scores of one class, from and to.
pub(super) fn parked_scores(class: crate::domain::Class) -> (u64, u64) {
    let class = u64::try_from(class.index()).unwrap_or_default();
    (class * CLASS_SCORE, (class + 1) * CLASS_SCORE - 1)
}

fn state_code(state: State) -> u8 {
    let place = State::ALL.iter().position(|one| *one == state);
    let code = place.and_then(|place| u8::try_from(place).ok());
    code.expect("State::ALL holds all states, and they are few")
}

/// Names come from settings and from DNS and are short; one that is not is cut by nobody.
fn length(bytes: usize) -> u16 {
    u16::try_from(bytes).expect("names of sources and providers are far shorter than 32 KiB")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Class, MessageId, TenantId, Why};

    fn delivery(class: Class, expires_at: Timestamp) -> Delivery {
        Delivery {
            id: DeliveryId {
                message: MessageId(uuid::Uuid::from_u128(5)),
                recipient: 3,
            },
            tenant: TenantId(1),
            class,
            address: "a@example.org".to_owned(),
            state: State::Deferred,
            created_at: Timestamp(1),
            due_at: Timestamp(2),
            expires_at,
            attempts: 1,
            ambiguous: 0,
            panics: 0,
            source: None,
            why: Some(Why::LaneFull),
            last_reply: None,
            bounce: None,
            updated_at: Timestamp(3),
        }
    }

    fn lane() -> Lane {
        Lane {
            source: SourceId::from("ip1"),
            provider: ProviderId::from("google"),
        }
    }

    #[test]
    fn a_delivery_comes_back_from_its_value_and_what_functions_need_stands_in_front() {
        let delivery = delivery(Class::Broadcast, Timestamp::NEVER);
        for (place, lane_bytes) in [(None, 0), (Some(&lane()), 11)] {
            let value = encode_value(&delivery, place);
            assert_eq!(value[..4], [2, 2, 0, lane_bytes]);
            assert_eq!(decode_value(delivery.id, &value), Ok(delivery.clone()));
        }
    }

    #[test]
    fn cut_values_are_damaged() {
        let delivery = delivery(Class::Critical, Timestamp(9));
        let value = encode_value(&delivery, Some(&lane()));
        for length in 0..value.len() {
            assert!(decode_value(delivery.id, &value[..length]).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn lanes_come_back_and_none_is_taken_for_another() {
        let bytes = encode_lane(&lane());
        assert_eq!(decode_lane(&bytes), Ok(lane()));
        let other = Lane {
            source: SourceId::from("ip1g"),
            provider: ProviderId::from("oogle"),
        };
        assert_ne!(encode_lane(&other), bytes);
        for bad in [&[][..], &[0], &[0, 9, 1], &[0, 1, 0xff]] {
            assert!(decode_lane(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn parked_ones_are_ordered_by_class_then_by_expiry() {
        let score = |class, at| parked_score(&delivery(class, at));
        assert!(score(Class::Critical, Timestamp::NEVER) < score(Class::Transactional, Timestamp(0)));
        assert!(score(Class::Broadcast, Timestamp(1)) < score(Class::Broadcast, Timestamp(2)));
        for class in Class::ALL {
            let (low, high) = parked_scores(class);
            for at in [Timestamp(0), Timestamp::NEVER] {
                assert!((low..=high).contains(&score(class, at)));
            }
        }
        assert_eq!(time_of_score(super::score(Timestamp::NEVER)), Timestamp::NEVER);
        assert_eq!(time_of_score(super::score(Timestamp(7))), Timestamp(7));
    }
}
