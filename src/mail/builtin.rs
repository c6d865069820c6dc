//! temporary
use super::render::{RenderError, Rendered};
use crate::domain::Variables;
pub fn render_builtin(_: &str, _: &Variables) -> Result<Rendered, RenderError> {
    Err(RenderError::Missing(vec![]))
}
