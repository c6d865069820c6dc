//! Templates as the API uses them: compiled when they are stored or first used, and tried out before mail is accepted.
//!
//! Takes stored or built-in templates and variables, gives the rendered subject or every reason why the mail could not be
//! made. The text itself is thrown away: the sender renders again, after the queue.

use super::reader::is_forbidden;
use crate::domain::{Problem, Template, Variables};
use crate::mail::builtin::{self, BuiltIn};
use crate::mail::render::{Compiled, Limits, Part, RenderError, Rendered, Sources};
use crate::policy::admission::Pinned;

/// A template that compiled.
#[derive(Debug)]
pub(crate) struct KnownTemplate {
    /// What a mail that uses it is pinned to.
    pub(crate) pinned: Pinned,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Stored(Box<Compiled>),
    BuiltIn(&'static BuiltIn),
}

impl KnownTemplate {
    /// A stored template, or why it does not compile: the first fault of each part.
    pub(crate) fn stored(template: &Template) -> Result<Self, Vec<Problem>> {
        let whole = Sources::from(template);
        let alone = [
            Sources {
                subject: whole.subject,
                ..Sources::default()
            },
            Sources {
                html: whole.html,
                ..Sources::default()
            },
            Sources {
                text: whole.text,
                ..Sources::default()
            },
        ];
        let compiled = Compiled::new(whole, Limits::default()).map_err(|_| {
            let faults = alone
                .into_iter()
                .filter_map(|part| Compiled::new(part, Limits::default()).err());
            faults
                .map(|fault| {
                    let detail = format!("Line {}: {}", fault.line, fault.detail);
                    Problem::new(format!("/{}", fault.part), "invalid_template", detail)
                })
                .collect::<Vec<_>>()
        })?;
        let pinned = Pinned::Stored {
            id: template.id,
            version: template.version,
        };
        Ok(Self {
            pinned,
            source: Source::Stored(Box::new(compiled)),
        })
    }

    /// A template of this name that is built into the binary.
    pub(crate) fn built_in(name: &str) -> Option<Self> {
        let found = builtin::find(name)?;
        let pinned = Pinned::BuiltIn { name: name.to_owned() };
        Some(Self {
            pinned,
            source: Source::BuiltIn(found),
        })
    }

    /// The names of the variables that it uses, sorted.
    pub(crate) fn variables(&self) -> Vec<String> {
        match &self.source {
            Source::Stored(compiled) => compiled.variables().into_iter().map(|variable| variable.name).collect(),
            Source::BuiltIn(found) => found
                .variables
                .iter()
                .map(|variable| variable.name.to_owned())
                .collect(),
        }
    }

    /// Makes the mail once; gives its subject. `at` points to the variables in the call.
    pub(crate) fn try_out(&self, variables: &Variables, at: &str) -> Result<String, Vec<Problem>> {
        let rendered = match &self.source {
            Source::Stored(compiled) => compiled.render(variables),
            Source::BuiltIn(found) => builtin::render_builtin(found.name, variables),
        };
        match rendered {
            Ok(Rendered { subject, .. }) if subject.chars().any(is_forbidden) => {
                Err(problems(&RenderError::SubjectLineBreak, at))
            }
            Ok(Rendered { subject, .. }) => Ok(subject),
            Err(error) => Err(problems(&error, at)),
        }
    }
}

/// What a failed rendering means for the caller, whose variables stand at `at`.
fn problems(error: &RenderError, at: &str) -> Vec<Problem> {
    let one = |pointer: String, code, detail: &str| vec![Problem::new(pointer, code, detail)];
    match error {
        RenderError::Missing(names) => names
            .iter()
            .map(|name| {
                let detail = format!("The template needs the variable '{name}'.");
                Problem::new(pointer(at, name), "template_variable_missing", detail)
            })
            .collect(),
        RenderError::WrongType { name, expected } => {
            one(pointer(at, name), "invalid_type", &format!("It must be {expected}."))
        }
        RenderError::VariablesTooLarge => one(at.to_owned(), "too_long", "The variables are too large or too deep."),
        RenderError::SubjectLineBreak => one(
            at.to_owned(),
            "invalid_character",
            "A variable brings CR, LF, NUL or another control character into the subject.",
        ),
        RenderError::TooLong(Part::Subject) => one(at.to_owned(), "too_long", "The rendered subject is too long."),
        RenderError::TooLong(part) => one(at.to_owned(), "too_long", &format!("The rendered {part} is too long.")),
        RenderError::TooManySteps(part) => one(
            at.to_owned(),
            "too_long",
            &format!("Rendering the {part} takes too many steps."),
        ),
        RenderError::UnknownBuiltIn(name) => {
            let detail = format!("There is no template '{name}'.");
            one("/template".to_owned(), "template_not_found", &detail)
        }
        RenderError::Failed { part, line, detail } => one(
            "/template".to_owned(),
            "template_failed",
            &format!("Line {line} of the {part}: {detail}"),
        ),
    }
}

/// Where a variable of a dotted name stands.
fn pointer(at: &str, name: &str) -> String {
    let escaped = name.replace('~', "~0").replace('/', "~1").replace('.', "/");
    format!("{at}/{escaped}")
}
