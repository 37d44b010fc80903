//! From the name that somebody typed to the side that has the mailbox, and to the name that its server knows.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::{Instant, timeout_at};

use super::config::{Config, HeldLogin};
use super::handle::Handle;
use super::meter::Meter;
use super::rewrite::{LoginForm, Rewrite};
use super::route::{Route, Routes, Table, Ticket};
use super::session::{Protocol, Refusal};
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
}

pub struct Router {
    routes: Arc<Routes<Handle>>,
    rules: ArcSwap<Rules>,
    meter: Arc<Meter>,
}

impl Rules {
    fn of(config: &Config) -> Self {
        let form = |route, protocol| config.sides.back(route, protocol).and_then(|back| back.login.parse().ok());
        let protocols = [Protocol::Imap, Protocol::Pop3, Protocol::Submission];
        let forms = [Route::Old, Route::New].map(|route| protocols.map(|protocol| form(route, protocol)));
        Self { rewrite: config.rewrite(), forms, held: config.routes.held, held_for: config.routes.held_for }
    }

    fn login(&self, route: Route, protocol: Protocol, user: &str) -> Option<String> {
        let side = usize::from(route == Route::New);
        self.forms[side][protocol as usize].as_ref().map(|form| form.of(user))
    }
}

impl Router {
    /// Begins with the routes as they were left.
    pub fn begin(config: &Config, meter: Arc<Meter>) -> Result<Arc<Self>, Vec<String>> {
        let table = Table { epoch: 0, default: config.routes.default, users: Default::default() };
        let routes = Arc::new(Routes::new(table));
        Ok(Arc::new(Self { routes, rules: ArcSwap::from_pointee(Rules::of(config)), meter }))
    }

    /// Other rules for logins that come.
    pub fn reload(&self, config: &Config) -> Result<(), Vec<String>> {
        self.rules.store(Arc::new(Rules::of(config)));
        Ok(())
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
                None => self.elsewhere(&ticket).await?,
            };
            match route {
                Route::Old | Route::New => {
                    let Some(login) = rules.login(route, handle.protocol, &user) else {
                        let (side, protocol) = (route.as_str(), handle.protocol.as_str());
                        return Err(later(format!("the {side} side has no {protocol}")));
                    };
                    return Ok(Entry { ticket, route, user, login });
                }
                Route::Blocked => return Err(Denied { refusal: Refusal::Blocked, why: "the user is blocked".into() }),
                Route::Held if rules.held == HeldLogin::Refuse => return Err(later("the user is held".into())),
                Route::Held => {
                    waits.get_or_insert_with(|| self.meter.held());
                    match timeout_at(until, changes.changed()).await {
                        Ok(Ok(())) => {}
                        Ok(Err(_)) | Err(_) => return Err(later("the user was held for too long".into())),
                    }
                }
            }
        }
    }

    /// The route of a user whom the table does not name.
    async fn elsewhere(&self, ticket: &Ticket<Handle>) -> Result<Route, Denied> {
        let default = self.routes.read(|t| t.default);
        Ok(ticket.route(Some(default)).unwrap_or(default))
    }
}

fn later(why: String) -> Denied {
    Denied { refusal: Refusal::Later, why }
}
