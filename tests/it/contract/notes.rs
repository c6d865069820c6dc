//! Notes: what the engine has learnt is there again after a crash, and nothing else is.

use posthaste::domain::{NOTE_KEY_BYTES_MAX, NOTE_VALUE_BYTES_MAX, NOTES_PER_CALL_MAX, Note, NoteKind};

use super::bed::{Bed, at};

pub(crate) fn note(kind: NoteKind, key: &[u8], value: &[u8]) -> Note {
    Note::new(kind, key, value, at(7)).expect("within bounds")
}

pub(crate) async fn what_was_learnt_is_read_by_kind_and_in_the_order_of_keys(bed: Bed) {
    let (b, a, other) = (
        note(NoteKind::Lane, b"b", &[1, 0, 255]),
        note(NoteKind::Lane, b"a\0\xff", b"x"),
        note(NoteKind::Warmup, b"a", b"y"),
    );
    for one in [&b, &a, &other] {
        assert_eq!(bed.store().put_notes(vec![one.clone()]).await, Ok(()));
    }
    assert_eq!(bed.store().notes(NoteKind::Lane, 10).await, Ok(vec![a.clone(), b]));
    assert_eq!(bed.store().notes(NoteKind::Lane, 1).await, Ok(vec![a]));
    assert_eq!(bed.store().notes(NoteKind::Lane, 0).await, Ok(vec![]));
    assert_eq!(bed.store().notes(NoteKind::Warmup, 10).await, Ok(vec![other]));
    for kind in NoteKind::ALL
        .into_iter()
        .filter(|kind| !matches!(kind, NoteKind::Lane | NoteKind::Warmup))
    {
        assert_eq!(bed.store().notes(kind, 10).await, Ok(vec![]), "{kind:?}");
    }
}

pub(crate) async fn the_last_note_under_a_key_wins(bed: Bed) {
    let first = note(NoteKind::Domain, b"k", b"1");
    let second = Note::new(NoteKind::Domain, *b"k", *b"2", at(3)).expect("within bounds");
    let third = note(NoteKind::Domain, b"k", b"3");
    // The last one written, whatever its time says, also within a call.
    assert_eq!(bed.store().put_notes(vec![first, second.clone()]).await, Ok(()));
    assert_eq!(bed.store().notes(NoteKind::Domain, 10).await, Ok(vec![second]));
    assert_eq!(bed.store().put_notes(vec![third.clone()]).await, Ok(()));
    assert_eq!(bed.store().notes(NoteKind::Domain, 10).await, Ok(vec![third]));
}

pub(crate) async fn an_empty_value_takes_a_note_away(mut bed: Bed) {
    let stays = note(NoteKind::Reputation, b"stays", b"1");
    let goes = note(NoteKind::Reputation, b"goes", b"1");
    assert_eq!(bed.store().put_notes(vec![stays.clone(), goes]).await, Ok(()));
    let removals = vec![
        note(NoteKind::Reputation, b"goes", b""),
        note(NoteKind::Reputation, b"never was", b""),
    ];
    assert_eq!(bed.store().put_notes(removals).await, Ok(()));
    assert_eq!(
        bed.store().notes(NoteKind::Reputation, 10).await,
        Ok(vec![stays.clone()])
    );
    bed.crash().await;
    assert_eq!(bed.store().notes(NoteKind::Reputation, 10).await, Ok(vec![stays]));
}

pub(crate) async fn what_was_learnt_survives_a_crash(mut bed: Bed) {
    let kinds = NoteKind::ALL.into_iter();
    let notes: Vec<Note> = kinds.map(|kind| note(kind, kind.name().as_bytes(), b"1")).collect();
    assert_eq!(bed.store().put_notes(notes.clone()).await, Ok(()));
    bed.crash().await;
    for one in notes {
        assert_eq!(bed.store().notes(one.kind(), 10).await, Ok(vec![one]));
    }
}

pub(crate) async fn as_many_and_as_large_notes_as_may_be_are_kept(bed: Bed) {
    let largest = Note::new(
        NoteKind::Lane,
        vec![9; NOTE_KEY_BYTES_MAX],
        vec![8; NOTE_VALUE_BYTES_MAX],
        at(1),
    );
    let mut notes: Vec<Note> = (1..NOTES_PER_CALL_MAX)
        .map(|number| note(NoteKind::Lane, format!("{number:05}").as_bytes(), b"1"))
        .collect();
    notes.insert(0, largest.expect("within bounds"));
    assert_eq!(bed.store().put_notes(notes.clone()).await, Ok(()));
    notes.sort_by(|one, other| one.key().cmp(other.key()));
    assert_eq!(bed.store().notes(NoteKind::Lane, usize::MAX).await, Ok(notes));
    assert_eq!(
        bed.store().put_notes(vec![]).await,
        Ok(()),
        "nothing to write is written"
    );
}
