//! How tenants, keys, domains, templates, suppressions and idempotent answers are stored.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::codes::Coded;
use super::envelope::{Damaged, as_bytes, known, open, open_as, seal, seal_as, version};
use crate::domain::{
    ApiKey, DkimAlgorithm, DkimKey, DomainStatus, KeyScope, SendingDomain, Stream, Suppression, SuppressionReason,
    Template, TemplateId, Tenant, TenantId, Timestamp,
};
use crate::queue::StoredResponse;

#[derive(Serialize, Deserialize)]
struct TenantRecord<'a> {
    name: &'a str,
    created_at: u64,
}

/// A key that may only send: what all keys were before there were scopes.
#[derive(Serialize, Deserialize)]
struct ApiKeyRecord<'a> {
    tenant: u32,
    name: &'a str,
    last4: &'a str,
    created_at: u64,
    revoked_at: Option<u64>,
}

/// The version of keys that may do something else.
const SCOPED_KEY: u8 = 2;

#[derive(Serialize, Deserialize)]
struct ScopedKeyRecord<'a> {
    #[serde(borrow)]
    key: ApiKeyRecord<'a>,
    scope: u8,
}

#[derive(Serialize, Deserialize)]
struct DomainRecord<'a> {
    status: u8,
    return_path_subdomain: &'a str,
    #[serde(borrow)]
    dkim: Vec<DkimRecord<'a>>,
    created_at: u64,
    checked_at: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct DkimRecord<'a> {
    selector: &'a str,
    algorithm: u8,
    /// Sealed: see `store::seal`.
    #[serde(serialize_with = "as_bytes")]
    private: &'a [u8],
    record: &'a str,
}

#[derive(Serialize, Deserialize)]
struct TemplateRecord<'a> {
    tenant: u32,
    alias: &'a str,
    subject: &'a str,
    html: Option<&'a str>,
    text: Option<&'a str>,
    created_at: u64,
}

#[derive(Serialize, Deserialize)]
struct AliasRecord {
    id: Uuid,
    newest: u32,
}

#[derive(Serialize, Deserialize)]
struct SuppressionRecord {
    stream: Option<u8>,
    reason: u8,
    created_at: u64,
}

#[derive(Serialize, Deserialize)]
struct ResponseRecord<'a> {
    request_hash: [u8; 32],
    status: u16,
    #[serde(serialize_with = "as_bytes")]
    body: &'a [u8],
    expires_at: u64,
}

/// The bytes of a tenant.
pub(crate) fn encode_tenant(tenant: &Tenant) -> Vec<u8> {
    seal(&TenantRecord {
        name: &tenant.name,
        created_at: tenant.created_at.0,
    })
}

/// The tenant in `bytes`.
pub(crate) fn decode_tenant(id: TenantId, bytes: &[u8]) -> Result<Tenant, Damaged> {
    let record: TenantRecord<'_> = open(bytes).map_err(|damaged: Damaged| damaged.of("tenant", id))?;
    Ok(Tenant {
        id,
        name: record.name.to_owned(),
        created_at: Timestamp(record.created_at),
    })
}

/// The bytes of a key. One that may only send is written as ever, so that nodes of an older version can read it.
pub(crate) fn encode_key(key: &ApiKey) -> Vec<u8> {
    let record = ApiKeyRecord {
        tenant: key.tenant.0,
        name: &key.name,
        last4: &key.last4,
        created_at: key.created_at.0,
        revoked_at: key.revoked_at.map(|at| at.0),
    };
    match key.scope {
        KeyScope::Send => seal(&record),
        KeyScope::Admin => seal_as(
            SCOPED_KEY,
            &ScopedKeyRecord {
                key: record,
                scope: key.scope.code(),
            },
        ),
    }
}

/// The key in `bytes`.
pub(crate) fn decode_key(hash: [u8; 32], bytes: &[u8]) -> Result<ApiKey, Damaged> {
    let read = || -> Result<ApiKey, Damaged> {
        let (record, scope) = match version(bytes) {
            SCOPED_KEY => {
                let scoped: ScopedKeyRecord<'_> = open_as(SCOPED_KEY, bytes)?;
                (scoped.key, known(KeyScope::from_code(scoped.scope), "scope")?)
            }
            _ => (open::<ApiKeyRecord<'_>>(bytes)?, KeyScope::Send),
        };
        Ok(ApiKey {
            hash,
            tenant: TenantId(record.tenant),
            name: record.name.to_owned(),
            last4: record.last4.to_owned(),
            created_at: Timestamp(record.created_at),
            revoked_at: record.revoked_at.map(Timestamp),
            scope,
        })
    };
    read().map_err(|damaged| damaged.of("API", "key"))
}

/// The bytes of a domain whose private keys are already sealed.
pub(crate) fn encode_domain(domain: &SendingDomain) -> Vec<u8> {
    let dkim = domain.dkim.iter().map(|key| DkimRecord {
        selector: &key.selector,
        algorithm: key.algorithm.code(),
        private: &key.private_der,
        record: &key.record,
    });
    seal(&DomainRecord {
        status: domain.status.code(),
        return_path_subdomain: &domain.return_path_subdomain,
        dkim: dkim.collect(),
        created_at: domain.created_at.0,
        checked_at: domain.checked_at.map(|at| at.0),
    })
}

/// The domain in `bytes`, its private keys still sealed.
pub(crate) fn decode_domain(tenant: TenantId, name: &str, bytes: &[u8]) -> Result<SendingDomain, Damaged> {
    let read = || -> Result<SendingDomain, Damaged> {
        let record: DomainRecord<'_> = open(bytes)?;
        let dkim = record.dkim.iter().map(|key| {
            Ok(DkimKey {
                selector: key.selector.to_owned(),
                algorithm: known(DkimAlgorithm::from_code(key.algorithm), "algorithm")?,
                private_der: key.private.to_owned(),
                record: key.record.to_owned(),
            })
        });
        Ok(SendingDomain {
            tenant,
            name: name.to_owned(),
            status: known(DomainStatus::from_code(record.status), "status")?,
            return_path_subdomain: record.return_path_subdomain.to_owned(),
            dkim: dkim.collect::<Result<_, Damaged>>()?,
            created_at: Timestamp(record.created_at),
            checked_at: record.checked_at.map(Timestamp),
        })
    };
    read().map_err(|damaged| damaged.of("domain", name))
}

/// The bytes of one version of a template.
pub(crate) fn encode_template(template: &Template) -> Vec<u8> {
    seal(&TemplateRecord {
        tenant: template.tenant.0,
        alias: &template.alias,
        subject: &template.subject,
        html: template.html.as_deref(),
        text: template.text.as_deref(),
        created_at: template.created_at.0,
    })
}

/// The version of a template in `bytes`.
pub(crate) fn decode_template(id: TemplateId, version: u32, bytes: &[u8]) -> Result<Template, Damaged> {
    let record: TemplateRecord<'_> = open(bytes).map_err(|damaged: Damaged| damaged.of("template", id))?;
    Ok(Template {
        id,
        tenant: TenantId(record.tenant),
        alias: record.alias.to_owned(),
        version,
        subject: record.subject.to_owned(),
        html: record.html.map(str::to_owned),
        text: record.text.map(str::to_owned),
        created_at: Timestamp(record.created_at),
    })
}

/// The bytes of an alias: which template it names, and its newest version.
pub(crate) fn encode_alias(id: TemplateId, newest: u32) -> Vec<u8> {
    seal(&AliasRecord { id: id.0, newest })
}

/// The alias in `bytes`.
pub(crate) fn decode_alias(bytes: &[u8]) -> Result<(TemplateId, u32), Damaged> {
    let record: AliasRecord = open(bytes).map_err(|damaged: Damaged| damaged.of("template", "alias"))?;
    Ok((TemplateId(record.id), record.newest))
}

/// The bytes of an entry of the suppression list.
pub(crate) fn encode_suppression(suppression: &Suppression) -> Vec<u8> {
    seal(&SuppressionRecord {
        stream: suppression.stream.map(Stream::code),
        reason: suppression.reason.code(),
        created_at: suppression.created_at.0,
    })
}

/// The entry of the suppression list in `bytes`.
pub(crate) fn decode_suppression(tenant: TenantId, address: &str, bytes: &[u8]) -> Result<Suppression, Damaged> {
    let read = || -> Result<Suppression, Damaged> {
        let record: SuppressionRecord = open(bytes)?;
        let stream = record.stream.map(|code| known(Stream::from_code(code), "stream"));
        Ok(Suppression {
            tenant,
            address: address.to_owned(),
            stream: stream.transpose()?,
            reason: known(SuppressionReason::from_code(record.reason), "reason")?,
            created_at: Timestamp(record.created_at),
        })
    };
    read().map_err(|damaged| damaged.of("suppression of tenant", tenant))
}

/// The bytes of an idempotent answer.
pub(crate) fn encode_response(response: &StoredResponse) -> Vec<u8> {
    seal(&ResponseRecord {
        request_hash: response.request_hash,
        status: response.status,
        body: &response.body,
        expires_at: response.expires_at.0,
    })
}

/// The idempotent answer in `bytes`.
pub(crate) fn decode_response(bytes: &[u8]) -> Result<StoredResponse, Damaged> {
    let record: ResponseRecord<'_> = open(bytes).map_err(|damaged: Damaged| damaged.of("idempotent", "answer"))?;
    Ok(StoredResponse {
        request_hash: record.request_hash,
        status: record.status,
        body: record.body.to_owned(),
        expires_at: Timestamp(record.expires_at),
    })
}
