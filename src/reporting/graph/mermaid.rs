//! Mermaid, which pull requests draw. GitHub's copy stops at 500 lines between nodes: for more, use SVG.

use std::fmt::Write as _;

use super::{GraphView, dot};
use crate::model::step::Action;

pub fn mermaid(view: &GraphView) -> String {
    let mut out = String::from("flowchart LR\n");
    for (i, (lane, nodes)) in view.lanes().iter().enumerate() {
        let _ = writeln!(out, "  subgraph lane{i}[\"{}\"]", entities(lane));
        for n in nodes {
            let node = &view.nodes[*n];
            let _ = if node.joint {
                writeln!(out, "    n{n}(( ))")
            } else {
                writeln!(out, "    n{n}[\"{}\"]", entities(&node.label))
            };
        }
        out.push_str("  end\n");
    }
    for (a, b) in &view.edges {
        let line = if view.nodes[*b].joint { "---" } else { "-->" };
        let _ = writeln!(out, "  n{a} {line} n{b}");
    }
    for action in Action::ALL {
        let of: Vec<String> =
            (0..view.nodes.len()).filter(|n| view.nodes[*n].action == Some(action)).map(|n| format!("n{n}")).collect();
        if !of.is_empty() {
            let word = action.as_str();
            let _ = writeln!(
                out,
                "  classDef {word} fill:{},color:#111\n  class {} {word}",
                dot::fill(action),
                of.join(",")
            );
        }
    }
    out
}

/// Mermaid's own escapes: `#` and a number.
fn entities(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '"' | '#' | '<' | '>' | '&' | '`' | ';' => {
                let _ = write!(out, "#{};", u32::from(c));
            }
            c => out.push(c),
        }
        out
    })
}
