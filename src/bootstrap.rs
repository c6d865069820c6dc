//! What a first start makes: a tenant, its key, declared domains with their DKIM keys.
//!
//! Takes an empty or a known store; gives what was made. Doing it again changes nothing.

use anyhow::{Context, Result};

use crate::config::DeclaredDomain;
use crate::domain::{ApiKey, DkimKey, DomainStatus, SendingDomain, Tenant, TenantId, Timestamp};
use crate::policy::api_key;
use crate::store::{Store, dkim_keys};

/// The tenant that the first start makes.
pub const FIRST_TENANT: TenantId = TenantId(1);

/// The first tenant, made if there is none.
pub async fn tenant(store: &dyn Store, now: Timestamp) -> Result<TenantId> {
    if let Some(tenant) = store.tenants().await?.first() {
        return Ok(tenant.id);
    }
    store
        .put_tenant(Tenant {
            id: FIRST_TENANT,
            name: "default".to_owned(),
            created_at: now,
        })
        .await?;
    Ok(FIRST_TENANT)
}

/// A key for a tenant that has none; it is shown once and only its hash is stored.
pub async fn first_key(store: &dyn Store, tenant: TenantId, now: Timestamp) -> Result<Option<String>> {
    if !store.keys(tenant).await?.is_empty() {
        return Ok(None);
    }
    make_key(store, tenant, "first key", now).await.map(Some)
}

/// Makes and stores a key; gives it, for the one time that it can be shown.
pub async fn make_key(store: &dyn Store, tenant: TenantId, name: &str, now: Timestamp) -> Result<String> {
    let mut random = [0; 32];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| anyhow::anyhow!("the system gives no random numbers"))?;
    let key = api_key::make(&random);
    let record = ApiKey {
        hash: api_key::hash(&key),
        tenant,
        name: name.to_owned(),
        last4: api_key::last4(&key),
        created_at: now,
        revoked_at: None,
    };
    store.put_key(record).await?;
    Ok(key)
}

/// Makes the declared domains that are not there yet, and verifies those that the operator vouches for.
pub async fn domains(store: &dyn Store, tenant: TenantId, declared: &[DeclaredDomain], now: Timestamp) -> Result<()> {
    for domain in declared {
        let known = store.domain(tenant, &domain.name).await?;
        let status = if domain.verified {
            DomainStatus::Verified
        } else {
            DomainStatus::Pending
        };
        let record = match known {
            Some(known) if known.status == status || !domain.verified => continue,
            Some(known) => SendingDomain { status, ..known },
            None => SendingDomain {
                tenant,
                name: domain.name.clone(),
                status,
                return_path_subdomain: "bounce".to_owned(),
                dkim: match domain.dkim {
                    false => Vec::new(),
                    true => new_keys(domain.name.clone(), now)
                        .await
                        .with_context(|| format!("domains: keys of {}", domain.name))?,
                },
                created_at: now,
                checked_at: None,
            },
        };
        store.put_domain(record).await?;
    }
    Ok(())
}

async fn new_keys(name: String, now: Timestamp) -> Result<Vec<DkimKey>> {
    tokio::task::spawn_blocking(move || make_dkim_keys(&name, now))
        .await?
        .map_err(anyhow::Error::msg)
}

/// Makes the DKIM keys of a domain: RSA-2048 and Ed25519.
fn make_dkim_keys(name: &str, now: Timestamp) -> Result<Vec<DkimKey>, String> {
    dkim_keys::generate_keys(&dkim_keys::selector_prefix(now)).map_err(|error| format!("{name}: {error}"))
}
