//! Where each user belongs: a table that is replaced whole, and the sessions that run by it.
//!
//! The order is what holds a move together. A login stands in [`Sessions`] before it asks for its route; whoever changes a route
//! puts the new table in place before they look at the sessions. So each session either found the new route, or is found
//! and closed: after [`Routes::replace`] returns there is none of a moved user on the former side that nobody knows of.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, RwLock};

/// What becomes of a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Route {
    Old,
    New,
    /// The final delta runs: a login waits, or is told to come again.
    Held,
    Blocked,
}

impl Route {
    pub fn as_str(self) -> &'static str {
        match self {
            Route::Old => "old",
            Route::New => "new",
            Route::Held => "held",
            Route::Blocked => "blocked",
        }
    }

    pub fn named(name: &str) -> Option<Route> {
        [Route::Old, Route::New, Route::Held, Route::Blocked].into_iter().find(|r| r.as_str() == name)
    }
}

/// All routes of one epoch. The same for IMAP, POP3 and SMTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Grows with every change.
    pub epoch: u64,
    /// Of users that are not named.
    pub default: Route,
    pub users: HashMap<String, Route>,
}

impl Table {
    pub fn of(&self, user: &str) -> Route {
        self.users.get(user).copied().unwrap_or(self.default)
    }

    /// The file form: `cutover-routes 1 EPOCH DEFAULT`, a line `ROUTE USER` each, `end COUNT`. Without its last line it is torn.
    pub fn to_text(&self) -> String {
        let mut users: Vec<(&String, &Route)> = self.users.iter().collect();
        users.sort();
        let mut out = format!("cutover-routes 1 {} {}\n", self.epoch, self.default.as_str());
        for (user, route) in users {
            let _ = writeln!(out, "{} {user}", route.as_str());
        }
        let _ = writeln!(out, "end {}", self.users.len());
        out
    }

    /// Reads the file form; the error names the line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        let head: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
        let ["cutover-routes", "1", epoch, default] = head.as_slice() else {
            return Err("line 1 is not `cutover-routes 1 EPOCH DEFAULT`".into());
        };
        let epoch = epoch.parse().map_err(|_| format!("line 1: `{epoch}` is no epoch"))?;
        let default = Route::named(default).ok_or_else(|| format!("line 1: there is no route `{default}`"))?;
        let mut users = HashMap::new();
        for (number, line) in (2..).zip(&mut lines) {
            let (word, rest) = line.split_once(' ').ok_or_else(|| format!("line {number} is not `ROUTE USER`"))?;
            if word == "end" {
                return match (rest.parse() == Ok(users.len()), lines.next()) {
                    (true, None) => Ok(Self { epoch, default, users }),
                    (false, _) => Err(format!("line {number} says `end {rest}` behind {} users", users.len())),
                    (true, Some(_)) => Err(format!("something stands behind `end` in line {}", number + 1)),
                };
            }
            let route = Route::named(word).ok_or_else(|| format!("line {number}: there is no route `{word}`"))?;
            if users.insert(rest.to_owned(), route).is_some() {
                return Err(format!("line {number}: {rest} stands here twice"));
            }
        }
        Err("the file is torn: its last line is not `end COUNT`".into())
    }
}

/// One session as others see it.
pub trait Session: Send + Sync + 'static {
    /// Ends it after its current command. Called once at the most for each route that is taken from it.
    fn close(&self);
}

struct Live<S> {
    session: Arc<S>,
    /// Nothing while the login asks for its route.
    route: Option<Route>,
}

/// Sessions by user, then by number.
type Users<S> = HashMap<String, HashMap<u64, Live<S>>>;

/// The table in force and the sessions of every user.
pub struct Routes<S> {
    table: RwLock<Arc<Table>>,
    /// In parts, so that logins of different users do not wait for one another.
    live: [Mutex<Users<S>>; 16],
    next: std::sync::atomic::AtomicU64,
}

/// A session that stands in the table of sessions until this is dropped.
pub struct Ticket<S: Session> {
    routes: Arc<Routes<S>>,
    user: String,
    id: u64,
}

impl<S: Session> Routes<S> {
    pub fn new(table: Table) -> Self {
        let live = std::array::from_fn(|_| Mutex::default());
        Self { table: RwLock::new(Arc::new(table)), live, next: Default::default() }
    }

    pub fn table(&self) -> Arc<Table> {
        self.table.read().unwrap_or_else(|e| e.into_inner()).clone()
    }

    fn part(&self, user: &str) -> std::sync::MutexGuard<'_, Users<S>> {
        // FNV-1a: which part is no secret.
        let hash =
            user.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
        self.live[(hash % 16) as usize].lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Registers a login of a user, then finds its route. `Old` and `New` are for this session to keep; `Held` is asked for again.
    pub fn enter(self: &Arc<Self>, user: &str, session: Arc<S>) -> (Ticket<S>, Route) {
        let id = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.part(user).entry(user.to_owned()).or_default().insert(id, Live { session, route: None });
        let ticket = Ticket { routes: self.clone(), user: user.to_owned(), id };
        let route = ticket.route();
        (ticket, route)
    }

    /// Puts a newer table in force and closes the sessions whose route it takes away. `false`, and nothing changes, when the
    /// table in force is as new.
    pub fn replace(&self, table: Table) -> bool {
        let table = Arc::new(table);
        {
            let mut held = self.table.write().unwrap_or_else(|e| e.into_inner());
            if held.epoch >= table.epoch {
                return false;
            }
            *held = table.clone();
        }
        for part in &self.live {
            let part = part.lock().unwrap_or_else(|e| e.into_inner());
            for (user, sessions) in part.iter() {
                let route = table.of(user);
                for live in sessions.values().filter(|l| l.route.is_some_and(|r| r != route)) {
                    live.session.close();
                }
            }
        }
        true
    }

    /// Closes every session of a user; how many there were.
    pub fn kick(&self, user: &str) -> usize {
        let part = self.part(user);
        let sessions = part.get(user);
        sessions.into_iter().flat_map(|s| s.values()).for_each(|l| l.session.close());
        sessions.map_or(0, HashMap::len)
    }

    /// Sessions of each route, those that wait or still ask apart.
    pub fn count(&self) -> HashMap<Option<Route>, usize> {
        let mut out = HashMap::new();
        for part in &self.live {
            let part = part.lock().unwrap_or_else(|e| e.into_inner());
            part.values().flat_map(|s| s.values()).for_each(|l| *out.entry(l.route).or_default() += 1);
        }
        out
    }
}

impl<S: Session> Ticket<S> {
    /// The route as it is now. Under the lock of the sessions, so that whoever replaces the table afterwards sees what was found.
    pub fn route(&self) -> Route {
        let mut part = self.routes.part(&self.user);
        let route = self.routes.table().of(&self.user);
        if let Some(live) = part.get_mut(&self.user).and_then(|s| s.get_mut(&self.id)) {
            live.route = matches!(route, Route::Old | Route::New).then_some(route);
        }
        route
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
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use super::*;

    #[derive(Default)]
    struct Flag(AtomicBool);

    impl Session for Flag {
        fn close(&self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    fn table(epoch: u64, users: &[(&str, Route)]) -> Table {
        Table { epoch, default: Route::Old, users: users.iter().map(|(u, r)| ((*u).to_owned(), *r)).collect() }
    }

    #[test]
    fn the_file_comes_back_and_a_torn_one_does_not() {
        let t = table(7, &[("ann@acme.example", Route::New), ("bob with space", Route::Held), ("cem", Route::Blocked)]);
        let text = t.to_text();
        assert_eq!(Table::parse(&text).unwrap(), t);
        for cut in 0..text.len() - 1 {
            assert!(Table::parse(&text[..cut]).is_err(), "cut at {cut}");
        }
        for bad in [
            "x",
            "cutover-routes 2 1 old\nend 0\n",
            "cutover-routes 1 1 old\nnew a\nnew a\nend 2\n",
            "cutover-routes 1 1 old\nend 0\nnew b\n",
            "cutover-routes 1 1 old\nnewer a\nend 1\n",
        ] {
            assert!(Table::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_moved_user_is_closed_and_nobody_else() {
        let routes = Arc::new(Routes::new(table(1, &[])));
        let (ann, bob) = (Arc::new(Flag::default()), Arc::new(Flag::default()));
        let (_a, route) = routes.enter("ann", ann.clone());
        let (_b, _) = routes.enter("bob", bob.clone());
        assert_eq!(route, Route::Old);
        assert!(!routes.replace(table(1, &[("ann", Route::New)])), "no newer epoch");
        assert!(routes.replace(table(2, &[("ann", Route::Held)])));
        assert!(ann.0.load(Ordering::SeqCst) && !bob.0.load(Ordering::SeqCst));
        let (waiting, route) = routes.enter("ann", Arc::new(Flag::default()));
        assert_eq!(route, Route::Held);
        routes.replace(table(3, &[("ann", Route::New)]));
        assert_eq!(waiting.route(), Route::New);
        assert_eq!(routes.kick("bob"), 1);
        assert!(bob.0.load(Ordering::SeqCst));
        drop((_a, _b, waiting));
        assert!(routes.count().is_empty());
    }

    /// Flips and logins race: none that holds the former side is left open once `replace` has returned.
    #[test]
    fn no_login_is_left_on_the_former_side() {
        let routes = Arc::new(Routes::new(table(0, &[])));
        let epoch = AtomicU64::new(0);
        let wrong = AtomicU64::new(0);
        std::thread::scope(|scope| {
            let stop = Arc::new(AtomicBool::new(false));
            for n in 0..4 {
                let (routes, epoch, wrong, stop) = (&routes, &epoch, &wrong, stop.clone());
                scope.spawn(move || {
                    let mut kept = Vec::new();
                    while !stop.load(Ordering::SeqCst) {
                        let flag = Arc::new(Flag::default());
                        let (ticket, route) = routes.enter(["ann", "bob"][n % 2], flag.clone());
                        kept.push((ticket, route, flag));
                        if kept.len() > 8 {
                            kept.remove(0);
                        }
                        // A flip that is done before and after this look is one that all of these must have heard of.
                        let before = epoch.load(Ordering::SeqCst);
                        let bad = kept.iter().filter(|(_, r, f)| {
                            let now = if before % 2 == 0 { Route::Old } else { Route::New };
                            *r != now && !f.0.load(Ordering::SeqCst)
                        });
                        let bad = bad.count() as u64;
                        if routes.table().epoch == before {
                            wrong.fetch_add(bad, Ordering::SeqCst);
                        }
                        kept.retain(|(_, _, f)| !f.0.load(Ordering::SeqCst));
                    }
                });
            }
            for e in 1..=20_000u64 {
                let route = if e % 2 == 0 { Route::Old } else { Route::New };
                assert!(routes.replace(table(e, &[("ann", route), ("bob", route)])));
                epoch.store(e, Ordering::SeqCst);
            }
            stop.store(true, Ordering::SeqCst);
        });
        assert_eq!(wrong.load(Ordering::SeqCst), 0);
    }
}
