//! Ways in: sockets, TLS with a private authority, passwords, users with few rights.

use posthaste::domain::{Tenant, TenantId};
use posthaste::store::{Redis, RedisSettings, Seal, Store};
use test_rig::{Certificates, RedisOptions, RedisServer};

use crate::contract::at;

async fn open(settings: RedisSettings) -> Result<Redis, String> {
    let opened = Redis::open(settings, Seal::new([1; 32])).await;
    opened.map_err(|error| error.to_string())
}

/// The store opens and works.
async fn works(settings: RedisSettings) {
    let store = open(settings).await.unwrap();
    let tenant = Tenant {
        id: TenantId(7),
        name: "seven".to_owned(),
        created_at: at(0),
    };
    store.put_tenant(tenant).await.unwrap();
    assert_eq!(store.tenants().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_socket_and_a_port_work() {
    let server = RedisServer::start(&RedisOptions::new().tcp()).unwrap();
    works(RedisSettings::at(server.url())).await;
    works(RedisSettings::at(format!("redis+unix://{}", server.socket().display()))).await;
}

#[tokio::test]
async fn tls_works_with_the_right_authority_and_with_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let ours = Certificates::make(folder.path(), "ours").unwrap();
    let others = Certificates::make(folder.path(), "others").unwrap();
    let server = RedisServer::start(&RedisOptions::new().tls(&ours)).unwrap();
    let with = |authority: Option<&Certificates>| {
        let mut settings = RedisSettings::at(server.url());
        settings.ca_file = authority.map(|files| files.authority.clone());
        settings
    };
    works(with(Some(&ours))).await;
    for wrong in [None, Some(&others)] {
        let error = open(with(wrong)).await.unwrap_err();
        assert!(error.contains("ertificate"), "{error}");
    }
    let mut missing = with(None);
    missing.ca_file = Some(folder.path().join("none.pem"));
    assert!(open(missing).await.unwrap_err().contains("none.pem"));
    let plain = server.url().replace("rediss", "redis");
    assert!(open(RedisSettings::at(plain)).await.is_err(), "no TLS, no store");
}

#[tokio::test]
async fn passwords_open_and_wrong_ones_are_not_repeated() {
    let server = RedisServer::start(&RedisOptions::new().tcp().set("requirepass", "hunter2")).unwrap();
    let with = |user: Option<&str>, password: Option<&str>| {
        let mut settings = RedisSettings::at(server.url());
        settings.username = user.map(str::to_owned);
        settings.password = password.map(str::to_owned);
        settings
    };
    works(with(None, Some("hunter2"))).await;
    works(RedisSettings::at(server.url().replace("://", "://:hunter2@"))).await;
    assert!(open(with(None, None)).await.is_err());
    let error = open(with(None, Some("hunter3"))).await.unwrap_err();
    assert!(!error.contains("hunter3"), "{error}");
}

/// The rights that the README names are enough.
#[tokio::test]
async fn a_user_with_the_rights_that_the_manual_names_can_do_everything() {
    let user = "engine on >secret ~ph* &* +@all -@admin -@dangerous +info +function|load";
    let user = format!("{user} +config|get");
    let server = RedisServer::start(&RedisOptions::new().set("user", &user)).unwrap();
    let mut settings = RedisSettings::at(server.url());
    (settings.username, settings.password) = (Some("engine".to_owned()), Some("secret".to_owned()));
    // Keys carry the hash tag in front of the prefix.
    assert!(open(settings.clone()).await.is_err());
    server
        .call(&["ACL", "SETUSER", "engine", "resetkeys", "~{ph:*"])
        .unwrap();
    works(settings).await;
}
