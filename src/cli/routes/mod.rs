//! The gates of a proxy as the operator reaches them: `cutover-proxy` on each, over the same SSH that apply uses.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::context::Context;
use super::failure::Failure;
use super::near::{Near, with_users};
use super::project::Project;
use crate::model::host::HostAccess;
use crate::model::plan::{Plan, PlanNote};
use crate::model::step::Action;
use crate::model::topology::{Node, Topology};
use crate::model::{HostName, Kind};
use crate::moving::gates::{Gates, Order, Said, Table};
use crate::services::proxy::control::wire::{Changed, SessionLine, Shown, ShownRoute};
use crate::services::proxy::proof::Purged;
use crate::services::proxy::route::Route;

/// The program where the pack puts it.
const PROGRAM: &str = "/usr/local/bin/cutover-proxy";
/// A session ends after its current command, and a large message takes its time.
const CLOSE: &str = " --close --wait 30s";
const LIMIT: Duration = Duration::from_secs(120);
/// On gates with Postfix: its queue manager keeps the last answer of each process that it asks for 30 seconds (`resolve_clnt.c`),
/// so mail would follow the former route for so long. A reload makes it forget.
const FORGET: &str = "if command -v postfix >/dev/null 2>&1 && postfix status >/dev/null 2>&1; then postfix reload >/dev/null 2>&1 || :; fi\n";
/// Mail of users who were held waits in its queue: it is tried again now. Twice more a little later, because a queue manager that is
/// just being reloaded hears nothing, and one that is just putting a message off does so after it has heard.
const FLUSH: &str = "if command -v postqueue >/dev/null 2>&1; then postqueue -f >/dev/null 2>&1 || :; setsid sh -c 'sleep 3; postqueue -f; sleep 7; postqueue -f' >/dev/null 2>&1 </dev/null & fi\n";

/// The gates of one proxy, all of them or those that were not left out.
pub struct Reached {
    near: Arc<Near>,
    hosts: BTreeMap<String, HostAccess>,
    pub proxy: String,
    /// Its logins are written small.
    pub lower_case: bool,
    /// It keeps passwords of users for their move.
    captures: bool,
    /// Who reads the file, where routes are kept in one.
    pub by_file: bool,
    /// The side of users without a route of their own.
    pub default: Route,
}

impl Reached {
    pub fn open(context: &Context, name: Option<&str>, without: &[String]) -> Result<Self, Failure> {
        let project = Project::compile(context)?;
        let near = Arc::new(Near::of(context, &project));
        Self::of(&project, near, name, without)
    }

    pub fn of(project: &Project, near: Arc<Near>, name: Option<&str>, without: &[String]) -> Result<Self, Failure> {
        let node = choose(&project.topology, name)?;
        let gates: Vec<String> = node.refs("on").map(|(id, _)| id.name.to_string()).collect();
        if let Some(unknown) = without.iter().find(|w| !gates.contains(w)) {
            return Err(Failure::new(format!("--without {unknown}: proxy {} is not on it", node.id.name))
                .help(format!("its gates are {}", gates.join(", "))));
        }
        let hosts: BTreeMap<String, HostAccess> = gates
            .iter()
            .filter(|g| !without.contains(g))
            .filter_map(|g| Some((g.clone(), project.site.hosts.get(&HostName::from(g.as_str()))?.clone())))
            .collect();
        if hosts.is_empty() {
            return Err(Failure::new(format!("no gate of proxy {} can be reached", node.id.name))
                .help("each server in its `on` needs a connection"));
        }
        let (proxy, lower_case, by_file) =
            (node.id.name.to_string(), node.flag("lower-case"), node.text("route-by") == Some("file"));
        let default = node.text("default-route").and_then(Route::named).unwrap_or(Route::Old);
        let captures = node.text("passwords") == Some("capture");
        Ok(Self { near, hosts, proxy, lower_case, captures, by_file, default })
    }

    /// Destroys the captured passwords of these users and of nobody else, on each gate: none of others who have moved, whose old
    /// mailboxes may still be asked for. No gate where the proxy captures none.
    pub async fn purge(&self, users: &[String]) -> BTreeMap<String, Result<Purged, String>> {
        let mut all = BTreeMap::new();
        for (gate, host) in self.hosts.iter().filter(|_| self.captures) {
            all.insert(gate.clone(), self.purged(host, users).await);
        }
        all
    }

    async fn purged(&self, host: &HostAccess, users: &[String]) -> Result<Purged, String> {
        let mut all: Option<Purged> = None;
        for some in users.chunks(AT_ONCE) {
            let script = format!(
                "while IFS= read -r user; do {PROGRAM} purge --user \"$user\" --json || exit 1; done <<'END OF USERS'\n{}\nEND OF USERS\n",
                some.join("\n")
            );
            let heard = self.near.run(host, script, LIMIT).await?;
            if heard.code != Some(0) {
                return Err(heard.why("cutover-proxy"));
            }
            for one in serde_json::Deserializer::from_str(&heard.out).into_iter::<Purged>() {
                let one = one.map_err(|e| format!("cutover-proxy says what cannot be read: {e}"))?;
                match &mut all {
                    None => all = Some(one),
                    Some(all) => {
                        all.count += one.count;
                        all.files.extend(one.files);
                        (all.at, all.left) = (one.at, one.left);
                    }
                }
            }
        }
        all.ok_or_else(|| "nobody's may go".to_owned())
    }
}

/// Users of one script.
const AT_ONCE: usize = 500;

/// Gates that a plan brings to a proxy that has others: they begin without a route, and would send everybody to the default.
pub fn begin_empty(topology: &Topology, plan: &Plan) -> Vec<PlanNote> {
    let mut notes = Vec::new();
    for proxy in topology.all("proxy").filter(|p| p.text("route-by") != Some("file")) {
        let gates: Vec<&str> = proxy.refs("on").map(|(id, _)| id.name.as_str()).collect();
        let begins = |gate: &&str| {
            plan.steps.iter().find(|s| {
                let service = s.address.kind == Kind::Service && s.address.key == "cutover-proxy";
                service && s.action == Action::Create && s.address.host == HostName::from(*gate)
            })
        };
        let Some(other) = gates.iter().find(|g| begins(g).is_none()) else { continue };
        for (gate, step) in gates.iter().filter_map(|g| Some((g, begins(g)?))) {
            notes.push(PlanNote {
                address: Some(step.address.clone()),
                text: format!(
                    "{gate} begins without routes: before names of clients lead to it, run cutover routes sync --from {other}"
                ),
                blocks: false,
            });
        }
    }
    notes
}

/// The proxy of that name, or the only one.
fn choose<'t>(topology: &'t Topology, name: Option<&str>) -> Result<&'t Node, Failure> {
    let all: Vec<&Node> = topology.all("proxy").collect();
    let names = || all.iter().map(|p| p.id.name.as_str()).collect::<Vec<_>>().join(", ");
    match (name, all.as_slice()) {
        (_, []) => Err(Failure::new("this topology has no proxy").help("write proxy NAME old=.. new=.. { on GATE; }")),
        (None, [only]) => Ok(only),
        (None, _) => {
            Err(Failure::new("this topology has several proxies").help(format!("say which: --proxy, of {}", names())))
        }
        (Some(name), _) => all
            .iter()
            .find(|p| p.id.name == *name)
            .copied()
            .ok_or_else(|| Failure::new(format!("no proxy `{name}`")).help(format!("known: {}", names()))),
    }
}

/// The line of an order. All users go in one epoch.
fn script(order: &Order) -> String {
    let with = |words: &str, users: &[String]| with_users(&format!("{PROGRAM} {words}"), users);
    match order {
        Order::Tell(_) => format!("{PROGRAM} route show --json\n"),
        Order::Sessions(_) => format!("{PROGRAM} sessions --json\n"),
        Order::Set { users, to, close } => {
            let close = if *close { CLOSE } else { "" };
            let flush = if *to == Route::Held { "" } else { FLUSH };
            with(&format!("route set --json --to {}{close}", to.as_str()), users) + FORGET + flush
        }
        Order::Forget(users) => with("route unset --json", users) + FORGET + FLUSH,
        Order::Kick(users) => with("kick --wait 30s", users),
    }
}

fn read<'t, T: serde::Deserialize<'t>>(text: &'t str) -> Result<T, String> {
    let strange = |e| format!("cutover-proxy there answers in a form that is not known here: {e}");
    serde_json::from_str(text).map_err(strange)
}

/// What a gate answers to an order.
fn answer(order: &Order, text: &str) -> Said {
    let mut table = Table::default();
    match order {
        Order::Tell(users) => {
            let shown: Shown = read(text)?;
            table.epoch = shown.epoch;
            let asked = |r: &ShownRoute| r.by == "table" && (users.is_empty() || users.contains(&r.user));
            table.users = shown.routes.into_iter().filter(asked).filter_map(|r| Some((r.user, r.route?))).collect();
        }
        Order::Set { .. } | Order::Forget(_) => {
            let changed: Changed = read(text)?;
            table.epoch = changed.epoch;
        }
        Order::Sessions(users) => {
            let lines: Vec<SessionLine> = read(text)?;
            table.sessions = lines.into_iter().filter(|s| users.is_empty() || users.contains(&s.user)).collect();
        }
        Order::Kick(_) => {}
    }
    Ok(table)
}

impl Gates for Reached {
    fn names(&self) -> Vec<String> {
        self.hosts.keys().cloned().collect()
    }

    async fn order(&self, gate: &str, order: &Order) -> Said {
        let host = self.hosts.get(gate).ok_or("it is no gate of this proxy")?;
        let heard = self.near.run(host, script(order), LIMIT).await?;
        match heard.code {
            Some(0) => answer(order, &heard.out),
            _ => Err(heard.why("cutover-proxy")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_one_line_whoever_the_users_are() {
        let users = vec!["ann@acme.example".to_owned(), "$(reboot) `x` 'y'".to_owned()];
        let order = Order::Set { users: users.clone(), to: Route::New, close: true };
        let text = script(&order);
        assert!(
            text.starts_with("/usr/local/bin/cutover-proxy route set --json --to new --close --wait 30s - <<"),
            "{text}"
        );
        // What a shell makes of it: the names as they are, on standard input.
        let script = script(&Order::Forget(users)).replace(PROGRAM, "echo").replace(" - <<", "; cat <<");
        let out = std::process::Command::new("sh").arg("-c").arg(script).output().unwrap();
        let out = String::from_utf8_lossy(&out.stdout).into_owned();
        assert_eq!(out, "route unset --json\nann@acme.example\n$(reboot) `x` 'y'\n");
        // A gate that refuses is heard, whatever stands behind the order.
        let refused = super::script(&order).replace(PROGRAM, "false");
        assert_eq!(std::process::Command::new("sh").arg("-c").arg(refused).status().unwrap().code(), Some(1));
    }

    #[test]
    fn only_routes_of_the_table_are_a_gates_own() {
        let said = r#"{"epoch":7,"default":"old","routes":[{"user":"ann","route":"new","by":"table"},{"user":"bob","route":"old","by":"default"}]}"#;
        let table = answer(&Order::Tell(Vec::new()), said).unwrap();
        assert_eq!((table.epoch, table.users), (7, BTreeMap::from([("ann".to_owned(), Route::New)])));
        assert!(answer(&Order::Tell(Vec::new()), "no JSON").is_err());
    }
}
