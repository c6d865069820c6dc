//! What replies have in common when addresses, numbers and ids are taken out.
//!
//! Takes the text of a reply; gives its shape, by which equal complaints are counted as one, and the text without addresses
//! of people, which may be shown and kept. Never remembers anything.

/// Characters of a text that are looked at.
const TEXT_CHARACTERS_MAX: usize = 300;
/// A run of letters with digits in it that is at least this long is an id.
const ID_CHARACTERS_MIN: usize = 6;

/// The text in lower case with `<address>` for addresses, `0` for numbers and `*` for ids.
#[must_use]
pub fn shape_of(text: &str) -> String {
    words(text)
        .map(|word| match kind_of(word) {
            Word::Address => "<address>".to_owned(),
            Word::Ip => "<ip>".to_owned(),
            Word::Url => masked(word.split(['?', '#']).next().unwrap_or(word)),
            Word::Plain => masked(word),
        })
        .collect::<Vec<_>>()
        .join(" ")
}

/// The text with `<address>` in place of whatever holds an `@`.
#[must_use]
pub fn without_addresses(text: &str) -> String {
    words(text)
        .map(|word| if word.contains('@') { "<address>" } else { word })
        .collect::<Vec<_>>()
        .join(" ")
}

/// The words of the part of a text that is looked at.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let end = text
        .char_indices()
        .nth(TEXT_CHARACTERS_MAX)
        .map_or(text.len(), |(at, _)| at);
    text[..end].split_whitespace()
}

enum Word {
    Address,
    Ip,
    Url,
    Plain,
}

fn kind_of(word: &str) -> Word {
    let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric() && c != ':');
    if word.contains('@') {
        Word::Address
    } else if bare.trim_end_matches(':').parse::<std::net::IpAddr>().is_ok() || bare.parse::<std::net::IpAddr>().is_ok()
    {
        Word::Ip
    } else if word.contains("://") {
        Word::Url
    } else {
        Word::Plain
    }
}

/// Each run of letters and digits: a number, an id, or a word whose numbers do not matter.
fn masked(word: &str) -> String {
    let mut shape = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(first) = rest.chars().next() {
        let is_run = first.is_alphanumeric();
        let end = rest.find(|c: char| c.is_alphanumeric() != is_run).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        if is_run {
            mask_run(run, &mut shape);
        } else {
            shape.push_str(run);
        }
        rest = after;
    }
    shape
}

fn mask_run(run: &str, shape: &mut String) {
    let digits = run.chars().filter(char::is_ascii_digit).count();
    let letters = run.chars().count() - digits;
    if digits > 0 && letters > 0 && digits + letters >= ID_CHARACTERS_MIN {
        shape.push('*');
        return;
    }
    let mut in_number = false;
    for c in run.chars() {
        if !c.is_ascii_digit() {
            shape.extend(c.to_lowercase());
        } else if !in_number {
            shape.push('0');
        }
        in_number = c.is_ascii_digit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn equal_complaints_have_one_shape() {
        for (left, right, shape) in [
            (
                "Mail from 192.0.2.10 refused, id QsCowAB3n1700",
                "mail from 198.51.100.7 refused, id fsCowA99x",
                "mail from <ip> refused, id *",
            ),
            (
                "<someone@example.org>: nobody here",
                "<a.b@c.example>: nobody here",
                "<address> nobody here",
            ),
            (
                "see https://help.example/x?ip=192.0.2.10",
                "see https://help.example/x?ip=10.1.1.1&c=hi",
                "see https://help.example/x",
            ),
            ("[2001:db8::1] is odd", "[2001:db8::77] is odd", "<ip> is odd"),
            (
                "mx17.example.net said no",
                "mx4.example.net said no",
                "mx0.example.net said no",
            ),
            ("wait 10 minutes", "Wait 5 minutes", "wait 0 minutes"),
        ] {
            assert_eq!(shape_of(left), shape, "{left}");
            assert_eq!(shape_of(right), shape, "{right}");
        }
        assert_ne!(shape_of("no such user"), shape_of("no such domain"));
    }

    #[test]
    fn no_address_of_a_person_is_left() {
        assert_eq!(
            without_addresses("<someone@example.org>: not today, ask postmaster@example.org!"),
            "<address> not today, ask <address>"
        );
    }

    proptest! {
        #[test]
        fn any_text_has_a_bounded_shape_without_addresses(text in "\\PC{0,400}") {
            let shape = shape_of(&text);
            prop_assert!(!shape.contains('@'));
            prop_assert!(!without_addresses(&text).contains('@'));
            // A character may become a few in lower case.
            prop_assert!(shape.chars().count() <= 4 * TEXT_CHARACTERS_MAX + "<address>".len() * TEXT_CHARACTERS_MAX);
        }
    }
}
