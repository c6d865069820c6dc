//! A walk over a parsed template: refuses what is not in the language we promise, and finds what it needs.
//!
//! Takes the parser's tree, gives the needs. The language: `{{a.b}}`, `{{{a}}}`, `if`, `unless`, `each`, `with`, `else`, `else
//! if`, block parameters, and comparisons (`eq`, `gt`, …) as conditions or shown. On the way every loop body gets a step counter,
//! so that loops over loops end. Never renders.

use handlebars::template::{BlockParam, HelperTemplate, Parameter, Template, TemplateElement};
use handlebars::{Path, PathSeg};
use serde_json::Value;

use super::template_needs::{Need, Needs, Place};
use super::template_scan::Fault;

/// Comparisons that may be used as conditions and shown.
const FUNCTIONS: &[&str] = &["eq", "ne", "gt", "gte", "lt", "lte", "and", "or", "not", "len"];
/// Names that the renderer takes for helpers, so that variables of that name need `this.` before them.
const HELPERS: &[&str] = &["if", "unless", "each", "with", "lookup", "raw", "log", STEP_HELPER];
/// What loop variables there are.
const LOCALS: &[&str] = &["index", "key", "first", "last"];
/// Counts loop steps; `render` registers it.
pub(super) const STEP_HELPER: &str = "posthaste_step";
/// How much dearer than a simple element a comparison may be: it can compare whole lists.
const COMPARISON_COST: usize = 20;

/// Walks a parsed template: refuses what is not supported, prepares its loops, and gives its needs.
pub(super) fn walk(template: &mut Template) -> Result<Needs, Fault> {
    let mut collector = Collector {
        scopes: vec![Vec::new()],
    };
    collector.template(template, 1).map(|(needs, _)| Needs(needs))
}

/// Walks the syntax tree.
struct Collector {
    /// For each open scope the names of its block parameters: the item's, then the key's.
    scopes: Vec<Vec<String>>,
}

impl Collector {
    /// Needs and cost of a template or block body.
    fn template(&mut self, template: &mut Template, line: usize) -> Result<(Vec<Need>, usize), Fault> {
        let mut needs = Vec::new();
        let mut cost = 0;
        for index in 0..template.elements.len() {
            let line = template.mapping.get(index).map_or(line, |mapping| mapping.0);
            cost += 1 + self.element(&mut template.elements[index], line, &mut needs)?;
        }
        Ok((needs, cost))
    }

    /// Adds the needs of an element; gives what it costs beyond 1.
    fn element(&mut self, element: &mut TemplateElement, line: usize, needs: &mut Vec<Need>) -> Result<usize, Fault> {
        match element {
            TemplateElement::RawString(_) | TemplateElement::Comment(_) => Ok(0),
            TemplateElement::Expression(tag) | TemplateElement::HtmlExpression(tag) => {
                if !tag.params.is_empty() || !tag.hash.is_empty() {
                    return self.call(tag, line, needs);
                }
                if let Some(place) = self.shown(&tag.name, line)? {
                    needs.push(Need::Shown(place));
                }
                Ok(0)
            }
            TemplateElement::HelperBlock(block) => self.block(block, line, needs),
            TemplateElement::DecoratorExpression(_) | TemplateElement::DecoratorBlock(_) => {
                Err(fault(line, "decorators are not supported"))
            }
            TemplateElement::PartialExpression(_) | TemplateElement::PartialBlock(_) => {
                Err(fault(line, "partials are not supported"))
            }
            _ => Err(fault(line, "not supported")),
        }
    }

    fn shown(&self, name: &Parameter, line: usize) -> Result<Option<Place>, Fault> {
        let raw = name.as_name().unwrap_or_default();
        if HELPERS.contains(&raw) || FUNCTIONS.contains(&raw) {
            return Err(fault(
                line,
                &format!("{{{{{raw}}}}} is a helper; for a variable write {{{{this.{raw}}}}}"),
            ));
        }
        match name {
            Parameter::Path(path) => self.place(path, line),
            _ => Err(fault(line, "only variables can be shown")),
        }
    }

    /// A comparison: its arguments must be there, but may be null.
    fn call(&self, tag: &HelperTemplate, line: usize, needs: &mut Vec<Need>) -> Result<usize, Fault> {
        let name = tag.name.as_name().unwrap_or_default();
        if !FUNCTIONS.contains(&name) {
            return Err(fault(line, &format!("there is no helper called {name}")));
        }
        let arity_ok = match name {
            "not" | "len" => tag.params.len() == 1,
            "and" | "or" => tag.params.len() >= 2,
            _ => tag.params.len() == 2,
        };
        if !arity_ok || !tag.hash.is_empty() {
            return Err(fault(line, &format!("{name} has the wrong number of arguments")));
        }
        let mut cost = COMPARISON_COST;
        for parameter in &tag.params {
            match parameter {
                Parameter::Path(path) => needs.extend(self.place(path, line)?.map(Need::Compared)),
                Parameter::Literal(_) => {}
                Parameter::Subexpression(inner) => cost += self.subexpression(inner.as_element(), line, needs)?,
                _ => return Err(fault(line, "an argument is not a variable")),
            }
        }
        Ok(cost)
    }

    fn subexpression(&self, element: &TemplateElement, line: usize, needs: &mut Vec<Need>) -> Result<usize, Fault> {
        match element {
            TemplateElement::Expression(call) => self.call(call, line, needs),
            _ => Err(fault(line, "not supported")),
        }
    }

    fn block(&mut self, block: &mut HelperTemplate, line: usize, needs: &mut Vec<Need>) -> Result<usize, Fault> {
        let name = block.name.as_name().unwrap_or_default().to_owned();
        if !matches!(name.as_str(), "if" | "unless" | "each" | "with") {
            let detail = format!("there is no block called {name}; there are if, unless, each and with");
            return Err(fault(line, &detail));
        }
        let [parameter] = block.params.as_slice() else {
            return Err(fault(line, &format!("{name} takes one variable")));
        };
        let parameter = parameter.clone();
        if name == "if" || name == "unless" {
            return self.condition(block, &parameter, name == "if", line, needs);
        }
        if !block.hash.is_empty() {
            return Err(fault(line, &format!("{name} takes one variable")));
        }
        let place = match &parameter {
            Parameter::Path(path) => self.place(path, line)?,
            _ => None,
        };
        let over = place.ok_or_else(|| fault(line, &format!("{name} needs a variable")))?;
        let is_each = name == "each";
        let optional = block.inverse.is_some();
        self.scopes.push(block_parameters(block.block_param.as_ref(), is_each));
        let inside = block.template.as_mut().map(|body| self.template(body, line));
        self.scopes.pop();
        let (body, mut cost) = inside.transpose()?.unwrap_or_default();
        let (otherwise, otherwise_cost) = self.optional(block.inverse.as_mut(), line)?;
        if is_each {
            // The body pays for itself, once for each step.
            block.template.iter_mut().for_each(|body| insert_step(body, cost));
            cost = 0;
            needs.push(Need::Each { over, body, otherwise });
        } else {
            needs.push(Need::With {
                over,
                optional,
                body,
                otherwise,
            });
        }
        Ok(cost + otherwise_cost)
    }

    fn condition(
        &mut self,
        block: &mut HelperTemplate,
        parameter: &Parameter,
        positive: bool,
        line: usize,
        needs: &mut Vec<Need>,
    ) -> Result<usize, Fault> {
        let include_zero = match block.hash.iter().next() {
            None => false,
            Some((key, Parameter::Literal(Value::Bool(include)))) if key == "includeZero" && block.hash.len() == 1 => {
                *include
            }
            Some((key, _)) => return Err(fault(line, &format!("{key} is not an option of a condition"))),
        };
        let mut cost = 0;
        let condition = match parameter {
            Parameter::Path(path) => self.place(path, line)?,
            Parameter::Subexpression(inner) => {
                cost += self.subexpression(inner.as_element(), line, needs)?;
                None
            }
            _ => return Err(fault(line, "a condition needs a variable")),
        };
        let (mut truthy, truthy_cost) = self.optional(block.template.as_mut(), line)?;
        let (mut falsy, falsy_cost) = self.optional(block.inverse.as_mut(), line)?;
        if !positive {
            std::mem::swap(&mut truthy, &mut falsy);
        }
        let optional = condition.as_ref().is_some_and(|place| uses(&truthy, place));
        needs.push(Need::Branch {
            condition,
            include_zero,
            optional,
            truthy,
            falsy,
        });
        Ok(cost + truthy_cost + falsy_cost)
    }

    fn optional(&mut self, template: Option<&mut Template>, line: usize) -> Result<(Vec<Need>, usize), Fault> {
        template.map_or_else(|| Ok(Default::default()), |template| self.template(template, line))
    }

    /// Where a name leads; none for loop variables, which are always there.
    fn place(&self, path: &Path, line: usize) -> Result<Option<Place>, Fault> {
        let segments = match path {
            Path::Local((_, name, _)) if LOCALS.contains(&name.as_str()) => return Ok(None),
            Path::Local((_, _, raw)) => return Err(fault(line, &format!("there is no variable {raw}"))),
            Path::Relative((segments, _)) => segments,
        };
        let innermost = self.scopes.len() - 1;
        let (mut scope, mut names) = (innermost, Vec::new());
        for segment in segments {
            match segment {
                PathSeg::Named(name) => names.push(name.clone()),
                // The parser's rules are not public, their names are.
                PathSeg::Ruled(rule) => match format!("{rule:?}").as_str() {
                    "path_root" => scope = 0,
                    "path_up" => {
                        scope = scope
                            .checked_sub(1)
                            .ok_or_else(|| fault(line, "../ leads out of the template"))?;
                    }
                    _ => return Err(fault(line, "not supported")),
                },
                _ => return Err(fault(line, "not supported")),
            }
        }
        if let Some(first) = names.first() {
            // Block parameters win over variables, the innermost first.
            for (depth, parameters) in self.scopes.iter().enumerate().rev() {
                match parameters.iter().position(|parameter| parameter == first) {
                    Some(0) => {
                        let path = names[1..].to_vec();
                        return Ok(Some(Place { scope: depth, path }));
                    }
                    Some(_) => return Ok(None),
                    None => {}
                }
            }
        }
        Ok(Some(Place { scope, path: names }))
    }
}

fn block_parameters(parameters: Option<&BlockParam>, is_each: bool) -> Vec<String> {
    let name = |parameter: &Parameter| parameter.as_name().unwrap_or_default().to_owned();
    match parameters {
        Some(BlockParam::Single(item)) => vec![name(item)],
        Some(BlockParam::Pair((item, key))) if is_each => vec![name(item), name(key)],
        _ => Vec::new(),
    }
}

/// Puts the step counter at the start of a loop body.
fn insert_step(body: &mut Template, cost: usize) {
    if let Ok(step) = Template::compile(&format!("{{{{{STEP_HELPER} {}}}}}", cost + 1)) {
        body.elements.splice(0..0, step.elements);
        body.mapping.splice(0..0, step.mapping);
    }
}

/// Whether any of the needs is about `place` or a part of it.
fn uses(needs: &[Need], place: &Place) -> bool {
    needs.iter().any(|need| match need {
        Need::Shown(other) | Need::Compared(other) => place.covers(other),
        Need::Branch {
            condition,
            truthy,
            falsy,
            ..
        } => condition.as_ref().is_some_and(|other| place.covers(other)) || uses(truthy, place) || uses(falsy, place),
        Need::Each { over, body, otherwise }
        | Need::With {
            over, body, otherwise, ..
        } => place.covers(over) || uses(body, place) || uses(otherwise, place),
    })
}

fn fault(line: usize, detail: &str) -> Fault {
    Fault {
        line,
        detail: detail.to_owned(),
    }
}
