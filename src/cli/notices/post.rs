//! Notices that an apply sends by itself: those of a cohort, before its people move.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::sending::{Ears, Way, send};
use super::{Course, messages};
use crate::cli::failure::Failure;
use crate::cli::near::Near;
use crate::cli::project::Project;
use crate::journal::StateDir;
use crate::model::plan::PlanNote;
use crate::process::notice::{Notice, Standing};

/// At most so many a minute.
const RATE: u32 = 600;

/// The notices of a topology, and who takes them.
pub struct Post {
    course: Course,
    way: Result<Way, Failure>,
}

impl Post {
    /// Of these cohorts.
    pub fn of(project: &Project, cohorts: &BTreeSet<&str>, state: &StateDir, near: Arc<Near>) -> Result<Self, Failure> {
        // Of many thousands of people each notice is a few hundred octets: only those that are sent are made.
        let theirs = project.made.people.iter().filter(|(name, _)| cohorts.contains(name.as_str()));
        let people = theirs.map(|(name, chosen)| (name.clone(), chosen.clone())).collect();
        Ok(Self::with(Course::with(&project.root, &project.topology, &people, state)?, Way::relay(project, near)))
    }

    pub fn with(course: Course, way: Result<Way, Failure>) -> Self {
        Self { course, way }
    }

    /// Sends what is due to and about a cohort, each at most once; says what could not be sent. What is in doubt is told and keeps nobody waiting.
    /// `stopping` is asked between two messages.
    pub async fn notify(
        &self,
        cohort: &str,
        tell: &(dyn Fn(String) + Send + Sync),
        stopping: &(dyn Fn() -> bool + Send + Sync),
    ) -> Result<Vec<String>, String> {
        let now = self.course.now().map_err(|f| f.told())?;
        let mine = || self.course.standings(&now).into_iter().filter(|(n, _)| n.cohort == cohort);
        let of = |wanted: Standing| mine().filter(|(_, s)| *s == wanted).map(|(n, _)| n).collect::<Vec<&Notice>>();
        let (due, doubtful, by_hand) = (of(Standing::Due), of(Standing::Doubt), of(Standing::ByHand));
        for n in by_hand.iter().filter(|n| n.at <= now.at && now.at < n.until) {
            tell(format!(
                "notice {} ({}) is told by hand: nobody knows here whether it was",
                n.communication, n.channel
            ));
        }
        if due.is_empty() && doubtful.is_empty() {
            return Ok(Vec::new());
        }
        let built = messages(&self.course, now.at, &due).map_err(|w| w.told())?;
        let way = self.way.as_ref().map_err(Failure::told)?;
        let pairs: Vec<_> = due.into_iter().zip(built).collect();
        let ears = Ears { note: tell, passing: &|_| {}, stopping };
        let done = send(&self.course, way, &pairs, &doubtful, RATE, &ears).await.map_err(|f| f.told())?;
        if done.sent > 0 {
            tell(format!("{} notices sent", done.sent));
        }
        let lacks = [(done.refused, "were not taken"), (done.left, "are still to be sent")];
        let lacks = lacks.into_iter().filter(|(n, _)| *n > 0);
        Ok(lacks.map(|(n, what)| format!("{n} notices {what}")).collect())
    }

    /// For a plan: how many notices of a cohort go out before it moves, and what is wrong with them.
    pub fn told(&self, cohort: &str) -> Option<PlanNote> {
        let note = |text: String, blocks: bool| Some(PlanNote { address: None, text, blocks });
        let now = match self.course.now() {
            Ok(now) => now,
            Err(f) => return note(f.told(), true),
        };
        let all = self.course.standings(&now);
        let due: Vec<&Notice> =
            all.into_iter().filter(|(n, s)| n.cohort == cohort && *s == Standing::Due).map(|(n, _)| n).collect();
        if due.is_empty() {
            return None;
        }
        match (messages(&self.course, now.at, &due), &self.way) {
            (Err(wrong), _) => note(format!("the notices of cohort {cohort} cannot be sent: {}", wrong.told()), true),
            (_, Err(f)) => note(format!("the notices of cohort {cohort} cannot be sent: {}", f.told()), true),
            (Ok(all), Ok(_)) => note(format!("{} notices to and about cohort {cohort} go out first", all.len()), false),
        }
    }
}
