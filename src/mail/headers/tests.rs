//! Tests of header fields: folding, encoded words, and that nothing can break out of a field.

use mail_parser::MessageParser;
use proptest::prelude::*;

use super::*;

fn unstructured(name: &str, value: &str) -> String {
    let mut out = Vec::new();
    write_unstructured(&mut out, name, value);
    String::from_utf8(out).unwrap()
}

fn addresses(mailboxes: &[(&str, &str)]) -> String {
    let mailboxes: Vec<Mailbox> = mailboxes.iter().map(|(name, address)| mailbox(name, address)).collect();
    let mut out = Vec::new();
    write_addresses(&mut out, "To", &mailboxes);
    String::from_utf8(out).unwrap()
}

fn mailbox(name: &str, address: &str) -> Mailbox {
    Mailbox {
        name: (!name.is_empty()).then(|| name.to_owned()),
        address: address.to_owned(),
    }
}

/// Folded where it can be, within all limits, one field only.
fn assert_well_formed(field: &str) {
    assert!(field.is_ascii(), "{field:?}");
    assert!(field.ends_with("\r\n"), "{field:?}");
    let lines: Vec<&str> = field.strip_suffix("\r\n").unwrap().split("\r\n").collect();
    for (index, line) in lines.iter().enumerate() {
        assert!(!line.contains(['\r', '\n', '\0']), "{field:?}");
        assert!(line.len() <= LINE_HARD_MAX, "{} octets in {field:?}", line.len());
        assert!(!line.trim().is_empty(), "blank line in {field:?}");
        assert!(index == 0 || line.starts_with(' '), "second field in {field:?}");
        for word in line.split(' ').filter(|word| word.starts_with("=?utf-8?")) {
            assert!(word.trim_end_matches([',', '>']).len() <= 75, "{word}");
            assert!(line.len() <= 78, "{line}");
        }
    }
}

#[test]
fn subjects_are_written_as_the_standards_ask() {
    for (value, expect) in [
        ("Hello", "Subject: Hello\r\n"),
        ("", "Subject: \r\n"),
        ("  a  b ", "Subject: a  b\r\n"),
        ("Grüße", "Subject: =?utf-8?b?R3LDvMOfZQ==?=\r\n"),
        ("one Grüße two", "Subject: one =?utf-8?b?R3LDvMOfZQ==?= two\r\n"),
        ("é bcd efgh é", "Subject: =?utf-8?q?=C3=A9_bcd_efgh_=C3=A9?=\r\n"),
        ("您的验证码", "Subject: =?utf-8?b?5oKo55qE6aqM6K+B56CB?=\r\n"),
        (
            "not =?utf-8?q?decoded?=",
            "Subject: not =?utf-8?q?=3D=3Futf-8=3Fq=3Fdecoded=3F=3D?=\r\n",
        ),
        ("a\r\nBcc: x@y", "Subject: a  Bcc: x@y\r\n"),
        ("a\0b", "Subject: a b\r\n"),
        (
            "The quick brown fox jumps over the lazy dog and then it goes home to sleep for days",
            "Subject: The quick brown fox jumps over the lazy dog and then it goes home to\r\n sleep for days\r\n",
        ),
    ] {
        assert_eq!(unstructured("Subject", value), expect, "{value:?}");
    }
}

#[test]
fn display_names_are_quoted_or_encoded_only_when_they_must() {
    for (name, expect) in [
        ("", "To: a@b.c\r\n"),
        ("Acme Shop", "To: Acme Shop <a@b.c>\r\n"),
        ("Acme, Inc.", "To: \"Acme, Inc.\" <a@b.c>\r\n"),
        ("me@home", "To: \"me@home\" <a@b.c>\r\n"),
        ("A \"B\" \\C", "To: \"A \\\"B\\\" \\\\C\" <a@b.c>\r\n"),
        ("Jürgen", "To: =?utf-8?q?J=C3=BCrgen?= <a@b.c>\r\n"),
        ("=?x?=", "To: =?utf-8?b?PT94Pz0=?= <a@b.c>\r\n"),
        ("a\r\nBcc: <x@y>", "To: \"a  Bcc: <x@y>\" <a@b.c>\r\n"),
    ] {
        assert_eq!(addresses(&[(name, "a@b.c")]), expect, "{name:?}");
    }
    assert_eq!(
        addresses(&[("", "a@b.c>\r\nBcc: <x@y.z")]),
        "To: a@b.c  Bcc: x@y.z\r\n",
        "an address that was never checked cannot begin a field"
    );
}

#[test]
fn address_lists_fold_between_addresses() {
    let list = addresses(&[
        ("", "first.recipient@example.com"),
        ("Second Recipient", "second.recipient@example.com"),
        ("Third, Recipient", "third.recipient@example.com"),
    ]);
    assert_eq!(
        list,
        "To: first.recipient@example.com,\r\n Second Recipient <second.recipient@example.com>,\r\n \
         \"Third, Recipient\" <third.recipient@example.com>\r\n"
    );
    assert_eq!(addresses(&[]), "");
}

#[test]
fn fields_of_callers_are_checked() {
    let long = "x".repeat(999);
    for (name, value, expect) in [
        ("X-Entity-Ref-ID", "42", Ok(())),
        ("List-Unsubscribe", "<https://a.b/c>", Ok(())),
        ("X-Name", "Grüße", Ok(())),
        ("", "x", Err(HeaderProblem::Name)),
        ("X Y", "x", Err(HeaderProblem::Name)),
        ("X:Y", "x", Err(HeaderProblem::Name)),
        ("X\r\nBcc", "x", Err(HeaderProblem::Name)),
        ("Grüße", "x", Err(HeaderProblem::Name)),
        (&long[..65], "x", Err(HeaderProblem::Name)),
        ("bcc", "x", Err(HeaderProblem::Reserved)),
        ("FROM", "x", Err(HeaderProblem::Reserved)),
        ("dkim-signature", "x", Err(HeaderProblem::Reserved)),
        ("ARC-Seal", "x", Err(HeaderProblem::Reserved)),
        ("Content-Type", "x", Err(HeaderProblem::Reserved)),
        ("Received", "x", Err(HeaderProblem::Reserved)),
        ("X-A", "x\r\nBcc: y", Err(HeaderProblem::Control)),
        ("X-A", "x\ny", Err(HeaderProblem::Control)),
        ("X-A", "x\0y", Err(HeaderProblem::Control)),
        ("X-A", " ", Err(HeaderProblem::Empty)),
        ("X-A", &long, Err(HeaderProblem::TooLong)),
    ] {
        assert_eq!(check_header(name, value), expect, "{name:?}: {value:?}");
    }
    for name in [
        "From",
        "To",
        "Cc",
        "Bcc",
        "Subject",
        "Date",
        "Message-ID",
        "Return-Path",
        "MIME-Version",
    ] {
        assert_eq!(check_header(name, "x"), Err(HeaderProblem::Reserved), "{name}");
    }
}

#[test]
fn all_problems_of_a_list_are_named() {
    let list: Vec<(String, String)> = [("X-A", "1"), ("To", "2"), ("x-a", "3")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    assert_eq!(
        check_headers(&list),
        [(1, HeaderProblem::Reserved), (2, HeaderProblem::Duplicate)]
    );
    let many: Vec<_> = (0..51).map(|number| (format!("X-{number}"), "x".to_owned())).collect();
    assert_eq!(check_headers(&many), [(50, HeaderProblem::TooMany)]);
}

fn parsed_subject(field: &str) -> String {
    let message = MessageParser::new()
        .parse(field)
        .map(|message| message.subject().unwrap_or("").to_owned());
    message.unwrap_or_default()
}

proptest! {
    #[test]
    fn any_subject_comes_back(value in "(\\PC|[ é=?_a-z]|=\\?){0,300}") {
        let field = unstructured("Subject", &value);
        assert_well_formed(&field);
        let expect = clean(&value).trim_matches([' ', '\t']).to_owned();
        prop_assert_eq!(parsed_subject(&field), expect);
    }

    #[test]
    fn subjects_of_long_words_and_wide_gaps_obey_the_limits(
        words in prop::collection::vec(("[a-zé]{1,3}", 1_usize..1200, " {1,3}"), 1..4)
    ) {
        let value: String = words.iter().map(|(word, times, gap)| format!("{}{gap}", word.repeat(*times))).collect();
        let field = unstructured("Subject", &value);
        assert_well_formed(&field);
        prop_assert_eq!(parsed_subject(&field), value.trim());
    }

    #[test]
    fn any_list_of_names_comes_back(names in prop::collection::vec("(\\PC|[ ,;:@\"\\\\<>().é=?]){0,120}", 1..5)) {
        let mailboxes: Vec<Mailbox> = names.iter().map(|name| mailbox(name, "some.body@example.com")).collect();
        let mut out = Vec::new();
        write_addresses(&mut out, "To", &mailboxes);
        let field = String::from_utf8(out).unwrap();
        assert_well_formed(&field);
        let message = MessageParser::new().parse(&field).unwrap();
        let parsed: Vec<_> = message.to().unwrap().iter().collect();
        prop_assert_eq!(parsed.len(), mailboxes.len(), "{}", field);
        for (parsed, mailbox) in parsed.iter().zip(&mailboxes) {
            prop_assert_eq!(parsed.address(), Some("some.body@example.com"));
            let name = mailbox.name.as_deref().map(str::trim).filter(|name| !name.is_empty());
            prop_assert_eq!(parsed.name(), name, "{}", field);
        }
    }

    #[test]
    fn nothing_begins_a_second_field(value in "[\r\n\0 a-c:]{0,80}") {
        assert_well_formed(&format!("{}x\r\n", unstructured("X-A", &format!("v{value}")).trim_end_matches("\r\n")));
        let field = addresses(&[(&value, "a@b.c")]);
        assert_well_formed(&field);
    }
}
