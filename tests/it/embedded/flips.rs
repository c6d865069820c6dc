//! A file in which a byte is wrong: that is noticed before anything is promised on it, or it changes nothing.

use posthaste::store::{EmbeddedSettings, OpenError};

use super::disk::Disk;
use super::power::{closed_store, held};
use super::{OnDisk, settings};

/// Bytes that are tried, among those that are not zero and among all.
const TRIED: usize = 300;

#[tokio::test]
async fn a_wrong_byte_in_a_database_is_noticed_at_the_start_or_changes_nothing() {
    let (disk, expected, ids) = closed_store(1).await;
    let image = disk.image();
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut draw = fastrand::Rng::with_seed(seed);
    let written: Vec<usize> = (0..image.len()).filter(|at| image[*at] != 0).collect();
    let settings = EmbeddedSettings {
        check_at_start: true,
        message_cache_bytes: 0,
        ..settings()
    };
    let (mut refused, mut unchanged) = (0, 0);
    for number in 0..TRIED {
        let at = match number % 4 {
            0 => draw.usize(..image.len()),
            _ => written[draw.usize(..written.len())],
        };
        let mut wrong = image.clone();
        wrong[at] ^= draw.u8(1..);
        let mut on_disk = OnDisk {
            disk: Disk::holding(wrong.clone()),
            settings: settings.clone(),
            store: None,
            draw: fastrand::Rng::with_seed(1),
        };
        match on_disk.try_open() {
            Err(OpenError::Damaged(_)) => {
                assert!(
                    on_disk.disk.image() == wrong,
                    "byte {at}, seed {seed}: it was left as it is"
                );
                refused += 1;
            }
            Err(_) => refused += 1,
            Ok(store) => {
                let found = held(&store, &store, &ids).await;
                assert_eq!(found, expected, "byte {at}, seed {seed}: nothing was noticed");
                on_disk.store = Some(store);
                unchanged += 1;
            }
        }
    }
    assert!(
        refused > TRIED / 20 && unchanged > 0,
        "{refused} refused, {unchanged} unchanged"
    );
}

#[tokio::test]
async fn a_database_that_is_as_it_was_written_passes_the_check() {
    let (disk, expected, ids) = closed_store(2).await;
    let checked = EmbeddedSettings {
        check_at_start: true,
        ..settings()
    };
    for _ in 0..2 {
        let on_disk = OnDisk::on(disk.clone(), checked.clone(), 1);
        assert_eq!(held(on_disk.store(), on_disk.store(), &ids).await, expected);
    }
}
