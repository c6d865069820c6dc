//! Whether a Redis answers at all. Makes no store and changes nothing.

use std::time::Duration;

use redis::TlsCertificates;

use super::link::{certificates, client};
use super::settings::RedisSettings;

impl RedisSettings {
    /// Asks the first server for a sign of life.
    ///
    /// # Errors
    /// In words, without the URL: it may hold a password.
    pub async fn ping(&self, longest: Duration) -> Result<(), String> {
        let named = Self {
            node: "ping".to_owned(),
            ..self.clone()
        };
        let connections = named.connections().map_err(|error| error.to_string())?;
        let root_cert = certificates(&named).map_err(|error| error.to_string())?;
        let tls = TlsCertificates {
            client_tls: None,
            root_cert,
        };
        let first = connections.into_iter().next().ok_or("no url")?;
        let ping = async {
            let mut connection = client(first, tls)?.get_multiplexed_async_connection().await?;
            redis::cmd("PING").query_async::<()>(&mut connection).await
        };
        match tokio::time::timeout(longest, ping).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!("Redis: {}", error.category())),
            Err(_) => Err("Redis does not answer".to_owned()),
        }
    }
}
