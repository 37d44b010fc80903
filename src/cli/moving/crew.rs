//! Those who move people for `apply`: the gates and the content service of each cohort, and the diary.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::super::context::Context;
use super::super::failure::Failure;
use super::super::near::Near;
use super::super::project::Project;
use super::super::routes::Reached;
use super::super::triggers::Probes;
use super::content::Service;
use super::desk::Desk;
use super::diary::Diary;
use super::{PATIENCE, count};
use crate::execution::Wanted;
use crate::model::act::Doing;
use crate::model::host::CohortAccess;
use crate::model::plan::{Plan, PlanNote};
use crate::model::step::Step;
use crate::moving::content::Content;
use crate::moving::gates::Gates;
use crate::moving::standing::{self, Standing, State};
use crate::moving::transfer::{self, Direction, End, Told, Transfer, Wish};
use crate::people::wave::{Rules, Wave, waves};
use crate::providers::people::{Asked, Came, Fit, Listed, People, Side, Stands};
use crate::services::cms::ledger::Phase;
use crate::services::proxy::route::Route;

/// What one cohort is moved by.
pub struct Crew<G, C> {
    pub gates: G,
    pub content: C,
    /// The side of users without a route of their own.
    pub default: Route,
    pub waves: Vec<Wave>,
}

/// The crews of all cohorts that a phase moves, by cohort.
pub struct Crews<G, C> {
    crews: BTreeMap<String, Crew<G, C>>,
    diary: Diary,
    wanted: Mutex<Option<watch::Receiver<Wanted>>>,
    /// What windows do beside the move.
    desk: Desk,
    /// Of each cohort, who was tried in this apply, and whether they arrived on the new side.
    tried: Mutex<BTreeMap<String, BTreeMap<String, bool>>>,
    /// When somebody arrived in this apply (Unix seconds), by the clock of this machine.
    arrivals: Mutex<BTreeMap<String, i64>>,
}

impl Crews<Reached, Service> {
    /// Of the cohorts that are places of the topology. No host is asked yet.
    pub fn of(context: &Context, project: &Project, probes: Probes) -> Result<Self, Failure> {
        let mut crews = BTreeMap::new();
        let near = Arc::new(Near::of(context, project));
        for c in project.site.hosts.values().filter_map(|h| h.cohort()) {
            let node = project.topology.get("cohort", &c.cohort).zip(project.made.people.get(&c.cohort));
            let gates = Reached::of(project, Arc::clone(&near), Some(&c.proxy), &[]);
            let content = Service::of(project, Arc::clone(&near), Some(&c.cms));
            // Whatever is wrong with one of them is said when the cohort is asked about.
            if let (Some((node, chosen)), Ok(gates), Ok(content)) = (node, gates, content) {
                let users: Vec<String> = chosen.addresses().map(str::to_owned).collect();
                let (default, waves) = (gates.default, waves(&users, &Rules::of(node)));
                crews.insert(c.cohort.clone(), Crew { gates, content, default, waves });
            }
        }
        let state = project.state(context);
        let desk = Desk::of(project, &state, &near, probes)?;
        Ok(Self { desk, ..Self::with(crews, Diary::of(&state)) })
    }
}

impl<G: Gates, C: Content> Crews<G, C> {
    pub fn with(crews: BTreeMap<String, Crew<G, C>>, diary: Diary) -> Self {
        let (wanted, desk) = (Mutex::new(None), Desk::default());
        Self { crews, diary, wanted, desk, tried: Mutex::default(), arrivals: Mutex::default() }
    }

    pub fn with_desk(self, desk: Desk) -> Self {
        Self { desk, ..self }
    }

    /// Says in a plan what its windows do beside the move.
    pub fn tell(&self, plan: &mut Plan) {
        let told =
            |s: &Step| self.desk.told(Doing::of(&s.address)?, &plan.hosts.get(&s.address.host)?.cohort()?.cohort);
        let notes: Vec<PlanNote> = plan.steps.iter().filter_map(told).collect();
        plan.notes.extend(notes);
    }

    /// Who of a cohort is not where they should be.
    async fn lacking(&self, cohort: &CohortAccess, what: Doing) -> Result<Vec<String>, String> {
        let crew = self.crew(&cohort.cohort)?;
        let users: Vec<String> = crew.waves.iter().flat_map(Wave::users).cloned().collect();
        let stands = standing::look(&crew.gates, &crew.content, &users, crew.default).await;
        let stands = stands.map_err(|silent| silent.to_string())?;
        let count = |states: &[State]| stands.iter().filter(|s| states.contains(&s.state)).count() as u64;
        let mut out = Vec::new();
        if what == Doing::Verify {
            let away = users.len() as u64 - count(&[State::Moved]);
            if away > cohort.may_fail {
                out.push(format!("{away} of {} people are not on the new side", users.len()));
            }
        }
        // Who is astray on the old side is one of those who stayed: a last pass ended after its time, and the next move mends it.
        let stayed = |s: &Standing| s.routes.values().all(|r| r.unwrap_or(crew.default) == Route::Old);
        for state in [State::Held, State::Apart, State::Astray, State::Blocked] {
            let n = stands.iter().filter(|s| s.state == state && !(state == State::Astray && stayed(s))).count();
            if n > 0 && (what == Doing::Verify || state != State::Astray) {
                out.push(format!("{n} people are {}", state.as_str()));
            }
        }
        if !out.is_empty() {
            out.push(format!("`cutover cohort status {}` names them", cohort.cohort));
        }
        Ok(out)
    }

    /// From now on a run may be told to end.
    pub fn heed(&self, wanted: watch::Receiver<Wanted>) {
        *self.wanted.lock().unwrap_or_else(PoisonError::into_inner) = Some(wanted);
    }

    /// From now on it is counted who arrives. Of an apply that goes on, who was tried since its begin (Unix milliseconds) counts already.
    pub fn count_since(&self, since: Option<i64>) -> Result<(), Failure> {
        let past = since.map_or_else(|| Ok(BTreeMap::new()), |_| self.diary.read())?;
        let since = since.unwrap_or(i64::MAX);
        let second = |at: &str| at.parse::<jiff::Timestamp>().map(jiff::Timestamp::as_second).ok();
        let after = |at: &str| second(at).is_some_and(|t| t >= since.div_euclid(1_000));
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        tried.clear();
        arrivals.clear();
        for (cohort, crew) in &self.crews {
            let people = tried.entry(cohort.clone()).or_default();
            for user in crew.waves.iter().flat_map(Wave::users) {
                let last = past.get(user).and_then(|all| all.iter().rfind(|e| e.to == "new" && after(&e.at)));
                people.extend(last.map(|e| (user.clone(), e.arrived)));
                arrivals.extend(last.filter(|e| e.arrived).and_then(|e| Some((user.clone(), second(&e.at)?))));
            }
        }
        Ok(())
    }

    /// Of each wave that was begun: how many did not arrive, of how many people.
    pub fn stayed(&self, cohort: &str) -> Vec<(String, u64, u64)> {
        let tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(crew), Some(tried)) = (self.crews.get(cohort), tried.get(cohort)) else { return Vec::new() };
        let of = |w: &Wave| {
            let came: Vec<bool> = w.users().filter_map(|u| tried.get(u).copied()).collect();
            let stayed = came.iter().filter(|arrived| !**arrived).count() as u64;
            (!came.is_empty()).then(|| (w.key.clone(), stayed, w.count() as u64))
        };
        crew.waves.iter().filter_map(of).collect()
    }

    fn crew(&self, cohort: &str) -> Result<&Crew<G, C>, String> {
        self.crews.get(cohort).ok_or_else(|| {
            format!("the topology has no cohort {cohort} any more that a phase moves by a proxy and a content service")
        })
    }

    async fn bring(
        &self,
        cohort: &CohortAccess,
        users: &[String],
        to: Side,
        tell: &(dyn Fn(String) + Send + Sync),
    ) -> Result<Vec<Came>, String> {
        let crew = self.crew(&cohort.cohort)?;
        let direction = match to {
            Side::New => Direction::New,
            Side::Old => Direction::Old,
        };
        let limit = cohort.longest_hold.map(Duration::from_secs);
        let wish = Wish { direction, default: crew.default, patience: PATIENCE, limit };
        let told = |told: Told<'_>| match told {
            Told::Held(users) => tell(format!("{} held", count(users.len()))),
            Told::Waiting(why) => tell(format!("no answer, asked again: {why}")),
            Told::Carried(_) | Told::Released(..) => {}
        };
        let done = transfer::transfer(&crew.gates, &crew.content, users, wish, &told).await;
        let done = done.map_err(|silent| silent.to_string())?;
        if self.diary.write(direction, &done).is_err() {
            // Where people are is asked of gates and service; only how long they waited is lost.
            tell("the diary of moves cannot be written: mend the state folder".to_owned());
        }
        let came: Vec<Came> = done.into_iter().map(came).collect();
        if to == Side::New {
            let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
            let people = tried.entry(cohort.cohort.clone()).or_default();
            people.extend(came.iter().map(|c| (c.user.clone(), c.arrived)));
            let now = jiff::Timestamp::now().as_second();
            let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
            arrivals.extend(came.iter().filter(|c| c.arrived).map(|c| (c.user.clone(), now)));
        }
        Ok(came)
    }
}

impl<G: Gates + Send, C: Content + Send> People for Crews<G, C> {
    fn waves(&self, cohort: &str) -> Result<Vec<Listed>, String> {
        let listed = |w: &Wave| Listed { key: w.key.clone(), digest: w.digest(), users: w.users().cloned().collect() };
        Ok(self.crew(cohort)?.waves.iter().map(listed).collect())
    }

    fn look<'a>(&'a self, cohort: &'a str, users: &'a [String]) -> Asked<'a, Vec<Stands>> {
        Box::pin(async move {
            let crew = self.crew(cohort)?;
            let stands = standing::look(&crew.gates, &crew.content, users, crew.default).await;
            let stands = stands.map_err(|silent| silent.to_string())?.into_iter().map(stand);
            let arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
            // The clock of the service's host may be another one: what was seen from here counts.
            let since = |s: &Stands| arrivals.get(&s.user).copied().unwrap_or(s.since);
            Ok(stands.map(|s| Stands { since: since(&s), ..s }).collect())
        })
    }

    fn bring<'a>(
        &'a self,
        cohort: &'a CohortAccess,
        users: &'a [String],
        to: Side,
        tell: &'a (dyn Fn(String) + Send + Sync),
    ) -> Asked<'a, Vec<Came>> {
        Box::pin(Crews::bring(self, cohort, users, to, tell))
    }

    fn act<'a>(
        &'a self,
        cohort: &'a CohortAccess,
        what: Doing,
        within: Duration,
        tell: &'a (dyn Fn(String) + Send + Sync),
    ) -> Asked<'a, Vec<String>> {
        Box::pin(async move {
            let began = Instant::now();
            let stopping = || self.stopping() || began.elapsed() >= within;
            match what {
                Doing::Notify => self.desk.notify(&cohort.cohort, tell, &stopping).await,
                Doing::DrainSource => self.desk.drained(&cohort.cohort, tell).await,
                Doing::Open => self.lacking(cohort, what).await,
                Doing::Verify => {
                    let mut out = self.lacking(cohort, what).await?;
                    out.extend(self.desk.probed(cohort.opening.as_ref().and_then(|o| o.way_back.as_ref()), tell).await);
                    Ok(out)
                }
            }
        })
    }

    fn stopping(&self) -> bool {
        let wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.as_ref().is_some_and(|w| *w.borrow() > Wanted::Run)
    }
}

fn came(t: Transfer) -> Came {
    Came {
        arrived: matches!(t.end, End::Arrived | End::Already),
        why: t.why,
        held_ms: t.held_ms,
        messages: t.passed.map_or(0, |p| p.appended),
        user: t.user,
    }
}

fn stand(s: Standing) -> Stands {
    let side = match s.state {
        State::Moved => Some(Side::New),
        State::Waiting | State::Copying | State::Ready | State::Back | State::Failed => Some(Side::Old),
        State::Unknown | State::Held | State::Astray | State::Apart | State::Blocked => None,
    };
    let fit = match (s.state, s.phase()) {
        (State::Blocked | State::Unknown | State::Failed, _) | (_, None | Some(Phase::Failed)) => Fit::No,
        (_, Some(Phase::Waiting | Phase::Bulk)) => Fit::Soon,
        _ => Fit::Yes,
    };
    let since = s.mailbox.as_ref().map_or(0, |m| m.changed.div_euclid(1000));
    Stands { side, state: s.state.as_str(), fit, since, user: s.user }
}
