//! Who hears of an alert, when the next tier does, and what is not told twice: the configuration of Alertmanager.
//!
//! The form: <https://prometheus.io/docs/alerting/0.25/configuration/>.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::prometheus::{Group, Labels, Rule, duration, labels};
use super::scope::Scopes;
use super::{Gap, Options};
use crate::model::topology::{Node, Topology};

/// Who hears of what names no team.
const NOBODY: &str = "nobody";

/// The team that watches: alerts without a team of their own are its.
pub fn watching(topology: &Topology) -> Option<&Node> {
    topology.all("team").find(|t| t.texts("smf").contains(&"service-monitoring"))
}

pub fn alertmanager(topology: &Topology, options: &Options, gaps: &mut Vec<Gap>) -> Json {
    let mut receivers = vec![json!({ "name": NOBODY })];
    let wait = |seconds: u64| duration(Duration::from_secs(seconds) / options.scale.max(1));
    let (hour, day) = (3600, 86_400);
    let mut routes = Vec::new();
    let heard: Vec<&str> = topology
        .all("escalation")
        .flat_map(|e| e.children("tier").map(Node::name))
        .chain(topology.all("sla").filter_map(|s| s.text("owner")))
        .collect();
    let default = watching(topology).map(|t| t.id.name.as_str());
    if let (None, Some(monitor)) = (default, topology.all("monitor").next()) {
        let why = "no team has `smf service-monitoring`: nobody hears of alerts without a team, and none is made of a lost site";
        gaps.push(Gap { of: "monitoring".into(), why: why.into(), approximate: false, span: monitor.span });
    }
    for team in topology.all("team").filter(|t| heard.contains(&t.id.name.as_str()) || default == Some(&t.id.name)) {
        let name = team.id.name.as_str();
        let mut receiver = json!({ "name": name });
        let to = addresses(topology, team);
        if to.is_empty() {
            let why = "alerts reach it by nothing: neither the team nor a person of it has an `email`".to_owned();
            gaps.push(Gap { of: format!("team {name}"), why, approximate: false, span: team.span });
        } else if options.smarthost.is_some() {
            receiver["email_configs"] = to.iter().map(|to| json!({ "to": to, "send_resolved": true })).collect();
        }
        receivers.push(receiver);
        // Who is woken hears at once and again; the rest waits a little, so that one mail tells of several.
        routes.push(json!({
            "receiver": name,
            "matchers": [format!("team=\"{name}\"")],
            "routes": [
                { "receiver": name, "matchers": ["severity=~\"red|critical\""], "group_wait": wait(10), "repeat_interval": wait(hour) },
                { "receiver": name, "matchers": ["severity=\"info\""], "group_wait": wait(300), "repeat_interval": wait(day) },
            ],
        }));
    }
    let mut global = json!({ "resolve_timeout": wait(300) });
    if let Some(smarthost) = &options.smarthost {
        global["smtp_smarthost"] = json!(smarthost);
        global["smtp_from"] = json!(options.sender);
        global["smtp_require_tls"] = json!(false);
        // Alertmanager says `localhost` by itself, which a server that wants whole names refuses.
        global["smtp_hello"] = json!(options.sender.rsplit_once('@').map_or("localhost", |(_, domain)| domain));
    }
    json!({
        "global": global,
        "route": {
            "receiver": default.unwrap_or(NOBODY),
            "group_by": ["alertname", "site", "monitor", "rule", "sla"],
            "group_wait": wait(30),
            "group_interval": wait(300),
            "repeat_interval": wait(12 * hour),
            "routes": routes,
        },
        "receivers": receivers,
        "inhibit_rules": inhibitions(),
    })
}

/// Where mail to a team goes: its own address, else those of its people.
fn addresses<'t>(topology: &'t Topology, team: &'t Node) -> Vec<&'t str> {
    if let Some(own) = team.text("email") {
        return vec![own];
    }
    let members = topology.all("person").filter(|p| p.refs("teams").any(|(id, _)| id.name == team.id.name));
    members.filter_map(|p| p.text("email")).collect()
}

/// What is the consequence of something that is told already.
fn inhibitions() -> Json {
    json!([
        // A site that is lost: nothing else of it.
        { "source_matchers": ["alertname=\"SiteLost\""], "target_matchers": ["alertname!=\"SiteLost\""], "equal": ["site"] },
        // A host that is lost: nothing else of it.
        { "source_matchers": ["counter=\"heartbeat\""], "target_matchers": ["counter!=\"heartbeat\"", "server!=\"\""], "equal": ["server"] },
        // The same figure above a higher bound.
        { "source_matchers": ["severity=\"critical\""], "target_matchers": ["severity=~\"warning|red|info\"", "server!=\"\""], "equal": ["server", "counter"] },
        // A probe that is not made measures no level.
        { "source_matchers": ["alertname=\"ProbeBlind\""], "target_matchers": ["alertname=\"LevelBlind\""], "equal": ["probe"] },
        // A certificate that ends in days ends in weeks too.
        { "source_matchers": ["alertname=\"CertificateEnds\"", "severity=\"red\""], "target_matchers": ["alertname=\"CertificateEnds\"", "severity=\"warning\""], "equal": ["probe", "target"] },
        // A level that burns fast burns slowly too.
        { "source_matchers": ["alertname=\"BudgetBurn\"", "severity=\"red\""], "target_matchers": ["alertname=\"BudgetBurn\"", "severity=\"warning\""], "equal": ["sla"] },
    ])
}

/// The next tier hears when an alert has stood for as long as the tier before had for it.
pub fn escalated(topology: &Topology) -> Option<Group> {
    let mut rules = Vec::new();
    for escalation in topology.all("escalation") {
        let tiers: Vec<&Node> = escalation.children("tier").collect();
        for (at, pair) in tiers.windows(2).enumerate() {
            let Some(within) = pair[0].duration("within").filter(|w| *w > Duration::ZERO) else { continue };
            let (name, tier, next) = (&escalation.id.name, at + 1, (at + 2).to_string());
            let stands = format!("ALERTS{{alertstate=\"firing\",escalation=\"{name}\",tier=\"{tier}\"}}");
            let kept = "alert, server, site, monitor, rule, counter, severity, ticket, escalation";
            // Of the first tier the alert itself, later ones what was escalated already.
            let expr = match tier {
                1 => format!("max by ({kept}) (label_replace({stands}, \"alert\", \"$1\", \"alertname\", \"(.+)\"))"),
                _ => format!("max by ({kept}) ({stands})"),
            };
            let mut notes = Labels::new();
            let about = "{{ $labels.alert }} of {{ $labels.server }}";
            notes
                .insert("summary".into(), format!("{about} stands since {} with {}", duration(within), pair[0].name()));
            let own = labels([("tier", &next), ("team", pair[1].name())]);
            rules.push(Rule::alert("Escalated", expr, within, own, notes));
        }
    }
    (!rules.is_empty()).then(|| Group { name: "escalation".into(), interval: "1m".into(), rules })
}

/// A site of which no host answers, where it has several.
pub fn sites(topology: &Topology, scopes: &Scopes<'_>) -> Option<Group> {
    let several = |site: &Node| scopes.servers.values().filter(|s| s.site == site.id.name).count() > 1;
    let names: Vec<&str> = topology.all("site").filter(|s| several(s)).map(|s| s.id.name.as_str()).collect();
    // It silences all else of the site: where nobody would hear of it, there is none.
    let team = watching(topology)?;
    if names.is_empty() || topology.all("monitor").next().is_none() {
        return None;
    }
    let up = "up{job=~\"node|windows\"}";
    let expr = format!("count by (site) ({up}) > 1 and count by (site) ({up} == 0) == count by (site) ({up})");
    let own = labels([("severity", "critical"), ("ticket", "problem"), ("team", &team.id.name)]);
    let mut notes = Labels::new();
    notes.insert("summary".into(), "no host of site {{ $labels.site }} answers".into());
    let rule = Rule::alert("SiteLost", expr, Duration::from_secs(60), own, notes);
    Some(Group { name: "sites".into(), interval: "30s".into(), rules: vec![rule] })
}
