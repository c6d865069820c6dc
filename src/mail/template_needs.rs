//! Which variables a template needs, and which of them are missing.
//!
//! Takes needs (found by `template_walk`) and variables, gives the names of all that are missing. Never renders.
//!
//! What counts as missing:
//! - a variable that would be shown, when it is absent or null. An empty string was given on purpose;
//! - what `each` goes over, when it is neither a list nor an object. An empty one is fine;
//! - a condition, when it is absent: a mistyped flag must not change a mail in silence. `null` and `false` are fine. But where
//!   the block of a condition uses the same variable (`{{#if minutes}}… {{minutes}} …{{/if}}`), the template itself says what
//!   happens without it: such a variable is optional;
//! - only what the given values lead to: nothing inside a branch that is not taken.

use handlebars::JsonTruthy;
use serde_json::Value;

/// At most so many missing names are told.
pub const MISSING_MAX: usize = 100;
/// At most so many needs are looked at for one set of variables; loops over loops end there.
const CHECKS_MAX: usize = 100_000;

/// Where a value comes from: the scope that a name begins in (0 is the outermost), and the way from there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) scope: usize,
    pub(super) path: Vec<String>,
}

impl Place {
    /// Whether `other` is this value or a part of it.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.scope == other.scope && other.path.starts_with(&self.path)
    }
}

/// One thing that rendering asks of the variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Need {
    Shown(Place),
    Compared(Place),
    Branch {
        /// None: a comparison, decided by the renderer.
        condition: Option<Place>,
        include_zero: bool,
        optional: bool,
        truthy: Vec<Need>,
        falsy: Vec<Need>,
    },
    Each {
        over: Place,
        body: Vec<Need>,
        otherwise: Vec<Need>,
    },
    With {
        over: Place,
        optional: bool,
        body: Vec<Need>,
        otherwise: Vec<Need>,
    },
}

/// What a template asks of its variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Needs(pub(super) Vec<Need>);

/// A variable that a template names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TemplateVariable {
    /// As a path: `user.name`; `items[].price` for what is inside of a list.
    pub name: String,
    /// Whether every mail must give it; else it depends on other variables or may be left out.
    pub required: bool,
}

impl Needs {
    /// The names of all missing variables, in the order of the template. With `thorough`, variables inside of comparisons'
    /// branches are checked too, whether the branch will be taken or not.
    pub(super) fn missing<'a>(&'a self, variables: &'a Value, thorough: bool) -> Vec<String> {
        let mut checker = Checker {
            scopes: vec![Scope {
                value: variables,
                over: None,
                step: Step::All,
            }],
            missing: Vec::new(),
            left: CHECKS_MAX,
            thorough,
        };
        checker.check(&self.0);
        checker.missing
    }

    /// All variables named, sorted, each once.
    pub(super) fn variables(&self) -> Vec<TemplateVariable> {
        let mut all = Vec::new();
        list(&self.0, &mut vec![String::new()], true, &mut all);
        all
    }
}

fn list(needs: &[Need], scopes: &mut Vec<String>, required: bool, all: &mut Vec<TemplateVariable>) {
    for need in needs {
        match need {
            Need::Shown(place) | Need::Compared(place) => {
                add(all, place, scopes, required);
            }
            Need::Branch {
                condition,
                optional,
                truthy,
                falsy,
                ..
            } => {
                if let Some(place) = condition {
                    add(all, place, scopes, required && !optional);
                }
                list(truthy, scopes, false, all);
                list(falsy, scopes, false, all);
            }
            Need::Each { over, body, otherwise } => {
                let name = add(all, over, scopes, required);
                scopes.push(format!("{name}[]"));
                list(body, scopes, required, all);
                scopes.pop();
                list(otherwise, scopes, false, all);
            }
            Need::With {
                over,
                optional,
                body,
                otherwise,
            } => {
                let name = add(all, over, scopes, required && !optional);
                scopes.push(name);
                list(body, scopes, required && !optional, all);
                scopes.pop();
                list(otherwise, scopes, false, all);
            }
        }
    }
}

/// Notes a variable; gives its name.
fn add(all: &mut Vec<TemplateVariable>, place: &Place, scopes: &[String], required: bool) -> String {
    let name = join(scopes.get(place.scope).map_or("", String::as_str), &place.path);
    match all.binary_search_by(|one| one.name.cmp(&name)) {
        Ok(known) => all[known].required |= required,
        Err(_) if name.is_empty() => {}
        Err(position) => all.insert(
            position,
            TemplateVariable {
                name: name.clone(),
                required,
            },
        ),
    }
    name
}

/// Walks the needs beside the variables.
struct Checker<'a> {
    /// The open scopes, the outermost first.
    scopes: Vec<Scope<'a>>,
    missing: Vec<String>,
    /// How many needs and loop steps may still be looked at.
    left: usize,
    thorough: bool,
}

/// What names are looked up in, and how it is called itself.
struct Scope<'a> {
    value: &'a Value,
    /// None for all variables together.
    over: Option<&'a Place>,
    step: Step<'a>,
}

/// Which part of what is gone over.
#[derive(Clone, Copy)]
enum Step<'a> {
    All,
    Index(usize),
    Key(&'a str),
}

impl<'a> Checker<'a> {
    fn check(&mut self, needs: &'a [Need]) {
        for need in needs {
            if !self.may_go_on() {
                return;
            }
            match need {
                Need::Shown(place) => {
                    if self.find(place).is_none_or(Value::is_null) {
                        self.miss(place);
                    }
                }
                Need::Compared(place) => {
                    if self.find(place).is_none() {
                        self.miss(place);
                    }
                }
                Need::Branch {
                    condition,
                    include_zero,
                    optional,
                    truthy,
                    falsy,
                } => self.branch(condition.as_ref(), *include_zero, *optional, truthy, falsy),
                Need::Each { over, body, otherwise } => self.each(over, body, otherwise),
                Need::With {
                    over,
                    optional,
                    body,
                    otherwise,
                } => match self.find(over) {
                    Some(value) if value.is_truthy(false) => self.inside(value, over, Step::All, body),
                    _ if *optional => self.check(otherwise),
                    _ => self.miss(over),
                },
            }
        }
    }

    fn may_go_on(&mut self) -> bool {
        self.left = self.left.saturating_sub(1);
        self.left > 0 && self.missing.len() < MISSING_MAX
    }

    fn branch(&mut self, condition: Option<&Place>, zero: bool, optional: bool, truthy: &'a [Need], falsy: &'a [Need]) {
        let Some(place) = condition else {
            if self.thorough {
                self.check(truthy);
                self.check(falsy);
            }
            return;
        };
        match self.find(place) {
            None => {
                if !optional {
                    self.miss(place);
                }
                self.check(falsy);
            }
            Some(value) if value.is_truthy(zero) => self.check(truthy),
            Some(_) => self.check(falsy),
        }
    }

    fn each(&mut self, over: &'a Place, body: &'a [Need], otherwise: &'a [Need]) {
        match self.find(over) {
            Some(Value::Array(items)) if !items.is_empty() => {
                for (index, item) in items.iter().enumerate() {
                    if body.is_empty() || !self.may_go_on() {
                        return;
                    }
                    self.inside(item, over, Step::Index(index), body);
                }
            }
            Some(Value::Object(entries)) if !entries.is_empty() => {
                for (key, item) in entries {
                    if body.is_empty() || !self.may_go_on() {
                        return;
                    }
                    self.inside(item, over, Step::Key(key), body);
                }
            }
            Some(Value::Array(_) | Value::Object(_)) => self.check(otherwise),
            _ => self.miss(over),
        }
    }

    fn inside(&mut self, value: &'a Value, over: &'a Place, step: Step<'a>, body: &'a [Need]) {
        self.scopes.push(Scope {
            value,
            over: Some(over),
            step,
        });
        self.check(body);
        self.scopes.pop();
    }

    /// The value at a place, if there is one.
    fn find(&self, place: &Place) -> Option<&'a Value> {
        let mut value = self.scopes.get(place.scope)?.value;
        for name in &place.path {
            value = match value {
                Value::Object(entries) => entries.get(name)?,
                Value::Array(items) => items.get(name.parse::<usize>().ok()?)?,
                _ => return None,
            };
        }
        Some(value)
    }

    /// `items.2.price`
    fn name(&self, place: &Place) -> String {
        let Some(Scope {
            over: Some(over), step, ..
        }) = self.scopes.get(place.scope)
        else {
            return place.path.join(".");
        };
        let outer = self.name(over);
        let scope = match step {
            Step::All => outer,
            Step::Index(index) => join(&outer, &[index.to_string()]),
            Step::Key(key) => join(&outer, &[(*key).to_owned()]),
        };
        join(&scope, &place.path)
    }

    fn miss(&mut self, place: &Place) {
        let name = self.name(place);
        if !self.missing.contains(&name) {
            self.missing.push(name);
        }
    }
}

fn join(prefix: &str, path: &[String]) -> String {
    match (prefix.is_empty(), path.is_empty()) {
        (true, _) => path.join("."),
        (false, true) => prefix.to_owned(),
        (false, false) => format!("{prefix}.{}", path.join(".")),
    }
}
