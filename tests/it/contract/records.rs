//! Records: what is put is read, by its owner.

use posthaste::domain::{
    ApiKey, Class, DeliveryId, DkimAlgorithm, DkimKey, DomainStatus, KeyScope, SendingDomain, Stream, Suppression,
    SuppressionReason, Template, TemplateId, Tenant, TenantId,
};
use uuid::Uuid;

use super::bed::{Bed, at, idempotency};

const ONE: TenantId = TenantId(1);
const TWO: TenantId = TenantId(2);

pub(crate) async fn tenants_are_kept(bed: Bed) {
    let store = bed.store();
    let mut tenants = [tenant(300), tenant(2), tenant(1)];
    for tenant in &tenants {
        assert_eq!(store.put_tenant(tenant.clone()).await, Ok(()));
    }
    tenants[1].name = "renamed".to_owned();
    assert_eq!(store.put_tenant(tenants[1].clone()).await, Ok(()));
    let mut stored = store.tenants().await.expect("tenants");
    stored.sort_by_key(|tenant| tenant.id);
    tenants.sort_by_key(|tenant| tenant.id);
    assert_eq!(stored, tenants);
}

pub(crate) async fn keys_are_kept(bed: Bed) {
    let store = bed.store();
    let mut key = api_key(1, ONE);
    for key in [&key, &api_key(2, ONE), &api_key(3, TWO)] {
        assert_eq!(store.put_key(key.clone()).await, Ok(()));
    }
    key.revoked_at = Some(at(9));
    assert_eq!(store.put_key(key.clone()).await, Ok(()));
    assert_eq!(
        store.key([1; 32]).await,
        Ok(Some(key.clone())),
        "revoked ones are found, too"
    );
    let mut own = store.keys(ONE).await.expect("keys");
    own.sort_by_key(|key| key.hash);
    assert_eq!(own, [key, api_key(2, ONE)]);
    assert_eq!(store.keys(TWO).await, Ok(vec![api_key(3, TWO)]));
}

pub(crate) async fn domains_are_kept_by_tenant(bed: Bed) {
    let store = bed.store();
    let mut first = domain(ONE, "a.example");
    for domain in [&first, &domain(ONE, "b.example"), &domain(TWO, "a.example")] {
        assert_eq!(store.put_domain(domain.clone()).await, Ok(()));
    }
    first.status = DomainStatus::Verified;
    first.checked_at = Some(at(5));
    assert_eq!(store.put_domain(first.clone()).await, Ok(()));
    assert_eq!(store.domain(ONE, "a.example").await, Ok(Some(first.clone())));
    assert_eq!(store.domain(TWO, "a.example").await, Ok(Some(domain(TWO, "a.example"))));
    assert_eq!(store.domain(TWO, "b.example").await, Ok(None));
    let mut own = store.domains(ONE).await.expect("domains");
    own.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(own, [first, domain(ONE, "b.example")]);
}

pub(crate) async fn a_template_stored_again_is_its_next_version(bed: Bed) {
    let store = bed.store();
    let first = store
        .put_template(draft(1, ONE, "welcome", "Hello"))
        .await
        .expect("stored");
    assert_eq!(*first, draft(1, ONE, "welcome", "Hello"));
    let second = store
        .put_template(draft(2, ONE, "welcome", "Hi"))
        .await
        .expect("stored");
    let mut expected = draft(1, ONE, "welcome", "Hi");
    expected.version = 2;
    assert_eq!(*second, expected, "the id of the first, the next number");

    let id = first.id;
    assert_eq!(
        store.template_version(id, 1).await,
        Ok(Some(first.clone())),
        "versions never change"
    );
    assert_eq!(store.template_version(id, 2).await, Ok(Some(second.clone())));
    assert_eq!(store.template_version(id, 3).await, Ok(None));
    assert_eq!(store.template(ONE, "welcome", None).await, Ok(Some(second)));
    assert_eq!(store.template(ONE, "welcome", Some(1)).await, Ok(Some(first)));
    assert_eq!(store.template(ONE, "welcome", Some(3)).await, Ok(None));
}

pub(crate) async fn templates_are_found_by_alias_or_id_of_their_tenant_only(bed: Bed) {
    let store = bed.store();
    let own = store
        .put_template(draft(1, ONE, "welcome", "Hello"))
        .await
        .expect("stored");
    let other = store
        .put_template(draft(2, TWO, "welcome", "Servus"))
        .await
        .expect("stored");
    assert_eq!((own.version, other.version), (1, 1), "aliases are per tenant");
    assert_ne!(own.id, other.id);
    assert_eq!(
        store.template(ONE, &own.id.to_string(), None).await,
        Ok(Some(own.clone()))
    );
    assert_eq!(store.template(ONE, &own.id.to_string(), Some(2)).await, Ok(None));
    assert_eq!(
        store.template(TWO, &own.id.to_string(), None).await,
        Ok(None),
        "not another tenant's"
    );
    assert_eq!(store.template(TWO, "welcome", None).await, Ok(Some(other)));
    assert_eq!(store.template(ONE, "Welcome", None).await, Ok(None));
}

pub(crate) async fn the_newest_templates_are_listed_by_alias(bed: Bed) {
    let store = bed.store();
    for (id, tenant, alias) in [
        (1, ONE, "c"),
        (2, ONE, "a"),
        (3, TWO, "z"),
        (4, ONE, "b"),
        (5, ONE, "a"),
    ] {
        store
            .put_template(draft(id, tenant, alias, "Hello"))
            .await
            .expect("stored");
    }
    let listed = async |max| {
        let templates = store.templates(ONE, max).await.expect("templates");
        let names = templates
            .iter()
            .map(|template| (template.alias.clone(), template.version));
        names.collect::<Vec<_>>()
    };
    let expected = [("a".to_owned(), 2), ("b".to_owned(), 1), ("c".to_owned(), 1)];
    assert_eq!(listed(10).await, expected);
    assert_eq!(listed(2).await, expected[..2]);
}

pub(crate) async fn suppressions_are_kept_by_tenant_and_stream(bed: Bed) {
    let store = bed.store();
    let all = suppression("all@x.example", None);
    let broadcast = suppression("broadcast@x.example", Some(Stream::Broadcast));
    for suppression in [&all, &broadcast] {
        assert_eq!(store.put_suppression(suppression.clone()).await, Ok(()));
    }
    assert_eq!(store.suppression(ONE, "all@x.example").await, Ok(Some(all)));
    assert_eq!(store.suppression(ONE, "broadcast@x.example").await, Ok(Some(broadcast)));
    assert_eq!(store.suppression(TWO, "all@x.example").await, Ok(None));
    let addresses = ["nobody@x.example", "all@x.example", "broadcast@x.example"].map(str::to_owned);
    for (tenant, stream, expected) in [
        (ONE, Stream::Transactional, [false, true, false]),
        (ONE, Stream::Broadcast, [false, true, true]),
        (TWO, Stream::Broadcast, [false, false, false]),
    ] {
        let flags = store.suppressed(tenant, stream, &addresses).await;
        assert_eq!(flags, Ok(expected.to_vec()), "{tenant} {stream:?}");
    }
    assert_eq!(store.suppressed(ONE, Stream::Broadcast, &[]).await, Ok(vec![]));
}

pub(crate) async fn an_address_is_suppressed_whatever_its_case(bed: Bed) {
    let store = bed.store();
    assert_eq!(store.put_suppression(suppression("ann@x.example", None)).await, Ok(()));
    let addresses = ["Ann@x.example".to_owned(), "ANN@X.example".to_owned()];
    let flags = store.suppressed(ONE, Stream::Broadcast, &addresses).await;
    assert_eq!(flags, Ok(vec![true, true]));
    assert!(
        store
            .suppression(ONE, "Ann@x.example")
            .await
            .expect("suppression")
            .is_some()
    );
    assert_eq!(store.delete_suppression(ONE, "ANN@x.example").await, Ok(true));
}

pub(crate) async fn a_suppression_never_gets_narrower(bed: Bed) {
    let store = bed.store();
    let (transactional, broadcast) = (Some(Stream::Transactional), Some(Stream::Broadcast));
    for (n, (held, put, expected)) in [
        (None, broadcast, None),
        (broadcast, None, None),
        (broadcast, broadcast, broadcast),
        (broadcast, transactional, None),
    ]
    .into_iter()
    .enumerate()
    {
        let address = format!("user{n}@x.example");
        for stream in [held, put] {
            assert_eq!(store.put_suppression(suppression(&address, stream)).await, Ok(()));
        }
        let entry = store
            .suppression(ONE, &address)
            .await
            .expect("suppression")
            .expect("held");
        assert_eq!(entry.stream, expected, "{held:?} then {put:?}");
    }
}

pub(crate) async fn an_address_can_be_taken_off_the_list(bed: Bed) {
    let store = bed.store();
    assert_eq!(store.put_suppression(suppression("ann@x.example", None)).await, Ok(()));
    assert_eq!(store.delete_suppression(TWO, "ann@x.example").await, Ok(false));
    assert_eq!(store.delete_suppression(ONE, "ann@x.example").await, Ok(true));
    assert_eq!(store.delete_suppression(ONE, "ann@x.example").await, Ok(false));
    assert_eq!(store.suppression(ONE, "ann@x.example").await, Ok(None));
    let flags = store
        .suppressed(ONE, Stream::Broadcast, &["ann@x.example".to_owned()])
        .await;
    assert_eq!(flags, Ok(vec![false]));
}

pub(crate) async fn records_survive_a_crash(mut bed: Bed) {
    let store = bed.store();
    assert_eq!(store.put_tenant(tenant(1)).await, Ok(()));
    assert_eq!(store.put_key(api_key(1, ONE)).await, Ok(()));
    assert_eq!(store.put_domain(domain(ONE, "a.example")).await, Ok(()));
    assert_eq!(store.put_suppression(suppression("ann@x.example", None)).await, Ok(()));
    let template = store
        .put_template(draft(1, ONE, "welcome", "Hello"))
        .await
        .expect("stored");
    drop(store);
    bed.crash().await;

    let store = bed.store();
    assert_eq!(store.tenants().await, Ok(vec![tenant(1)]));
    assert_eq!(store.key([1; 32]).await, Ok(Some(api_key(1, ONE))));
    assert_eq!(store.domain(ONE, "a.example").await, Ok(Some(domain(ONE, "a.example"))));
    assert_eq!(
        store.suppression(ONE, "ann@x.example").await,
        Ok(Some(suppression("ann@x.example", None)))
    );
    assert_eq!(store.template(ONE, "welcome", None).await, Ok(Some(template.clone())));
    let next = store
        .put_template(draft(2, ONE, "welcome", "Hi"))
        .await
        .expect("stored");
    assert_eq!((next.id, next.version), (template.id, 2));
}

pub(crate) async fn what_never_was_is_none(mut bed: Bed) {
    let id = bed.fresh_id();
    let store = bed.store();
    assert_eq!(store.message(id).await, Ok(None));
    assert_eq!(store.body(id).await, Ok(None));
    assert_eq!(store.deliveries(id).await, Ok(vec![]));
    assert_eq!(
        store
            .delivery(DeliveryId {
                message: id,
                recipient: 0
            })
            .await,
        Ok(None)
    );
    assert_eq!(store.events(id, 10).await, Ok(vec![]));
    assert_eq!(store.idempotent(&idempotency("key", 1, at(9)).0, at(0)).await, Ok(None));
    assert_eq!(store.tenants().await, Ok(vec![]));
    assert_eq!(store.key([7; 32]).await, Ok(None));
    assert_eq!(store.keys(ONE).await, Ok(vec![]));
    assert_eq!(store.domains(ONE).await, Ok(vec![]));
    assert_eq!(store.templates(ONE, 10).await, Ok(vec![]));
    assert_eq!(store.template(ONE, "welcome", None).await, Ok(None));
    assert_eq!(
        store.template_version(TemplateId(Uuid::from_u128(1)), 1).await,
        Ok(None)
    );
    assert_eq!(store.purge(at(1000), 10).await, Ok(0));
    assert_eq!(bed.queue().next_due(Class::Critical).await, Ok(None));
}

fn tenant(id: u32) -> Tenant {
    Tenant {
        id: TenantId(id),
        name: format!("tenant {id}"),
        created_at: at(u64::from(id)),
    }
}

pub(crate) fn api_key(hash: u8, tenant: TenantId) -> ApiKey {
    ApiKey {
        hash: [hash; 32],
        tenant,
        name: "ci".to_owned(),
        last4: "abcd".to_owned(),
        created_at: at(3),
        revoked_at: None,
        scope: if hash.is_multiple_of(2) {
            KeyScope::Admin
        } else {
            KeyScope::Send
        },
    }
}

pub(crate) fn domain(tenant: TenantId, name: &str) -> SendingDomain {
    let key = |algorithm, selector: &str| DkimKey {
        selector: selector.to_owned(),
        algorithm,
        private_der: vec![0, 1, 254, 255],
        record: "v=DKIM1; p=abc".to_owned(),
    };
    SendingDomain {
        tenant,
        name: name.to_owned(),
        status: DomainStatus::Pending,
        return_path_subdomain: "bounce".to_owned(),
        dkim: vec![key(DkimAlgorithm::Rsa2048, "r1"), key(DkimAlgorithm::Ed25519, "e1")],
        created_at: at(4),
        checked_at: None,
    }
}

/// A draft as the API makes it: a fresh id, number 1.
pub(crate) fn draft(id: u128, tenant: TenantId, alias: &str, subject: &str) -> Template {
    Template {
        id: TemplateId(Uuid::from_u128(id)),
        tenant,
        alias: alias.to_owned(),
        version: 1,
        subject: subject.to_owned(),
        html: Some("<b>{{name}}</b>".to_owned()),
        text: None,
        created_at: at(6),
    }
}

pub(crate) fn suppression(address: &str, stream: Option<Stream>) -> Suppression {
    Suppression {
        tenant: ONE,
        address: address.to_owned(),
        stream,
        reason: SuppressionReason::Manual,
        created_at: at(7),
    }
}
