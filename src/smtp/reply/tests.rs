//! Tests of the reply parser: tables, and any bytes in any pieces.

use super::*;
use proptest::prelude::*;

/// Feeds `input` in pieces of `size` bytes until something is decided or all was read, and then ends the stream.
fn read(input: &[u8], size: usize) -> (Progress, ReplyParser, usize) {
    let mut parser = ReplyParser::default();
    let mut used_in_all = 0;
    for piece in input.chunks(size) {
        let (used, progress) = parser.feed(piece);
        used_in_all += used;
        if progress != Progress::Partial {
            return (progress, parser, used_in_all);
        }
        assert_eq!(used, piece.len(), "all of a partial reply is used");
    }
    let progress = parser.end_of_stream();
    (progress, parser, used_in_all)
}

#[track_caller]
fn check(input: impl AsRef<[u8]>, code: u16, enhanced: Option<&str>, text: &str, odd: bool) {
    let input = input.as_ref();
    let shown = String::from_utf8_lossy(&input[..input.len().min(80)]).into_owned();
    for size in [1, 2, 3, 7, 1000, usize::MAX] {
        let (progress, parser, _) = read(input, size);
        assert_eq!(progress, Progress::Complete, "{shown:?} by {size}");
        let expect = Reply {
            code,
            enhanced: enhanced.map(|code| code.parse().expect("an enhanced code")),
            text: text.to_owned(),
            odd,
        };
        assert_eq!(parser.reply(), expect, "{shown:?} by {size}");
    }
}

#[track_caller]
fn check_broken(input: &str) {
    for size in [1, 5, usize::MAX] {
        let (progress, parser, _) = read(input.as_bytes(), size);
        assert_eq!(progress, Progress::Broken, "{input:?} by {size}: {parser:?}");
    }
}

#[test]
fn plain_replies_give_code_enhanced_code_and_text() {
    check("250 2.0.0 OK queued\r\n", 250, Some("2.0.0"), "OK queued", false);
    check("354 go ahead\r\n", 354, None, "go ahead", false);
    check("571 no\r\n", 571, None, "no", false);
    check("550 5.1.1: who?\r\n", 550, Some("5.1.1"), "who?", false);
    check("550 #5.7.1 no\r\n", 550, Some("5.7.1"), "no", false);
    check("550 5.7.1\r\n", 550, Some("5.7.1"), "", false);
    check("550 5.7 no\r\n", 550, None, "5.7 no", false);
    check("550 5.7.1.2 no\r\n", 550, None, "5.7.1.2 no", false);
}

#[test]
fn lines_are_joined_and_their_codes_dropped() {
    check(
        "421-4.7.28 Gmail has detected\r\n421-4.7.28 an unusual rate.\r\n421 4.7.28 x - gsmtp\r\n",
        421,
        Some("4.7.28"),
        "Gmail has detected an unusual rate. x - gsmtp",
        false,
    );
    check("250-a\r\n250-\r\n250 b\r\n", 250, None, "a  b", false);
}

#[test]
fn odd_replies_with_a_code_are_replies() {
    // Table 1.3 B, row by row.
    check(
        b"250 2.0.0 \xb3\xc9\xb9\xa6\r\n",
        250,
        Some("2.0.0"),
        "\u{fffd}\u{279}\u{fffd}",
        true,
    );
    check(
        format!("250 {}\r\n", "x".repeat(6000)),
        250,
        None,
        &"x".repeat(2044),
        true,
    );
    check("250 ok\n", 250, None, "ok", true);
    check("250\r\n", 250, None, "", false);
    check("250-ok\r\n451 hmm\r\n", 451, None, "ok hmm", true);
    check("250-2.0.0 ok\r\n451 4.3.0 hmm\r\n", 451, Some("4.3.0"), "ok hmm", true);
    check("\r\n\r\n\r\n\r\n250 ok\r\n", 250, None, "ok", true);
    // And their relatives.
    check("250 ok\r\r\n", 250, None, "ok", true);
    check("250\tok\r\n", 250, None, "ok", true);
    check(
        "250-ok\r\nand then\r\n250 done\r\n",
        250,
        None,
        "ok and then done",
        true,
    );
    check("250 \u{1b}[31mred\0\r\n", 250, None, " [31mred", false);
    check("250 2.0.0 成功\r\n", 250, Some("2.0.0"), "成功", false);
}

#[test]
fn a_last_line_that_only_lacks_its_end_counts_when_the_stream_ends() {
    check("250 ok", 250, None, "ok", true);
    check("250-a\r\n250 ", 250, None, "a", true);
    check_broken("250");
    check_broken("25");
    check_broken("250-ok\r\n");
    check_broken("");
}

#[test]
fn what_has_no_code_is_no_reply() {
    for input in [
        "2500K\r\n",
        "OK queued\r\n",
        "+OK\r\n",
        "25 ok\r\n",
        "1234 x\r\n",
        "150 wait\r\n",
        "650 x\r\n",
        "099 x\r\n",
        "250ok\r\n",
        "\r\n\r\n\r\n\r\n\r\n250 ok\r\n",
        "\u{660}50 x\r\n",
    ] {
        check_broken(input);
    }
    let (_, parser, _) = read(b"OK queued\r\n", usize::MAX);
    assert_eq!(parser.complaint(), "no code in \"OK queued\"");
}

#[test]
fn a_reply_without_an_end_is_decided_by_its_first_code() {
    for input in [
        "250-ok\r\n".repeat(10_000),
        format!("250 {}", "x".repeat(100_000)),
        format!("250-{}", "x".repeat(100_000)),
        format!("250-a\r\n550-{}", "x".repeat(100_000)),
        "250-a\r\n".to_owned() + &"550-b\r\n".repeat(600),
    ] {
        for size in [1, 999, usize::MAX] {
            let (progress, parser, used) = read(input.as_bytes(), size);
            assert_eq!(progress, Progress::Complete);
            assert!(parser.overflowed());
            assert_eq!((parser.reply().code, parser.reply().odd), (250, true));
            assert!(used <= REPLY_BYTES_MAX, "{used} bytes were read");
            assert!(parser.reply().text.len() <= TEXT_BYTES_MAX);
            assert!(parser.line.capacity() <= 2 * LINE_BYTES_MAX && parser.text.capacity() <= 2 * REPLY_BYTES_MAX);
        }
    }
    let (progress, parser, used) = read("x".repeat(100_000).as_bytes(), 4096);
    assert_eq!((progress, used), (Progress::Broken, REPLY_BYTES_MAX));
    assert!(parser.complaint().len() < 300);
}

#[test]
fn the_largest_reply_allowed_is_read_to_its_end() {
    let lines = "250-ok\r\n".repeat(LINES_MAX - 1) + "250 end\r\n";
    let (progress, parser, used) = read(lines.as_bytes(), 1000);
    assert_eq!((progress, used), (Progress::Complete, lines.len()));
    assert!(!parser.overflowed() && !parser.reply().odd);
    let bytes = format!("250 {}\r\n", "x".repeat(REPLY_BYTES_MAX - 6));
    let (progress, parser, used) = read(bytes.as_bytes(), 1000);
    assert_eq!(
        (progress, used, parser.overflowed()),
        (Progress::Complete, REPLY_BYTES_MAX, false)
    );
}

#[test]
fn what_follows_a_reply_is_left_alone() {
    let mut parser = ReplyParser::default();
    let flight = b"250 a\r\n550-5.1.1 b\r\n550 5.1.1 c\r\n354 d\r\n";
    let (used, progress) = parser.feed(flight);
    assert_eq!((used, progress, parser.code()), (7, Progress::Complete, 250));
    parser.reset();
    let (more, progress) = parser.feed(&flight[used..]);
    assert_eq!((more, progress, parser.code()), (26, Progress::Complete, 550));
    assert_eq!(parser.reply().text, "b c");
    parser.reset();
    let (last, progress) = parser.feed(&flight[used + more..]);
    assert_eq!(
        (last, progress, parser.reply().text.as_str()),
        (7, Progress::Complete, "d")
    );
}

#[test]
fn each_byte_is_looked_at_once_however_it_comes() {
    // A parser that starts over with each piece would need 2^31 steps for this and time out the suite.
    let mut parser = ReplyParser::default();
    for round in 0..50 {
        parser.reset();
        for byte in "250-twelve bytes\r\n".repeat(500).bytes() {
            assert_eq!(parser.feed(&[byte]), (1, Progress::Partial), "round {round}");
        }
        assert!(parser.line.is_empty(), "whole lines are not kept to be read again");
    }
}

fn reply_like() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"250 ok\r\n".to_vec()),
        Just(b"250-".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"5.7.26 ".to_vec()),
        Just(b"\n".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..20),
    ];
    proptest::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_bytes_break_the_parser_and_cuts_change_nothing(input in reply_like(), size in 1_usize..50) {
        let (whole, parser_of_whole, used_of_whole) = read(&input, usize::MAX);
        let (cut, parser_of_cut, used_of_cut) = read(&input, size);
        prop_assert_eq!(whole, cut);
        prop_assert_eq!(used_of_whole, used_of_cut);
        prop_assert_eq!(parser_of_whole.complaint(), parser_of_cut.complaint());
        if whole == Progress::Complete {
            let reply = parser_of_whole.reply();
            prop_assert!((200..600).contains(&reply.code));
            prop_assert!(reply.text.len() <= TEXT_BYTES_MAX);
            prop_assert!(!reply.text.contains(|character: char| character.is_control()));
            prop_assert_eq!(reply, parser_of_cut.reply());
        }
    }
}
