//! What the built-in mails need: their variables, declared, checked and read.
//!
//! Takes the caller's variables, gives the names of all that are missing, or typed values with their defaults. Never renders.

use serde_json::Value;

use super::render::RenderError;
use crate::domain::Variables;

/// Most entries of a list variable.
pub const ITEMS_MAX: usize = 200;

/// What a variable has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text or a number.
    Text,
    /// An http or https address.
    Url,
    /// One of these.
    Choice(&'static [&'static str]),
    /// A list of objects with these fields, at least one of them.
    Items(&'static [Variable]),
}

/// A variable of a built-in mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What it has to be.
    pub kind: Kind,
    /// Whether it must be given.
    pub required: bool,
    /// What it is when it is not given.
    pub default: Option<&'static str>,
    /// What it is for.
    pub about: &'static str,
}

/// A built-in mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuiltIn {
    /// Its name, for `template` in a call.
    pub name: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// What can be given.
    pub variables: &'static [Variable],
}

const fn required(name: &'static str, kind: Kind, about: &'static str) -> Variable {
    Variable {
        name,
        kind,
        required: true,
        default: None,
        about,
    }
}

const fn optional(name: &'static str, kind: Kind, default: Option<&'static str>, about: &'static str) -> Variable {
    Variable {
        name,
        kind,
        required: false,
        default,
        about,
    }
}

const PRODUCT: Variable = optional("product", Kind::Text, None, "Name of the product or company");
const SEVERITIES: &[&str] = &["info", "warning", "critical"];

/// All built-in mails.
pub const BUILT_INS: &[BuiltIn] = &[
    BuiltIn {
        name: "verification-code",
        about: "A code to sign in or to confirm an address",
        variables: &[
            required("name", Kind::Text, "Whom to greet"),
            required("code", Kind::Text, "The code"),
            optional("minutes", Kind::Text, Some("10"), "How long it is valid"),
            PRODUCT,
        ],
    },
    BuiltIn {
        name: "receipt",
        about: "What was bought and paid",
        variables: &[
            required("name", Kind::Text, "Whom to thank"),
            required(
                "items",
                Kind::Items(&[
                    required("description", Kind::Text, "What was bought"),
                    optional("quantity", Kind::Text, None, "How many"),
                    required("price", Kind::Text, "Price with its currency"),
                ]),
                "What was bought",
            ),
            required("total", Kind::Text, "Sum with its currency"),
            optional("number", Kind::Text, None, "Number of the receipt"),
            optional("date", Kind::Text, None, "Date of the order"),
            optional("url", Kind::Url, None, "Where to see the order"),
            PRODUCT,
        ],
    },
    BuiltIn {
        name: "alert",
        about: "Something needs a look",
        variables: &[
            required("title", Kind::Text, "What happened, in a few words"),
            required("message", Kind::Text, "What happened; each line is a paragraph"),
            optional("severity", Kind::Choice(SEVERITIES), Some("warning"), "How bad it is"),
            optional("time", Kind::Text, None, "When it happened"),
            optional("url", Kind::Url, None, "Where to look"),
            PRODUCT,
        ],
    },
    BuiltIn {
        name: "newsletter",
        about: "News in articles",
        variables: &[
            required("product", Kind::Text, "Name of the sender"),
            required("title", Kind::Text, "Headline; the subject too"),
            optional("intro", Kind::Text, None, "A paragraph before the articles"),
            required(
                "articles",
                Kind::Items(&[
                    required("title", Kind::Text, "Headline"),
                    required("text", Kind::Text, "Text; each line is a paragraph"),
                    optional("url", Kind::Url, None, "Where to read more"),
                ]),
                "The articles",
            ),
            optional("unsubscribe_url", Kind::Url, None, "Where to unsubscribe"),
            optional("address", Kind::Text, None, "Postal address of the sender"),
        ],
    },
];

/// The built-in mail of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static BuiltIn> {
    BUILT_INS.iter().find(|one| one.name == name)
}

/// Collects missing variables, those inside of lists included; fails on the first one of a wrong kind.
pub(super) fn check(
    declared: &[Variable],
    given: &Variables,
    path: &str,
    missing: &mut Vec<String>,
) -> Result<(), RenderError> {
    for variable in declared {
        let name = format!("{path}{}", variable.name);
        let wrong = |expected| {
            Err(RenderError::WrongType {
                name: name.clone(),
                expected,
            })
        };
        match (given.get(variable.name), variable.kind) {
            (None | Some(Value::Null), _) => {
                if variable.required {
                    missing.push(name);
                }
            }
            (Some(Value::Array(items)), Kind::Items(fields)) => {
                if items.is_empty() || items.len() > ITEMS_MAX {
                    return wrong("a list of 1 to 200 objects");
                }
                for (index, item) in items.iter().enumerate() {
                    match item.as_object() {
                        Some(item) => check(fields, item, &format!("{name}.{index}."), missing)?,
                        None => return wrong("a list of 1 to 200 objects"),
                    }
                }
            }
            (Some(_), Kind::Items(_)) => return wrong("a list of 1 to 200 objects"),
            (Some(value), kind) => {
                let Some(text) = scalar(value) else {
                    return wrong("text or a number");
                };
                if text.trim().is_empty() {
                    if variable.required {
                        missing.push(name);
                    }
                } else if kind == Kind::Url && !is_web_address(&text) {
                    return wrong("an http or https address");
                } else if matches!(kind, Kind::Choice(choices) if !choices.contains(&text.as_str())) {
                    return wrong("info, warning or critical");
                }
            }
        }
    }
    Ok(())
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn is_web_address(text: &str) -> bool {
    (text.starts_with("https://") || text.starts_with("http://")) && !text.contains(char::is_whitespace)
}

/// Checked variables with the defaults of their declaration.
pub(super) struct Given<'a> {
    pub(super) declared: &'static [Variable],
    pub(super) variables: &'a Variables,
}

impl<'a> Given<'a> {
    pub(super) fn optional(&self, name: &str) -> Option<String> {
        let given = self
            .variables
            .get(name)
            .and_then(scalar)
            .filter(|text| !text.trim().is_empty());
        let default = || {
            self.declared
                .iter()
                .find(|one| one.name == name)?
                .default
                .map(str::to_owned)
        };
        given.or_else(default)
    }

    /// A variable that is required or has a default.
    pub(super) fn text(&self, name: &str) -> String {
        self.optional(name).unwrap_or_default()
    }

    pub(super) fn items(&self, name: &str) -> impl Iterator<Item = Given<'a>> {
        let kind = self.declared.iter().find(|one| one.name == name).map(|one| one.kind);
        let declared: &'static [Variable] = if let Some(Kind::Items(fields)) = kind {
            fields
        } else {
            &[]
        };
        let items = self.variables.get(name).and_then(Value::as_array);
        let objects = items.into_iter().flatten().filter_map(Value::as_object);
        objects.map(move |variables| Given { declared, variables })
    }
}
