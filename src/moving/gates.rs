//! The gates of a proxy: how a route changes on several at once, without a moment in which one gate serves the old side and another one the new.
//!
//! ```text
//! ask all ──▶ hold on all ──▶ set on all ──▶ ask all again
//!    │            │                │
//!    │            │                └ one fails: it holds them still; nobody is on the former side. Repeat.
//!    │            └ one fails: what was held gets its former route back
//!    └ one fails: nothing was changed
//! ```
//!
//! Killed at any place and repeated it comes to the same end: a gate that is there already is told again, which changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;

use futures_util::future::join_all;

use crate::services::proxy::control::wire::SessionLine;
use crate::services::proxy::route::Route;

/// What a gate is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Its routes, all of them or those of these users.
    Tell(Vec<String>),
    /// Another route; `close` ends the sessions whose side is not theirs any more.
    Set {
        users: Vec<String>,
        to: Route,
        close: bool,
    },
    /// No route of their own any more.
    Forget(Vec<String>),
    Kick(Vec<String>),
    Sessions(Vec<String>),
}

/// What a gate answers, or why there is no answer.
pub type Said = Result<Table, String>;

/// Routes of a gate.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Table {
    pub epoch: u64,
    pub users: BTreeMap<String, Route>,
    /// Sessions that it serves, where it was asked for them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sessions: Vec<SessionLine>,
}

pub trait Gates: Sync {
    fn names(&self) -> Vec<String>;
    fn order(&self, gate: &str, order: &Order) -> impl Future<Output = Said> + Send;
}

/// Which gates failed, with why, in what phase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    pub phase: Phase,
    pub gates: BTreeMap<String, String>,
    /// Gates on which what was held could not be put back.
    pub held: BTreeSet<String>,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each = self.gates.iter().map(|(gate, why)| format!("{gate}: {why}"));
        f.write_str(&each.collect::<Vec<_>>().join("; "))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Asked,
    Held,
    Set,
    /// All obeyed, and what they say now is something else.
    Checked,
}

/// The same order to all gates, side by side.
pub async fn all(gates: &impl Gates, order: &Order) -> BTreeMap<String, Said> {
    let names = gates.names();
    let answers = join_all(names.iter().map(|g| gates.order(g, order))).await;
    names.into_iter().zip(answers).collect()
}

/// The tables of all gates, or which of them failed.
pub fn sound(said: BTreeMap<String, Said>, phase: Phase) -> Result<BTreeMap<String, Table>, Broken> {
    let (mut fine, mut gates) = (BTreeMap::new(), BTreeMap::new());
    for (gate, answer) in said {
        match answer {
            Ok(table) => _ = fine.insert(gate, table),
            Err(why) => _ = gates.insert(gate, why),
        }
    }
    if gates.is_empty() { Ok(fine) } else { Err(Broken { phase, gates, held: BTreeSet::new() }) }
}

/// The routes of all gates.
pub async fn tell(gates: &impl Gates, users: &[String]) -> Result<BTreeMap<String, Table>, Broken> {
    sound(all(gates, &Order::Tell(users.to_vec())).await, Phase::Asked)
}

/// Gives users a route on every gate. The tables as they are afterwards.
pub async fn set(
    gates: &impl Gates,
    users: &[String],
    to: Route,
    close: bool,
) -> Result<BTreeMap<String, Table>, Broken> {
    let before = tell(gates, users).await?;
    let there = |t: &Table| users.iter().all(|u| t.users.get(u) == Some(&to));
    let order = |to: Route| Order::Set { users: users.to_vec(), to, close };
    if before.values().all(there) {
        // Sessions may be left of a change that did not close them.
        if close {
            sound(all(gates, &order(to)).await, Phase::Set)?;
        }
        return Ok(before);
    }
    // One gate alone changes a route in one moment, and who is held everywhere is on no side.
    let held = before.values().all(|t| users.iter().all(|u| t.users.get(u) == Some(&Route::Held)));
    if !held && before.len() > 1 || to == Route::Held {
        hold(gates, users, &order(Route::Held), &before).await?;
    }
    if to != Route::Held {
        sound(all(gates, &order(to)).await, Phase::Set)?;
    }
    let after = sound(all(gates, &Order::Tell(users.to_vec())).await, Phase::Checked)?;
    let other: BTreeMap<String, String> = after
        .iter()
        .filter(|(_, t)| !there(t))
        .map(|(gate, _)| (gate.clone(), "somebody else has changed these routes meanwhile".to_owned()))
        .collect();
    if other.is_empty() {
        Ok(after)
    } else {
        Err(Broken { phase: Phase::Checked, gates: other, held: BTreeSet::new() })
    }
}

/// Holds users everywhere, or nowhere.
async fn hold(
    gates: &impl Gates,
    users: &[String],
    order: &Order,
    before: &BTreeMap<String, Table>,
) -> Result<(), Broken> {
    let said = all(gates, order).await;
    let obeyed: Vec<String> = said.iter().filter(|(_, s)| s.is_ok()).map(|(g, _)| g.clone()).collect();
    let Err(mut broken) = sound(said, Phase::Held) else { return Ok(()) };
    for gate in obeyed {
        let former = before.get(&gate).cloned().unwrap_or_default();
        for order in undoing(users, &former) {
            if gates.order(&gate, &order).await.is_err() {
                broken.held.insert(gate.clone());
            }
        }
    }
    Err(broken)
}

/// What brings a gate back to the routes that it had.
fn undoing(users: &[String], former: &Table) -> Vec<Order> {
    let mut by: BTreeMap<Option<Route>, Vec<String>> = BTreeMap::new();
    for user in users {
        by.entry(former.users.get(user).copied()).or_default().push(user.clone());
    }
    let order = |(route, users): (Option<Route>, Vec<String>)| match route {
        Some(to) => Order::Set { users, to, close: false },
        None => Order::Forget(users),
    };
    by.into_iter().map(order).collect()
}

/// Users whose route is not the same everywhere, with what each gate says.
pub fn apart(tables: &BTreeMap<String, Table>) -> BTreeMap<String, BTreeMap<String, Option<Route>>> {
    let users: BTreeSet<&String> = tables.values().flat_map(|t| t.users.keys()).collect();
    let of = |user: &String| tables.iter().map(|(g, t)| (g.clone(), t.users.get(user).copied())).collect();
    users
        .into_iter()
        .map(|user| (user.clone(), of(user)))
        .filter(|(_, by): &(String, BTreeMap<String, Option<Route>>)| by.values().collect::<BTreeSet<_>>().len() > 1)
        .collect()
}

/// Brings gates to the routes of one of them: for a gate that is new, or that was away.
pub async fn sync(gates: &impl Gates, from: &str) -> Result<BTreeMap<String, Table>, Broken> {
    let before = tell(gates, &[]).await?;
    let wanted = before.get(from).cloned().unwrap_or_default();
    for (gate, table) in before.iter().filter(|(g, _)| *g != from) {
        let fail = |why: String| Broken {
            phase: Phase::Set,
            gates: BTreeMap::from([(gate.clone(), why)]),
            held: BTreeSet::new(),
        };
        let mut by: BTreeMap<Route, Vec<String>> = BTreeMap::new();
        for (user, route) in wanted.users.iter().filter(|(u, r)| table.users.get(*u) != Some(*r)) {
            by.entry(*route).or_default().push(user.clone());
        }
        for (route, users) in by {
            // Who came to this gate by a former route does not stay there.
            gates.order(gate, &Order::Set { users, to: route, close: true }).await.map_err(fail)?;
        }
        let gone: Vec<String> = table.users.keys().filter(|u| !wanted.users.contains_key(*u)).cloned().collect();
        if !gone.is_empty() {
            gates.order(gate, &Order::Forget(gone)).await.map_err(fail)?;
        }
    }
    tell(gates, &[]).await
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

    use super::*;

    /// Gates in memory, of which one fails at its n-th order, or the operator is killed then.
    struct Fake {
        tables: Mutex<BTreeMap<String, Table>>,
        fails: Option<(String, usize)>,
        dies: Option<usize>,
        orders: AtomicUsize,
        /// Every state in which some gate lets a user in on one side and another one on the other.
        split: AtomicBool,
    }

    impl Fake {
        fn new(gates: &[&str]) -> Self {
            let tables = gates.iter().map(|g| ((*g).to_owned(), Table::default())).collect();
            Self {
                tables: Mutex::new(tables),
                fails: None,
                dies: None,
                orders: AtomicUsize::new(0),
                split: AtomicBool::new(false),
            }
        }

        fn routes(&self, user: &str) -> Vec<Option<Route>> {
            self.tables.lock().unwrap().values().map(|t| t.users.get(user).copied()).collect()
        }

        fn look(&self) {
            let routes = self.routes("ann");
            let old = routes.iter().any(|r| matches!(r, None | Some(Route::Old)));
            if old && routes.contains(&Some(Route::New)) {
                self.split.store(true, SeqCst);
            }
        }
    }

    impl Gates for Fake {
        fn names(&self) -> Vec<String> {
            self.tables.lock().unwrap().keys().cloned().collect()
        }

        async fn order(&self, gate: &str, order: &Order) -> Said {
            let n = self.orders.fetch_add(1, SeqCst);
            if self.dies.is_some_and(|d| n >= d) || self.fails.as_ref().is_some_and(|(g, d)| g == gate && n >= *d) {
                return Err("no answer".into());
            }
            let mut tables = self.tables.lock().unwrap();
            let table = tables.get_mut(gate).ok_or("no such gate")?;
            match order {
                Order::Set { users, to, .. } => users.iter().for_each(|u| _ = table.users.insert(u.clone(), *to)),
                Order::Forget(users) => users.iter().for_each(|u| _ = table.users.remove(u)),
                _ => {}
            }
            table.epoch += 1;
            let said = table.clone();
            drop(tables);
            self.look();
            Ok(said)
        }
    }

    fn users() -> Vec<String> {
        vec!["ann".into(), "bob".into()]
    }

    #[tokio::test]
    async fn all_gates_change_and_a_second_time_nothing_does() {
        let gates = Fake::new(&["a", "b", "c"]);
        let after = set(&gates, &users(), Route::New, false).await.unwrap();
        assert!(after.values().all(|t| t.users["ann"] == Route::New));
        assert!(!gates.split.load(SeqCst));
        let orders = gates.orders.load(SeqCst);
        set(&gates, &users(), Route::New, false).await.unwrap();
        assert_eq!(gates.orders.load(SeqCst) - orders, 3, "asked, and told nothing");
    }

    #[tokio::test]
    async fn a_gate_that_does_not_answer_leaves_everything_as_it_was_or_held() {
        for at in 0..12 {
            let mut gates = Fake::new(&["a", "b", "c"]);
            gates.tables.lock().unwrap().get_mut("a").unwrap().users.insert("bob".into(), Route::Blocked);
            gates.fails = Some(("b".into(), at));
            let done = set(&gates, &users(), Route::New, false).await;
            assert!(!gates.split.load(SeqCst), "fails at {at}");
            match done {
                Ok(_) => assert!(gates.routes("ann").iter().all(|r| *r == Some(Route::New))),
                Err(broken) => {
                    assert_eq!(broken.gates.keys().collect::<Vec<_>>(), ["b"]);
                    if broken.phase == Phase::Held {
                        // Whoever obeyed has its former routes again.
                        let tables = gates.tables.lock().unwrap();
                        assert_eq!(tables["a"].users, BTreeMap::from([("bob".to_owned(), Route::Blocked)]), "at {at}");
                    }
                    gates.fails = None;
                    set(&gates, &users(), Route::New, false).await.unwrap();
                    assert!(gates.routes("ann").iter().all(|r| *r == Some(Route::New)));
                    assert!(!gates.split.load(SeqCst));
                }
            }
        }
    }

    #[tokio::test]
    async fn killed_at_any_order_and_repeated_it_comes_to_the_same_end() {
        for at in 0..12 {
            let mut gates = Fake::new(&["a", "b", "c"]);
            gates.dies = Some(at);
            let _ = set(&gates, &users(), Route::New, false).await;
            assert!(!gates.split.load(SeqCst), "killed at {at}");
            gates.dies = None;
            set(&gates, &users(), Route::New, false).await.unwrap();
            assert!(gates.routes("bob").iter().all(|r| *r == Some(Route::New)), "killed at {at}");
            assert!(!gates.split.load(SeqCst), "repeated after {at}");
        }
    }

    #[tokio::test]
    async fn a_new_gate_gets_what_another_one_has() {
        let gates = Fake::new(&["a", "b"]);
        gates.tables.lock().unwrap().get_mut("a").unwrap().users.insert("ann".into(), Route::New);
        gates.tables.lock().unwrap().get_mut("b").unwrap().users.insert("cem".into(), Route::New);
        assert_eq!(apart(&gates.tables.lock().unwrap()).keys().collect::<Vec<_>>(), ["ann", "cem"]);
        let after = sync(&gates, "a").await.unwrap();
        assert!(apart(&after).is_empty());
        assert_eq!(after["b"].users, BTreeMap::from([("ann".to_owned(), Route::New)]));
    }
}
