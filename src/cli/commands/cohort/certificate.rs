//! `cutover cohort certificate`.

use std::path::PathBuf;

use super::super::super::args::Format;
use super::super::super::certificate::{Files, folder, gather, standing, text, verify};
use super::super::super::context::Context;
use super::super::super::exit::Exit;
use super::super::super::failure::Failure;
use super::super::super::moving;
use super::super::super::project::Project;
use super::super::super::records::{Signer, SignerArgs, Standing};
use super::super::Answer;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(value_name = "COHORT", required_unless_present = "verify")]
    name: Option<String>,
    /// Folder for COHORT.json, its signature and COHORT.html [default: certificates/ENVIRONMENT beside the topology]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    signer: SignerArgs,
    /// Hold a certificate against its signature, its sums and the keys of the topology; no host is asked
    #[arg(long, value_name = "DOC", conflicts_with_all = ["name", "out", "key", "person"])]
    verify: Option<PathBuf>,
}

pub fn run(args: &Args, context: &Context) -> Answer {
    context.formats("cohort certificate", &[Format::Text, Format::Json])?;
    match (&args.verify, &args.name) {
        (Some(path), _) => read(path, context),
        (None, Some(name)) => make(args, name, context),
        (None, None) => Err(Failure::new("say which cohort")),
    }
}

fn read(path: &std::path::Path, context: &Context) -> Answer {
    let (_, topology) = Project::topology(context)?;
    let standing = Standing::open(context, &topology, &std::collections::BTreeSet::new())?;
    let found = verify(path, &standing)?;
    if context.json() {
        context.out.json(&serde_json::json!({
            "file": path, "signed_by": found.holder, "page": found.page, "certificate": found.certificate,
        }));
    } else {
        context.out.result(format!("good {}, signed by {}", path.display(), found.holder));
        context.out.result(text(&found.certificate));
    }
    match found.page {
        Some(false) => Err(Failure::new("the page beside it says something else than the certificate")
            .help("make the certificate again, or throw the page away")),
        _ => Ok(Exit::Ok),
    }
}

fn make(args: &Args, name: &str, context: &Context) -> Answer {
    let course = super::open(name, context, moving::cohort)?;
    let (_, chosen) = moving::cohort(&course.project, name)?;
    let standing = standing(context, &course.project.topology, name)?;
    let signer = match Signer::find(&args.signer, &standing) {
        Ok(signer) => Some(signer),
        Err(failure) if args.signer.given() => return Err(failure),
        Err(_) => None,
    };
    let certificate = gather(context, &course, name, chosen, &standing, signer.as_ref())?;
    let environment = course.project.topology.environment.as_deref();
    let folder = args.out.clone().unwrap_or_else(|| context.root().join(folder(environment)));
    let files = Files::of(folder.join(format!("{name}.json")));
    files.write(&certificate, signer.as_ref())?;
    if context.json() {
        context.out.json(&serde_json::json!({
            "file": files.json, "page": files.html, "signature": signer.as_ref().map(|_| &files.signature), "certificate": certificate,
        }));
    } else {
        context.out.result(files.json.display());
        context.out.result(files.html.display());
        context.out.result(text(&certificate));
    }
    match &signer {
        Some(s) => context.out.note(format!("signed by {}", s.person)),
        None => context.out.note("not signed: say --key ~/.ssh/id_ed25519 of a person of the topology"),
    }
    Ok(Exit::Ok)
}
