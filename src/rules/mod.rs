//! Lint rules over a checked topology: one file an area, one function a rule, each with its source. `allow RULE reason=".."`
//! silences one, on the nodes that it names or everywhere.
//!
//! Rules warn of what is legal and yet goes wrong. What cannot be right is an error of `language`.

mod mailflow;
mod topology;

use crate::model::topology::{NodeId, Topology};
use crate::model::{Diagnostic, Diagnostics};

/// A finding of one rule: what to say, and the node that an `allow` can name.
pub(crate) struct Finding {
    pub on: NodeId,
    pub diagnostic: Diagnostic,
}

/// A rule: its name for `allow`, its code, and the function.
struct Rule {
    name: &'static str,
    check: fn(&Topology, &mut Vec<Finding>),
}

const RULES: [Rule; 7] = [
    Rule { name: "no-organization", check: topology::no_organization },
    Rule { name: "no-anchor", check: topology::no_anchor },
    Rule { name: "no-address", check: topology::no_address },
    Rule { name: "no-connection", check: topology::no_connection },
    Rule { name: "unpinned-host-key", check: topology::unpinned_host_key },
    Rule { name: "single-point-of-failure", check: mailflow::single_point_of_failure },
    Rule { name: "mx-outside-spf", check: mailflow::mx_outside_spf },
];

/// Names of all rules, for `allow` and the reference.
pub fn names() -> impl Iterator<Item = &'static str> {
    RULES.iter().map(|r| r.name)
}

/// Runs every rule; what an `allow` silences is left out, and an `allow` of a rule that does not exist is a warning itself.
pub fn check(topology: &Topology) -> Diagnostics {
    let mut out = Diagnostics::default();
    for rule in &RULES {
        let mut found = Vec::new();
        (rule.check)(topology, &mut found);
        for f in found {
            if !allowed(topology, rule.name, &f.on) {
                let note = format!("silence it with: allow {} reason=\"..\" {{ on {}; }}", rule.name, f.on.name);
                let help = f.diagnostic.help.clone().map_or(note.clone(), |h| format!("{h}; or {note}"));
                out.push(f.diagnostic.help(help));
            }
        }
    }
    for a in topology.all("allow").filter(|a| !names().any(|n| n == a.name())) {
        let mut d =
            Diagnostic::warning("W0001", format!("no rule is called `{}`", a.name())).label(a.span, "silences nothing");
        let near = names().map(|n| (strsim::damerau_levenshtein(n, a.name()), n)).min().filter(|(d, _)| *d <= 3);
        if let Some((_, n)) = near {
            d = d.help(format!("did you mean `{n}`?"));
        }
        out.push(d);
    }
    out
}

fn allowed(topology: &Topology, rule: &str, on: &NodeId) -> bool {
    topology.all("allow").filter(|a| a.name() == rule).any(|a| {
        let mut values = a.values("on").peekable();
        values.peek().is_none() || values.any(|v| v.value == crate::model::topology::Value::Ref(on.clone()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::topology::{Field, Node, Value};
    use crate::model::{SourceId, Span, Spanned};

    fn node(kind: &str, name: &str, fields: &[(&str, Vec<Value>)]) -> Node {
        let span = Span { source: SourceId(0), offset: 0, len: 0 };
        let field = |values: &Vec<Value>| Field {
            values: values.iter().map(|v| Spanned::new(v.clone(), span)).collect(),
            layers: Vec::new(),
        };
        let mut fields: std::collections::BTreeMap<String, Field> =
            fields.iter().map(|(n, v)| ((*n).to_owned(), field(v))).collect();
        fields.entry("name".into()).or_insert_with(|| field(&vec![Value::Text(name.into())]));
        Node { id: NodeId::new(kind, name), span, fields, children: Vec::new() }
    }

    fn topology(nodes: Vec<Node>) -> Topology {
        Topology { nodes: nodes.into_iter().map(|n| (n.id.clone(), n)).collect(), environment: None }
    }

    fn codes(t: &Topology) -> Vec<&'static str> {
        check(t).iter().map(|d| d.code).collect()
    }

    fn text(t: &str) -> Vec<Value> {
        vec![Value::Text(t.into())]
    }

    fn to(kind: &str, name: &str) -> Vec<Value> {
        vec![Value::Ref(NodeId::new(kind, name))]
    }

    fn organization() -> Node {
        node("organization", "o", &[("domain", text("o.example")), ("anchor", to("server", "a"))])
    }

    fn server(name: &str, roles: &[&str]) -> Node {
        let roles = roles.iter().map(|r| Value::Text((*r).into())).collect();
        node("server", name, &[("ip", text("192.0.2.1")), ("connection", to("connection", "c")), ("roles", roles)])
    }

    fn connection() -> Node {
        node("connection", "c", &[("host-key", text("ssh-ed25519 AAAA"))])
    }

    #[test]
    fn each_rule_speaks_and_can_be_silenced() {
        let sound = || vec![organization(), server("a", &["imap"]), connection()];
        assert_eq!(codes(&topology(sound())), Vec::<&str>::new());

        let mut t = sound();
        t.remove(0);
        assert_eq!(codes(&topology(t)), ["W0101"]);

        let mut t = sound();
        t[0].fields.remove("anchor");
        assert_eq!(codes(&topology(t)), ["W0102"]);

        let mut t = sound();
        t[1].fields.remove("ip");
        assert_eq!(codes(&topology(t.clone())), ["W0103"]);
        t.push(node("allow", "no-address", &[("on", to("server", "a"))]));
        assert_eq!(codes(&topology(t.clone())), Vec::<&str>::new());
        t.push(server("b", &["imap"]));
        if let Some(b) = t.last_mut() {
            b.fields.remove("ip");
        }
        assert_eq!(codes(&topology(t)), ["W0103"], "only what `on` names is silenced");

        let mut t = sound();
        t[1].fields.remove("connection");
        assert_eq!(codes(&topology(t)), ["W0104"]);

        let mut t = sound();
        t[2].fields.remove("host-key");
        assert_eq!(codes(&topology(t)), ["W0105"]);

        let mut t = sound();
        t.push(server("gate", &["relay"]));
        assert_eq!(codes(&topology(t.clone())), ["W0201"]);
        t.push(server("gate-2", &["relay"]));
        assert_eq!(codes(&topology(t)), Vec::<&str>::new());

        let mut t = sound();
        t.push(node("allow", "no-adress", &[]));
        assert_eq!(codes(&topology(t)), ["W0001"]);
    }

    #[test]
    fn an_mx_host_outside_spf() {
        let mut zone = node("zone", "o.example@both", &[("name", text("o.example"))]);
        zone.children.push(node(
            "record",
            "o.example@both.@@MX",
            &[("name", text("@")), ("type", text("MX")), ("to", to("server", "a"))],
        ));
        let auth = |allow: &str| {
            let mut n = node("mail-auth", "o.example", &[]);
            n.children.push(node("spf", "o.example.spf", &[("allow", to("server", allow))]));
            n
        };
        let base = || vec![organization(), server("a", &["imap"]), server("b", &["imap"]), connection(), zone.clone()];
        let mut t = base();
        t.push(auth("b"));
        assert_eq!(codes(&topology(t)), ["W0202"]);
        let mut t = base();
        t.push(auth("a"));
        assert_eq!(codes(&topology(t)), Vec::<&str>::new());
    }
}
