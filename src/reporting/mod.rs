//! What people and programs read: plans, progress, closing reports, drift. Functions from data to text; printing is `cli`'s.

mod changes;
mod plan_json;
mod plan_markdown;
mod plan_text;
mod style;

pub use changes::{Counts, per_host};
pub use plan_json::{plan_json, plan_schema};
pub use plan_markdown::plan_markdown;
pub use plan_text::{TextOptions, plan_text};
pub use style::{Paint, visible};
