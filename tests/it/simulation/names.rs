//! Name servers that fail and stall by seed.
//!
//! Takes the names of `mail`, gives the one host of each domain and its one address. What is not asked for does not exist.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use posthaste::domain::{LaneLimits, ProviderId};
use posthaste::resolver::{Answer, Mx, Providers, Resolver};

use super::mail::{domain, door_of};
use super::watched::World;

/// For how long answers hold: shorter than a run, so that names are asked for again.
const TTL: Duration = Duration::from_secs(60);
/// Longer than anybody waits.
const STALL: Duration = Duration::from_secs(120);

/// The name servers.
#[derive(Debug)]
pub(super) struct Names(pub(super) Arc<World>);

impl Names {
    async fn answer<T>(&self, found: Option<T>) -> Answer<T> {
        let (stalls, fails) = {
            let mut book = self.0.book();
            let (stalls, fails) = (book.plan.dns_stalls, book.plan.dns_fails);
            (book.comes(stalls), book.comes(fails))
        };
        self.0.wait_up_to(20).await;
        if stalls {
            self.0.disturb();
            tokio::time::sleep(STALL).await;
        }
        match found {
            _ if fails => {
                self.0.disturb();
                Answer::Failed
            }
            Some(found) => Answer::Found(vec![found], TTL),
            None => Answer::NoDomain(TTL),
        }
    }
}

/// The address of a door's host.
pub(super) fn address_of(door: usize) -> IpAddr {
    IpAddr::from([8, 8, 4, u8::try_from(door + 1).expect("few doors")])
}

#[async_trait]
impl Resolver for Names {
    async fn mx(&self, name: &str) -> Answer<Mx> {
        let found = door_of(name).map(|door| Mx {
            preference: 10,
            host: format!("mx.{}", domain(door)),
        });
        self.answer(found).await
    }

    async fn addresses(&self, host: &str) -> Answer<IpAddr> {
        self.answer(door_of(host).map(address_of)).await
    }

    async fn txt(&self, _: &str) -> Answer<String> {
        Answer::NoDomain(TTL)
    }

    async fn names(&self, _: IpAddr) -> Answer<String> {
        Answer::NoDomain(TTL)
    }
}

/// Each door is a provider of its own, with the limits of the plan.
#[derive(Debug)]
pub(super) struct Doors(pub(super) Arc<World>);

impl Providers for Doors {
    fn provider_of(&self, hosts: &[&str]) -> ProviderId {
        let door = hosts.first().and_then(|host| door_of(host));
        ProviderId::from(&*format!("door{}", door.unwrap_or(0)))
    }

    fn limits(&self, provider: &ProviderId) -> LaneLimits {
        let book = self.0.book();
        let number = provider.as_str().trim_start_matches("door").parse().unwrap_or(0);
        let door: &super::plan::Door = &book.plan.doors[number];
        LaneLimits {
            connections: door.connections,
            messages_per_connection: door.messages_per_connection,
            messages_per_second: door.per_second,
        }
    }
}
