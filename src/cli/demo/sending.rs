//! Makes the mail of the demo and posts it to the engine's own API: codes, a newsletter, receipts.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use base64::Engine;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::progress::Drawing;
use super::world::{SENDER_DOMAIN, World};

/// Calls at the same time.
const CALLS_MAX: usize = 16;
/// Newsletters in one call.
const BATCH: u64 = 100;
/// Alias of the run-time template.
const NEWSLETTER: &str = "demo-newsletter";

/// One accepted mail: its id, its recipient, which provider.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) id: String,
    pub(super) address: String,
    pub(super) provider: usize,
}

/// Posts `messages` mails; gives those that were accepted.
pub(super) async fn send_all(world: &World, messages: u64, drawing: &Drawing) -> Result<Vec<Sent>> {
    let api = Api {
        client: reqwest::Client::new(),
        url: format!("http://{}", world.running.api),
        key: world.key.clone(),
    };
    api.post("/v1/templates", &newsletter_template()).await?;
    let domains: Vec<&'static str> = world.providers.iter().map(|provider| provider.domain).collect();
    let turns = Arc::new(Semaphore::new(CALLS_MAX));
    let mut calls = JoinSet::new();
    // Four in ten are codes, four newsletters, two receipts.
    let newsletters = messages * 4 / 10;
    for first in (0..newsletters).step_by(usize::try_from(BATCH)?) {
        let range = first..newsletters.min(first + BATCH);
        calls.spawn(post_batch(api.clone(), Arc::clone(&turns), domains.clone(), range));
    }
    for number in newsletters..messages {
        calls.spawn(post_one(api.clone(), Arc::clone(&turns), domains.clone(), number));
    }
    let mut sent = Vec::new();
    while let Some(call) = calls.join_next().await {
        let accepted = call??;
        drawing.accepted(u64::try_from(accepted.len())?);
        sent.extend(accepted);
    }
    Ok(sent)
}

#[derive(Debug, Clone)]
pub(super) struct Api {
    client: reqwest::Client,
    url: String,
    key: String,
}

impl Api {
    pub(super) fn of(world: &World) -> Self {
        Self {
            client: reqwest::Client::new(),
            url: format!("http://{}", world.running.api),
            key: world.key.clone(),
        }
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value> {
        let answer = self
            .client
            .get(format!("{}{path}", self.url))
            .bearer_auth(&self.key)
            .send()
            .await?;
        Ok(answer.error_for_status()?.json().await?)
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let answer = self
            .client
            .post(format!("{}{path}", self.url))
            .bearer_auth(&self.key)
            .json(body)
            .send()
            .await?;
        let status = answer.status();
        let answer: Value = answer.json().await?;
        if !status.is_success() {
            bail!("{path} answered {status}: {answer}");
        }
        Ok(answer)
    }
}

async fn post_one(api: Api, turns: Arc<Semaphore>, domains: Vec<&'static str>, number: u64) -> Result<Vec<Sent>> {
    let _turn = turns.acquire_owned().await?;
    let (provider, address) = recipient(&domains, number);
    let mail = if number.is_multiple_of(3) {
        receipt(&address, number)
    } else {
        code(&address, number)
    };
    let answer = api.post("/send-email", &mail).await?;
    let id = answer["id"].as_str().context("202 has an id")?.to_owned();
    Ok(vec![Sent { id, address, provider }])
}

async fn post_batch(
    api: Api,
    turns: Arc<Semaphore>,
    domains: Vec<&'static str>,
    range: std::ops::Range<u64>,
) -> Result<Vec<Sent>> {
    let _turn = turns.acquire_owned().await?;
    let recipients: Vec<(usize, String)> = range.map(|number| recipient(&domains, number)).collect();
    let emails: Vec<Value> = recipients
        .iter()
        .enumerate()
        .map(|(index, (_, address))| newsletter(address, index))
        .collect();
    let defaults =
        json!({"from": format!("Demo News <news@{SENDER_DOMAIN}>"), "stream": "broadcast", "template": NEWSLETTER});
    let answer = api
        .post(
            "/v1/emails/batch",
            &json!({"mode": "strict", "defaults": defaults, "emails": emails}),
        )
        .await?;
    let data = answer["data"].as_array().context("a batch answers with data")?;
    let ids = data
        .iter()
        .map(|one| one["id"].as_str().map(str::to_owned).context("each has an id"));
    ids.zip(recipients)
        .map(|(id, (provider, address))| {
            Ok(Sent {
                id: id?,
                address,
                provider,
            })
        })
        .collect()
}

/// Recipients go round the providers; each has its own address.
fn recipient(domains: &[&'static str], number: u64) -> (usize, String) {
    let provider = usize::try_from(number).unwrap_or(0) % domains.len();
    (provider, format!("user{number}@{}", domains[provider]))
}

fn code(address: &str, number: u64) -> Value {
    json!({
        "from": format!("Demo <no-reply@{SENDER_DOMAIN}>"), "to": address, "class": "critical",
        "template": "verification-code",
        "variables": {"name": format!("User {number}"), "code": format!("{:06}", number * 7919 % 1_000_000), "product": "Demo"},
        "tags": ["otp"],
    })
}

fn receipt(address: &str, number: u64) -> Value {
    let attachment = base64::engine::general_purpose::STANDARD.encode(format!("Receipt {number}\n").repeat(200));
    json!({
        "from": format!("Demo Shop <shop@{SENDER_DOMAIN}>"), "to": address, "template": "receipt",
        "variables": {
            "name": format!("User {number}"), "number": number.to_string(), "total": "42.00 EUR",
            "items": [{"description": "Stamps", "quantity": "40", "price": "42.00 EUR"}],
        },
        "attachments": [{"filename": format!("receipt-{number}.txt"), "content": attachment, "content_type": "text/plain"}],
    })
}

fn newsletter(address: &str, index: usize) -> Value {
    json!({"to": address, "variables": {"name": format!("Reader {index}"), "city": "Lisbon"}})
}

fn newsletter_template() -> Value {
    json!({
        "alias": NEWSLETTER,
        "subject": "{{name}}, the news from {{city}}",
        "html": "<h1>News from {{city}}</h1><p>Hello {{name}},</p><p>the trams of {{city}} run on time again.</p>",
        "text": "News from {{city}}\n\nHello {{name}},\n\nthe trams of {{city}} run on time again.\n",
    })
}
