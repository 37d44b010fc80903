//! A cohort's waves as steps of an apply: planned by a phase and by nothing else, carried out by the real execution with a ledger in a folder
//! of this machine, cut off at every order, and taken back. Gates and content service are in memory.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use cutover::cli::moving::{Crew, Crews, Desk, Diary};
use cutover::execution::{self, ApplyError, Identity, Report, Run, Settings, SystemClock, Wanted};
use cutover::journal::memory::MemoryDisk;
use cutover::journal::{Holder, Journal, StateDir, replay};
use cutover::language;
use cutover::lowering::{self, Options};
use cutover::model::observed::Observed;
use cutover::model::plan::Plan;
use cutover::model::resource::Resource;
use cutover::model::site::Site;
use cutover::model::step::{Outcome, StepId};
use cutover::model::{HostName, Severity};
use cutover::moving::standing::State;
use cutover::people;
use cutover::people::wave::{Rules, waves};
use cutover::planning::{self, PhaseSlice, PlanInput, PlanOptions, UndoInput};
use cutover::providers::{self, Agents, ShellAgent};
use cutover::secret::Resolver;
use cutover::services::cms::ledger::Phase;
use cutover::services::proxy::route::Route;
use cutover::transport::{FileSecrets, Network};
use tokio::sync::{mpsc, watch};

use crate::moving_people::{Shared, mail_comes, names, sound, states, world};

pub const ALL: [&str; 5] =
    ["ann@acme.example", "bob@acme.example", "cem@acme.example", "dana@acme.example", "eli@acme.example"];

pub struct Bench {
    dir: tempfile::TempDir,
    agent: Agents<Network>,
    pub disk: MemoryDisk,
    pub settings: Settings,
    resolver: Resolver,
    cohort: String,
    pub site: Site,
    pub options: PlanOptions,
    pub crews: Arc<Crews<Shared, Shared>>,
    pub wanted: watch::Sender<Wanted>,
    pid: Cell<u32>,
}

fn topology(cohort: &str, users: &[&str]) -> String {
    let users = users.join(" ");
    format!(
        "language 1\norganization acme domain=acme.example\nsite s\nplatform p postfix=\"3.7\" dovecot=\"2.3\"\naccepted-domain acme.example\n\
         server desk platform=p site=s ip=\"127.0.0.1\" {{ roles bastion; connection {{ transport local; }} }}\n\
         server new platform=p site=s ip=\"127.0.0.2\" {{ roles bastion; connection {{ transport local; }} }}\n\
         pair store method=dsync {{ members new desk; }}\n\
         legacy old product=dovecot host=old.acme.example master-user=mover admin=(secret)\"env:OLD\" {{ services imap; }}\n\
         cms mover from=old to=store extractor=imap importer=imap password=(secret)\"env:CMS\" {{ on desk; items messages; }}\n\
         proxy front old=old new=store cms=mover {{ on desk; listen imaps; }}\n\
         migration away strategy=pilot from=old to=store proxy=front cms=mover\n\
         cohort pilot-1 migration=away type=pilot {cohort} {{ select {{ users {users}; }} }}\n\
         phase pilot step=pilot {{ migrates pilot-1; }}\n"
    )
}

fn compiled(cohort: &str, users: &[&str]) -> (Site, Vec<String>) {
    compiled_with(cohort, users, "")
}

/// With more lines of the topology.
pub fn compiled_with(cohort: &str, users: &[&str], more: &str) -> (Site, Vec<String>) {
    let text = format!("{}{more}", topology(cohort, users));
    let files = BTreeMap::from([("topology.kdl".to_owned(), text.into_bytes())]);
    let compiled = language::compile_files(&files, "topology.kdl", &language::Options::default());
    let (people, _) =
        people::everybody(&compiled.topology, &std::collections::BTreeMap::new(), &|_| Err("no lists here".into()));
    let options = Options { people, ..Options::unissued(&lowering::needs(&compiled.topology)) };
    let (site, more) = lowering::lower(&compiled.topology, &[], &compiled.sources, &options);
    let all = compiled.diagnostics.iter().chain(more.iter());
    let errors = all.filter(|d| d.severity == Severity::Error).map(|d| format!("{} {}", d.code, d.message));
    (site, errors.collect())
}

fn rules(cohort: &str) -> Rules {
    let number = |field: &str| {
        let at = cohort.find(&format!("{field}="))? + field.len() + 1;
        cohort[at..].split(' ').next()?.trim_matches('"').trim_end_matches(['%', 's']).parse::<u64>().ok()
    };
    Rules {
        canaries: number("canaries").unwrap_or(0) as usize,
        soak: Duration::from_secs(number("canary-soak").unwrap_or(1800)),
        size: number("wave-size").map(|n| n as usize),
        together: 8,
        max_failed: cutover::model::unit::Percent(number("max-failed").unwrap_or(0) * 1_000_000),
    }
}

fn holder(pid: u32) -> Holder {
    Holder { user: "kim".into(), machine: "desk".into(), pid, boot: "b".into(), since: 0, apply: "a".into() }
}

impl Bench {
    pub fn new(cohort: &str, shared: &Shared) -> Self {
        Self::furnished(cohort, shared, Desk::default())
    }

    /// With what its windows have beside the move.
    pub fn furnished(cohort: &str, shared: &Shared, desk: Desk) -> Self {
        Self::of(cohort, shared, &ALL, tempfile::tempdir().unwrap(), desk)
    }

    /// The same machine and journal, and other people in the cohort's list.
    pub fn with_list(self, shared: &Shared, users: &[&str]) -> Self {
        let (disk, pid) = (self.disk.clone(), self.pid.clone());
        Self { disk, pid, ..Self::of(&self.cohort, shared, users, self.dir, Desk::default()) }
    }

    fn of(cohort: &str, shared: &Shared, users: &[&str], dir: tempfile::TempDir, desk: Desk) -> Self {
        let files = Arc::new(FileSecrets { root: "/".into() });
        let network = Network::new(cutover::transport::Settings::default(), BTreeMap::new(), Arc::clone(&files) as _);
        let shell = providers::Settings {
            state_root: dir.path().join("state").display().to_string(),
            unprivileged: true,
            ..Default::default()
        };
        let crew = Crew {
            gates: shared.clone(),
            content: shared.clone(),
            default: Route::Old,
            waves: waves(&names(users), &rules(cohort)),
        };
        let diary = Diary::of(&StateDir::below(dir.path(), "acme", None));
        let crews = Crews::with(BTreeMap::from([("pilot-1".to_owned(), crew)]), diary).with_desk(desk);
        let crews = Arc::new(crews);
        let wanted = watch::channel(Wanted::Run).0;
        crews.heed(wanted.subscribe());
        let agent = Agents::new(ShellAgent::new(network, shell), files).with_people(Arc::clone(&crews) as _);
        let mut settings = Settings::new("key");
        settings.reconnect = Duration::from_secs(2);
        settings.longest_wait = Duration::from_millis(1_500);
        let (site, errors) = compiled(cohort, users);
        assert_eq!(errors, Vec::<String>::new());
        let slice = PhaseSlice { name: "pilot".into(), migrates: ["pilot-1".to_owned()].into(), ..Default::default() };
        Self {
            dir,
            agent,
            disk: MemoryDisk::default(),
            settings,
            resolver: Resolver::fixed([("env:NONE", "a secret that no text holds")]),
            cohort: cohort.to_owned(),
            site,
            options: PlanOptions { phase: Some(slice), ..PlanOptions::default() },
            crews,
            wanted,
            pid: Cell::new(1),
        }
    }

    /// A file below the state folder of the anchor.
    pub fn state(&self, file: &str) -> std::path::PathBuf {
        let mut roots = std::fs::read_dir(self.dir.path().join("state")).unwrap();
        roots.find_map(|r| Some(r.ok()?.path().join(file)).filter(|p| p.exists())).unwrap()
    }

    async fn observe(&self) -> Observed {
        let asked = planning::hosts_to_ask(&self.site, &self.options).unwrap();
        execution::observe_all(&self.agent, &self.site, Some(&asked), "key", 4, |_, _| {}).await
    }

    pub async fn plan(&self) -> Plan {
        let observed = self.observe().await;
        planning::plan(&PlanInput { site: &self.site, observed: &observed, options: &self.options, key_id: "k" })
            .unwrap()
    }

    pub fn journal(&self) -> Journal {
        Journal::in_memory(&self.disk).unwrap().0
    }

    pub fn identity(&self) -> Identity {
        let pid = self.pid.get();
        self.pid.set(pid + 1);
        Identity { holder: holder(pid + 1), dead: Some(holder(pid)) }
    }

    pub fn run<'a>(&'a self, journal: &'a Journal) -> Run<'a, Agents<Network>, Resolver, SystemClock> {
        Run {
            agent: &self.agent,
            resolve: &self.resolver,
            clock: &SystemClock,
            journal,
            settings: &self.settings,
            events: mpsc::unbounded_channel().0,
            wanted: self.wanted.subscribe(),
        }
    }

    pub async fn try_apply(&self, plan: &Plan, apply: &str, undo_of: Option<&str>) -> Result<Report, ApplyError> {
        execution::apply(self.run(&self.journal()), plan, apply, &self.identity(), undo_of.map(str::to_owned)).await
    }

    pub async fn apply(&self, apply: &str) -> Report {
        self.try_apply(&self.plan().await, apply, None).await.unwrap()
    }

    pub async fn resume(&self, apply: &str) -> Result<Report, ApplyError> {
        execution::resume(self.run(&self.journal()), apply, &self.identity()).await
    }

    pub async fn undo_plan(&self, apply: &str) -> Plan {
        let saved = self.journal().load(apply).unwrap().unwrap();
        let standing = replay(&saved).unwrap();
        let outcomes =
            standing.outcomes.into_iter().enumerate().filter_map(|(id, o)| Some((id as StepId, o?))).collect();
        let mut site = self.site.clone();
        let steps: BTreeMap<_, Resource> = saved.plan.steps.iter().map(|s| (s.address.clone(), s.resource())).collect();
        site.resources = steps.into_values().collect();
        let lanes = ["cohort.pilot-1".into()].into();
        let observed = execution::observe_all(&self.agent, &site, Some(&lanes), "key", 4, |_, _| {}).await;
        planning::undo(&UndoInput { apply, plan: &saved.plan, outcomes: &outcomes, observed: &observed, now: 0 })
    }

    pub async fn undo(&self, of: &str, apply: &str) -> Report {
        let plan = self.undo_plan(of).await;
        assert!(!plan.blocked(), "{:?} {:?}", plan.notes, plan.failed);
        self.try_apply(&plan, apply, Some(of)).await.unwrap()
    }
}

pub fn shown(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(|s| format!("{} {}", s.action.as_str(), s.address)).collect()
}

pub const COHORT: &str = "canaries=1 canary-soak=\"0s\" wave-size=2";

#[tokio::test]
async fn a_phase_moves_its_cohort_wave_by_wave_and_a_second_plan_is_empty() {
    let shared = world(&ALL, Phase::Delta);
    let b = Bench::new(COHORT, &shared);
    let plan = b.plan().await;
    assert_eq!(
        shown(&plan),
        ["move cohort.pilot-1/wave:canaries", "move cohort.pilot-1/wave:1", "move cohort.pilot-1/wave:2"]
    );
    assert_eq!(plan.steps[1].reason, "2 of 2 people to move: 2 ready");
    assert_eq!(plan.steps[1].after, [0]);
    let text = serde_json::to_string(&plan).unwrap();
    assert!(!text.contains("ann@"), "nobody stands in a plan by name");
    let report = b.apply("a1").await;
    assert!(report.is_success(), "{report:?}");
    assert_eq!(states(&shared, &names(&ALL)).await, [State::Moved; 5]);
    assert_eq!(shown(&b.plan().await), Vec::<String>::new());
    sound(&shared, "a phase");
    assert!(shared.0.lock().unwrap().finals.values().all(|n| *n == 1));
}

#[tokio::test]
async fn no_other_plan_moves_anybody_or_asks_about_them() {
    let shared = world(&ALL, Phase::Delta);
    let mut b = Bench::new(COHORT, &shared);
    for targets in [vec![], vec!["cohort.pilot-1".to_owned()], vec!["cohort:pilot-1".to_owned()]] {
        for (phase, destroy) in [(None, false), (None, true), (Some("other"), false)] {
            let slice = |name: &str| PhaseSlice { name: name.into(), ..Default::default() };
            b.options =
                PlanOptions { phase: phase.map(slice), destroy, targets: targets.clone(), ..Default::default() };
            let plan = b.plan().await;
            assert_eq!(shown(&plan), Vec::<String>::new(), "{:?}", b.options);
            let told = plan.notes.iter().any(|n| n.text.contains("cutover plan --phase pilot"));
            assert_eq!(told, targets.is_empty() && phase.is_none() && !destroy, "{:?}", plan.notes);
        }
    }
    assert_eq!(shared.0.lock().unwrap().orders, 0, "nobody was asked");
}

#[tokio::test]
async fn gates_without_an_answer_are_no_plan() {
    let shared = world(&ALL, Phase::Delta);
    shared.0.lock().unwrap().dies = Some(0);
    let b = Bench::new(COHORT, &shared);
    let plan = b.plan().await;
    assert!(plan.blocked() && plan.steps.is_empty(), "{:?}", shown(&plan));
    assert_eq!(plan.failed[0].host, HostName::from("cohort.pilot-1"));
}

#[tokio::test]
async fn who_is_not_copied_is_waited_for_and_nothing_is_changed() {
    let shared = world(&ALL, Phase::Delta);
    shared.0.lock().unwrap().mailboxes.get_mut("cem@acme.example").unwrap().phase = Phase::Bulk;
    let b = Bench::new(COHORT, &shared);
    let report = b.apply("a1").await;
    assert_eq!(report.waits.as_ref().unwrap().why, "1 of 2 are copied", "{report:?}");
    assert_eq!((report.done, report.left, report.failed), (1, 2, 0), "{report:?}");
    let now = states(&shared, &names(&ALL)).await;
    assert_eq!(now, [State::Moved, State::Ready, State::Copying, State::Ready, State::Ready]);
    shared.0.lock().unwrap().mailboxes.get_mut("cem@acme.example").unwrap().phase = Phase::Delta;
    let report = b.resume("a1").await.unwrap();
    assert!(report.is_success(), "{report:?}");
    assert_eq!(states(&shared, &names(&ALL)).await, [State::Moved; 5]);
    sound(&shared, "waited");
}

#[tokio::test]
async fn more_failures_than_may_stop_what_follows() {
    for (cohort, broken, moved, failed) in [
        (COHORT, "ann@acme.example", 0, (1, 2)),
        (COHORT, "bob@acme.example", 2, (1, 1)),
        ("canaries=1 canary-soak=\"0s\" wave-size=2 max-failed=\"20%\"", "bob@acme.example", 4, (0, 0)),
        ("canaries=1 canary-soak=\"0s\" wave-size=2 max-failed=\"20%\"", "ann@acme.example", 0, (1, 2)),
    ] {
        let shared = world(&ALL, Phase::Delta);
        shared.0.lock().unwrap().broken.insert(broken.into());
        let b = Bench::new(cohort, &shared);
        let report = b.apply("a1").await;
        assert_eq!((report.failed, report.skipped), failed, "{cohort} {broken}: {report:?}");
        let there = states(&shared, &names(&ALL)).await.into_iter().filter(|s| *s == State::Moved).count();
        assert_eq!(there, moved, "{cohort} {broken}");
        let says = report.outcomes.values().find_map(|o| match o {
            Outcome::Failed { output, .. } => Some(output.clone()),
            _ => None,
        });
        if failed.0 > 0 {
            let says = says.unwrap();
            assert!(says.contains("the mailbox is full") && !says.contains(broken), "{says}");
        }
        sound(&shared, broken);
    }
}

#[tokio::test]
async fn canaries_are_watched_for_as_long_as_is_left() {
    let cohort = "canaries=1 canary-soak=\"3s\" wave-size=4";
    let shared = world(&ALL, Phase::Delta);
    let b = Bench::new(cohort, &shared);
    let now = jiff::Timestamp::now().as_millisecond();
    shared.0.lock().unwrap().mailboxes.get_mut("ann@acme.example").unwrap().changed = now;
    let report = b.apply("a1").await;
    assert!(report.waits.as_ref().unwrap().why.contains("watched"), "longer than this run waits: {report:?}");
    assert_eq!(report.done, 0);
    tokio::time::sleep(Duration::from_millis(3_100)).await;
    let report = b.resume("a1").await.unwrap();
    assert!(report.is_success(), "what has passed is not waited for again: {report:?}");
    sound(&shared, "watched");
}

#[tokio::test]
async fn an_undo_takes_back_whom_the_apply_moved_with_their_mail_and_nobody_else() {
    let shared = world(&ALL, Phase::Delta);
    // Dana was moved by hand before.
    {
        let mut w = shared.0.lock().unwrap();
        w.mailboxes.get_mut("dana@acme.example").unwrap().phase = Phase::Moved;
        w.only.insert("dana@acme.example".into(), (0, 0));
        w.tables.values_mut().for_each(|t| _ = t.users.insert("dana@acme.example".into(), Route::New));
    }
    let b = Bench::new(COHORT, &shared);
    assert!(b.apply("a1").await.is_success());
    mail_comes(&shared);
    let plan = b.undo_plan("a1").await;
    assert_eq!(
        shown(&plan),
        ["restore cohort.pilot-1/wave:2", "restore cohort.pilot-1/wave:1", "restore cohort.pilot-1/wave:canaries"]
    );
    let report = b.undo("a1", "a2").await;
    assert!(report.is_success(), "{report:?}");
    let now = states(&shared, &names(&ALL)).await;
    assert_eq!(now, [State::Back, State::Back, State::Back, State::Moved, State::Back]);
    let only = shared.0.lock().unwrap().only.clone();
    assert!(only.iter().all(|(user, (_, new))| *new == 0 || user.starts_with("dana")), "{only:?}");
    assert!(b.undo("a1", "a3").await.is_success(), "a second time nothing is done");
    sound(&shared, "undo");
    assert!(b.apply("a4").await.is_success());
    assert_eq!(states(&shared, &names(&ALL)).await, [State::Moved; 5]);
}

#[tokio::test]
async fn a_wave_that_stopped_half_way_is_taken_back_too() {
    let shared = world(&ALL, Phase::Delta);
    shared.0.lock().unwrap().broken.insert("bob@acme.example".into());
    let b = Bench::new(COHORT, &shared);
    assert_eq!(b.apply("a1").await.failed, 1);
    shared.0.lock().unwrap().broken.clear();
    assert!(b.undo("a1", "a2").await.is_success());
    let now = states(&shared, &names(&ALL)).await;
    assert!(!now.contains(&State::Moved), "{now:?}");
    sound(&shared, "half way");
}

/// The operator is killed before each order, with the lists of another day too; a resume comes to the same end, and each person went once.
#[tokio::test]
async fn killed_at_any_order_and_resumed_everybody_has_moved_once() {
    let mut at = 0;
    loop {
        let shared = world(&ALL, Phase::Delta);
        let b = Bench::new("canaries=1 canary-soak=\"0s\" wave-size=4", &shared);
        let plan = b.plan().await;
        {
            let mut w = shared.0.lock().unwrap();
            (w.orders, w.killed) = (0, Some(at));
        }
        let whole = tokio::select! {
            report = b.try_apply(&plan, "a1", None) => Some(report.unwrap()),
            () = shared.1.notified() => None,
        };
        sound(&shared, &format!("killed at {at}"));
        shared.0.lock().unwrap().killed = None;
        if let Some(report) = whole {
            assert!(report.is_success() && at > 20, "{at}: {report:?}");
            break;
        }
        b.disk.revive();
        let report = b.resume("a1").await.unwrap();
        assert!(report.is_success(), "killed at {at}: {report:?}");
        assert_eq!(states(&shared, &names(&ALL)).await, [State::Moved; 5], "killed at {at}");
        let w = shared.0.lock().unwrap();
        // Between the pass and the route nobody knows yet that the pass is done; done again it carries nothing.
        assert!(w.wrong.is_empty() && w.finals.values().all(|n| *n <= 2), "killed at {at}: {:?}", w.finals);
        at += 1;
    }
}

/// The journal ends at any of its records; what is true decides.
#[tokio::test]
async fn a_journal_that_lost_its_end_moves_nobody_twice() {
    let shared = world(&ALL, Phase::Delta);
    let b = Bench::new(COHORT, &shared);
    assert!(b.apply("a1").await.is_success());
    let finals = shared.0.lock().unwrap().finals.clone();
    let ends = b.disk.frame_ends();
    assert!(ends.len() > 5, "{ends:?}");
    for end in ends.iter().rev().skip(1).take(ends.len().saturating_sub(2)) {
        b.disk.truncate(*end);
        let report = b.resume("a1").await.unwrap();
        assert!(report.is_success(), "{end}: {report:?}");
        b.disk.truncate(*end);
    }
    assert_eq!(shared.0.lock().unwrap().finals, finals);
    sound(&shared, "torn journal");
}

#[tokio::test]
async fn a_second_operator_is_refused_and_an_older_one_moves_nobody_more() {
    let shared = world(&ALL, Phase::Delta);
    shared.0.lock().unwrap().mailboxes.get_mut("bob@acme.example").unwrap().phase = Phase::Bulk;
    let mut b = Bench::new(COHORT, &shared);
    b.settings.longest_wait = Duration::from_secs(20);
    let plan = b.plan().await;
    let other = Identity { holder: Holder { machine: "elsewhere".into(), ..holder(900) }, dead: None };
    let (first, second) = tokio::join!(b.try_apply(&plan, "a1", None), async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let disk = MemoryDisk::default();
        let journal = Journal::in_memory(&disk).unwrap().0;
        let refused = execution::apply(b.run(&journal), &plan, "b1", &other, None).await;
        shared.0.lock().unwrap().mailboxes.get_mut("bob@acme.example").unwrap().phase = Phase::Delta;
        refused
    });
    assert!(matches!(second, Err(ApplyError::Held { .. })), "{second:?}");
    assert!(first.unwrap().is_success());
    sound(&shared, "two operators");
}

#[tokio::test]
async fn other_people_than_the_plan_saw_are_not_moved() {
    let shared = world(&ALL, Phase::Delta);
    let b = Bench::new(COHORT, &shared);
    let mut plan = b.plan().await;
    plan.steps[0].attrs.insert("digest".into(), cutover::model::Attr::text("of another list"));
    let report = b.try_apply(&plan, "a1", None).await.unwrap();
    assert_eq!((report.failed, report.skipped), (1, 2), "{report:?}");
    assert!(matches!(report.outcomes[&0], Outcome::Stale { .. }));
    assert_eq!(states(&shared, &names(&ALL)).await, [State::Ready; 5]);
    assert!(b.dir.path().exists() && b.cohort == COHORT && !b.disk.dead().load(SeqCst));
}

#[tokio::test]
async fn a_stop_lets_the_group_end_and_begins_no_other() {
    let shared = world(&ALL, Phase::Delta);
    shared.0.lock().unwrap().mailboxes.get_mut("bob@acme.example").unwrap().phase = Phase::Bulk;
    let mut b = Bench::new(COHORT, &shared);
    b.settings.longest_wait = Duration::from_secs(60);
    let plan = b.plan().await;
    let began = std::time::Instant::now();
    let (report, ()) = tokio::join!(b.try_apply(&plan, "a1", None), async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        b.wanted.send(Wanted::Drain).unwrap();
    });
    let report = report.unwrap();
    assert!(report.interrupted && report.done == 1 && report.left == 2, "{report:?}");
    assert!(began.elapsed() < Duration::from_secs(20));
    sound(&shared, "stopped");
}

#[tokio::test]
async fn a_wave_waits_for_its_window_and_is_not_begun_when_it_is_over() {
    let now = jiff::Timestamp::now().as_second();
    let opening = |start: i64, end: i64| cutover::model::host::Opening {
        window: "night-1".into(),
        start,
        end,
        timezone: "UTC".into(),
        flips: true,
        acts: Vec::new(),
        way_back: None,
    };
    for (start, end, word) in [
        (now + 3_600, now + 7_200, "waits for window night-1"),
        (now - 60, now + 30, "need"),
        (now - 60, now + 3_600, ""),
    ] {
        let shared = world(&ALL, Phase::Delta);
        let mut b = Bench::new(COHORT, &shared);
        for host in b.site.hosts.values_mut() {
            if let cutover::model::host::Reach::Cohort(cohort) = &mut host.reach {
                cohort.opening = Some(opening(start, end));
            }
        }
        b.options.now = now;
        let plan = b.plan().await;
        assert!(
            !plan.blocked() && plan.notes.iter().any(|n| n.text.contains("people move in window night-1")),
            "{plan:?}"
        );
        let report = b.try_apply(&plan, "a1", None).await.unwrap();
        let says = report.waits.as_ref().map(|w| w.why.clone()).or(report.outcomes.values().find_map(|o| match o {
            Outcome::Failed { output, .. } => Some(output.clone()),
            _ => None,
        }));
        match word {
            "" => assert!(report.is_success(), "{report:?}"),
            word => {
                assert!(says.as_deref().unwrap_or_default().contains(word), "{report:?}");
                assert_eq!(states(&shared, &names(&ALL)).await, [State::Ready; 5]);
            }
        }
        b.options.now = end + 1;
        assert!(b.plan().await.blocked() || report.is_success(), "the window is over");
    }
}
