//! What the writer keeps in memory beside the tables.
//!
//! All of it but the leases can be read from the tables again, and is, whenever the store is opened or a commit failed.

use std::collections::{BTreeMap, HashMap, HashSet};

use redb::ReadableTable;

use super::super::records::{Ledger, decode_intent, decode_lane, decode_ledger, decode_spent};
use super::fault::Fault;
use super::keys::{delivery_of, parked_of};
use super::layout::{ABOUT_LEDGER, Tables};
use super::leases::LeaseBook;
use super::line::Cursors;
use crate::domain::{DeliveryId, Lane, lane_of_note_key};
use crate::queue::{OpenIntent, Spent};
use crate::sabotage::{self, Bug};

/// The writer's memory.
#[derive(Debug)]
pub(super) struct State {
    /// Counters.
    pub(super) ledger: Ledger,
    /// Who is out.
    pub(super) leases: LeaseBook,
    /// Where to look for the next one.
    pub(super) cursors: Cursors,
    /// Lanes with somebody parked.
    pub(super) lanes: Lanes,
    /// INTENTs without OUTCOME. As many as there are final dots in the air.
    pub(super) intents: HashMap<DeliveryId, OpenIntent>,
    /// What INTENTs were charged. As many as there are lanes that were ever warmed up.
    pub(super) charges: HashMap<Lane, Spent>,
    /// Deliveries whose records cannot be read: passed over, left as they are.
    pub(super) damaged: HashSet<DeliveryId>,
}

/// Lanes by name and by number.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    numbers: HashMap<Lane, u32>,
    entries: BTreeMap<u32, LaneEntry>,
}

/// A lane with somebody parked.
#[derive(Debug)]
pub(super) struct LaneEntry {
    /// Its names.
    pub(super) lane: Lane,
    /// How many have their place here.
    pub(super) parked: u64,
    /// How many of them are out.
    pub(super) out: u64,
}

impl Lanes {
    /// The number of a lane, if somebody is parked there.
    pub(super) fn number(&self, lane: &Lane) -> Option<u32> {
        self.numbers.get(lane).copied()
    }

    /// A lane by its number.
    pub(super) fn entry(&mut self, number: u32) -> Option<&mut LaneEntry> {
        self.entries.get_mut(&number)
    }

    /// A new lane, with nobody there yet.
    pub(super) fn add(&mut self, number: u32, lane: Lane) {
        self.numbers.insert(lane.clone(), number);
        self.entries.insert(
            number,
            LaneEntry {
                lane,
                parked: 0,
                out: 0,
            },
        );
    }

    /// One more (or less) of those parked there is out.
    pub(super) fn count_out(&mut self, number: Option<u32>, out: bool) {
        if let Some(entry) = number.and_then(|number| self.entries.get_mut(&number)) {
            entry.out = if out {
                entry.out + 1
            } else {
                entry.out.saturating_sub(1)
            };
        }
    }

    /// Forgets a lane.
    pub(super) fn remove(&mut self, number: u32) {
        if let Some(entry) = self.entries.remove(&number) {
            self.numbers.remove(&entry.lane);
        }
    }

    /// All lanes with those who wait there and are not out.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (&Lane, u64)> + '_ {
        let entries = self.entries.values();
        let counted = entries.map(|entry| (&entry.lane, entry.parked.saturating_sub(entry.out)));
        counted.filter(|(_, waiting)| *waiting > 0)
    }
}

impl State {
    /// What the tables say, and no leases.
    pub(super) fn load(tables: &Tables<'_>, epoch: u64) -> Result<Self, Fault> {
        let mut state = Self {
            ledger: Ledger::default(),
            leases: LeaseBook::new(epoch),
            cursors: Cursors::default(),
            lanes: Lanes::default(),
            intents: HashMap::new(),
            charges: HashMap::new(),
            damaged: HashSet::new(),
        };
        state.reload(tables)?;
        Ok(state)
    }

    /// Reads again what the tables say. Leases are kept.
    pub(super) fn reload(&mut self, tables: &Tables<'_>) -> Result<(), Fault> {
        self.ledger = match tables.about.get(ABOUT_LEDGER)? {
            Some(bytes) => decode_ledger(bytes.value())?,
            None => Ledger::default(),
        };
        self.cursors.reset();
        self.lanes = read_lanes(tables)?;
        for lease in self.leases.all_out() {
            self.lanes.count_out(lease.stored.parked, true);
        }
        self.charges = read_charges(tables)?;
        self.intents.clear();
        if sabotage::is(Bug::IntentForgotten) {
            return Ok(());
        }
        for row in tables.intents.iter()? {
            let (key, value) = row?;
            let id = delivery_of(key.value());
            match decode_intent(id, value.value()) {
                Ok((_, intent)) => {
                    self.intents.insert(id, intent);
                }
                Err(damaged) => {
                    // Whether it was sent cannot be told; nothing is done with it until somebody has looked.
                    tracing::error!(delivery = %id, "{}", damaged.0);
                    self.damaged.insert(id);
                }
            }
        }
        Ok(())
    }
}

/// A counter that cannot be read begins anew: the day's cap bounds what that costs.
fn read_charges(tables: &Tables<'_>) -> Result<HashMap<Lane, Spent>, Fault> {
    let mut charges = HashMap::new();
    for row in tables.charges.iter()? {
        let (key, value) = row?;
        let Some(lane) = lane_of_note_key(key.value()) else {
            tracing::error!("the key of a warm-up counter cannot be read");
            continue;
        };
        match decode_spent(&lane, value.value()) {
            Ok(spent) => drop(charges.insert(lane, spent)),
            Err(damaged) => tracing::error!("{}", damaged.0),
        }
    }
    Ok(charges)
}

fn read_lanes(tables: &Tables<'_>) -> Result<Lanes, Fault> {
    let mut lanes = Lanes::default();
    for row in tables.lanes.iter()? {
        let (number, value) = row?;
        lanes.add(number.value(), decode_lane(number.value(), value.value())?);
    }
    for row in tables.parked.iter()? {
        let (key, _) = row?;
        let (number, _) = parked_of(key.value());
        if let Some(entry) = lanes.entry(number) {
            entry.parked += 1;
        }
    }
    Ok(lanes)
}
