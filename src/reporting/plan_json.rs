//! A plan for programs. The schema is `schemas/plan.schema.json`, generated from the types.

use crate::model::plan::Plan;

/// The plan as pretty JSON, keys in a fixed order, with a line end.
pub fn plan_json(plan: &Plan) -> serde_json::Result<String> {
    let mut text = serde_json::to_string_pretty(plan)?;
    text.push('\n');
    Ok(text)
}
