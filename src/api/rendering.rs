//! Templates as the API uses them: compiled when they are stored or first used, and tried out before mail is accepted.
//!
//! Takes stored or built-in templates and variables, gives the rendered subject or every reason why the mail could not be
//! made. The text itself is thrown away: the sender renders again, after the queue.

use crate::domain::{Problem, Template, Variables};
use crate::policy::admission::Pinned;

/// A template that compiled.
#[derive(Debug)]
pub(crate) struct KnownTemplate {
    /// What a mail that uses it is pinned to.
    pub(crate) pinned: Pinned,
    compiled: handlebars::Handlebars<'static>,
}

impl KnownTemplate {
    /// A stored template, or why it does not compile.
    pub(crate) fn stored(template: &Template) -> Result<Self, Vec<Problem>> {
        let mut compiled = handlebars::Handlebars::new();
        compiled.set_strict_mode(true);
        let parts = [
            ("subject", Some(&template.subject)),
            ("html", template.html.as_ref()),
            ("text", template.text.as_ref()),
        ];
        let mut problems = Vec::new();
        for (name, part) in parts {
            if let Some(part) = part
                && let Err(error) = compiled.register_template_string(name, part)
            {
                problems.push(Problem::new(format!("/{name}"), "invalid_template", error.to_string()));
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let pinned = Pinned::Stored {
            id: template.id,
            version: template.version,
        };
        Ok(Self { pinned, compiled })
    }

    /// A template of this name that is built into the binary.
    pub(crate) fn built_in(_name: &str) -> Option<Self> {
        None
    }

    /// Makes the mail once. `at` points to the variables in the call.
    pub(crate) fn try_out(&self, variables: &Variables, at: &str) -> Result<String, Vec<Problem>> {
        let render = |name| {
            self.compiled
                .render(name, variables)
                .map_err(|error| vec![Problem::new(at, "template_variable_missing", error.to_string())])
        };
        for name in ["html", "text"] {
            if self.compiled.has_template(name) {
                render(name)?;
            }
        }
        render("subject")
    }
}
