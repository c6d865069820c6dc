//! Makes the bytes of one Delivery: fetch, render, compose, sign.
//!
//! Takes a Delivery; gives return path and bytes, the same for each attempt. Everything that decides is pure and in `mail/`;
//! this keeps what is costly to make: compiled templates by version, parsed keys by domain. What goes wrong here is our own
//! fault (admission tried it all once) and never the recipient's.

use std::sync::Arc;

use dashmap::DashMap;

use crate::clock::Clock;
use crate::domain::{Body, Content, Delivery, Failure, Message, SendingDomain, TemplateId, TenantId, Timestamp};
use crate::mail::builtin;
use crate::mail::compose::{ComposeExtra, compose};
use crate::mail::dkim::Signer;
use crate::mail::render::{Compiled, Limits, Rendered, Sources, merged};
use crate::mail::return_path::{ReturnPath, ReturnPathKey, address};
use crate::sabotage::{self, Bug};
use crate::store::{Store, StoreError};

/// Compiled templates kept; beyond it all are forgotten and compiled again.
const TEMPLATES_MAX: usize = 1_000;
/// Signing domains kept.
const DOMAINS_MAX: usize = 10_000;
/// A domain's keys are read again after this, so that rotated ones are seen.
const DOMAIN_LIFE: std::time::Duration = std::time::Duration::from_secs(30);

/// What goes over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crafted {
    /// Return path.
    pub mail_from: String,
    /// The message, CRLF, not dot-stuffed.
    pub bytes: Vec<u8>,
    /// The domain it is sent for: that of its From, which signs it.
    pub domain: Arc<str>,
}

/// Makes bytes. One for each engine.
#[derive(Debug)]
pub struct Crafter {
    store: Arc<dyn Store>,
    clock: Clock,
    return_path_key: ReturnPathKey,
    received_by: String,
    templates: DashMap<(TemplateId, u32), Arc<Compiled>>,
    domains: DashMap<(TenantId, String), Arc<Signing>>,
}

#[derive(Debug)]
struct Signing {
    name: Arc<str>,
    domain: SendingDomain,
    signer: Signer,
    read_at: Timestamp,
}

impl Crafter {
    /// A crafter with empty caches. `received_by` is the name of this installation.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: Clock, return_path_key: ReturnPathKey, received_by: String) -> Self {
        Self {
            store,
            clock,
            return_path_key,
            received_by,
            templates: DashMap::new(),
            domains: DashMap::new(),
        }
    }

    /// The bytes of one Delivery.
    ///
    /// # Errors
    /// [`Failure::Local`] in every case: it is a fault of ours.
    pub async fn craft(&self, delivery: &Delivery) -> Result<Crafted, Failure> {
        let id = delivery.id.message;
        let message = there(self.store.message(id).await, "the message")?;
        let body = there(self.store.body(id).await, "the body of the message")?;
        let signing = self.signing(message.tenant, message.from.domain()).await?;
        let rendered = self.rendered(&message, &body, delivery.id.recipient).await?;
        let extra = ComposeExtra {
            received_by: Some(&self.received_by),
            headers: &[],
        };
        let bytes = compose(&message, &rendered, &body.attachments, delivery.id.recipient, &extra);
        let signed_at = if sabotage::is(Bug::RetryDiffers) {
            let seconds = u64::from(delivery.attempts);
            message.created_at.plus(std::time::Duration::from_secs(seconds))
        } else {
            message.created_at
        };
        let bytes = signing
            .signer
            .signed(&bytes, signed_at)
            .map_err(|error| Failure::Local(error.to_string()))?;
        let path = ReturnPath {
            delivery: delivery.id,
            tenant: delivery.tenant,
        };
        Ok(Crafted {
            mail_from: address(&self.return_path_key, path, &signing.domain),
            bytes,
            domain: Arc::clone(&signing.name),
        })
    }

    /// The domain that a Delivery is sent for, if its message can be read.
    pub async fn sending_domain(&self, delivery: &Delivery) -> Option<Arc<str>> {
        let message = self.store.message(delivery.id.message).await.ok().flatten()?;
        Some(Arc::from(message.from.domain()))
    }

    async fn signing(&self, tenant: TenantId, name: &str) -> Result<Arc<Signing>, Failure> {
        let key = (tenant, name.to_owned());
        let now = self.clock.now();
        if let Some(known) = self
            .domains
            .get(&key)
            .filter(|known| now.since(known.read_at) < DOMAIN_LIFE)
        {
            return Ok(Arc::clone(&known));
        }
        let domain = there(self.store.domain(tenant, name).await, "the sending domain")?;
        let signer = Signer::new(&domain).map_err(|error| Failure::Local(error.to_string()))?;
        let signing = Arc::new(Signing {
            name: Arc::from(name),
            domain,
            signer,
            read_at: now,
        });
        if self.domains.len() >= DOMAINS_MAX {
            self.domains.clear();
        }
        self.domains.insert(key, Arc::clone(&signing));
        Ok(signing)
    }

    async fn rendered(&self, message: &Message, body: &Body, recipient: u16) -> Result<Rendered, Failure> {
        let own = message
            .recipients
            .get(usize::from(recipient))
            .and_then(|recipient| recipient.variables.as_ref());
        let rendered = match &body.content {
            Content::Inline { subject, html, text } => Rendered {
                subject: subject.clone(),
                html: html.clone(),
                text: text.clone(),
            },
            Content::Template {
                id,
                version,
                subject,
                variables,
            } => {
                let compiled = self.compiled(*id, *version).await?;
                let rendered = compiled
                    .render(&merged(variables, own))
                    .map_err(|error| Failure::Local(error.to_string()))?;
                with_subject(rendered, subject.as_deref())
            }
            Content::BuiltIn {
                name,
                subject,
                variables,
            } => {
                let rendered = builtin::render_builtin(name, &merged(variables, own))
                    .map_err(|error| Failure::Local(error.to_string()))?;
                with_subject(rendered, subject.as_deref())
            }
        };
        Ok(rendered.with_text())
    }

    async fn compiled(&self, id: TemplateId, version: u32) -> Result<Arc<Compiled>, Failure> {
        if let Some(known) = self.templates.get(&(id, version)) {
            return Ok(Arc::clone(&known));
        }
        let template = there(self.store.template_version(id, version).await, "the template")?;
        let compiled = Compiled::new(Sources::from(&*template), Limits::default())
            .map_err(|error| Failure::Local(error.to_string()))?;
        let compiled = Arc::new(compiled);
        if self.templates.len() >= TEMPLATES_MAX {
            self.templates.clear();
        }
        self.templates.insert((id, version), Arc::clone(&compiled));
        Ok(compiled)
    }
}

fn there<T>(found: Result<Option<T>, StoreError>, what: &str) -> Result<T, Failure> {
    match found {
        Ok(Some(found)) => Ok(found),
        Ok(None) => Err(Failure::Local(format!("{what} is not in the store"))),
        Err(error) => Err(Failure::Local(format!("{what} cannot be read: {error}"))),
    }
}

fn with_subject(rendered: Rendered, subject: Option<&str>) -> Rendered {
    match subject {
        Some(subject) => Rendered {
            subject: subject.to_owned(),
            ..rendered
        },
        None => rendered,
    }
}
