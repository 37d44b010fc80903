use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::super::args::Format;
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::failure::Failure;
use super::super::gates::statement;
use super::super::project::Project;
use super::super::records::{Intent, Signer, SignerArgs, Standing};
use super::Answer;
use super::apply::confirm;
use crate::model::course::gates;
use crate::process::board::needed;
use crate::process::gate::Decision;
use crate::process::record::{Record, RecordKind};
use crate::process::trust::changed;

/// Sign for a gate: what its phase makes is shown, and signed as it is now
///
/// The signature is over the intent: the resolved topology of the phase, its contents and the lists of its people. Drift on hosts does not change it,
/// another wish does. The record is a file to commit; nothing is sent anywhere.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cutover approve build.start --env production --key ~/.ssh/id_ed25519
  cutover approve build.start --note \"after the review of 4 May\"
  cutover approve build.start --yes                      without asking, with user.signingKey of git
  cutover approve build.start --revoke                   take back what I signed for it

Commit the file that it names: an approval counts for those who have it.")]
pub struct Args {
    /// Gate, as `phase status` names it
    #[arg(value_name = "GATE")]
    gate: String,
    #[command(flatten)]
    signer: SignerArgs,
    /// A word on it, stored and signed
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Take back one's own approvals of this gate
    #[arg(long)]
    revoke: bool,
    /// Do not ask
    #[arg(long, short = 'y')]
    yes: bool,
}

pub fn run(args: &Args, context: &Context) -> Answer {
    context.formats("approve", &[Format::Text, Format::Json])?;
    let (_, topology) = Project::topology(context)?;
    let all = gates(&topology);
    let Some(gate) = all.iter().find(|g| g.gate.id.name == args.gate) else {
        let names: Vec<&str> = all.iter().map(|g| g.gate.id.name.as_str()).collect();
        let help =
            if names.is_empty() { "it has no gates".to_owned() } else { format!("it has: {}", names.join(", ")) };
        return Err(Failure::new(format!("the topology has no gate `{}`", args.gate)).help(help));
    };
    let Some(phase) = gate.phase.map(|p| p.id.name.to_string()) else {
        return Err(Failure::new(format!("gate {} belongs to no phase, so it opens nothing", args.gate))
            .help("write phase=NAME"));
    };
    let standing = Standing::open(context, &topology, &needed(&topology, &phase))?;
    let signer = Signer::find(&args.signer, &standing)?;
    if args.revoke {
        return revoke(args, context, &standing, &signer, &phase);
    }
    let record = statement(&standing, RecordKind::Approval, &args.gate, Some(&phase), &signer.person)?;
    standing.committed()?;
    let record = Record { note: args.note.clone(), ..record };
    let intent = standing.phases.get(&phase);
    let decision = standing.course(|c| c.decide(gate));
    if !context.json() {
        context.out.note(shown(&record, intent, &decision, &standing));
    }
    confirm(context, args.yes, "Sign this? (yes/no)", "yes")?;
    let file = signer.record(&standing, &record)?;
    if context.json() {
        context.out.json(&serde_json::json!({ "file": file, "record": record }));
        return Ok(Exit::Ok);
    }
    context.out.result(&file);
    context.out.note(format!("signed by {}; now: git add records && git commit", signer.person));
    Ok(Exit::Ok)
}

/// What is signed, for the eyes of who signs.
fn shown(record: &Record, intent: Option<&Intent>, decision: &Decision, standing: &Standing) -> String {
    let opens = if decision.entry { "the begin of" } else { "what comes after" };
    let mut text = format!(
        "gate {} opens {opens} phase {}{}\n  intent {}  commit {}  as {}\n",
        record.node,
        record.phase.as_deref().unwrap_or(""),
        record.environment.as_ref().map_or(String::new(), |e| format!(" in {e}")),
        record.intent.short(),
        record.commit.get(..12).unwrap_or(&record.commit),
        record.who,
    );
    if let Some(i) = intent {
        if i.resources > 0 {
            let _ = writeln!(text, "  makes {} resources on {} hosts", i.resources, i.hosts);
        }
        for (cohort, people, digest) in &i.cohorts {
            let _ = writeln!(text, "  moves {people} people of {cohort} (list {})", digest.short());
        }
    }
    for waits in &decision.waits {
        let _ = writeln!(text, "  now: {waits}");
    }
    match &standing.trust {
        None => {
            text.push_str("  nobody has signed yet: with this approval the keys of this commit are taken on trust\n")
        }
        Some(trust) => {
            let now = &standing.now;
            for gate in changed(&trust.deciders, now) {
                let _ = writeln!(
                    text,
                    "  signs too that gate {} opens otherwise than at {}",
                    gate.gate.id.name,
                    trust.commit.get(..12).unwrap_or("")
                );
            }
            let new: Vec<&str> = now
                .keys
                .iter()
                .filter(|(person, keys)| keys.iter().any(|k| !trust.deciders.owns(person, k)))
                .map(|(person, _)| person.as_str())
                .collect();
            if !new.is_empty() {
                let _ = writeln!(text, "  signs too that there are new keys of: {}", new.join(", "));
            }
        }
    }
    if record.rehearsal {
        text.push_str("  a rehearsal: it opens nothing elsewhere\n");
    }
    for note in &standing.notes {
        let _ = writeln!(text, "  {note}");
    }
    text
}

fn revoke(args: &Args, context: &Context, standing: &Standing, signer: &Signer, phase: &str) -> Answer {
    let gone: BTreeSet<_> = standing.records.iter().filter_map(|s| s.record.revokes.clone()).collect();
    let draft = statement(standing, RecordKind::Revocation, &args.gate, Some(phase), &signer.person)?;
    let mine: Vec<_> = standing
        .records
        .iter()
        .filter(|s| {
            s.record.kind == RecordKind::Approval && s.record.node == args.gate && s.record.who == signer.person
        })
        .filter(|s| s.record.environment == draft.environment && !gone.contains(&s.record.digest()))
        .collect();
    if mine.is_empty() {
        return Err(Failure::new(format!("{} has signed nothing for gate {} that stands", signer.person, args.gate)));
    }
    for s in &mine {
        context.out.note(format!("takes back {}", s.file));
    }
    confirm(context, args.yes, "Take it back? (yes/no)", "yes")?;
    let mut files = Vec::new();
    for (n, s) in mine.iter().enumerate() {
        // One file a second and person: the stamps of several must differ.
        let when = draft
            .when
            .checked_add(jiff::SignedDuration::from_secs(i64::try_from(n).unwrap_or(0)))
            .unwrap_or(draft.when);
        let record = Record { revokes: Some(s.record.digest()), note: args.note.clone(), when, ..draft.clone() };
        files.push(signer.record(standing, &record)?);
    }
    match context.json() {
        true => context.out.json(&serde_json::json!({ "files": files })),
        false => files.iter().for_each(|f| context.out.result(f)),
    }
    context.out.note("now: git add records && git commit");
    Ok(Exit::Ok)
}
