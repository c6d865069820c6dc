//! Run-time templates: Handlebars, compiled once, strict and bounded.
//!
//! Takes the sources of a template version, gives a [`Compiled`] that many threads can share; takes variables, gives what one
//! Recipient gets to see. HTML parts escape `{{x}}`; text and subject do not, and `{{{x}}}` never does. Never reads a file,
//! another template or the network: what could is refused when the template is compiled (`template_walk`). Never works or
//! writes without bound: a template and its variables come from customers.

use std::borrow::Cow;
use std::panic::catch_unwind;
use std::sync::LazyLock;

use handlebars::template::Template;
use handlebars::{
    Context, Handlebars, Helper, HelperDef, HelperResult, Output, RenderContext, RenderErrorReason, Renderable,
    no_escape,
};
use serde_json::Value;
use thiserror::Error;

use super::template_needs::Needs;
pub use super::template_needs::TemplateVariable;
use super::template_scan::{Fault, scan};
use super::template_walk::{STEP_HELPER, walk};
use super::text;
use crate::domain::{Template as StoredTemplate, Variables};

/// Longest rendered subject, in bytes.
pub const SUBJECT_MAX: usize = 998;
/// Most bytes of variables, as JSON.
pub const VARIABLES_MAX: usize = 64 * 1024;
/// Deepest nesting of variables.
pub const VARIABLES_DEPTH_MAX: usize = 32;

/// What one Recipient gets to see.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rendered {
    /// One line.
    pub subject: String,
    /// HTML part.
    pub html: Option<String>,
    /// Plain-text part.
    pub text: Option<String>,
}

impl Rendered {
    /// With a text part made from the HTML part, where there is only that.
    #[must_use]
    pub fn with_text(mut self) -> Self {
        if self.text.is_none() {
            self.text = self.html.as_deref().map(text::from_html);
        }
        self
    }
}

/// The variables of one Recipient: its own win over those for all.
#[must_use]
pub fn merged<'a>(for_all: &'a Variables, own: Option<&Variables>) -> Cow<'a, Variables> {
    match own {
        Some(own) if !own.is_empty() => {
            let mut merged = for_all.clone();
            merged.extend(own.iter().map(|(name, value)| (name.clone(), value.clone())));
            Cow::Owned(merged)
        }
        _ => Cow::Borrowed(for_all),
    }
}

/// A part of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The subject line.
    Subject,
    /// The HTML part.
    Html,
    /// The plain-text part.
    Text,
}

impl Part {
    /// The name that the API uses.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Subject => "subject",
            Self::Html => "html",
            Self::Text => "text",
        }
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a template cannot be stored.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{part}, line {line}: {detail}")]
pub struct TemplateError {
    /// In which part.
    pub part: Part,
    /// In which line of it; counts from 1.
    pub line: usize,
    /// What is wrong.
    pub detail: String,
}

/// Why a mail cannot be rendered: the caller's fault, found at accept by rendering once.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RenderError {
    /// These variables are needed and not given.
    #[error("missing template variables: {}", .0.join(", "))]
    Missing(Vec<String>),
    /// A variable is of the wrong kind.
    #[error("template variable {name} must be {expected}")]
    WrongType {
        /// Which.
        name: String,
        /// What it has to be.
        expected: &'static str,
    },
    /// More than [`VARIABLES_MAX`] bytes, or nested deeper than [`VARIABLES_DEPTH_MAX`].
    #[error("the template variables are larger than {VARIABLES_MAX} bytes or nested deeper than {VARIABLES_DEPTH_MAX}")]
    VariablesTooLarge,
    /// The result is longer than allowed.
    #[error("the rendered {0} is too long")]
    TooLong(Part),
    /// Loops took more steps than allowed.
    #[error("rendering the {0} takes too many steps")]
    TooManySteps(Part),
    /// A variable brought a line break into the subject.
    #[error("the rendered subject contains a line break or a NUL")]
    SubjectLineBreak,
    /// There is no built-in mail of this name.
    #[error("there is no built-in mail called {0}")]
    UnknownBuiltIn(String),
    /// Anything else.
    #[error("the {part} cannot be rendered (line {line}): {detail}")]
    Failed {
        /// In which part.
        part: Part,
        /// In which line; 0 when it is not known.
        line: usize,
        /// What went wrong.
        detail: String,
    },
}

/// How far rendering one part may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of HTML or text.
    pub output_bytes_max: usize,
    /// Most elements that loops may go through.
    pub steps_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            output_bytes_max: 512 * 1024,
            steps_max: 50_000,
        }
    }
}

/// The sources of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sources<'a> {
    /// Handlebars, one line.
    pub subject: &'a str,
    /// Handlebars, escaped for HTML.
    pub html: Option<&'a str>,
    /// Handlebars, not escaped.
    pub text: Option<&'a str>,
}

impl<'a> From<&'a StoredTemplate> for Sources<'a> {
    fn from(template: &'a StoredTemplate) -> Self {
        Self {
            subject: &template.subject,
            html: template.html.as_deref(),
            text: template.text.as_deref(),
        }
    }
}

/// A template version, ready to render. Immutable: share it and keep it by id and version.
#[derive(Debug, Clone)]
pub struct Compiled {
    subject: CompiledPart,
    html: Option<CompiledPart>,
    text: Option<CompiledPart>,
    limits: Limits,
}

#[derive(Debug, Clone)]
struct CompiledPart {
    template: Template,
    needs: Needs,
}

impl Compiled {
    /// Compiles all parts.
    ///
    /// # Errors
    /// The first thing in a part that is not right or not supported, with its line.
    pub fn new(sources: Sources<'_>, limits: Limits) -> Result<Self, TemplateError> {
        let optional = |part, source: Option<&str>| source.map(|source| compile(part, source)).transpose();
        Ok(Self {
            subject: compile(Part::Subject, sources.subject)?,
            html: optional(Part::Html, sources.html)?,
            text: optional(Part::Text, sources.text)?,
            limits,
        })
    }

    /// The variables that the template names, sorted.
    #[must_use]
    pub fn variables(&self) -> Vec<TemplateVariable> {
        let mut all: Vec<TemplateVariable> = self.parts().flat_map(|(_, part)| part.needs.variables()).collect();
        // Required first, so that of two equal names the required one stays.
        all.sort_by(|a, b| a.name.cmp(&b.name).then(b.required.cmp(&a.required)));
        all.dedup_by(|a, b| a.name == b.name);
        all
    }

    /// The names of all variables that are needed and not given; `template_needs` says what counts. At most
    /// [`super::template_needs::MISSING_MAX`].
    #[must_use]
    pub fn missing(&self, variables: &Variables) -> Vec<String> {
        self.missing_in(&Value::Object(variables.clone()), false)
    }

    fn missing_in(&self, variables: &Value, thorough: bool) -> Vec<String> {
        let mut missing: Vec<String> = Vec::new();
        for (_, part) in self.parts() {
            for name in part.needs.missing(variables, thorough) {
                if !missing.contains(&name) {
                    missing.push(name);
                }
            }
        }
        missing
    }

    /// Renders all parts for one Recipient.
    ///
    /// # Errors
    /// Missing variables, all of them named; else the first bound that was exceeded.
    pub fn render(&self, variables: &Variables) -> Result<Rendered, RenderError> {
        check_variables(variables)?;
        let context = Context::from(Value::Object(variables.clone()));
        let missing = self.missing_in(context.data(), false);
        if !missing.is_empty() {
            return Err(RenderError::Missing(missing));
        }
        let run = |part, compiled: &CompiledPart| {
            compiled
                .render(part, &context, self.limits)
                .map_err(|error| match error {
                    // A variable inside of a comparison's branch: name its companions too.
                    RenderError::Missing(first) => {
                        let all = self.missing_in(context.data(), true);
                        RenderError::Missing(if all.is_empty() { first } else { all })
                    }
                    other => other,
                })
        };
        let subject = run(Part::Subject, &self.subject)?;
        if subject.contains(['\r', '\n', '\0']) {
            return Err(RenderError::SubjectLineBreak);
        }
        Ok(Rendered {
            subject,
            html: self.html.as_ref().map(|part| run(Part::Html, part)).transpose()?,
            text: self.text.as_ref().map(|part| run(Part::Text, part)).transpose()?,
        })
    }

    fn parts(&self) -> impl Iterator<Item = (Part, &CompiledPart)> {
        let html = self.html.iter().map(|part| (Part::Html, part));
        let text = self.text.iter().map(|part| (Part::Text, part));
        std::iter::once((Part::Subject, &self.subject)).chain(html).chain(text)
    }
}

/// Whether variables are small enough to be stored and rendered.
///
/// # Errors
/// [`RenderError::VariablesTooLarge`].
pub fn check_variables(variables: &Variables) -> Result<(), RenderError> {
    let mut left = VARIABLES_MAX;
    for (name, value) in variables {
        if !fits(name.len() + 4, &mut left) || !value_fits(value, VARIABLES_DEPTH_MAX, &mut left) {
            return Err(RenderError::VariablesTooLarge);
        }
    }
    Ok(())
}

/// The size of a value in JSON, without writing it: punctuation is rounded up, escapes are not counted.
fn value_fits(value: &Value, depth: usize, left: &mut usize) -> bool {
    if depth == 0 {
        return false;
    }
    match value {
        Value::Null | Value::Bool(_) => fits(5, left),
        Value::Number(number) => fits(number.to_string().len() + 1, left),
        Value::String(text) => fits(text.len() + 3, left),
        Value::Array(items) => fits(3, left) && items.iter().all(|item| value_fits(item, depth - 1, left)),
        Value::Object(entries) => {
            let entry = |(name, item): (&String, &Value), left: &mut usize| {
                fits(name.len() + 4, left) && value_fits(item, depth - 1, left)
            };
            fits(3, left) && entries.iter().all(|one| entry(one, left))
        }
    }
}

fn fits(bytes: usize, left: &mut usize) -> bool {
    let rest = left.checked_sub(bytes);
    *left = rest.unwrap_or(0);
    rest.is_some()
}

fn compile(part: Part, source: &str) -> Result<CompiledPart, TemplateError> {
    let of_part = |fault: Fault| TemplateError {
        part,
        line: fault.line,
        detail: fault.detail,
    };
    if part == Part::Subject && source.contains(['\r', '\n', '\0']) {
        return Err(of_part(Fault {
            line: 1,
            detail: "the subject must be one line".to_owned(),
        }));
    }
    scan(source).map_err(of_part)?;
    // The parser is not ours and reads what customers write: a panic of it is a template that cannot be stored.
    let parsed = catch_unwind(|| Template::compile(source)).map_err(|_| {
        of_part(Fault {
            line: 1,
            detail: "this cannot be parsed".to_owned(),
        })
    })?;
    let mut template = parsed.map_err(|error| {
        of_part(Fault {
            line: error.pos().map_or(1, |(line, _)| line),
            detail: error.reason().to_string(),
        })
    })?;
    let needs = walk(&mut template).map_err(of_part)?;
    Ok(CompiledPart { template, needs })
}

impl CompiledPart {
    fn render(&self, part: Part, context: &Context, limits: Limits) -> Result<String, RenderError> {
        let (engine, bytes_max) = match part {
            Part::Subject => (&ENGINES.plain, SUBJECT_MAX),
            Part::Html => (&ENGINES.html, limits.output_bytes_max),
            Part::Text => (&ENGINES.plain, limits.output_bytes_max),
        };
        let mut out = Bounded {
            text: String::with_capacity(bytes_max.min(8 * 1024)),
            bytes_max,
            steps_left: limits.steps_max,
            too_long: false,
        };
        let mut state = RenderContext::new(None);
        match self.template.render(engine, context, &mut state, &mut out) {
            Ok(()) => Ok(out.text),
            Err(_) if out.too_long => Err(RenderError::TooLong(part)),
            Err(_) if out.steps_left == 0 => Err(RenderError::TooManySteps(part)),
            Err(error) => Err(match error.reason() {
                RenderErrorReason::MissingVariable(name) => RenderError::Missing(name.iter().cloned().collect()),
                reason => RenderError::Failed {
                    part,
                    line: error.line_no.unwrap_or(0),
                    detail: reason.to_string(),
                },
            }),
        }
    }
}

/// Two configured renderers: constant after their creation, without templates of their own.
struct Engines {
    html: Handlebars<'static>,
    plain: Handlebars<'static>,
}

static ENGINES: LazyLock<Engines> = LazyLock::new(|| {
    let mut html = Handlebars::new();
    html.set_strict_mode(true);
    html.register_helper(STEP_HELPER, Box::new(CountSteps));
    let mut plain = html.clone();
    plain.register_escape_fn(no_escape);
    Engines { html, plain }
});

/// Tells the output how many steps the loop body around it takes: an empty write is a step.
struct CountSteps;

impl HelperDef for CountSteps {
    fn call<'reg: 'rc, 'rc>(
        &self,
        call: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let steps = call.param(0).and_then(|steps| steps.value().as_u64()).unwrap_or(1);
        for _ in 0..steps {
            out.write("")?;
        }
        Ok(())
    }
}

/// Where rendered text goes: refuses what is too long or took too many steps.
struct Bounded {
    text: String,
    bytes_max: usize,
    steps_left: usize,
    too_long: bool,
}

impl Output for Bounded {
    fn write(&mut self, segment: &str) -> std::io::Result<()> {
        if segment.is_empty() {
            self.steps_left = self.steps_left.saturating_sub(1);
            return if self.steps_left == 0 { Err(full()) } else { Ok(()) };
        }
        if self.text.len() + segment.len() > self.bytes_max {
            self.too_long = true;
            return Err(full());
        }
        self.text.push_str(segment);
        Ok(())
    }
}

fn full() -> std::io::Error {
    std::io::Error::from(std::io::ErrorKind::StorageFull)
}

#[cfg(test)]
mod tests;
