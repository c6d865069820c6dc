//! Warm-up budgets in Redis: charged in the same step as the INTENT, wherever both are on one server.
//!
//! In a cluster the budget of a lane and its mail may be on different servers, and no step spans two. There the budget is
//! charged first, so that none goes out uncharged; what an INTENT has cost that is refused after that is given back.

use super::functions::{CHARGE, REFUND};
use super::handle::{Redis, number};
use super::link::{Arguments, Link};
use super::values::{decode_lane, encode_lane};
use crate::domain::Lane;
use crate::queue::{Charge, Intent, QueueError, Spent};
use crate::store::StoreError;

/// The hash of budgets.
const CHARGES: &str = "charges";

impl Redis {
    /// Adds what the INTENT costs to its arguments; gives whether the budget allows it, as far as that is known by then.
    pub(super) async fn add_charge(&self, arguments: &mut Arguments, intent: &Intent) -> Result<bool, QueueError> {
        let Some(charge) = intent.charge else {
            arguments.text("");
            return Ok(true);
        };
        let lane = encode_lane(&intent.lane);
        if matches!(self.shared.link, Link::Single(_)) {
            let tag = self.shared.names.common().trim_end_matches("epoch");
            arguments.text(format!("{tag}{CHARGES}")).bytes(lane);
            arguments.text(charge.day).text(charge.cap);
            return Ok(true);
        }
        let mut asked = Arguments::new();
        asked.bytes(lane).text(charge.day).text(charge.cap);
        let answer = self.call_common(CHARGE, &asked).await?;
        arguments.text("");
        Ok(answer.first().and_then(Option::as_deref) == Some(b"1"))
    }

    /// Takes back what an INTENT was charged for a day.
    pub(super) async fn take_back(&self, lane: &Lane, day: u32) -> Result<(), QueueError> {
        let mut asked = Arguments::new();
        asked.bytes(encode_lane(lane)).text(day);
        self.call_common(REFUND, &asked).await.map(drop)
    }

    /// An INTENT was refused: what it has cost before it was asked for comes back.
    pub(super) async fn not_recorded(&self, lane: &Lane, charge: Option<Charge>) -> Result<(), QueueError> {
        match charge {
            Some(charge) if matches!(self.shared.link, Link::Cluster(_)) => self.take_back(lane, charge.day).await,
            _ => Ok(()),
        }
    }

    /// What INTENTs were charged, by lane.
    pub(super) async fn read_charges(&self) -> Result<Vec<(Lane, Spent)>, StoreError> {
        let charged = |(field, value): (Vec<u8>, Vec<u8>)| {
            let lane = decode_lane(&field).map_err(|damaged| StoreError::Damaged(damaged.0))?;
            let spent = decode_spent(&value);
            let spent = spent.ok_or_else(|| StoreError::Damaged(format!("the warm-up counter of {lane}")))?;
            Ok((lane, spent))
        };
        let pairs = self.all_common(CHARGES.to_owned()).await?;
        let mut charges = pairs.into_iter().map(charged).collect::<Result<Vec<_>, StoreError>>()?;
        charges.sort();
        Ok(charges)
    }

    /// Writes down what INTENTs of a lane were charged.
    pub(super) async fn write_charge(&self, lane: &Lane, spent: Spent) -> Result<(), StoreError> {
        let value = format!("{} {}", spent.day, spent.used);
        self.put_common(&[(CHARGES, &encode_lane(lane), value.as_bytes())])
            .await
    }
}

/// As `handle.lua` writes it: the day and the number, in digits.
fn decode_spent(value: &[u8]) -> Option<Spent> {
    let space = value.iter().position(|byte| *byte == b' ')?;
    let (day, used) = value.split_at(space);
    Some(Spent {
        day: u32::try_from(number(Some(day))?).ok()?,
        used: number(used.get(1..))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_a_day_and_a_number() {
        assert_eq!(decode_spent(b"20780 300"), Some(Spent { day: 20_780, used: 300 }));
        for bad in [&b""[..], b"20780", b"20780 ", b" 300", b"99999999999 1", b"x 1"] {
            assert_eq!(decode_spent(bad), None, "{bad:?}");
        }
    }
}
