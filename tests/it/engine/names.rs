//! Mail finds its way by the names of its domain, and only there where it may go.

use posthaste::config::Settings;
use posthaste::resolver::Fixed;
use provider_sim::Receiver;

use super::bed::{Bed, mail, plain, settings};

/// An engine without routes that takes this receiver's port for that of all mail hosts, and may dial loopback.
fn on_port_of(receiver: &Receiver) -> Settings {
    let mut settings = settings(&[]);
    settings.destinations.port = receiver.address().port();
    settings.dialer.allowed = vec!["127.0.0.0/8".parse().expect("a network")];
    settings
}

#[actix_web::test]
async fn mail_goes_to_the_mx_host_and_past_one_that_does_not_answer() {
    let receiver = plain().await;
    let names = Fixed::new()
        .with_mx("shop.test", &[(20, "mx2.shop.test"), (10, "mx1.shop.test")])
        .with_addresses("mx1.shop.test", &["127.0.0.9"])
        .with_addresses("mx2.shop.test", &["127.0.0.1"]);
    let mut bed = Bed::among(on_port_of(&receiver), names).await;
    let id = bed.send(&mail("jacky@shop.test")).await;
    bed.until(&id, "delivered").await;
    assert_eq!(
        bed.events(&id).await,
        ["accepted", "delivered"],
        "a second host costs no attempt"
    );
    assert_eq!(receiver.ledger().total(), 1);
    bed.stop().await;
}

#[actix_web::test]
async fn domains_at_one_provider_share_its_lane_and_one_without_mx_is_its_own_host() {
    let receiver = plain().await;
    let names = Fixed::new()
        .with_mx("one.test", &[(10, "aspmx.l.google.com")])
        .with_mx("two.test", &[(10, "aspmx.l.google.com")])
        .with_addresses("aspmx.l.google.com", &["127.0.0.1"])
        .with_addresses("plain.test", &["127.0.0.1"]);
    let mut bed = Bed::among(on_port_of(&receiver), names).await;
    for address in ["a@one.test", "b@two.test", "c@plain.test"] {
        let id = bed.send(&mail(address)).await;
        bed.until(&id, "delivered").await;
    }
    bed.until_metric("posthaste_delivered_total", &[("provider", "google")], 2.0)
        .await;
    bed.until_metric("posthaste_delivered_total", &[("provider", "site:plain.test")], 1.0)
        .await;
    bed.stop().await;
}

#[actix_web::test]
async fn a_private_address_is_never_dialled_unless_the_config_allows_it() {
    let receiver = plain().await;
    let names = Fixed::new()
        .with_mx("evil.test", &[(10, "mx.evil.test")])
        .with_addresses("mx.evil.test", &["127.0.0.1"]);
    let mut settings = on_port_of(&receiver);
    settings.dialer.allowed.clear();
    let mut bed = Bed::among(settings, names).await;
    let id = bed.send(&mail("jacky@evil.test")).await;
    bed.until(&id, "bounced").await;
    assert_eq!(receiver.counters().connections, 0);
    let again = bed.send(&mail("jacky@evil.test")).await;
    let end = bed.until(&again, "bounced").await;
    assert_eq!(
        end["recipients"][0]["status"], "bounced",
        "the address itself is not suppressed"
    );
    bed.stop().await;
}

#[actix_web::test]
async fn what_name_servers_say_decides_between_waiting_and_the_end() {
    let receiver = plain().await;
    let names = Fixed::new().with_mx("null.test", &[(0, "")]).failing("broken.test");
    let mut bed = Bed::among(on_port_of(&receiver), names).await;
    let null = bed.send(&mail("a@null.test")).await;
    let end = bed.until(&null, "bounced").await;
    assert_eq!(end["recipients"][0]["bounce"], "bad_domain");
    for (domain, why) in [("broken.test", "dns"), ("missing.test", "dns")] {
        let id = bed.send(&mail(&format!("a@{domain}"))).await;
        let waiting = bed.until(&id, "deferred").await;
        assert_eq!(
            waiting["recipients"][0]["why"], why,
            "{domain}: one answer is not proof"
        );
    }
    assert_eq!(receiver.counters().connections, 0);
    bed.stop().await;
}
