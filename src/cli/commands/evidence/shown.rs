//! Evidence that shows itself: probes that are made now, and ways back that were gone.

use super::super::super::back::of_point;
use super::super::super::context::Context;
use super::super::super::failure::Failure;
use super::super::super::notices::survey::tally;
use super::super::super::project::Project;
use super::super::super::session::Session;
use super::finding;
use crate::execution::Seen;
use crate::journal::{Journal, Status, replay};
use crate::lowering;
use crate::model::topology::Node;
use crate::model::unit::{Percent, format_duration};
use crate::process::record::{Finding, Outcome};
use crate::process::survey::Survey;

/// Makes the probes that it is of, once each, from this machine.
pub fn probe(context: &Context, node: &Node) -> Result<Option<Finding>, Failure> {
    let session = Session::open_to_ask(context)?;
    let project = &session.project;
    let known = lowering::probes(&project.topology, &project.made, &project.site.hosts);
    let mut out = finding(node, true);
    let (mut all, mut good) = (0_u64, 0_u64);
    for (id, _) in node.refs("of") {
        let nothing =
            |why: &str| Failure::new(format!("probe {} could not be made: {why}; nothing is recorded", id.name));
        let probe = match known.get(id.name.as_str()) {
            Some(Ok(probe)) => probe,
            Some(Err(why)) => return Err(nothing(why)),
            None => return Err(nothing("it is no probe of this topology")),
        };
        let seen = session.block_on(session.probes().probe(probe, None));
        let word = match seen {
            Seen::Well => "pass".to_owned(),
            Seen::Bad(why) => {
                context.out.note(why);
                "fail".to_owned()
            }
            Seen::NotAsked(why) => return Err(nothing(&why)),
        };
        all += 1;
        good += u64::from(word == "pass");
        out.figures.insert(id.name.to_string(), word);
    }
    if all == 0 {
        return Ok(None);
    }
    let share = Percent(100_000_000 * good / all);
    out.figures.insert("percent".into(), share.to_string());
    let bar = node.percent("at-least").unwrap_or(Percent(100_000_000));
    out.result = if share >= bar { Outcome::Pass } else { Outcome::Fail };
    Ok(Some(out))
}

/// The youngest time that each rollback point was gone back to: what the journal says of it. Other restores are for people to show.
pub fn restore(context: &Context, node: &Node) -> Result<Option<Finding>, Failure> {
    let points: Vec<&str> =
        node.refs("of").filter(|(id, _)| id.kind == "rollback-point").map(|(id, _)| id.name.as_str()).collect();
    if points.is_empty() || node.refs("of").count() > points.len() {
        return Ok(None);
    }
    let state = Project::compile(context)?.state(context);
    let journal = Journal::for_answers(&state)?;
    let history = journal.history()?;
    let mut out = finding(node, true);
    for point in points {
        let mut gone = None;
        for back in history.iter().rev().filter(|s| s.finished()) {
            let Some(of) = back.header.undo_of.as_deref() else { continue };
            let (Some(former), Some(saved)) = (journal.load(of)?, journal.load(&back.header.apply)?) else { continue };
            if of_point(&former.plan, point).is_some() {
                gone = Some((of.to_owned(), saved));
                break;
            }
        }
        let Some((of, saved)) = gone else {
            return Err(Failure::new(format!("nobody has gone back to {point} yet; nothing is recorded")).help(
                format!(
                    "rehearse it in the lab: cutover apply --window .. or --phase .., then cutover rollback {point}"
                ),
            ));
        };
        // Recorded today it would be young again: what counts is when it was.
        let age = jiff::Timestamp::now().as_millisecond().saturating_sub(saved.header.at);
        if let Some(most) = node.duration("max-age").filter(|most| i128::from(age) > most.as_millis() as i128) {
            return Err(Failure::new(format!(
                "the last way back to {point} was {} days ago, and evidence {} may be {} old; nothing is recorded",
                age / 86_400_000,
                node.id.name,
                format_duration(most)
            ))
            .help(format!("rehearse it once more: cutover rollback {point}")));
        }
        let statuses = replay(&saved)?.statuses;
        let done = statuses.iter().filter(|s| **s == Status::Done).count();
        let at =
            jiff::Timestamp::from_millisecond(saved.header.at).map_or_else(|_| String::new(), |t| format!("{t:.0}"));
        out.figures.insert(point.to_owned(), format!("apply {} took {of} back at {at}", saved.header.apply));
        out.figures.insert(format!("{point}-steps"), format!("{done} of {}", statuses.len()));
        if done < statuses.len() || statuses.is_empty() {
            out.result = Outcome::Fail;
        }
    }
    Ok(Some(out))
}

/// What was answered to the surveys that it is of: of several, the least.
pub fn survey(context: &Context, node: &Node) -> Result<Option<Finding>, Failure> {
    let project = Project::compile(context)?;
    let topology = &project.topology;
    let mut out = finding(node, true);
    let (mut least, mut lowest): (Option<Percent>, Option<f64>) = (None, None);
    for (id, _) in node.refs("of") {
        let Some(of) = topology.get("survey", &id.name) else { continue };
        let survey = Survey::of(topology, of, &project.made.people);
        let tally = tally(&survey, &project.state(context))?;
        if tally.answered == 0 {
            return Err(Failure::new(format!("nobody has answered survey {} yet; nothing is recorded", id.name))
                .help(format!("cutover survey send {0}, then cutover survey import {0} FILE", id.name)));
        }
        for lack in survey.lacks(&tally) {
            context.out.note(format!("survey {}: {lack}", id.name));
            out.result = Outcome::Fail;
        }
        out.figures.insert(format!("{}-answered", id.name), format!("{} of {}", tally.answered, tally.asked));
        least = least.into_iter().chain([tally.percent]).min();
        lowest = lowest.into_iter().chain(tally.score).min_by(f64::total_cmp);
    }
    let Some(least) = least else { return Ok(None) };
    out.figures.insert("percent".into(), least.to_string());
    out.figures.extend(lowest.map(|s| ("score".to_owned(), format!("{s:.2}"))));
    Ok(Some(out))
}
