//! A table instead of name servers, for tests and the demo.
//!
//! Takes what it is to say, says it, and counts how often it was asked. Answers can be changed at any time, queued so
//! that they change from one query to the next, and delayed. Never asks anybody.
//!
//! A name of which nothing is known does not exist; one that has other records exists and is empty.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::{Answer, Mx, Resolver};
use crate::policy::source_health::pointer_name;

/// For how long answers hold unless said otherwise.
pub const FIXED_TTL: Duration = Duration::from_secs(300);

/// Names whose queries are counted: the demo may be asked for any number of them.
const NAMES_COUNTED_MAX: usize = 100_000;

/// A table of answers. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Fixed {
    table: Arc<Mutex<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    mx: Script<Mx>,
    addresses: Script<IpAddr>,
    txt: Script<String>,
    names: Script<String>,
    /// Whether names that no script has fail; else they do not exist.
    otherwise_failing: bool,
    delay: Duration,
}

/// Answers of one type by name, and how often each name was asked.
#[derive(Debug)]
struct Script<T> {
    answers: HashMap<String, VecDeque<Answer<T>>>,
    asked: HashMap<String, u64>,
}

impl<T> Default for Script<T> {
    fn default() -> Self {
        Self {
            answers: HashMap::new(),
            asked: HashMap::new(),
        }
    }
}

impl<T: Clone> Script<T> {
    fn set(&mut self, name: &str, answers: Vec<Answer<T>>) {
        self.answers.insert(normal(name), answers.into());
    }

    /// The next answer; the last one is repeated.
    fn next(&mut self, name: &str) -> Option<Answer<T>> {
        if self.asked.len() < NAMES_COUNTED_MAX || self.asked.contains_key(name) {
            *self.asked.entry(name.to_owned()).or_default() += 1;
        }
        let queued = self.answers.get_mut(name)?;
        if queued.len() > 1 {
            queued.pop_front()
        } else {
            queued.front().cloned()
        }
    }

    fn count(&self, name: &str) -> u64 {
        self.asked.get(&normal(name)).copied().unwrap_or(0)
    }
}

impl Fixed {
    /// An empty table: no name exists.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// `domain` has these MX records, as pairs of preference and host; the host `""` is the null MX.
    #[must_use]
    pub fn with_mx(self, domain: &str, records: &[(u16, &str)]) -> Self {
        self.set_mx(domain, vec![mx_found(records, FIXED_TTL)]);
        self
    }

    /// `host` has these addresses.
    ///
    /// # Panics
    /// When one of them is not an address: tables are written by hand.
    #[must_use]
    pub fn with_addresses(self, host: &str, addresses: &[&str]) -> Self {
        let list = addresses
            .iter()
            .map(|text| text.parse().expect("an IP address in a fixed table"))
            .collect();
        self.set_addresses(host, vec![Answer::Found(list, FIXED_TTL)]);
        self
    }

    /// `name` has these TXT records.
    #[must_use]
    pub fn with_txt(self, name: &str, records: &[&str]) -> Self {
        let list = records.iter().map(|text| (*text).to_owned()).collect();
        self.set_txt(name, vec![Answer::Found(list, FIXED_TTL)]);
        self
    }

    /// `address` has these names.
    ///
    /// # Panics
    /// When it is not an address: tables are written by hand.
    #[must_use]
    pub fn with_names(self, address: &str, names: &[&str]) -> Self {
        let address = address.parse().expect("an IP address in a fixed table");
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        self.lock()
            .names
            .set(&pointer_name(address), vec![Answer::Found(names, FIXED_TTL)]);
        self
    }

    /// Every query for `name` fails.
    #[must_use]
    pub fn failing(self, name: &str) -> Self {
        self.set_mx(name, vec![Answer::Failed]);
        self.set_addresses(name, vec![Answer::Failed]);
        self.set_txt(name, vec![Answer::Failed]);
        self
    }

    /// Names of which nothing is known fail, as when there is no network.
    #[must_use]
    pub fn otherwise_failing(self) -> Self {
        self.lock().otherwise_failing = true;
        self
    }

    /// Every answer takes this long, counted by tokio's clock.
    #[must_use]
    pub fn delayed(self, delay: Duration) -> Self {
        self.set_delay(delay);
        self
    }

    /// From now on every answer takes this long.
    pub fn set_delay(&self, delay: Duration) {
        self.lock().delay = delay;
    }

    /// From now on MX queries for `domain` get these answers, one after the other; the last one for ever.
    pub fn set_mx(&self, domain: &str, answers: Vec<Answer<Mx>>) {
        self.lock().mx.set(domain, answers);
    }

    /// From now on address queries for `host` get these answers, one after the other; the last one for ever.
    pub fn set_addresses(&self, host: &str, answers: Vec<Answer<IpAddr>>) {
        self.lock().addresses.set(host, answers);
    }

    /// From now on TXT queries for `name` get these answers, one after the other; the last one for ever.
    pub fn set_txt(&self, name: &str, answers: Vec<Answer<String>>) {
        self.lock().txt.set(name, answers);
    }

    /// How often the MX records of `domain` were asked for.
    #[must_use]
    pub fn mx_queries(&self, domain: &str) -> u64 {
        self.lock().mx.count(domain)
    }

    /// How often the addresses of `host` were asked for.
    #[must_use]
    pub fn address_queries(&self, host: &str) -> u64 {
        self.lock().addresses.count(host)
    }

    /// How often the TXT records of `name` were asked for.
    #[must_use]
    pub fn txt_queries(&self, name: &str) -> u64 {
        self.lock().txt.count(name)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer<T: Clone>(&self, name: &str, script: impl Fn(&mut Table) -> &mut Script<T>) -> Answer<T> {
        let name = normal(name);
        let (answer, delay) = {
            let mut table = self.lock();
            let answer = script(&mut table).next(&name);
            (answer.unwrap_or_else(|| table.unknown(&name)), table.delay)
        };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        answer
    }
}

impl Table {
    fn unknown<T>(&self, name: &str) -> Answer<T> {
        let exists = self.mx.answers.contains_key(name)
            || self.addresses.answers.contains_key(name)
            || self.txt.answers.contains_key(name);
        if exists {
            Answer::Empty(FIXED_TTL)
        } else if self.otherwise_failing {
            Answer::Failed
        } else {
            Answer::NoDomain(FIXED_TTL)
        }
    }
}

/// An answer of MX records: pairs of preference and host.
#[must_use]
pub fn mx_found(records: &[(u16, &str)], ttl: Duration) -> Answer<Mx> {
    let records = records.iter().map(|(preference, host)| Mx {
        preference: *preference,
        host: normal(host),
    });
    Answer::Found(records.collect(), ttl)
}

fn normal(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[async_trait]
impl Resolver for Fixed {
    async fn mx(&self, domain: &str) -> Answer<Mx> {
        self.answer(domain, |table| &mut table.mx).await
    }

    async fn addresses(&self, host: &str) -> Answer<IpAddr> {
        self.answer(host, |table| &mut table.addresses).await
    }

    async fn txt(&self, name: &str) -> Answer<String> {
        self.answer(name, |table| &mut table.txt).await
    }

    async fn names(&self, address: IpAddr) -> Answer<String> {
        self.answer(&pointer_name(address), |table| &mut table.names).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn says_what_it_was_told() {
        let table = Fixed::new()
            .with_mx("Example.test.", &[(10, "MX.example.test.")])
            .with_addresses("mx.example.test", &["192.0.2.1", "2001:db8::1"])
            .failing("broken.test");
        let mx = mx_found(&[(10, "mx.example.test")], FIXED_TTL);
        assert_eq!(table.mx("example.TEST").await, mx);
        assert_eq!(table.addresses("example.test").await, Answer::Empty(FIXED_TTL));
        assert_eq!(table.mx("absent.test").await, Answer::NoDomain(FIXED_TTL));
        assert_eq!(table.txt("broken.test").await, Answer::Failed);
        assert_eq!(
            (table.mx_queries("example.test"), table.mx_queries("other.test")),
            (1, 0)
        );
        let table = table.otherwise_failing();
        assert_eq!(table.mx("absent.test").await, Answer::Failed);
        assert_eq!(table.mx("example.test").await, mx);
    }

    #[tokio::test]
    async fn answers_change_from_query_to_query() {
        let table = Fixed::new();
        table.set_mx("a.test", vec![Answer::Failed, Answer::Loop]);
        assert_eq!(table.mx("a.test").await, Answer::Failed);
        assert_eq!(table.mx("a.test").await, Answer::Loop);
        assert_eq!(table.mx("a.test").await, Answer::Loop);
        assert_eq!(table.mx_queries("a.test"), 3);
    }
}
