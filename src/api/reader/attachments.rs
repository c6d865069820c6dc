//! Files that go along with a mail.
//!
//! Takes the `attachments` field, gives decoded files. Content comes as base64, as an array of bytes, or as the object that
//! JavaScript makes of a Buffer. File types that providers refuse outright are refused here, where the caller still sees it.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;

use super::walk::{At, Fields, Reader};
use crate::domain::{Attachment, Disposition};
use crate::mail::compose::{is_content_id, is_file_type};

const FILENAME_BYTES_MAX: usize = 255;
const CONTENT_ID_BYTES_MAX: usize = 128;
const CONTENT_TYPE_BYTES_MAX: usize = 255;

/// What no large provider takes, by the last extension.
const FORBIDDEN_EXTENSIONS: [&str; 47] = [
    "ade", "adp", "app", "asp", "bas", "bat", "cer", "chm", "cmd", "com", "cpl", "crt", "csh", "der", "dll", "exe",
    "fxp", "gadget", "hlp", "hta", "inf", "ins", "isp", "its", "jar", "js", "jse", "ksh", "lnk", "mde", "msc", "msi",
    "msp", "mst", "pif", "prg", "ps1", "reg", "scr", "sct", "shb", "sys", "vb", "vbe", "vbs", "wsf", "wsh",
];

/// Media types by extension, for callers who name none.
const TYPES: [(&str, &str); 17] = [
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("svg", "image/svg+xml"),
    ("txt", "text/plain"),
    ("csv", "text/csv"),
    ("html", "text/html"),
    ("ics", "text/calendar"),
    ("json", "application/json"),
    ("xml", "application/xml"),
    ("zip", "application/zip"),
    (
        "docx",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ),
    (
        "xlsx",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ),
    ("eml", "application/octet-stream"),
];

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// All files.
pub(super) fn read_attachments(value: Option<Value>, at: &At<'_>, reader: &mut Reader<'_>) -> Vec<Attachment> {
    let at = At::Field(at, "attachments");
    let max = reader.limits.attachments;
    let Some(items) = value.and_then(|value| reader.array(value, &at, max)) else {
        return Vec::new();
    };
    let mut attachments: Vec<Attachment> = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let at = At::Index(&at, index);
        let Some(attachment) = read_attachment(item, &at, reader) else {
            continue;
        };
        let known = attachment.content_id.is_some()
            && attachments
                .iter()
                .any(|other| other.content_id == attachment.content_id);
        if known {
            let detail = "Another attachment has this content id.";
            reader.wrong(&At::Field(&at, "content_id"), "duplicate", detail);
        } else {
            attachments.push(attachment);
        }
    }
    attachments
}

/// What a file takes on the wire: base64 in lines of 76 characters.
pub(super) fn encoded_bytes(content: &[u8]) -> usize {
    let encoded = content.len().div_ceil(3) * 4;
    encoded + encoded / 76 * 2
}

fn read_attachment(value: Value, at: &At<'_>, reader: &mut Reader<'_>) -> Option<Attachment> {
    let mut fields = Fields::of(value, at, reader)?;
    let filename = read_filename(fields.take("filename"), &At::Field(at, "filename"), reader);
    let content = read_content(fields.take("content"), &At::Field(at, "content"), reader);
    let content_type = fields.take("content_type");
    let content_type = match content_type {
        Some(value) => read_content_type(value, &At::Field(at, "content_type"), reader),
        None => Some(guess_type(filename.as_deref().unwrap_or_default()).to_owned()),
    };
    let content_id = fields.take("content_id");
    let given_id = content_id.is_some();
    let content_id = content_id.and_then(|value| read_content_id(value, &At::Field(at, "content_id"), reader));
    let words = [("attachment", Disposition::Attachment), ("inline", Disposition::Inline)];
    let disposition_at = At::Field(at, "disposition");
    let disposition = fields
        .take("disposition")
        .and_then(|value| reader.word(value, &disposition_at, &words));
    if disposition == Some(Disposition::Inline) && !given_id {
        let detail = "An inline file needs a content id, so that the HTML can show it.";
        reader.wrong(&At::Field(at, "content_id"), "required", detail);
    }
    fields.finish(at, reader);
    let default = if content_id.is_some() {
        Disposition::Inline
    } else {
        Disposition::Attachment
    };
    Some(Attachment {
        filename: filename?,
        content_type: content_type?,
        content: content?,
        content_id,
        disposition: disposition.unwrap_or(default),
    })
}

fn read_filename(value: Option<Value>, at: &At<'_>, reader: &mut Reader<'_>) -> Option<String> {
    let Some(value) = value else {
        reader.wrong(at, "required", "The name of the file.");
        return None;
    };
    let name = reader.line(value, at, FILENAME_BYTES_MAX)?;
    if name.trim_matches(['.', ' ']).is_empty() || name.contains(['/', '\\', '\t']) {
        let detail = "A file name without folders is expected.";
        reader.wrong(at, "invalid_filename", detail);
        return None;
    }
    let extension = extension(&name);
    if FORBIDDEN_EXTENSIONS.contains(&extension.as_str()) {
        let detail = format!("Mailbox providers refuse files of type '.{extension}'.");
        reader.wrong(at, "invalid_attachment", detail);
        return None;
    }
    Some(name)
}

/// The last extension in lower case, as a careless system would see it: dots and spaces at the end do not count.
fn extension(name: &str) -> String {
    let name = name.trim_end_matches(['.', ' ']);
    name.rsplit_once('.')
        .map_or(String::new(), |(_, extension)| extension.trim().to_ascii_lowercase())
}

fn guess_type(filename: &str) -> &'static str {
    let extension = extension(filename);
    TYPES
        .iter()
        .find(|(known, _)| *known == extension)
        .map_or("application/octet-stream", |(_, media_type)| media_type)
}

fn read_content(value: Option<Value>, at: &At<'_>, reader: &mut Reader<'_>) -> Option<Vec<u8>> {
    let content = match value {
        None => {
            reader.wrong(at, "required", "The content of the file.");
            return None;
        }
        Some(Value::String(text)) => decode(&text),
        Some(Value::Array(items)) => bytes(&items),
        Some(Value::Object(mut map)) => match (map.remove("type"), map.remove("data")) {
            (Some(Value::String(kind)), Some(Value::Array(items))) if kind == "Buffer" && map.is_empty() => {
                bytes(&items)
            }
            _ => None,
        },
        Some(_) => None,
    };
    if content.is_none() {
        let detail = "Base64 is expected, or an array of bytes.";
        reader.wrong(at, "invalid_attachment", detail);
    }
    content
}

/// Base64 with or without padding and line breaks.
fn decode(text: &str) -> Option<Vec<u8>> {
    if text.bytes().any(|byte| byte.is_ascii_whitespace()) {
        let compact: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        return BASE64.decode(compact).ok();
    }
    BASE64.decode(text).ok()
}

fn bytes(items: &[Value]) -> Option<Vec<u8>> {
    let byte = |item: &Value| item.as_u64().and_then(|number| u8::try_from(number).ok());
    items.iter().map(byte).collect()
}

/// `type/subtype`, perhaps with parameters. Composite types are not taken: they would need their own encoding.
fn read_content_type(value: Value, at: &At<'_>, reader: &mut Reader<'_>) -> Option<String> {
    let text = reader.line(value, at, CONTENT_TYPE_BYTES_MAX)?;
    let (essence, parameters) = text.split_once(';').unwrap_or((&text, ""));
    let plain = parameters.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && !parameters.contains(';');
    if !is_file_type(essence.trim()) || !plain {
        let detail = "A media type like 'application/pdf' is expected; multipart and message types are not taken.";
        reader.wrong(at, "invalid_content_type", detail);
        return None;
    }
    Some(text)
}

/// What stands behind `cid:`; angle brackets around it are taken off.
fn read_content_id(value: Value, at: &At<'_>, reader: &mut Reader<'_>) -> Option<String> {
    let text = reader.line(value, at, CONTENT_ID_BYTES_MAX)?;
    let inner = text
        .strip_prefix('<')
        .and_then(|rest| rest.strip_suffix('>'))
        .unwrap_or(&text);
    if !is_content_id(inner) {
        let detail = "Visible ASCII characters without brackets, quotes and backslashes are expected.";
        reader.wrong(at, "invalid_content_id", detail);
        return None;
    }
    Some(inner.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_extensions_as_a_careless_system_does() {
        let table = [
            ("a.pdf", "pdf"),
            ("a.pdf.EXE", "exe"),
            ("a.exe.", "exe"),
            ("a.exe . ", "exe"),
            ("README", ""),
            (".bat", "bat"),
        ];
        for (name, expect) in table {
            assert_eq!(extension(name), expect, "{name:?}");
        }
    }

    #[test]
    fn decodes_base64_as_callers_send_it() {
        for text in ["aGVsbG8=", "aGVsbG8", "aGVs\r\nbG8=", "aGVs bG8="] {
            assert_eq!(decode(text).as_deref(), Some(&b"hello"[..]), "{text:?}");
        }
        assert_eq!(decode(""), Some(Vec::new()));
        for bad in ["a", "aGVsbG8==", "aGV-", "data:text/plain;base64,aGVs", "=", "äöü"] {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
    }
}
