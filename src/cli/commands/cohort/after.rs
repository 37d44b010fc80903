//! `cutover cohort after`.

use std::path::PathBuf;
use std::time::Duration;

use super::super::super::after::{gather, text};
use super::super::super::args::Format;
use super::super::super::certificate::{self, Files};
use super::super::super::context::Context;
use super::super::super::exit::Exit;
use super::super::super::failure::Failure;
use super::super::super::moving;
use super::super::super::records::{Signer, SignerArgs};
use super::super::Answer;
use crate::model::unit::parse_duration;
use crate::process::after::After;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(value_name = "COHORT")]
    name: String,
    /// How long the old side's queue may take to become empty
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = time)]
    wait: Duration,
    /// Folder for COHORT.after.json and its signature [default: certificates/ENVIRONMENT beside the topology]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    signer: SignerArgs,
}

fn time(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "write a time as 90s, 30m or 2h".to_owned())
}

pub fn run(args: &Args, context: &Context) -> Answer {
    context.formats("cohort after", &[Format::Text, Format::Json])?;
    let course = super::open(&args.name, context, moving::cohort)?;
    let (_, chosen) = moving::cohort(&course.project, &args.name)?;
    let _lock = moving::lock(&course.project.state(context))?;
    let standing = certificate::standing(context, &course.project.topology, &args.name)?;
    let signer = match Signer::find(&args.signer, &standing) {
        Ok(signer) => Some(signer),
        Err(failure) if args.signer.given() => return Err(failure),
        Err(_) => None,
    };
    let after = gather(&course, &args.name, chosen, signer.as_ref(), args.wait)?;
    let environment = course.project.topology.environment.as_deref();
    let folder = args.out.clone().unwrap_or_else(|| context.root().join(certificate::folder(environment)));
    let files = Files::of(folder.join(format!("{}.after.json", args.name)));
    files.put(&after.bytes(), &After::namespace(&after.organization), None, signer.as_ref())?;
    let open = after.open();
    if context.json() {
        context.out.json(&serde_json::json!({
            "file": files.json, "signature": signer.as_ref().map(|_| &files.signature), "open": open, "after": after,
        }));
    } else {
        context.out.result(files.json.display());
        context.out.result(text(&after));
    }
    match &signer {
        Some(s) => context.out.note(format!("signed by {}", s.person)),
        None => context.out.note("not signed: say --key ~/.ssh/id_ed25519 of a person of the topology"),
    }
    if open.is_empty() {
        return Ok(Exit::Ok);
    }
    Err(Failure::new(format!("the old side is not done with {}:\n  {}", args.name, open.join("\n  ")))
        .help("nothing is lost: mend it and say it again"))
}
