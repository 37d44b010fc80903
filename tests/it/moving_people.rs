//! People move and come back through gates and a content service in memory: whoever dies where, and however often, the end is the same, and
//! no gate ever lets anybody in on a side while another one lets them in on the other.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cutover::moving::content::{Carry, Content};
use cutover::moving::gates::{Gates, Order, Said, Table};
use cutover::moving::standing::{self, State};
use cutover::moving::transfer::{Direction, End, Transfer, Wish, transfer};
use cutover::services::cms::ledger::{Passed, Phase, Summary, Way};
use cutover::services::cms::service::wire::PassDone;
use cutover::services::proxy::route::Route;
use tokio::sync::Notify;

/// What is true, whoever asks.
#[derive(Default)]
pub struct World {
    pub tables: BTreeMap<String, Table>,
    pub mailboxes: BTreeMap<String, Summary>,
    /// Mail that is on the old side and not on the new one, and the other way round.
    pub only: BTreeMap<String, (u64, u64)>,
    /// Mail that people have deleted on the old side, and that the new one still has.
    pub deleted: BTreeMap<String, u64>,
    /// Users whose passes fail.
    pub broken: BTreeSet<String>,
    pub orders: usize,
    /// From this order on nobody answers.
    pub dies: Option<usize>,
    /// The order is carried out, and its answer is lost.
    pub lost: Option<usize>,
    /// Before this order whoever gives it is killed.
    pub killed: Option<usize>,
    /// How long a pass takes.
    pub slow: Duration,
    /// Of these users it takes for ever.
    pub stuck: BTreeSet<String>,
    /// Passes of the stuck end all the same, after nobody waits for them.
    pub late: bool,
    /// Last passes of each user that came out right.
    pub finals: BTreeMap<String, u32>,
    pub wrong: Vec<String>,
}

/// The world, and the bell that rings when somebody is killed.
#[derive(Clone, Default)]
pub struct Shared(pub Arc<Mutex<World>>, pub Arc<Notify>);

impl Shared {
    /// A killed operator gives no order, and hears nothing ever again.
    async fn alive(&self) {
        let killed = {
            let w = self.0.lock().unwrap();
            w.killed.is_some_and(|at| w.orders >= at)
        };
        if killed {
            self.1.notify_one();
            std::future::pending::<()>().await;
        }
    }
}

pub fn summary(user: &str, phase: Phase) -> Summary {
    Summary {
        user: user.to_owned(),
        phase,
        way: Way::Forward,
        paused: false,
        messages: 10,
        octets: 1000,
        total: 10,
        total_octets: 1000,
        exceptions: 0,
        watched: 0,
        astray: false,
        fault: None,
        changed: 0,
    }
}

impl World {
    fn side(&self, gate: &str, user: &str) -> Route {
        self.tables[gate].users.get(user).copied().unwrap_or(Route::Old)
    }

    /// Nobody may be let in on both sides, nor on the new one while mail of theirs is only on the old.
    fn look(&mut self) {
        let users: Vec<String> = self.mailboxes.keys().cloned().collect();
        for user in users {
            let sides: BTreeSet<Route> = self.tables.keys().map(|g| self.side(g, &user)).collect();
            if sides.contains(&Route::Old) && sides.contains(&Route::New) {
                self.wrong.push(format!("{user} is let in on both sides"));
            }
            if sides.contains(&Route::New) && self.only.get(&user).is_some_and(|(old, _)| *old > 0) {
                self.wrong.push(format!("{user} is let in on the new side while mail is only on the old one"));
            }
            if sides.contains(&Route::New) && self.deleted.get(&user).is_some_and(|n| *n > 0) {
                self.wrong.push(format!("{user} is let in on the new side, which has what they have deleted"));
            }
            let gone =
                self.mailboxes[&user].phase != Phase::Moved && self.only.get(&user).is_some_and(|(_, new)| *new > 0);
            if sides.contains(&Route::Old) && gone {
                self.wrong.push(format!("{user} is let in on the old side while mail is only on the new one"));
            }
        }
    }

    fn begin(&mut self) -> Result<bool, String> {
        let n = self.orders;
        self.orders += 1;
        match self.dies.is_some_and(|d| n >= d) {
            true => Err("no answer".into()),
            false => Ok(self.lost == Some(n)),
        }
    }
}

impl Gates for Shared {
    fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().tables.keys().cloned().collect()
    }

    async fn order(&self, gate: &str, order: &Order) -> Said {
        self.alive().await;
        let mut w = self.0.lock().unwrap();
        let lost = w.begin()?;
        let table = w.tables.get_mut(gate).ok_or("no such gate")?;
        match order {
            Order::Set { users, to, .. } => users.iter().for_each(|u| _ = table.users.insert(u.clone(), *to)),
            Order::Forget(users) => users.iter().for_each(|u| _ = table.users.remove(u)),
            _ => {}
        }
        let said = table.clone();
        w.look();
        if lost { Err("the line was cut".into()) } else { Ok(said) }
    }
}

impl Content for Shared {
    async fn look(&self, users: &[String]) -> Result<BTreeMap<String, Summary>, String> {
        self.alive().await;
        let mut w = self.0.lock().unwrap();
        if w.begin()? {
            return Err("the line was cut".into());
        }
        Ok(users.iter().filter_map(|u| Some((u.clone(), w.mailboxes.get(u)?.clone()))).collect())
    }

    async fn astray(&self, users: &[String], on: bool) -> Result<(), String> {
        self.alive().await;
        let mut w = self.0.lock().unwrap();
        let lost = w.begin()?;
        for user in users {
            if w.tables.keys().any(|g| w.side(g, user) == Route::Held) {
                w.wrong.push(format!("{user} was held before it was written down where they work"));
            }
            w.mailboxes.get_mut(user).unwrap().astray = on;
        }
        if lost { Err("the line was cut".into()) } else { Ok(()) }
    }

    async fn carry(&self, users: &[String], what: Carry, within: Option<Duration>) -> Result<Vec<PassDone>, String> {
        self.alive().await;
        let (slow, stuck) = {
            let w = self.0.lock().unwrap();
            (w.slow, w.stuck.iter().any(|u| users.contains(u)))
        };
        tokio::time::sleep(if stuck { within.unwrap_or(Duration::from_secs(3600)) } else { slow }).await;
        let mut w = self.0.lock().unwrap();
        let lost = w.begin()?;
        let mut done = Vec::new();
        for user in users {
            if !w.tables.keys().all(|g| w.side(g, user) == Route::Held) {
                w.wrong.push(format!("{} of {user}, who can still log in", what.as_str()));
            }
            let stuck = w.stuck.contains(user);
            let broken = w.broken.contains(user) || stuck;
            if !broken || stuck && w.late {
                if what == Carry::Rollback && w.deleted.get(user).is_some_and(|n| *n > 0) {
                    w.wrong.push(format!("what {user} had deleted came back"));
                }
                w.deleted.remove(user);
                let only = w.only.entry(user.clone()).or_default();
                let phase = match what {
                    Carry::Final => {
                        only.0 = 0;
                        *w.finals.entry(user.clone()).or_default() += 1;
                        Phase::Moved
                    }
                    Carry::Late => unreachable!("a move asks for no late pass"),
                    Carry::Rollback => {
                        only.1 = 0;
                        Phase::Back
                    }
                };
                let mailbox = w.mailboxes.get_mut(user).unwrap();
                (mailbox.phase, mailbox.astray) = (phase, false);
            }
            let passed = Passed { pass: what.as_str().into(), borne: true, ..Passed::default() };
            let fault = broken.then_some(if stuck { "it was not over in time" } else { "quota: the mailbox is full" });
            done.push(PassDone {
                user: user.clone(),
                passed: (!broken).then_some(passed),
                fault: fault.map(str::to_owned),
                help: None,
            });
        }
        w.look();
        if lost { Err("the line was cut".into()) } else { Ok(done) }
    }
}

pub fn world(users: &[&str], phase: Phase) -> Shared {
    let shared = Shared::default();
    {
        let mut w = shared.0.lock().unwrap();
        for gate in ["gate-1", "gate-2"] {
            w.tables.insert(gate.into(), Table::default());
        }
        for user in users {
            w.mailboxes.insert((*user).into(), summary(user, phase));
            w.only.insert((*user).into(), (3, 0));
        }
    }
    shared
}

pub fn names(users: &[&str]) -> Vec<String> {
    users.iter().map(|u| (*u).to_owned()).collect()
}

pub async fn go(shared: &Shared, users: &[String], direction: Direction) -> Option<Vec<Transfer>> {
    let wish = Wish { direction, default: Route::Old, patience: Duration::from_millis(5), limit: None };
    transfer(shared, shared, users, wish, &|_| {}).await.ok()
}

/// As an operator does it: again, until all have arrived, three times at most.
async fn settled(shared: &Shared, users: &[String], direction: Direction) -> Vec<Transfer> {
    let mut ends = Vec::new();
    for _ in 0..3 {
        ends = go(shared, users, direction).await.unwrap();
        if ends.iter().all(|t| matches!(t.end, End::Arrived | End::Already)) {
            break;
        }
    }
    ends
}

pub async fn states(shared: &Shared, users: &[String]) -> Vec<State> {
    let all = standing::look(shared, shared, users, Route::Old).await.unwrap();
    all.into_iter().map(|s| s.state).collect()
}

pub fn sound(shared: &Shared, at: &str) {
    let w = shared.0.lock().unwrap();
    assert!(w.wrong.is_empty(), "{at}: {:?}", w.wrong);
}

/// Mail comes in on the new side once somebody is there.
pub fn mail_comes(shared: &Shared) {
    let mut w = shared.0.lock().unwrap();
    let moved: Vec<String> =
        w.mailboxes.iter().filter(|(_, m)| m.phase == Phase::Moved).map(|(u, _)| u.clone()).collect();
    moved.into_iter().for_each(|u| w.only.entry(u).or_default().1 += 2);
}

#[tokio::test]
async fn people_move_and_come_back() {
    let users = names(&["ann", "bob", "cem"]);
    let shared = world(&["ann", "bob", "cem"], Phase::Delta);
    let done = go(&shared, &users, Direction::New).await.unwrap();
    assert!(done.iter().all(|t| t.end == End::Arrived && t.held_ms.is_some()), "{done:?}");
    assert_eq!(states(&shared, &users).await, [State::Moved; 3]);
    let again = go(&shared, &users, Direction::New).await.unwrap();
    assert!(again.iter().all(|t| t.end == End::Already));
    mail_comes(&shared);
    let back = go(&shared, &users, Direction::Old).await.unwrap();
    assert!(back.iter().all(|t| t.end == End::Arrived), "{back:?}");
    assert_eq!(states(&shared, &users).await, [State::Back; 3]);
    assert!(shared.0.lock().unwrap().only.values().all(|only| only.1 == 0), "mail stayed on the new side");
    let done = go(&shared, &users, Direction::New).await.unwrap();
    assert!(done.iter().all(|t| t.end == End::Arrived), "there again: {done:?}");
    sound(&shared, "there, back, there");
}

#[tokio::test]
async fn one_whose_mailbox_fails_stays_and_the_others_arrive() {
    let users = names(&["ann", "bob"]);
    let shared = world(&["ann", "bob"], Phase::Delta);
    shared.0.lock().unwrap().broken.insert("bob".into());
    let done = go(&shared, &users, Direction::New).await.unwrap();
    assert_eq!((done[0].end, done[1].end), (End::Arrived, End::Stayed));
    assert!(done[1].why.as_deref().unwrap().contains("quota"), "{done:?}");
    assert_eq!(states(&shared, &users).await, [State::Moved, State::Ready]);
    sound(&shared, "one failed");
}

#[tokio::test]
async fn who_cannot_be_moved_well_is_not_begun() {
    for (phase, state) in
        [(Phase::Waiting, State::Waiting), (Phase::Bulk, State::Copying), (Phase::Failed, State::Failed)]
    {
        let users = names(&["ann"]);
        let shared = world(&["ann"], phase);
        let done = go(&shared, &users, Direction::New).await.unwrap();
        assert_eq!(done[0].end, End::Refused, "{phase:?}");
        assert_eq!(states(&shared, &users).await, [state]);
        assert!(shared.0.lock().unwrap().tables.values().all(|t| t.users.is_empty()), "a route was changed");
    }
    let shared = world(&["ann"], Phase::Delta);
    let strangers = names(&["eve"]);
    assert_eq!(go(&shared, &strangers, Direction::New).await.unwrap()[0].end, End::Refused);
}

/// The operator dies, or the line is cut, at each order; done again it comes to the same end.
#[tokio::test]
async fn killed_or_cut_at_any_order_and_done_again_the_end_is_the_same() {
    for direction in [Direction::New, Direction::Old] {
        for lost in [false, true] {
            for at in 0..30 {
                let users = names(&["ann", "bob"]);
                let shared = world(&["ann", "bob"], Phase::Delta);
                if direction == Direction::Old {
                    go(&shared, &users, Direction::New).await.unwrap();
                    mail_comes(&shared);
                }
                {
                    let mut w = shared.0.lock().unwrap();
                    w.orders = 0;
                    if lost { w.lost = Some(at) } else { w.dies = Some(at) }
                }
                let place = format!("{direction:?}, order {at}, {}", if lost { "answer lost" } else { "killed" });
                let _ = go(&shared, &users, direction).await;
                sound(&shared, &place);
                {
                    let mut w = shared.0.lock().unwrap();
                    (w.dies, w.lost) = (None, None);
                }
                let ends = settled(&shared, &users, direction).await;
                let want = if direction == Direction::New { State::Moved } else { State::Back };
                assert_eq!(states(&shared, &users).await, [want; 2], "{place}: {ends:?}");
                sound(&shared, &place);
            }
        }
    }
}

/// Ann works on the old side after a last pass that ended too late, Cem was sent there by hand, Bob has moved. Whoever takes them back or
/// moves them is killed, or has no answer, at each order; what Ann and Cem have deleted never comes back, and nothing stays behind.
#[tokio::test]
async fn killed_between_the_passes_of_somebody_astray_nothing_deleted_comes_back() {
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum How {
        Killed,
        Silent,
        Lost,
    }
    for direction in [Direction::Old, Direction::New] {
        for how in [How::Killed, How::Silent, How::Lost] {
            for at in 0..24 {
                let users = names(&["ann", "bob", "cem"]);
                let shared = world(&["ann", "bob", "cem"], Phase::Moved);
                {
                    let mut w = shared.0.lock().unwrap();
                    w.tables.values_mut().for_each(|t| _ = t.users.insert("bob".into(), Route::New));
                    w.only = BTreeMap::from([("ann".into(), (3, 0)), ("bob".into(), (0, 2)), ("cem".into(), (1, 4))]);
                    w.deleted = BTreeMap::from([("ann".into(), 2), ("cem".into(), 1)]);
                    match how {
                        How::Killed => w.killed = Some(at),
                        How::Silent => w.dies = Some(at),
                        How::Lost => w.lost = Some(at),
                    }
                }
                let place = format!("{direction:?}, {how:?} at {at}");
                tokio::select! {
                    () = async { if how == How::Killed { shared.1.notified().await } else { std::future::pending().await } } => {}
                    _ = go(&shared, &users, direction) => {}
                }
                sound(&shared, &place);
                {
                    let mut w = shared.0.lock().unwrap();
                    (w.dies, w.lost, w.killed) = (None, None, None);
                }
                let ends = settled(&shared, &users, direction).await;
                let want = if direction == Direction::New { State::Moved } else { State::Back };
                assert_eq!(states(&shared, &users).await, [want; 3], "{place}: {ends:?}");
                sound(&shared, &place);
                let w = shared.0.lock().unwrap();
                assert!(w.deleted.is_empty(), "{place}: {:?}", w.deleted);
                let left =
                    w.only.values().filter(|(old, new)| if direction == Direction::Old { *new > 0 } else { *old > 0 });
                assert_eq!(left.count(), 0, "{place}: {:?}", w.only);
            }
        }
    }
}
