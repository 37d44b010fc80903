use super::super::args::Format;
use super::super::context::Context;
use super::super::exit::Exit;
use super::Answer;
use crate::model::plan::PLAN_VERSION;

/// Say which cutover this is and which formats it writes
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_: &Args, context: &Context) -> Answer {
    let version = env!("CARGO_PKG_VERSION");
    match context.formats("version", &[Format::Text, Format::Json])? {
        Format::Json => {
            context.out.json(&serde_json::json!({ "cutover": version, "plan": PLAN_VERSION, "language": 1 }))
        }
        _ => context.out.result(format!("cutover {version} (plan format {PLAN_VERSION}, language 1)")),
    }
    Ok(Exit::Ok)
}
