//! Graphviz.

use std::fmt::Write as _;

use super::GraphView;
use crate::model::step::Action;

pub fn dot(view: &GraphView) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "digraph cutover {{");
    let _ = writeln!(out, "  label={}; labelloc=t; rankdir=LR; newrank=true;", quoted(&view.title));
    let _ = writeln!(
        out,
        "  node [shape=box, style=\"rounded,filled\", fillcolor=white, fontname=\"monospace\", fontsize=10];"
    );
    for (i, (lane, nodes)) in view.lanes().iter().enumerate() {
        let _ = writeln!(out, "  subgraph cluster_{i} {{\n    label={}; color=gray;", quoted(lane));
        for n in nodes {
            let node = &view.nodes[*n];
            let _ = if node.joint {
                writeln!(out, "    n{n} [shape=point];")
            } else {
                let fill = node.action.map_or("white", fill);
                let (label, hint) = (quoted(&node.label), quoted(&node.hint));
                writeln!(out, "    n{n} [label={label}, tooltip={hint}, fillcolor=\"{fill}\"];")
            };
        }
        let _ = writeln!(out, "  }}");
    }
    for (a, b) in &view.edges {
        let arrow = if view.nodes[*b].joint { " [dir=none]" } else { "" };
        let _ = writeln!(out, "  n{a} -> n{b}{arrow};");
    }
    out.push_str("}\n");
    out
}

pub(super) fn fill(action: Action) -> &'static str {
    match action {
        Action::Create => "#d9f2d9",
        Action::Update => "#fff2cc",
        Action::Replace => "#ead7f2",
        Action::Delete => "#f8d7d7",
        Action::Run => "#d6e9f8",
        Action::Reload | Action::Restart => "#e3e9ee",
        Action::Restore => "#fde5d2",
        Action::Wait => "#f2f2f2",
        Action::Move => "#d2f0ec",
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
