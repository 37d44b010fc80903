use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Subcommand;
use jiff::Timestamp;

use super::super::args::Format;
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::failure::Failure;
use super::super::moving::lock;
use super::super::notices::survey::{Given, file, heard, letters, tally};
use super::super::notices::{Course, message::Message};
use super::super::project::Project;
use super::Answer;
use super::notices::How;
use crate::model::topology::Node;
use crate::process::notice::{Notice, Past};
use crate::process::survey::{Answers, Survey, shown};

/// Ask people who have moved how it was
///
/// A `survey` of the topology says who is asked (`of` cohorts), what, how many have to answer (`responses`) and how well (`score`, the mean of all
/// answers from 1 to 5). Letters have a form, and answers come out of the replies. Evidence of type `survey` is collected from what was answered.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cutover survey status                            how each survey stands
  cutover survey send voices --env production      a letter to everybody of its cohorts who has none yet
  cutover survey import voices replies.mbox        answers out of replies (mbox, .eml), or a table (.csv: mail,1,2)")]
pub struct Args {
    #[command(subcommand)]
    command: SurveyCommand,
}

#[derive(Debug, Subcommand)]
enum SurveyCommand {
    /// Show how many have answered, and what
    Status {
        #[arg(value_name = "SURVEY")]
        name: Option<String>,
    },
    /// Send a letter to everybody who has none yet
    Send {
        #[arg(value_name = "SURVEY")]
        name: String,
        #[command(flatten)]
        how: How,
    },
    /// Take in answers; of each person the last counts
    Import {
        #[arg(value_name = "SURVEY")]
        name: String,
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
    },
}

pub fn run(args: &Args, context: &Context) -> Answer {
    context.formats("survey", &[Format::Text, Format::Json])?;
    let project = Project::compile(context)?;
    match &args.command {
        SurveyCommand::Status { name } => status(&project, name.as_deref(), context),
        SurveyCommand::Send { name, how } => go(&project, name, how, context),
        SurveyCommand::Import { name, files } => import(&project, name, files, context),
    }
}

fn find<'p>(project: &'p Project, name: &str) -> Result<(&'p Node, Survey), Failure> {
    let topology = &project.topology;
    let Some(node) = topology.get("survey", name) else {
        let names: Vec<&str> = topology.all("survey").map(|n| n.id.name.as_str()).collect();
        let help = if names.is_empty() {
            "write survey NAME { of COHORT; questions ..; }".to_owned()
        } else {
            format!("it has: {}", names.join(", "))
        };
        return Err(Failure::new(format!("the topology has no survey `{name}`")).help(help));
    };
    Ok((node, Survey::of(topology, node, &project.made.people)))
}

fn status(project: &Project, name: Option<&str>, context: &Context) -> Answer {
    let surveys = match name {
        Some(name) => vec![find(project, name)?.1],
        None => {
            project.topology.all("survey").map(|n| Survey::of(&project.topology, n, &project.made.people)).collect()
        }
    };
    let state = project.state(context);
    let (mut text, mut list) = (String::new(), Vec::new());
    for s in &surveys {
        let tally = tally(s, &state)?;
        let lacks = s.lacks(&tally);
        let end = if lacks.is_empty() { "enough".to_owned() } else { lacks.join("; ") };
        let _ = writeln!(
            text,
            "{}: {} of {} have answered, score {}: {end}",
            s.name,
            tally.answered,
            tally.asked,
            shown(tally.score)
        );
        for ((n, question), mean) in (1..).zip(&s.questions).zip(&tally.each) {
            let _ = writeln!(text, "  {n}. {:>5}  {question}", shown(*mean));
        }
        list.push(serde_json::json!({ "survey": s.name, "tally": tally, "lacks": lacks }));
    }
    if surveys.is_empty() {
        text.push_str("This topology has no survey.\n");
    }
    match context.json() {
        true => context.out.json(&list),
        false => context.out.result(text),
    }
    Ok(Exit::Ok)
}

fn go(project: &Project, name: &str, how: &How, context: &Context) -> Answer {
    let (node, survey) = find(project, name)?;
    let state = project.state(context);
    let course = Course::of(project, &state)?;
    // Whoever comes second reads what the first has written.
    let _lock = lock(&state)?;
    let now = course.now()?;
    let all = letters(project, node, &survey, Timestamp::now());
    let past = |n: &Notice| now.past.get(&n.id).copied();
    let doubtful: Vec<Notice> =
        all.iter().filter(|(n, _)| past(n) == Some(Past::Begun)).map(|(n, _)| n.clone()).collect();
    let due: Vec<(Notice, Message)> = all
        .into_iter()
        .filter(|(n, _)| match past(n) {
            None | Some(Past::Refused) => true,
            Some(Past::Begun) => how.again,
            Some(Past::Sent) => false,
        })
        .collect();
    if due.is_empty() && (how.again || doubtful.is_empty()) {
        context.out.result(format!("everybody of survey {name} has their letter"));
        return Ok(Exit::Ok);
    }
    let pairs: Vec<(&Notice, Message)> = due.iter().map(|(n, m)| (n, m.clone())).collect();
    let doubtful: Vec<&Notice> = doubtful.iter().filter(|_| !how.again).collect();
    how.send(project, &course, &pairs, &doubtful, context)
}

fn import(project: &Project, name: &str, files: &[PathBuf], context: &Context) -> Answer {
    let (_, survey) = find(project, name)?;
    let mut taken = Vec::new();
    for path in files {
        let bytes = std::fs::read(path)
            .map_err(|e| Failure::new(format!("{} cannot be read: {e}; nothing was taken in", path.display())))?;
        let shown = path.display().to_string();
        let heard = heard(&survey, &shown, &bytes)?;
        heard.passed_over.iter().for_each(|why| context.out.note(format!("passed over: {why}")));
        taken.extend(heard.answers.into_iter().map(|(who, answers)| (who, answers, shown.clone())));
    }
    let state = project.state(context);
    let _lock = lock(&state)?;
    let store = file(&state);
    // Taken in twice is the same as once.
    let known: BTreeMap<String, Answers> = store
        .read()?
        .into_iter()
        .filter(|g| g.survey == survey.name && g.letter == survey.id(&g.who))
        .map(|g| (g.who, g.answers))
        .collect();
    let (all, mut new) = (taken.len(), 0);
    // Of somebody who has answered twice the last answer counts, however often both are taken in.
    let last: BTreeMap<String, (Answers, String)> = taken.into_iter().map(|(who, a, file)| (who, (a, file))).collect();
    for (who, (answers, file)) in last {
        if known.get(&who) == Some(&answers) {
            continue;
        }
        new += 1;
        let at = format!("{:.0}", Timestamp::now());
        store.append(&Given { letter: survey.id(&who), survey: survey.name.clone(), who, answers, at, file })?;
    }
    let tally = tally(&survey, &state)?;
    match context.json() {
        true => context.out.json(&serde_json::json!({ "answers": all, "new": new, "tally": tally })),
        false => context.out.result(format!(
            "{all} answers, {new} of them new; {} of {} have answered, score {}",
            tally.answered,
            tally.asked,
            shown(tally.score)
        )),
    }
    Ok(Exit::Ok)
}
