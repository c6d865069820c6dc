//! What a first start makes: a tenant, its key, declared domains with their DKIM keys.
//!
//! Takes an empty or a known store; gives what was made. Doing it again changes nothing.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;

use anyhow::{Context, Result};

use crate::config::DeclaredDomain;
use crate::domain::{ApiKey, DkimKey, DomainStatus, KeyScope, SendingDomain, Tenant, TenantId, Timestamp};
use crate::policy::api_key;
use crate::store::{Store, dkim_keys};

/// Name of the file that holds the id of the node.
const NODE_FILE: &str = "node.id";

/// The tenant that the first start makes.
pub const FIRST_TENANT: TenantId = TenantId::FIRST;

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

/// The name of the node that has this data directory: `name`, with an id that the directory was given once. So two nodes
/// are never taken for one, whatever their machines are called, and a node is the same after a restart.
pub fn node_name(data: &Path, name: &str) -> Result<String> {
    let path = data.join(NODE_FILE);
    let unusable = || format!("cannot use {}", path.display());
    let mut random = [0; 4];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| anyhow::anyhow!("the system gives no random numbers"))?;
    let fresh: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    match File::options().write(true).create_new(true).open(&path) {
        Ok(mut file) => file
            .write_all(fresh.as_bytes())
            .and_then(|()| file.sync_all())
            .with_context(unusable)?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error).with_context(unusable),
    }
    let id = std::fs::read_to_string(&path).with_context(unusable)?;
    let is_id = id.len() == fresh.len() && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    anyhow::ensure!(is_id, "{} holds no id; delete it to get a new one", path.display());
    Ok(format!("{name}/{id}"))
}

/// A key for a tenant that has none; it is shown once and only its hash is stored. Whoever starts the first engine is its
/// operator, so the key may do everything.
pub async fn first_key(store: &dyn Store, tenant: TenantId, now: Timestamp) -> Result<Option<String>> {
    if !store.keys(tenant).await?.is_empty() {
        return Ok(None);
    }
    make_key(store, tenant, "first key", KeyScope::Admin, now)
        .await
        .map(Some)
}

/// Makes and stores a key; gives it, for the one time that it can be shown.
pub async fn make_key(
    store: &dyn Store,
    tenant: TenantId,
    name: &str,
    scope: KeyScope,
    now: Timestamp,
) -> Result<String> {
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
        scope,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_keeps_its_name_over_restarts_and_shares_it_with_no_other() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let name = node_name(one.path(), "mta").unwrap();
        assert!(name.starts_with("mta/") && name.len() == 12, "{name}");
        assert_eq!(node_name(one.path(), "mta").unwrap(), name);
        assert_ne!(node_name(two.path(), "mta").unwrap(), name);
        std::fs::write(one.path().join(NODE_FILE), "").unwrap();
        let refused = node_name(one.path(), "mta").unwrap_err();
        assert!(refused.to_string().contains("holds no id"), "{refused}");
    }
}
