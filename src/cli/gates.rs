//! Gates before an apply: what must be open, who applies, and the way through in an emergency.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use jiff::Timestamp;

use super::context::Context;
use super::failure::Failure;
use super::records::{Signer, SignerArgs, Standing, signature};
use crate::model::plan::PlanNote;
use crate::model::topology::Topology;
use crate::process::board::{is_rehearsal, needed, place};
use crate::process::gate::Decision;
use crate::process::record::{RECORD_VERSION, Record, RecordKind};

/// Who applies. `--emergency REASON`, with which a shut gate is passed, stands with the change that it needs.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct GateArgs {
    #[command(flatten)]
    signer: SignerArgs,
}

/// The part of the topology that is about to be applied.
#[derive(Debug, Clone, Copy, Default)]
pub struct Part<'a> {
    pub phase: Option<&'a str>,
    pub window: Option<&'a str>,
}

/// The phases whose gates are asked: the one that is applied; without one, in a protected environment, all that belong to it.
fn phases(topology: &Topology, part: Part) -> BTreeSet<String> {
    if let Some(phase) = part.phase {
        return BTreeSet::from([phase.to_owned()]);
    }
    let Some(environment) = topology.environment().filter(|e| e.flag("protected")) else { return BTreeSet::new() };
    let here: Vec<_> = topology
        .all("phase")
        .filter(|p| place(topology, p).environment == Some(environment.id.name.as_str()))
        .filter(|p| p.value("deploys").is_some() || p.value("migrates").is_some())
        .collect();
    let of_window = |window: &str| {
        let moves = |p: &&&crate::model::topology::Node| {
            topology.targets(p, "migrates").any(|c| c.reference("window").is_some_and(|w| w.name == window))
        };
        here.iter().filter(moves).map(|p| p.id.name.to_string()).collect::<BTreeSet<_>>()
    };
    let of_window = part.window.map(of_window).filter(|all| !all.is_empty());
    of_window.unwrap_or_else(|| here.iter().map(|p| p.id.name.to_string()).collect())
}

/// What is shut, of all that has to be open.
struct Asked {
    standing: Standing,
    phases: BTreeSet<String>,
    ahead: Vec<(String, Decision)>,
}

impl Asked {
    fn shut(&self) -> impl Iterator<Item = &(String, Decision)> {
        self.ahead.iter().filter(|(_, d)| !d.open())
    }
}

fn ask(context: &Context, topology: &Topology, part: Part) -> Result<Option<Asked>, Failure> {
    let phases = phases(topology, part);
    if phases.is_empty() || !Standing::concerns(context, topology) {
        return Ok(None);
    }
    let all: BTreeSet<String> = phases.iter().flat_map(|p| needed(topology, p)).collect();
    let standing = Standing::open(context, topology, &all)?;
    let of = |p: &String| standing.course(|c| c.ahead(p)).into_iter().map(|d| (p.clone(), d)).collect::<Vec<_>>();
    let ahead = phases.iter().flat_map(of).collect();
    Ok(Some(Asked { standing, phases, ahead }))
}

/// What a plan says of the gates before it.
pub fn notes(context: &Context, topology: &Topology, part: Part) -> Result<Vec<PlanNote>, Failure> {
    let Some(asked) = ask(context, topology, part)? else { return Ok(Vec::new()) };
    let mut texts: Vec<String> = Vec::new();
    for (_, d) in asked.shut() {
        texts.push(format!("gate {}: waits for {}", d.gate, d.waits.join("; ")));
    }
    texts.extend(asked.standing.removed.iter().map(|r| format!("{r} was taken away; records are only added")));
    if asked.standing.trust.is_none() && !texts.is_empty() {
        texts.push("nobody has signed yet: with the first approval, keys are taken on trust".to_owned());
    }
    let mut seen = BTreeSet::new();
    texts.retain(|t| seen.insert(t.clone()));
    Ok(texts.into_iter().map(|text| PlanNote { address: None, text, blocks: false }).collect())
}

/// Refuses where something that must be open is shut. Called before hosts are asked, and again right before the first change: what was signed may have
/// been taken back in between. `begins`: this is the second time.
pub fn require(
    context: &Context,
    topology: &Topology,
    part: Part,
    args: &GateArgs,
    emergency: Option<&str>,
    begins: bool,
) -> Result<(), Failure> {
    let Some(asked) = ask(context, topology, part)? else { return Ok(()) };
    let what = match (part.phase, asked.phases.len()) {
        (Some(phase), _) => format!("phase {phase}"),
        (None, 1) => format!("phase {}", asked.phases.first().map_or("", String::as_str)),
        (None, _) => "this environment".to_owned(),
    };
    if let Some(gone) = asked.standing.removed.first() {
        return Err(Failure::new(format!(
            "records were taken away, and may have said no: {gone}; nothing was changed"
        ))
        .help(format!("git checkout HEAD -- records, or bring it back from the history: git log -- {gone}")));
    }
    let shut: Vec<&(String, Decision)> = asked.shut().collect();
    if shut.is_empty() {
        return applier(&asked, args);
    }
    if let Some(reason) = emergency {
        return urgent(context, &asked, args, reason, begins);
    }
    let mut text = format!("{what} must not be applied yet; nothing was changed");
    let mut seen = BTreeSet::new();
    for (_, d) in &shut {
        if seen.insert(&d.gate) {
            let _ = write!(text, "\n  gate {} waits for", d.gate);
            for waits in &d.waits {
                let _ = write!(text, "\n    {waits}");
            }
        }
    }
    for note in &asked.standing.notes {
        let _ = write!(text, "\n  {note}");
    }
    Err(Failure::new(text).help(
        "cutover phase status shows the course; cutover approve GATE signs; cutover evidence collect GATE records",
    ))
}

/// Where duties are kept apart, whoever applies says who they are, and shows it by a signature.
fn applier(asked: &Asked, args: &GateArgs) -> Result<(), Failure> {
    let not: Vec<(&str, &BTreeSet<String>)> =
        asked.ahead.iter().filter_map(|(_, d)| Some((d.gate.as_str(), d.not_applier.as_ref()?))).collect();
    if not.is_empty() {
        return Ok(());
    }
    if !args.signer.given() {
        return Err(Failure::new(format!("gate {} wants to know who applies; nothing was changed", not[0].0))
            .help("say --key ~/.ssh/id_ed25519 (or set user.signingKey in git and say --as NAME)"));
    }
    let signer = Signer::find(&args.signer, &asked.standing)?;
    signer.prove(&asked.standing)?;
    match not.iter().find(|(_, persons)| persons.contains(&signer.person)) {
        None => Ok(()),
        Some((gate, _)) => Err(Failure::new(format!(
            "{} must not apply what they wrote, tested or approved (gate {gate}); nothing was changed",
            signer.person
        ))
        .help("another person applies")),
    }
}

/// The way through: declared by a change, signed by one approver, recorded.
fn urgent(context: &Context, asked: &Asked, args: &GateArgs, reason: &str, begins: bool) -> Result<(), Failure> {
    let refused = |why: String| Failure::new(format!("no emergency: {why}; nothing was changed"));
    let shut: Vec<&(String, Decision)> = asked.shut().collect();
    if let Some((_, d)) = shut.iter().find(|(_, d)| d.hard) {
        return Err(refused(format!("gate {} waits for {}", d.gate, d.waits.join("; "))));
    }
    if let Some((phase, _)) = shut.iter().find(|(phase, _)| !asked.standing.course(|c| c.has_emergency(phase))) {
        return Err(refused(format!("no change with urgency=emergency affects phase {phase}")).help(
            "declare it: change NAME urgency=emergency .. { affects phase:NAME; }, commit, and have one approver sign",
        ));
    }
    if reason.trim().is_empty() {
        return Err(refused("it has no reason".to_owned()));
    }
    if let Some((_, d)) = shut.iter().find(|(_, d)| d.signers.is_empty()) {
        return Err(refused(format!("nobody who may has signed for gate {}", d.gate))
            .help(format!("cutover approve {}", d.gate)));
    }
    let signer = Signer::find(&args.signer, &asked.standing)?;
    signer.prove(&asked.standing)?;
    let not = shut.iter().find(|(_, d)| d.signers.len() == 1 && d.signers.contains(&signer.person));
    if let Some((_, d)) = not {
        return Err(refused(format!("{} is the only one who signed for gate {}, and applies", signer.person, d.gate)));
    }
    if !begins {
        return Ok(());
    }
    for (phase, d) in shut {
        let record = statement(&asked.standing, RecordKind::Emergency, &d.gate, Some(phase), &signer.person)?;
        let file = signer.record(&asked.standing, &Record { note: Some(reason.to_owned()), ..record })?;
        context.out.note(format!(
            "gate {} is passed in an emergency; commit {file}, those who decide look at it afterwards",
            d.gate
        ));
    }
    Ok(())
}

/// What a record says in any case: of what, where, by whom, when.
pub fn statement(
    standing: &Standing,
    kind: RecordKind,
    node: &str,
    phase: Option<&str>,
    who: &str,
) -> Result<Record, Failure> {
    let repository = standing.repository.as_ref().ok_or_else(|| {
        Failure::new("the topology is in no git repository, or nothing is committed yet")
            .help("git init && git add . && git commit: a record names the commit that it was made on")
    })?;
    let found = phase.and_then(|p| standing.topology.get("phase", p));
    let here = standing.topology.environment();
    let environment = match found {
        Some(p) => place(&standing.topology, p).environment,
        None => here.map(|e| e.id.name.as_str()),
    };
    let where_ = environment.and_then(|e| standing.topology.get("environment", e)).or(here);
    let now = Timestamp::now();
    Ok(Record {
        version: RECORD_VERSION,
        kind,
        organization: standing.organization.clone(),
        environment: environment.map(str::to_owned),
        node: node.to_owned(),
        phase: phase.map(str::to_owned),
        intent: phase
            .and_then(|p| standing.phases.get(p))
            .map_or_else(|| crate::model::Digest::of(b""), |i| i.digest.clone()),
        deciders: standing.now.digest(),
        commit: repository.head().unwrap_or_default(),
        who: who.to_owned(),
        when: Timestamp::from_second(now.as_second()).unwrap_or(now),
        rehearsal: where_.is_some_and(is_rehearsal),
        what: None,
        revokes: None,
        note: None,
    })
}

impl Signer {
    /// Shows that the private half is here: a public key can be read by anybody.
    pub fn prove(&self, standing: &Standing) -> Result<(), Failure> {
        let said = format!("cutover apply {} {}", standing.organization, Timestamp::now());
        let namespace = format!("cutover-apply@{}", standing.organization);
        let fail = |e: String| Failure::new(format!("{e}; nothing was changed"));
        let text = signature::sign(said.as_bytes(), self.path(), &namespace).map_err(fail)?;
        let file = tempfile::NamedTempFile::new().map_err(|e| fail(e.to_string()))?;
        std::fs::write(file.path(), text).map_err(|e| fail(e.to_string()))?;
        match signature::check(said.as_bytes(), file.path(), &namespace) {
            Ok(key) if key == self.public() => Ok(()),
            Ok(_) => Err(fail(format!("another key has signed than that of {}", self.person))),
            Err(e) => Err(fail(e)),
        }
    }
}
