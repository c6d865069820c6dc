//! Talks to the engine that runs on the same data directory, through its socket.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use super::serve;
use crate::app::CONTROL_SOCKET;
use crate::config::Settings;

/// One call to the running engine; gives its JSON.
pub(super) fn call(config: Option<PathBuf>, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
    let (settings, _) = serve::settings(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(ask(&settings, method, path, body))
}

/// The same, for whoever has the settings and a runtime.
pub(super) async fn ask(settings: &Settings, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
    let socket = settings.data.join(CONTROL_SOCKET);
    if !socket.exists() {
        bail!(
            "no engine runs on {}: there is no {}. Start it with `posthaste serve`.",
            settings.data.display(),
            socket.display()
        );
    }
    let client = reqwest::Client::builder().unix_socket(socket.clone()).build()?;
    let method = method.parse::<reqwest::Method>()?;
    let mut request = client.request(method, format!("http://engine{path}"));
    if let Some(body) = body {
        request = request.json(body);
    }
    let response = request.send().await.map_err(|error| match error.is_connect() {
        // Whoever was killed could not take its socket away.
        true => anyhow!(
            "no engine runs on {}: nobody listens at {}. Start it with `posthaste serve`.",
            settings.data.display(),
            socket.display()
        ),
        false => anyhow!(error).context(format!("the engine does not answer on {}", socket.display())),
    })?;
    let failed = !response.status().is_success();
    let answer: Value = response.json().await.context("the engine's answer is not JSON")?;
    if failed {
        let said = answer["error"].as_str().or(answer["detail"].as_str());
        bail!("{}", said.unwrap_or("the engine refused"));
    }
    Ok(answer)
}
