//! Character references of HTML: `&amp;`, `&#233;`, `&#xe9;`.
//!
//! Takes text between tags, gives it with references replaced. Knows the names that occur in mail; leaves others as they are.
//! Never produces control characters.

use std::borrow::Cow;

/// Longest reference, without `&` and `;`.
const NAME_MAX: usize = 10;

/// Names of references, sorted.
const NAMED: &[(&str, &str)] = &[
    ("Agrave", "À"),
    ("Auml", "Ä"),
    ("Eacute", "É"),
    ("Ouml", "Ö"),
    ("Uuml", "Ü"),
    ("aacute", "á"),
    ("acirc", "â"),
    ("aelig", "æ"),
    ("agrave", "à"),
    ("amp", "&"),
    ("apos", "'"),
    ("aring", "å"),
    ("atilde", "ã"),
    ("auml", "ä"),
    ("bull", "•"),
    ("ccedil", "ç"),
    ("cent", "¢"),
    ("copy", "©"),
    ("deg", "°"),
    ("eacute", "é"),
    ("ecirc", "ê"),
    ("egrave", "è"),
    ("emsp", " "),
    ("ensp", " "),
    ("euml", "ë"),
    ("euro", "€"),
    ("gt", ">"),
    ("hellip", "…"),
    ("iacute", "í"),
    ("icirc", "î"),
    ("iexcl", "¡"),
    ("igrave", "ì"),
    ("iquest", "¿"),
    ("iuml", "ï"),
    ("laquo", "«"),
    ("larr", "←"),
    ("ldquo", "“"),
    ("lsquo", "‘"),
    ("lt", "<"),
    ("mdash", "—"),
    ("middot", "·"),
    ("nbsp", "\u{a0}"),
    ("ndash", "–"),
    ("ntilde", "ñ"),
    ("oacute", "ó"),
    ("ocirc", "ô"),
    ("oelig", "œ"),
    ("ograve", "ò"),
    ("oslash", "ø"),
    ("otilde", "õ"),
    ("ouml", "ö"),
    ("para", "¶"),
    ("plusmn", "±"),
    ("pound", "£"),
    ("quot", "\""),
    ("raquo", "»"),
    ("rarr", "→"),
    ("rdquo", "”"),
    ("reg", "®"),
    ("rsquo", "’"),
    ("sect", "§"),
    ("shy", ""),
    ("szlig", "ß"),
    ("thinsp", " "),
    ("times", "×"),
    ("trade", "™"),
    ("uacute", "ú"),
    ("ucirc", "û"),
    ("ugrave", "ù"),
    ("uuml", "ü"),
    ("yen", "¥"),
    ("zwj", ""),
    ("zwnj", ""),
];

/// Text with its references replaced.
pub(super) fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('&') {
        out.push_str(&rest[..start]);
        rest = &rest[start + 1..];
        let window = &rest[..rest.floor_char_boundary(NAME_MAX + 1)];
        let replaced = window.find(';').and_then(|end| Some((end, character(&rest[..end])?)));
        match replaced {
            Some((end, text)) => {
                out.push_str(&text);
                rest = &rest[end + 1..];
            }
            None => out.push('&'),
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

fn character(name: &str) -> Option<Cow<'static, str>> {
    let Some(number) = name.strip_prefix('#') else {
        let known = NAMED.binary_search_by(|(known, _)| (*known).cmp(name)).ok()?;
        return Some(Cow::Borrowed(NAMED[known].1));
    };
    let code = match number.strip_prefix(['x', 'X']) {
        Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16),
        None => number.parse(),
    };
    let character = char::from_u32(code.ok()?)?;
    Some(Cow::Owned(if character.is_control() {
        " ".to_owned()
    } else {
        character.to_string()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted() {
        assert!(NAMED.is_sorted_by(|one, next| one.0 < next.0));
        assert!(NAMED.iter().all(|(name, _)| name.len() <= NAME_MAX));
    }

    #[test]
    fn references_are_replaced_once() {
        for (text, expect) in [
            ("a&amp;lt;b", "a&lt;b"),
            ("&#10;&#0;&#x7f;|", "   |"),
            (
                "&#xD800; &#99999999999; &#; &; & é&",
                "&#xD800; &#99999999999; &#; &; & é&",
            ),
            ("&ééééééééé;", "&ééééééééé;"),
        ] {
            assert_eq!(decode(text), expect);
        }
    }
}
