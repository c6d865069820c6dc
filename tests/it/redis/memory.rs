//! How much memory of Redis a waiting Delivery takes.

use posthaste::domain::{Class, MessageId};
use posthaste::queue::{Accepted, Queue};
use posthaste::store::RedisSettings;
use test_rig::{RedisOptions, RedisServer};

use super::contract::open;
use crate::contract::{Mail, at};

/// What the project promises for broadcasts to many, in bytes.
const BYTES_MAX: u64 = 600;

#[tokio::test]
async fn a_broadcast_delivery_with_two_variables_takes_less_than_600_bytes() {
    let server = RedisServer::start(&RedisOptions::new()).expect("the server starts");
    let store = open(&RedisSettings::at(server.url())).await;
    let used = || -> u64 { server.info("used_memory").unwrap().parse().unwrap() };
    let (messages, recipients) = (20_u64, 1_000_u64);
    for due_at in [at(0), at(3600)] {
        let before = used();
        for message in 0..messages {
            let number = (u128::from(due_at.0) << 64) + u128::from(message);
            let mail = Mail {
                addresses: (0..recipients)
                    .map(|n| format!("subscriber{n}@mail{message}.example"))
                    .collect(),
                ..Mail::to(&[])
            };
            let mail = mail.class(Class::Broadcast).due(due_at);
            let mut accept = mail.accept(MessageId(uuid::Uuid::from_u128(number)));
            accept.events.clear();
            let message = std::sync::Arc::make_mut(&mut accept.messages[0].0);
            for (n, recipient) in message.recipients.iter_mut().enumerate() {
                recipient.mailbox.name = None;
                let variables = serde_json::json!({"name": format!("Reader{n}"), "code": n});
                recipient.variables = variables.as_object().cloned();
            }
            assert_eq!(store.accept(accept).await, Ok(Accepted::New));
        }
        let each = (used() - before) / (messages * recipients);
        println!("{each} bytes for each that is due at {due_at}");
        assert!(each < BYTES_MAX, "{each} bytes for each that is due at {due_at}");
    }
}
