//! A full disk: nothing is accepted, no dot leaves, nothing is lost, and all goes on when there is space again.

use posthaste::domain::{Class, MessageId};
use posthaste::queue::{Accept, Accepted, IntentAnswer, QueueError, SettleAnswer};

use super::disk::Disk;
use super::{OnDisk, settings};
use crate::contract::{Bed, Mail, at, delivered, intent};

/// Messages of one ACCEPT that is to fill a disk.
const MANY: usize = 100;
/// ACCEPTs that fill any disk here.
const ENOUGH: usize = 1000;

fn bed() -> (Disk, Bed) {
    let on_disk = OnDisk::new(settings(), 1);
    (on_disk.disk.clone(), Bed::new(on_disk))
}

/// One ACCEPT of many messages, with their ids.
fn many(bed: &mut Bed) -> (Vec<MessageId>, Accept) {
    let mail = Mail::to(&["a@x.example"]);
    let ids: Vec<MessageId> = (0..MANY).map(|_| bed.fresh_id()).collect();
    let mut all = mail.accept(ids[0]);
    for id in &ids[1..] {
        let one = mail.accept(*id);
        all.messages.extend(one.messages);
        all.deliveries.extend(one.deliveries);
        all.events.extend(one.events);
    }
    (ids, all)
}

/// All of `ids` are stored, and nothing else is.
async fn assert_holds(bed: &Bed, ids: &[MessageId]) {
    for id in ids {
        assert!(
            bed.store().message(*id).await.expect("reads").is_some(),
            "{id} was acknowledged"
        );
        assert_eq!(bed.store().deliveries(*id).await.expect("reads").len(), 1);
        assert!(bed.has_body(*id).await);
    }
    let depth = bed.queue().depth(at(0)).await.expect("counts");
    assert_eq!(depth.messages, ids.len() as u64, "nothing that was refused was stored");
}

#[tokio::test]
async fn at_its_quota_the_store_refuses_and_goes_on_when_the_quota_grows() {
    let (disk, mut bed) = bed();
    disk.set_quota(Some(disk.length()));
    let mut acknowledged = Vec::new();
    let mut refusal = None;
    for _ in 0..ENOUGH {
        let (ids, accept) = many(&mut bed);
        match bed.queue().accept(accept).await {
            Ok(Accepted::New) => acknowledged.extend(ids),
            other => {
                refusal = Some(other);
                break;
            }
        }
    }
    assert_eq!(refusal, Some(Err(QueueError::Full)), "the disk fills up");
    disk.set_quota(None);
    let (ids, accept) = many(&mut bed);
    assert_eq!(bed.queue().accept(accept).await, Ok(Accepted::New), "without a restart");
    acknowledged.extend(ids);
    assert_holds(&bed, &acknowledged).await;
    bed.crash().await;
    assert_holds(&bed, &acknowledged).await;
}

#[tokio::test]
async fn on_a_full_disk_no_dot_leaves_and_leases_outlast_it() {
    let (disk, mut bed) = bed();
    let id = bed.accept_one().await;
    let leased = bed.lease_one(at(1)).await;
    disk.set_full(true);
    for _ in 0..3 {
        assert_eq!(bed.queue().intent(intent(&leased, at(2))).await, Err(QueueError::Full));
        let mail = Mail::to(&["b@x.example"]).accept(bed.fresh_id());
        assert_eq!(bed.queue().accept(mail).await, Err(QueueError::Full));
    }
    disk.set_full(false);
    assert_eq!(
        bed.intent(&leased, at(3)).await,
        IntentAnswer::Recorded,
        "without a restart"
    );
    assert_eq!(bed.settle(delivered(&leased, at(4))).await, SettleAnswer::Settled);
    assert_eq!(bed.event_names(id).await, ["accepted", "delivered"]);
    assert_holds_only(&bed, 1).await;
}

#[tokio::test]
async fn an_outcome_that_found_no_room_may_be_settled_later() {
    let (disk, mut bed) = bed();
    let id = bed.accept_one().await;
    let leased = bed.lease_one(at(1)).await;
    assert_eq!(bed.intent(&leased, at(2)).await, IntentAnswer::Recorded);
    disk.set_full(true);
    let settled = bed.queue().settle(vec![delivered(&leased, at(3))]).await;
    assert_eq!(settled, Err(QueueError::Full));
    disk.set_full(false);
    let again = bed.settle(delivered(&leased, at(3))).await;
    assert_eq!(again, SettleAnswer::Settled, "its holder tries again and counts once");
    assert_eq!(bed.event_names(id).await, ["accepted", "delivered"]);
    bed.crash().await;
    assert_eq!(bed.lease_ids(Class::Transactional, 10, at(1000)).await, []);
}

async fn assert_holds_only(bed: &Bed, messages: u64) {
    let depth = bed.queue().depth(at(5)).await.expect("counts");
    assert_eq!(depth.messages, messages, "what was refused was not stored");
}
