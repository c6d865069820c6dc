//! The socket in the data directory: how commands beside a running engine reach the store, which has one owner.
//!
//! Takes HTTP over a Unix socket that only the engine's user may open; gives JSON. `keys`, `nodes` and `why` of the
//! command line are its only callers; it is no public API, but for `/v1/admin/…`, which is the API's own without a key.
//! Never leaves the machine.

use std::path::Path;
use std::sync::Arc;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::actors::ownership::Ownership;
use crate::api::{ApiState, admin, for_operators};
use crate::bootstrap;
use crate::clock::Clock;
use crate::domain::{ApiKey, Board, Delivery, KeyScope, MessageId, TenantId};
use crate::policy::projection::Explanation;
use crate::queue::Queue;
use crate::store::{Store, StoreError};

/// Characters of a key's hash that name it in lists.
const KEY_ID_CHARACTERS: usize = 12;

#[derive(Debug)]
struct Shared {
    store: Arc<dyn Store>,
    claims: Arc<dyn Queue>,
    ownership: Arc<Ownership>,
    clock: Clock,
    tenant: TenantId,
    api: Arc<ApiState>,
}

/// Serves commands on `path` until stopped.
pub fn serve(
    path: &Path,
    store: Arc<dyn Store>,
    claims: Arc<dyn Queue>,
    ownership: Arc<Ownership>,
    clock: Clock,
    tenant: TenantId,
    api: Arc<ApiState>,
) -> Result<ServerHandle> {
    // The data directory is ours by now: a socket that is still there belongs to nobody.
    let _ = std::fs::remove_file(path);
    let shared = web::Data::new(Shared {
        store,
        claims,
        ownership,
        clock,
        tenant,
        api,
    });
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::from(Arc::clone(&shared.api)))
            .app_data(shared.clone())
            .configure(admin::on_the_machine)
            .route("/why/{id}", web::get().to(why))
            .route("/nodes", web::get().to(nodes))
            .route("/keys", web::get().to(list_keys))
            .route("/keys", web::post().to(create_key))
            .route("/keys/{id}", web::delete().to(revoke_key))
    })
    .workers(1)
    .disable_signals()
    .bind_uds(path)
    .with_context(|| format!("cannot listen on {}", path.display()))?
    .run();
    restrict(path)?;
    let handle = server.handle();
    actix::spawn(server);
    Ok(handle)
}

/// Only the owner may connect.
fn restrict(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .with_context(|| format!("cannot restrict {}", path.display()))
}

async fn why(shared: web::Data<Shared>, id: web::Path<String>) -> HttpResponse {
    let Ok(id) = id.parse::<MessageId>() else {
        return refuse(400, "this is not the id of a message");
    };
    let message = match shared.store.message(id).await {
        Ok(Some(message)) => message,
        Ok(None) => return refuse(404, "there is no message with this id"),
        Err(error) => return broken(&error),
    };
    let now = shared.clock.now();
    match shared.store.deliveries(id).await {
        Ok(deliveries) => {
            let told = shared.api.explanations(&deliveries, now).await;
            let board = shared.ownership.board();
            let views = deliveries.iter().zip(&told);
            HttpResponse::Ok().json(json!({
                "id": id.to_string(),
                "from": message.from.to_string(),
                "subject": message.subject,
                "class": message.class.name(),
                "created_at": message.created_at.to_string(),
                "expires_at": message.expires_at.to_string(),
                "deliveries": views
                    .map(|(delivery, told)| delivery_view(delivery, told.as_ref(), &board))
                    .collect::<Vec<_>>(),
            }))
        }
        Err(error) => broken(&error),
    }
}

/// Who shares the store, and who owns which source: as the store says now, not as this node saw it a while ago.
async fn nodes(shared: web::Data<Shared>) -> HttpResponse {
    let board = match shared.claims.board(shared.clock.now()).await {
        Ok(board) => board,
        Err(error) => return refuse(503, &error.to_string()),
    };
    HttpResponse::Ok().json(json!({
        "me": shared.ownership.me.id.as_str(),
        "nodes": board.nodes.iter().map(|presence| json!({
            "node": presence.node.id.as_str(),
            "wants": presence.wants.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "until": presence.until.to_string(),
        })).collect::<Vec<_>>(),
        "sources": board.claims.iter().map(|claim| json!({
            "source": claim.source.as_str(),
            "node": claim.node.as_str(),
            "fence": claim.fence.0,
            "until": claim.until.to_string(),
        })).collect::<Vec<_>>(),
    }))
}

fn delivery_view(delivery: &Delivery, told: Option<&Explanation>, board: &Board) -> Value {
    let owner = board
        .claims
        .iter()
        .find(|claim| Some(&claim.source) == delivery.source.as_ref());
    let mut view = json!({
        "recipient": delivery.address,
        "state": delivery.state.name(),
        "attempts": delivery.attempts,
        "ambiguous": delivery.ambiguous,
        "began_at_source": delivery.source.as_ref().map(ToString::to_string),
        "node": owner.map(|claim| claim.node.as_str()),
        "bounce": delivery.bounce.map(crate::domain::BounceClass::name),
        "last_reply": delivery.last_reply.as_ref().map(|reply| json!({
            "at": reply.at.to_string(),
            "host": reply.host,
            "code": reply.code,
            "enhanced": reply.enhanced.map(|code| code.to_string()),
            "text": reply.text,
        })),
    });
    if let (Value::Object(view), Value::Object(wait)) = (&mut view, for_operators(told)) {
        view.extend(wait);
    }
    view
}

async fn list_keys(shared: web::Data<Shared>) -> HttpResponse {
    match shared.store.keys(shared.tenant).await {
        Ok(keys) => HttpResponse::Ok().json(keys.iter().map(key_view).collect::<Vec<_>>()),
        Err(error) => broken(&error),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewKey {
    name: String,
    #[serde(default)]
    admin: bool,
}

async fn create_key(shared: web::Data<Shared>, body: web::Json<NewKey>) -> HttpResponse {
    let scope = if body.admin { KeyScope::Admin } else { KeyScope::Send };
    match bootstrap::make_key(&*shared.store, shared.tenant, &body.name, scope, shared.clock.now()).await {
        Ok(key) => HttpResponse::Created().json(json!({"key": key})),
        Err(error) => refuse(503, &error.to_string()),
    }
}

async fn revoke_key(shared: web::Data<Shared>, id: web::Path<String>) -> HttpResponse {
    let keys = match shared.store.keys(shared.tenant).await {
        Ok(keys) => keys,
        Err(error) => return broken(&error),
    };
    let Some(key) = keys.into_iter().find(|key| key_id(key) == *id) else {
        return refuse(404, "there is no key with this id");
    };
    let revoked = ApiKey {
        revoked_at: Some(key.revoked_at.unwrap_or_else(|| shared.clock.now())),
        ..key
    };
    let view = key_view(&revoked);
    match shared.store.put_key(revoked).await {
        Ok(()) => {
            shared.api.forget_all();
            HttpResponse::Ok().json(view)
        }
        Err(error) => broken(&error),
    }
}

fn key_id(key: &ApiKey) -> String {
    key.hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>()[..KEY_ID_CHARACTERS].to_owned()
}

fn key_view(key: &ApiKey) -> Value {
    json!({
        "id": key_id(key),
        "name": key.name,
        "last4": key.last4,
        "scope": key.scope.name(),
        "created_at": key.created_at.to_string(),
        "revoked_at": key.revoked_at.map(|at| at.to_string()),
    })
}

fn broken(error: &StoreError) -> HttpResponse {
    refuse(503, &error.to_string())
}

fn refuse(status: u16, problem: &str) -> HttpResponse {
    let status =
        actix_web::http::StatusCode::from_u16(status).unwrap_or(actix_web::http::StatusCode::INTERNAL_SERVER_ERROR);
    HttpResponse::build(status).json(json!({"error": problem}))
}
