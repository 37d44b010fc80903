//! From the name that somebody typed to the side that has the mailbox, and to the name that its server knows.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::time::{Instant, timeout_at};

use super::config::{Config, HeldLogin, OnFailure, RouteSource};
use super::directory::{Answer, Directory, Unknown};
use super::handle::Handle;
use super::meter::Meter;
use super::rewrite::{LoginForm, Rewrite};
use super::route::{Route, Routes, Ticket};
use super::session::{Protocol, Refusal};
use super::source::Source;
pub use super::source::{Done, Wish, WishFault};
use super::store::StoreFault;
use crate::protocol::sasl::Credentials;

/// A login that has found its side.
pub struct Entry {
    /// Kept as long as the session lives. Once the backend has accepted the login, [`Ticket::settle`] tells whether the side is
    /// still the one.
    pub ticket: Ticket<Handle>,
    /// `Old` or `New`.
    pub route: Route,
    /// The name that routes, limits, logs and the directory know.
    pub user: String,
    /// The name that the backend is told.
    pub login: String,
}

impl Entry {
    /// What the backend is told instead of what was typed. Somebody who acts for another proves to be themselves: their own name
    /// stays as they typed it, and the mailbox is the other's.
    pub fn credentials(&self, mut typed: Credentials) -> Credentials {
        match &mut typed.acts_as {
            Some(acts_as) => acts_as.clone_from(&self.login),
            None => typed.user.clone_from(&self.login),
        }
        typed
    }
}

/// Whose mailbox a login is about: this name is what [`Router::enter`] takes.
pub fn mailbox(credentials: &Credentials) -> &str {
    credentials.acts_as.as_deref().unwrap_or(&credentials.user)
}

/// A login or a connection that is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    pub refusal: Refusal,
    /// For the log.
    pub why: String,
}

/// What follows from the configuration.
struct Rules {
    rewrite: Rewrite,
    /// By side and protocol; nothing where the side does not have it.
    forms: [[Option<LoginForm>; 3]; 2],
    held: HeldLogin,
    held_for: Duration,
    /// Of a change that comes by file.
    close: bool,
    on_failure: OnFailure,
    /// Names at the backends come from the directory.
    logins: bool,
}

pub struct Router {
    routes: Arc<Routes<Handle>>,
    source: Source,
    directory: ArcSwapOption<Directory>,
    rules: ArcSwap<Rules>,
    meter: Arc<Meter>,
}

/// How often a file, or another process' store, is looked at.
const LOOK: Duration = Duration::from_millis(100);

impl Rules {
    fn of(config: &Config) -> Self {
        let form = |route, protocol| config.sides.back(route, protocol).and_then(|back| back.login.parse().ok());
        let forms = [Route::Old, Route::New].map(|route| Protocol::ALL.map(|protocol| form(route, protocol)));
        let directory = config.directory.as_ref();
        Self {
            rewrite: config.rewrite(),
            forms,
            held: config.routes.held,
            held_for: config.routes.held_for,
            close: config.routes.close,
            on_failure: directory.map_or(OnFailure::Refuse, |d| d.on_failure),
            logins: directory.is_some_and(|d| d.login_old.is_some() || d.login_new.is_some()),
        }
    }

    /// A name as an operator writes it: routes know it after the same rules, but for those that go by what a client typed where.
    fn name(&self, name: &str) -> String {
        let rules = Rewrite { substitutes: Vec::new(), suffixes: Default::default(), ..self.rewrite.clone() };
        rules.user(name, IpAddr::V4(Ipv4Addr::UNSPECIFIED)).unwrap_or_else(|_| name.to_owned())
    }

    fn login(&self, route: Route, protocol: Protocol, user: &str) -> Option<String> {
        let side = usize::from(route == Route::New);
        self.forms[side][protocol as usize].as_ref().map(|form| form.of(user))
    }
}

impl Router {
    /// Begins with the routes as they were left.
    pub fn begin(config: &Config, meter: Arc<Meter>) -> Result<Arc<Self>, Vec<String>> {
        let mut faults = Vec::new();
        let directory =
            config.directory.as_ref().and_then(|d| Directory::begin(d, meter.clone()).map_err(|e| faults.push(e)).ok());
        let source = Source::open(config).map_err(|e| faults.push(e));
        let (Ok((source, table)), true) = (source, faults.is_empty()) else { return Err(faults) };
        meter.epoch.store(table.epoch, std::sync::atomic::Ordering::Relaxed);
        let router = Arc::new(Self {
            routes: Arc::new(Routes::new(table)),
            source,
            directory: ArcSwapOption::from(directory),
            rules: ArcSwap::from_pointee(Rules::of(config)),
            meter,
        });
        let weak = Arc::downgrade(&router);
        let thread = std::thread::Builder::new().name("routes".into()).spawn(move || watch(&weak));
        thread.map_err(|e| vec![format!("no thread for routes: {e}")])?;
        Ok(router)
    }

    /// Other rules and another directory for logins that come. Where routes come from stays as it was at the beginning.
    pub fn reload(&self, config: &Config) -> Result<(), Vec<String>> {
        let now = self.directory.load_full();
        if now.as_ref().map(|d| d.config()) != config.directory.as_ref() {
            let next = config.directory.as_ref().map(|d| Directory::begin(d, self.meter.clone())).transpose();
            self.directory.store(next.map_err(|e| vec![e])?);
        }
        self.rules.store(Arc::new(Rules::of(config)));
        // A route file tells its default itself.
        if config.routes.source == RouteSource::Store {
            self.routes.set_default(config.routes.default);
        }
        self.routes.wake();
        Ok(())
    }

    /// Changes routes: durable, then in force, then acknowledged. Blocks for as long as the disk takes.
    pub fn set(&self, mut wish: Wish) -> Result<Done, WishFault> {
        let rules = self.rules.load();
        for (name, _) in &mut wish.users {
            *name = rules.name(name);
        }
        let done = self.source.set(wish, &self.routes)?;
        self.meter.epoch.store(done.epoch, std::sync::atomic::Ordering::Relaxed);
        Ok(done)
    }

    /// Leaves the routes to the process that takes over in an upgrade, and reads along, so that a change reaches the sessions
    /// that are still here.
    pub fn hand_over(&self) -> Result<(), StoreFault> {
        self.source.hand_over(&self.routes)
    }

    /// A name as an operator writes it, as the routes know it.
    pub fn name(&self, name: &str) -> String {
        self.rules.load().name(name)
    }

    pub fn directory(&self) -> Option<Arc<Directory>> {
        self.directory.load_full()
    }

    /// Forgets what the directory said of a user, so that the next login asks it; whether anything was known.
    pub fn flush(&self, user: &str) -> bool {
        let flushed = self.directory.load().as_ref().is_some_and(|d| d.flush(user));
        self.routes.wake();
        flushed
    }

    /// The route of a user as a login would find it, and what tells it.
    pub async fn find(&self, user: &str) -> Result<(Route, &'static str), Denied> {
        let (told, default) = self.routes.read(|t| (t.users.get(user).copied(), t.default));
        if let Some(route) = told {
            return Ok((route, "table"));
        }
        match self.asked(user).await? {
            Some(answer) if answer.route.is_some() => Ok((answer.route.unwrap_or(default), "directory")),
            _ => Ok((default, "default")),
        }
    }

    pub fn routes(&self) -> &Arc<Routes<Handle>> {
        &self.routes
    }

    /// Finds the side of a login. Waits while the user is held, as long as the policy says.
    pub async fn enter(&self, typed: &str, handle: &Arc<Handle>) -> Result<Entry, Denied> {
        let rules = self.rules.load_full();
        let user = rules
            .rewrite
            .user(typed, handle.local.ip())
            .map_err(|e| Denied { refusal: Refusal::Wrong, why: e.to_string() })?;
        // Before the route is asked for, so that no change falls between.
        let mut changes = self.routes.changes();
        let ticket = self.routes.enter(&user, handle.clone());
        let until = Instant::now() + rules.held_for;
        let mut waits = None;
        loop {
            changes.mark_unchanged();
            let route = match ticket.route(None) {
                Some(route) => route,
                None => {
                    let (route, _) = self.find(&user).await?;
                    // The table comes first, also when it was changed meanwhile.
                    ticket.route(Some(route)).unwrap_or(route)
                }
            };
            match route {
                Route::Old | Route::New => {
                    let entry = if rules.logins { self.asked(&user).await? } else { None };
                    let name = entry.as_ref().and_then(|e| e.login(route)).unwrap_or(&user);
                    let Some(login) = rules.login(route, handle.protocol, name) else {
                        let (side, protocol) = (route.as_str(), handle.protocol.as_str());
                        return Err(later(format!("the {side} side has no {protocol}")));
                    };
                    return Ok(Entry { ticket, route, user, login });
                }
                Route::Blocked => return Err(Denied { refusal: Refusal::Blocked, why: "the user is blocked".into() }),
                Route::Held if rules.held == HeldLogin::Refuse => return Err(later("the user is held".into())),
                Route::Held => {
                    waits.get_or_insert_with(|| self.meter.held());
                    // A directory tells of no change by itself; its cache knows how often it is asked.
                    let again = (Instant::now() + Duration::from_secs(1)).min(until);
                    let woken = timeout_at(again, changes.changed()).await;
                    if handle.is_closing() {
                        return Err(later("the session was closed while it waited".into()));
                    }
                    if woken.is_err() && Instant::now() >= until {
                        return Err(later("the user was held for too long".into()));
                    }
                }
            }
        }
    }

    /// What the directory says; nothing where there is none, or no such entry.
    async fn asked(&self, user: &str) -> Result<Option<Arc<Answer>>, Denied> {
        let Some(directory) = self.directory.load_full() else { return Ok(None) };
        match directory.ask(user).await {
            Ok(answer) => Ok(answer),
            Err(Unknown::Unreachable(_)) if self.rules.load().on_failure == OnFailure::Default => Ok(None),
            Err(Unknown::Unreachable(why)) => Err(later(format!("the directory cannot be asked: {why}"))),
            Err(Unknown::Wrong(why)) => Err(later(format!("the directory's answer cannot be: {why}"))),
        }
    }
}

fn watch(router: &Weak<Router>) {
    let mut told = None;
    loop {
        std::thread::sleep(LOOK);
        let Some(router) = router.upgrade() else { return };
        let close = router.rules.load().close;
        let fault = router.source.look(close, &router.routes, &router.meter);
        if let Some(fault) = fault.as_ref().filter(|f| Some(*f) != told.as_ref()) {
            tracing::error!("routes: {fault}");
        }
        told = fault;
    }
}

fn later(why: String) -> Denied {
    Denied { refusal: Refusal::Later, why }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDES: &str = r#"
[[listen]]
protocol = "imap"
address = "127.0.0.1:0"
tls = "none"
plain-login = true
[side.old.imap]
servers = ["127.0.0.1:1"]
[side.new.imap]
servers = ["127.0.0.1:2"]
login = "{name}*master"
"#;

    fn begin(state: &std::path::Path, more: &str) -> Arc<Router> {
        let text = format!("[proxy]\nname = \"x\"\nstate = {state:?}\n{SIDES}{more}");
        let config = Config::parse(&text).unwrap();
        Router::begin(&config, Arc::default()).unwrap_or_else(|e| panic!("{e:?}"))
    }

    fn handle() -> Arc<Handle> {
        let any = ([127, 0, 0, 1], 4711).into();
        Arc::new(Handle::new(Protocol::Imap, any, any))
    }

    fn wish(user: &str, route: Option<Route>) -> Wish {
        Wish { users: vec![(user.to_owned(), route)], ..Wish::default() }
    }

    async fn side(router: &Router, user: &str) -> Result<Route, Refusal> {
        router.enter(user, &handle()).await.map(|e| e.route).map_err(|d| d.refusal)
    }

    #[tokio::test]
    async fn a_change_holds_at_once_and_after_a_restart() {
        let state = tempfile::tempdir().unwrap();
        let router = begin(state.path(), "[rewrite]\nlower-case = true\n");
        assert_eq!(side(&router, "ann").await, Ok(Route::Old));
        assert_eq!(router.set(wish("Ann", Some(Route::New))).unwrap().epoch, 1);
        assert_eq!(side(&router, "ANN").await, Ok(Route::New));
        let entry = router.enter("ann@x", &handle()).await;
        assert_eq!(entry.map(|e| (e.user, e.login)).ok(), Some(("ann@x".into(), "ann@x".into())));
        router.set(wish("ann@x", Some(Route::New))).unwrap();
        let entry = router.enter("ANN@x", &handle()).await;
        assert_eq!(entry.map(|e| (e.user, e.login)).ok(), Some(("ann@x".into(), "ann*master".into())));
        router.set(wish("bob", Some(Route::Blocked))).unwrap();
        assert_eq!(side(&router, "bob").await, Err(Refusal::Blocked));
        let stale = Wish { expect: Some(1), ..wish("bob", None) };
        assert!(matches!(router.set(stale), Err(WishFault::Epoch { expected: 1, is: 3 })));
        for bad in ["", "a\nb", &"x".repeat(513)] {
            assert!(matches!(router.set(wish(bad, None)), Err(WishFault::Name(_))), "{bad:?}");
        }
        drop(router);
        std::thread::sleep(2 * LOOK);
        let router = begin(state.path(), "");
        assert_eq!(router.routes().epoch(), 3);
        assert_eq!(side(&router, "ann").await, Ok(Route::New));
    }

    #[tokio::test]
    async fn held_logins_resume_with_the_release_and_do_not_wait_for_ever() {
        let state = tempfile::tempdir().unwrap();
        let router = begin(state.path(), "[routes]\nheld-for = \"300ms\"\n");
        router.set(wish("ann", Some(Route::Held))).unwrap();
        assert_eq!(side(&router, "ann").await, Err(Refusal::Later), "held for too long");
        let mut slowest = Duration::ZERO;
        for _ in 0..20 {
            router.set(wish("ann", Some(Route::Held))).unwrap();
            let waiting: Vec<_> = (0..50)
                .map(|_| {
                    let router = router.clone();
                    tokio::spawn(async move { (side(&router, "ann").await, Instant::now()) })
                })
                .collect();
            tokio::time::sleep(Duration::from_millis(20)).await;
            assert_eq!(router.routes().count().get(&None), Some(&50), "they wait");
            router.set(wish("ann", Some(Route::New))).unwrap();
            let released = Instant::now();
            for login in waiting {
                let (route, at) = login.await.unwrap();
                assert_eq!(route, Ok(Route::New));
                slowest = slowest.max(at - released);
            }
        }
        // 50 ms are the goal, and a machine that does nothing else needs one; tests share theirs.
        assert!(slowest < Duration::from_millis(250), "{slowest:?}");
        let router = {
            drop(router);
            std::thread::sleep(2 * LOOK);
            begin(state.path(), "[routes]\nheld = \"refuse\"\n")
        };
        router.set(wish("ann", Some(Route::Held))).unwrap();
        let began = Instant::now();
        assert_eq!(side(&router, "ann").await, Err(Refusal::Later));
        assert!(began.elapsed() < Duration::from_millis(100));
    }

    #[tokio::test]
    async fn a_kick_ends_the_wait_of_a_held_login() {
        let state = tempfile::tempdir().unwrap();
        let router = begin(state.path(), "");
        router.set(wish("ann", Some(Route::Held))).unwrap();
        let (waits, began) = (router.clone(), Instant::now());
        let login = tokio::spawn(async move { side(&waits, "ann").await });
        tokio::time::sleep(Duration::from_millis(50)).await;
        let victims = router.routes().kick("ann");
        assert_eq!((victims.len(), login.await.unwrap()), (1, Err(Refusal::Later)));
        assert!(router.routes().remaining(&victims) == 0 && began.elapsed() < Duration::from_secs(5));
    }

    #[tokio::test]
    async fn a_route_file_is_taken_whole_and_newer_or_not_at_all() {
        let state = tempfile::tempdir().unwrap();
        let file = state.path().join("routes");
        let put = |text: &str| {
            let next = state.path().join("next");
            std::fs::write(&next, text).unwrap();
            std::fs::rename(&next, &file).unwrap();
            std::thread::sleep(3 * LOOK);
        };
        put("cutover-routes 1 5 old\nnew ann\nend 1\n");
        let router = begin(state.path(), &format!("[routes]\nsource = \"file\"\nfile = {file:?}\nclose = true\n"));
        assert_eq!(side(&router, "ann").await, Ok(Route::New));
        let bob = handle();
        let session = router.enter("bob", &bob).await.unwrap_or_else(|d| panic!("{}", d.why));
        for (bad, faults) in [
            ("cutover-routes 1 6 old\nheld ann\n", 1),
            ("cutover-routes 1 4 old\nheld ann\nend 1\n", 2),
            ("cutover-routes 1 5 old\nheld ann\nend 1\n", 3),
            ("rubbish", 4),
            ("cutover-routes 1 5 old\nnew ann\nend 1\n", 4),
        ] {
            put(bad);
            assert_eq!(side(&router, "ann").await, Ok(Route::New), "{bad}");
            assert_eq!(router.meter.route_file_faults.load(std::sync::atomic::Ordering::Relaxed), faults, "{bad}");
        }
        assert!(matches!(router.set(wish("ann", None)), Err(WishFault::File(_))));
        put("cutover-routes 1 9 new\nold cem\nnew bob\nend 2\n");
        assert_eq!((side(&router, "ann").await, side(&router, "cem").await), (Ok(Route::New), Ok(Route::Old)));
        assert!(bob.is_closing() && !session.ticket.settle(), "a changed user's session is closed when it says so");
        assert_eq!(router.routes().epoch(), 9);
    }

    #[tokio::test]
    async fn who_takes_over_in_an_upgrade_writes_and_who_is_relieved_reads_along() {
        let state = tempfile::tempdir().unwrap();
        let old = begin(state.path(), "");
        old.set(wish("ann", Some(Route::New))).unwrap();
        let new = begin(state.path(), "");
        assert!(matches!(new.set(wish("bob", Some(Route::New))), Err(WishFault::Store(StoreFault::Taken { .. }))));
        let session = handle();
        let _entry = old.enter("bob", &session).await.unwrap_or_else(|d| panic!("{}", d.why));
        old.hand_over().unwrap();
        assert!(old.set(wish("bob", Some(Route::New))).is_err(), "it writes no more");
        new.set(Wish { close: true, ..wish("bob", Some(Route::New)) }).unwrap();
        std::thread::sleep(3 * LOOK);
        assert_eq!((old.routes().epoch(), new.routes().epoch()), (2, 2));
        assert!(session.is_closing(), "a change reaches the sessions of the process that drains");
    }
}
