//! The table in force beside the sessions of every user.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};

use tokio::sync::watch;

use super::{Change, Route, Table};

/// One session as others see it.
pub trait Session: Send + Sync + 'static {
    /// Ends it after its current command. May be called more than once.
    fn close(&self);
}

struct Live<S> {
    session: Arc<S>,
    /// Nothing while the login asks for its route.
    route: Option<Route>,
    /// The table told the route: without an entry there it would be asked for again.
    by_table: bool,
}

/// Sessions by user, then by number.
type Users<S> = HashMap<String, HashMap<u64, Live<S>>>;

/// A session that was told to close.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Victim {
    pub user: String,
    pub id: u64,
}

pub struct Routes<S> {
    table: RwLock<Table>,
    /// In parts, so that logins of different users do not wait for one another.
    live: [Mutex<Users<S>>; 16],
    next: AtomicU64,
    epoch: watch::Sender<u64>,
}

/// A session that stands in the table of sessions until this is dropped.
pub struct Ticket<S: Session> {
    routes: Arc<Routes<S>>,
    user: String,
    id: u64,
}

impl<S: Session> Routes<S> {
    pub fn new(table: Table) -> Self {
        let epoch = watch::Sender::new(table.epoch);
        let live = std::array::from_fn(|_| Mutex::default());
        Self { table: RwLock::new(table), live, next: AtomicU64::new(1), epoch }
    }

    /// Reads the table; nobody can change it meanwhile.
    pub fn read<T>(&self, look: impl FnOnce(&Table) -> T) -> T {
        look(&self.table.read().unwrap_or_else(|e| e.into_inner()))
    }

    /// Another default, of a store that does not tell one itself.
    pub fn set_default(&self, default: Route) {
        self.table.write().unwrap_or_else(|e| e.into_inner()).default = default;
    }

    pub fn epoch(&self) -> u64 {
        self.read(|t| t.epoch)
    }

    /// Tells of every change, and of whatever else may end the wait of a held login ([`Routes::wake`]).
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.epoch.subscribe()
    }

    /// Lets those who wait ask again.
    pub fn wake(&self) {
        let epoch = self.epoch();
        self.epoch.send_replace(epoch);
    }

    fn part(&self, user: &str) -> MutexGuard<'_, Users<S>> {
        // FNV-1a: which part is no secret.
        let hash =
            user.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
        self.live[(hash % 16) as usize].lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Registers a login of a user, which then asks for its route.
    pub fn enter(self: &Arc<Self>, user: &str, session: Arc<S>) -> Ticket<S> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let live = Live { session, route: None, by_table: false };
        self.part(user).entry(user.to_owned()).or_default().insert(id, live);
        Ticket { routes: self.clone(), user: user.to_owned(), id }
    }

    /// Puts a change in force, and closes sessions when it says so; who was told. Nothing, and nothing changes, when the table
    /// in force is as new. The cost goes by the users that change.
    pub fn apply(&self, change: &Change) -> Option<Vec<Victim>> {
        let applied = self.table.write().unwrap_or_else(|e| e.into_inner()).apply(change);
        applied.then(|| self.acted(&change.users, change.close, change.epoch))
    }

    /// Puts a newer table in force. Only users with another route than before are looked at.
    pub fn replace(&self, table: Table, close: bool) -> Option<Vec<Victim>> {
        let epoch = table.epoch;
        let former = {
            let mut held = self.table.write().unwrap_or_else(|e| e.into_inner());
            if held.epoch >= epoch {
                return None;
            }
            std::mem::replace(&mut *held, table)
        };
        let users = self.read(|now| former.difference(now));
        Some(self.acted(&users, close, epoch))
    }

    fn acted(&self, users: &[(String, Option<Route>)], close: bool, epoch: u64) -> Vec<Victim> {
        let mut victims = Vec::new();
        for (user, _) in users.iter().filter(|_| close) {
            let part = self.part(user);
            // As it is now: another change may have come in between, and it looks at the same sessions.
            let now = self.read(|t| t.users.get(user).copied());
            let sessions = part.get(user).into_iter().flatten();
            for (id, live) in sessions.filter(|(_, l)| l.route.is_some() && l.route != now) {
                live.session.close();
                victims.push(Victim { user: user.clone(), id: *id });
            }
        }
        self.epoch.send_replace(epoch);
        victims
    }

    /// Closes every session of a user, those that wait too.
    pub fn kick(&self, user: &str) -> Vec<Victim> {
        let victims = {
            let part = self.part(user);
            let sessions = part.get(user).into_iter().flatten();
            let told = sessions.map(|(id, live)| {
                live.session.close();
                Victim { user: user.to_owned(), id: *id }
            });
            told.collect()
        };
        self.wake();
        victims
    }

    /// How many of them are still there.
    pub fn remaining(&self, victims: &[Victim]) -> usize {
        victims.iter().filter(|v| self.part(&v.user).get(&v.user).is_some_and(|s| s.contains_key(&v.id))).count()
    }

    /// Looks at every session, or at those of one user: user, route (nothing while it waits or asks), session.
    pub fn each(&self, user: Option<&str>, mut look: impl FnMut(&str, Option<Route>, &Arc<S>)) {
        let mut users = |part: &Users<S>, only: Option<&str>| {
            for (user, sessions) in part.iter().filter(|(u, _)| only.is_none_or(|o| o == u.as_str())) {
                sessions.values().for_each(|live| look(user, live.route, &live.session));
            }
        };
        match user {
            Some(user) => users(&self.part(user), Some(user)),
            None => self.live.iter().for_each(|p| users(&p.lock().unwrap_or_else(|e| e.into_inner()), None)),
        }
    }

    /// Sessions of each route, those that wait or still ask apart.
    pub fn count(&self) -> HashMap<Option<Route>, usize> {
        let mut out = HashMap::new();
        self.each(None, |_, route, _| *out.entry(route).or_default() += 1);
        out
    }
}

impl<S: Session> Ticket<S> {
    /// The route as it is now: the table's, else `elsewhere`. Nothing when both tell none. `Old` and `New` are for this
    /// session to keep; `Held` is asked for again.
    ///
    /// Under the lock of the sessions, so that whoever changes the table afterwards sees what was found.
    pub fn route(&self, elsewhere: Option<Route>) -> Option<Route> {
        let mut part = self.routes.part(&self.user);
        let told = self.routes.read(|t| t.users.get(&self.user).copied());
        let route = told.or(elsewhere);
        if let Some(live) = part.get_mut(&self.user).and_then(|s| s.get_mut(&self.id)) {
            live.route = route.filter(|r| matches!(r, Route::Old | Route::New));
            live.by_table = told.is_some();
        }
        route
    }

    /// Whether the route that was found still holds. Asked once the backend has accepted the login and before the client
    /// hears of it; after `false` that backend is left, and the login enters again.
    pub fn settle(&self) -> bool {
        let mut part = self.routes.part(&self.user);
        let told = self.routes.read(|t| t.users.get(&self.user).copied());
        let Some(live) = part.get_mut(&self.user).and_then(|s| s.get_mut(&self.id)) else { return false };
        let stands = live.route.is_some() && (told == live.route || (told.is_none() && !live.by_table));
        if !stands {
            live.route = None;
        }
        stands
    }

    /// The name by which the routes know the user.
    pub fn user(&self) -> &str {
        &self.user
    }
}

impl<S: Session> Drop for Ticket<S> {
    fn drop(&mut self) {
        let mut part = self.routes.part(&self.user);
        if let Some(sessions) = part.get_mut(&self.user) {
            sessions.remove(&self.id);
            if sessions.is_empty() {
                part.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[derive(Default)]
    struct Flag(AtomicBool);

    impl Flag {
        fn told(&self) -> bool {
            self.0.load(Ordering::SeqCst)
        }
    }

    impl Session for Flag {
        fn close(&self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    fn routes() -> Arc<Routes<Flag>> {
        Arc::new(Routes::new(Table { epoch: 0, default: Route::Old, users: HashMap::new() }))
    }

    fn change(epoch: u64, users: &[(&str, Option<Route>)], close: bool) -> Change {
        Change { epoch, users: users.iter().map(|(u, r)| ((*u).to_owned(), *r)).collect(), close }
    }

    #[test]
    fn who_is_told_and_who_is_not() {
        let routes = routes();
        let flags: [Arc<Flag>; 3] = std::array::from_fn(|_| Arc::default());
        let tickets: Vec<_> =
            ["ann", "ann", "bob"].iter().zip(&flags).map(|(u, f)| routes.enter(u, f.clone())).collect();
        for t in &tickets {
            assert_eq!(t.route(None), None);
            assert_eq!(t.route(Some(Route::Old)), Some(Route::Old));
            assert!(t.settle());
        }
        assert_eq!(routes.apply(&change(0, &[("ann", Some(Route::New))], true)), None, "no newer epoch");
        assert_eq!(
            routes.apply(&change(1, &[("ann", Some(Route::Held))], false)),
            Some(vec![]),
            "nobody asked to close"
        );
        assert!(!flags[0].told());
        let victims = routes.apply(&change(2, &[("ann", Some(Route::Held))], true)).unwrap();
        assert_eq!(victims.len(), 2);
        assert!(flags[0].told() && flags[1].told() && !flags[2].told());
        assert_eq!(routes.remaining(&victims), 2);
        drop(tickets);
        assert_eq!(routes.remaining(&victims), 0);
        assert!(routes.count().is_empty());
    }

    #[test]
    fn a_login_on_its_way_does_not_end_on_the_former_side() {
        let routes = routes();
        let ticket = routes.enter("ann", Arc::default());
        assert_eq!(ticket.route(Some(Route::Old)), Some(Route::Old));
        routes.apply(&change(1, &[("ann", Some(Route::New))], false));
        assert!(!ticket.settle(), "the backend took it meanwhile");
        assert_eq!(ticket.route(Some(Route::Old)), Some(Route::New), "the table comes first");
        routes.apply(&change(2, &[("bob", Some(Route::New))], false));
        assert!(ticket.settle(), "another user's change is none of its");
        routes.apply(&change(3, &[("ann", None)], false));
        assert!(!ticket.settle(), "what the table told it tells no more");
    }

    #[test]
    fn a_kick_finds_those_that_wait_too() {
        let routes = routes();
        let flag = Arc::<Flag>::default();
        let ticket = routes.enter("ann", flag.clone());
        routes.apply(&change(1, &[("ann", Some(Route::Held))], true));
        assert_eq!(ticket.route(None), Some(Route::Held));
        assert!(!flag.told());
        assert_eq!(routes.kick("ann").len(), 1);
        assert!(flag.told() && routes.kick("bob").is_empty());
    }

    /// Flips and logins race. One that was told its route by the former table is either closed or does not settle.
    #[test]
    fn no_login_is_left_on_the_former_side() {
        let flips = 20_000;
        let routes = routes();
        let done = AtomicU64::new(0);
        let (wrong, logins) = (AtomicU64::new(0), AtomicU64::new(0));
        let side = |epoch: u64| if epoch.is_multiple_of(2) { Route::Old } else { Route::New };
        std::thread::scope(|scope| {
            let stop = Arc::new(AtomicBool::new(false));
            for n in 0..4 {
                let (routes, done, wrong, logins, stop) = (&routes, &done, &wrong, &logins, stop.clone());
                scope.spawn(move || {
                    let mut kept = Vec::new();
                    while !stop.load(Ordering::SeqCst) {
                        let flag = Arc::new(Flag::default());
                        let ticket = routes.enter(["ann", "bob"][n % 2], flag.clone());
                        let route = ticket.route(Some(Route::Old)).unwrap();
                        std::hint::spin_loop();
                        let before = done.load(Ordering::SeqCst);
                        let settled = ticket.settle();
                        // All flips up to `before` were acknowledged ere it settled: it cannot stand by an older one,
                        // unless a newer one has come since.
                        if settled && route != side(before) && routes.epoch() == before {
                            wrong.fetch_add(1, Ordering::SeqCst);
                        }
                        logins.fetch_add(1, Ordering::Relaxed);
                        if settled {
                            kept.push((ticket, route, flag));
                        }
                        if kept.len() > 8 {
                            kept.remove(0);
                        }
                        let before = done.load(Ordering::SeqCst);
                        let bad = kept.iter().filter(|(_, r, f)| *r != side(before) && !f.told()).count() as u64;
                        if routes.epoch() == before {
                            wrong.fetch_add(bad, Ordering::SeqCst);
                        }
                        kept.retain(|(_, _, f)| !f.told());
                    }
                });
            }
            for e in 1..=flips {
                let all = [("ann", Some(side(e))), ("bob", Some(side(e)))];
                assert!(routes.apply(&change(e, &all, true)).is_some());
                done.store(e, Ordering::SeqCst);
            }
            stop.store(true, Ordering::SeqCst);
        });
        assert_eq!(wrong.load(Ordering::SeqCst), 0, "of {} logins", logins.load(Ordering::SeqCst));
    }
}
