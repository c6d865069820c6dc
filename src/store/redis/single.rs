//! A connection to one server that is made anew when it breaks.
//!
//! Takes commands, gives answers. While a new connection is being made callers wait for it, for a bounded time; once a try has
//! failed they are refused at once, and one task goes on trying with growing, jittered pauses. Never repeats a command.

use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Client, Cmd, RedisError, Value};
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::link::Broken;
use super::settings::RedisSettings;

/// The connection.
#[derive(Debug)]
pub(super) struct Single {
    client: Client,
    timings: Timings,
    state: watch::Sender<State>,
    /// Where connections and the task that makes them live, whoever calls.
    runtime: Handle,
}

#[derive(Debug, Clone, Copy)]
struct Timings {
    response: Duration,
    connect: Duration,
    pause_min: Duration,
    pause_max: Duration,
}

#[derive(Debug, Clone)]
enum State {
    /// With the number of the connection.
    Up(u64, Connection),
    /// The former one just broke; a new one is on its way.
    Connecting,
    /// Tries fail, for this reason.
    Down(String),
}

#[derive(Clone)]
struct Connection(MultiplexedConnection);

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

impl Single {
    /// Connects for the first time. Fails when that does: who starts wants to know.
    pub(super) async fn connect(client: Client, settings: &RedisSettings) -> Result<Arc<Self>, RedisError> {
        let timings = Timings {
            response: settings.response_timeout,
            connect: settings.connect_timeout,
            pause_min: settings.reconnect_min,
            pause_max: settings.reconnect_max,
        };
        let first = open(&client, timings).await?;
        Ok(Arc::new(Self {
            client,
            timings,
            state: watch::Sender::new(State::Up(0, first)),
            runtime: Handle::current(),
        }))
    }

    /// Sends one command and waits for its answer.
    pub(super) async fn send(self: &Arc<Self>, command: &Cmd) -> Result<Value, Broken> {
        let (number, mut connection) = self.connection().await?;
        let answer = connection.0.req_packed_command(command).await;
        match answer.and_then(Value::extract_error) {
            Ok(answer) => Ok(answer),
            Err(error) => {
                let is_lost = error.is_unrecoverable_error() || error.is_io_error();
                if is_lost {
                    self.lost(number, &error);
                }
                Err(if is_lost && !error.is_timeout() {
                    Broken::Connection(error)
                } else {
                    Broken::Answer(error)
                })
            }
        }
    }

    async fn connection(&self) -> Result<(u64, Connection), Broken> {
        let mut states = self.state.subscribe();
        let wait = async {
            loop {
                match &*states.borrow_and_update() {
                    State::Up(number, connection) => return Ok((*number, connection.clone())),
                    State::Down(reason) => return Err(Broken::Down(reason.clone())),
                    State::Connecting => {}
                }
                if states.changed().await.is_err() {
                    return Err(Broken::Down("the store is shutting down".to_owned()));
                }
            }
        };
        let waited = tokio::time::timeout(self.timings.connect, wait).await;
        waited.unwrap_or_else(|_| Err(Broken::Down("no connection in time".to_owned())))
    }

    /// Has a new connection made, unless somebody else noticed before.
    fn lost(self: &Arc<Self>, number: u64, error: &RedisError) {
        let is_first = self.state.send_if_modified(|state| {
            let is_current = matches!(state, State::Up(current, _) if *current == number);
            if is_current {
                *state = State::Connecting;
            }
            is_current
        });
        if is_first {
            tracing::warn!("the connection to Redis broke: {error}");
            self.runtime.spawn(reconnect(Arc::downgrade(self), number + 1));
        }
    }
}

async fn open(client: &Client, timings: Timings) -> Result<Connection, RedisError> {
    let config = AsyncConnectionConfig::new()
        .set_response_timeout(Some(timings.response))
        .set_connection_timeout(Some(timings.connect));
    let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    Ok(Connection(connection))
}

/// Tries until there is a connection, or nobody wants one any more.
async fn reconnect(single: Weak<Single>, number: u64) {
    let mut failures = 0;
    loop {
        let Some(owner) = single.upgrade() else { return };
        let (client, timings) = (owner.client.clone(), owner.timings);
        drop(owner);
        let tried = open(&client, timings).await;
        let Some(owner) = single.upgrade() else { return };
        match tried {
            Ok(connection) => {
                tracing::info!("connected to Redis again");
                owner.state.send_replace(State::Up(number, connection));
                return;
            }
            Err(error) => {
                owner.state.send_replace(State::Down(error.to_string()));
            }
        }
        drop(owner);
        failures += 1;
        tokio::time::sleep(pause(timings.pause_min, timings.pause_max, failures, fastrand::f64())).await;
    }
}

/// How long to wait after so many failures: half to all of a time that doubles up to the longest. `chance` is 0 to 1.
pub(super) fn pause(min: Duration, max: Duration, failures: u32, chance: f64) -> Duration {
    let doubled = min.saturating_mul(1_u32 << failures.saturating_sub(1).min(16));
    doubled.min(max).mul_f64(0.5 + chance / 2.0).max(min.min(max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_differ_by_chance() {
        let (min, max) = (Duration::from_millis(50), Duration::from_secs(5));
        let check = |failures, chance, expect| {
            assert_eq!(
                pause(min, max, failures, chance),
                Duration::from_millis(expect),
                "{failures}"
            );
        };
        check(1, 0.0, 50);
        check(1, 1.0, 50);
        check(2, 0.0, 50);
        check(2, 1.0, 100);
        check(5, 0.5, 600);
        check(8, 1.0, 5000);
        check(u32::MAX, 0.0, 2500);
        check(u32::MAX, 1.0, 5000);
    }
}
