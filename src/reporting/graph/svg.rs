//! SVG, drawn by our own layout: nothing has to be installed, and the same plan gives the same bytes.

use std::fmt::Write as _;

use super::layout::{BOX, Layout, TITLE, layout};
use super::{GraphView, dot};
use crate::model::step::Action;

pub fn svg(view: &GraphView) -> String {
    let l = layout(view);
    let mut out = String::new();
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {w:.0} {h:.0}\" width=\"{w:.0}\" height=\"{h:.0}\" \
         font-family=\"ui-monospace, 'DejaVu Sans Mono', monospace\" font-size=\"11\">",
        w = l.width,
        h = l.height
    );
    out.push_str("<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n");
    let _ = writeln!(
        out,
        "<text x=\"16\" y=\"20\" font-size=\"14\" font-family=\"sans-serif\" font-weight=\"bold\">{}</text>",
        escaped(&view.title)
    );
    write_legend(&mut out, view);
    for (i, (name, top, height)) in l.lanes.iter().enumerate() {
        let fill = if i % 2 == 0 { "#f6f7f9" } else { "#eef1f5" };
        let _ = writeln!(
            out,
            "<rect x=\"4\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{height:.1}\" rx=\"4\" fill=\"{fill}\"/>\n\
             <text x=\"12\" y=\"{:.1}\" font-family=\"sans-serif\" font-weight=\"bold\" fill=\"#445\">{}</text>",
            l.width - 8.0,
            top + 15.0,
            escaped(name)
        );
    }
    write_lines(&mut out, view, &l);
    for (node, place) in view.nodes.iter().zip(&l.places) {
        if node.joint {
            let _ = writeln!(out, "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"#667\"/>", place.x + 3.0, place.y);
            continue;
        }
        let fill = node.action.map_or("#ffffff", dot::fill);
        let _ = writeln!(
            out,
            "<g><title>{}</title><rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{BOX}\" rx=\"3\" fill=\"{fill}\" \
             stroke=\"#889\"/><text x=\"{:.1}\" y=\"{:.1}\">{}</text></g>",
            escaped(&node.hint),
            place.x,
            place.y - BOX / 2.0,
            place.width,
            place.x + 7.0,
            place.y + 4.0,
            escaped(&node.label)
        );
    }
    out.push_str("</svg>\n");
    out
}

/// The actions that occur, with their colours.
fn write_legend(out: &mut String, view: &GraphView) {
    let mut actions: Vec<Action> = view.nodes.iter().filter_map(|n| n.action).collect();
    actions.sort_unstable();
    actions.dedup();
    for (i, action) in actions.iter().enumerate() {
        let x = 16 + i * 76;
        let y = TITLE - 14.0;
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"{y:.0}\" width=\"10\" height=\"10\" fill=\"{}\" stroke=\"#889\"/>\
             <text x=\"{}\" y=\"{:.0}\" font-size=\"10\">{}</text>",
            dot::fill(*action),
            x + 14,
            y + 9.0,
            action.as_str()
        );
    }
}

fn write_lines(out: &mut String, view: &GraphView, l: &Layout) {
    out.push_str("<g fill=\"none\" stroke=\"#778\" stroke-width=\"1\" stroke-opacity=\"0.75\">\n");
    for points in &l.lines {
        let Some((x, y)) = points.first() else { continue };
        let _ = write!(out, "<path d=\"M{x:.1} {y:.1}");
        for pair in points.windows(2) {
            let ((x1, y1), (x2, y2)) = (pair[0], pair[1]);
            if y1 == y2 {
                let _ = write!(out, "H{x2:.1}");
            } else {
                let bend = (x2 - x1) / 2.0;
                let _ = write!(out, "C{:.1} {y1:.1} {:.1} {y2:.1} {x2:.1} {y2:.1}", x1 + bend, x2 - bend);
            }
        }
        out.push_str("\"/>\n");
    }
    out.push_str("</g>\n<g fill=\"#667\">\n");
    for ((_, b), points) in view.edges.iter().zip(&l.lines) {
        if let Some((x, y)) = points.last().filter(|_| !view.nodes[*b].joint) {
            let _ = writeln!(out, "<path d=\"M{x:.1} {y:.1}l-6 -3v6z\"/>");
        }
    }
    out.push_str("</g>\n");
}

/// As a text of XML.
pub fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // XML 1.0 knows no other control characters, not even escaped.
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
        out
    })
}
