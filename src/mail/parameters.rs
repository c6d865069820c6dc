//! Parameters of MIME fields: any file name, in any script, of any length (RFC 2231).
//!
//! Takes a name and a value, appends `; name="value"` in the simplest form that holds it: quoted when short and ASCII, else
//! percent-encoded UTF-8 in numbered pieces, one a line. Never writes the value twice: two forms of one parameter are a
//! defect to strict parsers.

use std::fmt::Write as _;

/// A value up to this length stays in one piece.
const WHOLE_MAX: usize = 60;
/// Characters of a piece; with indent, name, number and quotes a line stays below 78.
const PIECE_MAX: usize = 50;
/// A value is cut here (bytes). File systems end at 255.
pub const VALUE_MAX: usize = 512;

/// Appends `;` and the parameter, on lines of its own. The field is not ended.
pub fn write_parameter(out: &mut Vec<u8>, name: &str, value: &str) {
    let value: String = value.chars().filter(|one| !one.is_control()).collect();
    let value = &value[..value.floor_char_boundary(VALUE_MAX)];
    let plain = value.is_ascii() && !value.contains("=?");
    if plain && value.len() <= WHOLE_MAX {
        let mut quoted = String::with_capacity(value.len() + 2);
        for character in value.chars() {
            if matches!(character, '"' | '\\') {
                quoted.push('\\');
            }
            quoted.push(character);
        }
        push(out, &format!(";\r\n\t{name}=\"{quoted}\""));
        return;
    }
    let pieces = encoded_pieces(value);
    if let [only] = pieces.as_slice() {
        push(out, &format!(";\r\n\t{name}*=utf-8''{only}"));
        return;
    }
    for (number, piece) in pieces.iter().enumerate() {
        let charset = if number == 0 { "utf-8''" } else { "" };
        push(out, &format!(";\r\n\t{name}*{number}*={charset}{piece}"));
    }
}

fn push(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

/// The value percent-encoded, in pieces that end between characters: some readers decode each piece for itself.
fn encoded_pieces(value: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    for character in value.chars() {
        let mut encoded = String::new();
        if character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | '_' | '~') {
            encoded.push(character);
        } else {
            for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                // Writing to a String cannot fail.
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
        match pieces.last_mut() {
            Some(piece) if piece.len() + encoded.len() <= PIECE_MAX => piece.push_str(&encoded),
            _ => pieces.push(encoded),
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: &str, expect: &str) {
        let mut out = Vec::new();
        write_parameter(&mut out, "filename", value);
        assert_eq!(String::from_utf8(out).unwrap(), expect);
    }

    #[test]
    fn short_ascii_is_quoted() {
        check("a.pdf", ";\r\n\tfilename=\"a.pdf\"");
        check("my \"b\" \\ c.pdf", ";\r\n\tfilename=\"my \\\"b\\\" \\\\ c.pdf\"");
        check("a\r\nX: y\0.pdf", ";\r\n\tfilename=\"aX: y.pdf\"");
    }

    #[test]
    fn everything_else_is_percent_encoded_in_pieces() {
        check("é.pdf", ";\r\n\tfilename*=utf-8''%C3%A9.pdf");
        check("=?x?=", ";\r\n\tfilename*=utf-8''%3D%3Fx%3F%3D");
        check(
            &"ü".repeat(9),
            ";\r\n\tfilename*0*=utf-8''%C3%BC%C3%BC%C3%BC%C3%BC%C3%BC%C3%BC%C3%BC%C3%BC;\r\n\tfilename*1*=%C3%BC",
        );
    }
}
