//! A certificate as a page of its own: no script, nothing from elsewhere, so it can be mailed and printed. The same certificate gives the same page.

use std::fmt::Write as _;

use super::super::moving::spoken;
use crate::model::Digest;
use crate::model::unit::format_bytes;
use crate::process::certificate::{Certificate, Known, Person};
use crate::reporting::graph::escaped;

const STYLE: &str = "\
:root{--fg:#1d2125;--bg:#fff;--soft:#f1f3f5;--line:#cfd4d9;--bar:#4a86b8;--good:#15803d;--bad:#b45309}\
@media(prefers-color-scheme:dark){:root{--fg:#dfe1dc;--bg:#17191b;--soft:#212427;--line:#383c40;--bar:#5b93c2;--good:#4ade80;--bad:#fbbf24}}\
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:var(--fg);background:var(--bg)}\
h1{font-size:1.4rem;margin-bottom:.2rem}h2{font-size:1.05rem;margin-top:2rem}p.sub{margin-top:0}\
.totals{display:grid;grid-template-columns:repeat(auto-fit,minmax(10rem,1fr));gap:.6rem;margin:1.2rem 0}\
.totals div{background:var(--soft);border:1px solid var(--line);border-radius:6px;padding:.6rem .8rem}.totals b{display:block;font-size:1.35rem}\
table{border-collapse:collapse;width:100%;font-size:.92rem}td,th{padding:.25rem .7rem .25rem 0;text-align:left;border-bottom:1px solid var(--line);vertical-align:top}\
td.n,th.n{text-align:right;white-space:nowrap}.w{min-width:11rem}.bar{display:inline-block;height:.7rem;background:var(--bar);border-radius:2px;margin-right:.4rem;min-width:2px}\
.good{color:var(--good)}.bad{color:var(--bad)}code{font-size:.85rem;overflow-wrap:anywhere}small{display:block}\
@media print{body{margin:0;max-width:none}}";

/// Widest bar, in rem.
const WIDEST: f64 = 6.0;

fn or_why<T>(known: &Known<T>, say: impl FnOnce(&T) -> String) -> String {
    match known {
        Known::Is(value) => say(value),
        Known::Not { not_known } => format!("<span class=\"bad\">not known: {}</span>", escaped(not_known)),
    }
}

fn bar(ms: u64, longest: u64) -> String {
    let width = ms as f64 / longest.max(1) as f64 * WIDEST;
    format!("<span class=\"bar\" style=\"width:{width:.2}rem\"></span>{}", spoken(ms))
}

fn row(p: &Person, longest: u64) -> String {
    let mut out = format!("<tr><td>{}", escaped(&p.user));
    for line in p.mailbox.value().into_iter().flat_map(|m| &m.exceptions) {
        let _ = write!(out, "<small class=\"bad\">{}</small>", escaped(line));
    }
    let moved = or_why(&p.moved, |m| {
        let more = if m.attempts > 1 { format!("<small>{} attempts</small>", m.attempts) } else { String::new() };
        let back = if m.taken_back > 0 {
            format!("<small>{} times taken back before</small>", m.taken_back)
        } else {
            String::new()
        };
        format!("{}<small>by {}</small>{more}{back}", escaped(&m.at), escaped(&m.by))
    });
    let (messages, octets) = match &p.mailbox {
        Known::Is(m) => {
            let beside: String =
                m.beside.iter().map(|(what, n)| format!("<small>{n} {}</small>", escaped(what))).collect();
            (format!("{}{beside}", m.messages), format_bytes(m.octets))
        }
        why => (or_why(why, |_| String::new()), String::new()),
    };
    let waited = match &p.moved {
        Known::Is(m) => or_why(&m.downtime_ms, |ms| bar(*ms, longest)),
        Known::Not { .. } => "<span class=\"bad\">not known</span>".to_owned(),
    };
    let check = or_why(&p.check, |c| match c.differs {
        0 => format!("<span class=\"good\">the same by {}</span><small>{}</small>", escaped(&c.how), escaped(&c.at)),
        n => format!(
            "<span class=\"bad\">{n} differences by {}</span><small>{}</small>",
            escaped(&c.how),
            escaped(&c.at)
        ),
    });
    let report = or_why(&p.report, |r| {
        let short = r.sha256.get(..12).unwrap_or(&r.sha256);
        let signed = if r.signed { "signed" } else { "not signed" };
        format!(
            "<code title=\"{}\">{}</code><small>{signed}</small>",
            escaped(&format!("{} {}", r.sha256, r.path)),
            escaped(short)
        )
    });
    let _ = writeln!(
        out,
        "</td><td>{}</td><td>{moved}</td><td class=\"n\">{messages}</td><td class=\"n\">{octets}</td><td class=\"w\">{waited}</td><td>{check}</td><td>{report}</td></tr>",
        escaped(&p.state)
    );
    out
}

fn totals(c: &Certificate) -> String {
    let t = &c.totals;
    let waited = |ms: Option<u64>| ms.map_or_else(|| "not known".to_owned(), spoken);
    let measured = format!("longest wait at a login, of {} measured", t.measured);
    let boxes: [(String, &str); 7] = [
        (t.people.to_string(), "people on the new side"),
        (t.messages.to_string(), "messages"),
        (format_bytes(t.octets), "carried"),
        (t.exceptions.to_string(), "exceptions"),
        (format!("{} of {}", t.verified, t.people), "compared on both sides, the same"),
        (waited(t.downtime_longest_ms), &measured),
        (waited(t.downtime_median_ms), "median wait"),
    ];
    boxes.iter().map(|(figure, what)| format!("<div><b>{}</b>{}</div>", escaped(figure), escaped(what))).collect()
}

fn agreed(c: &Certificate) -> String {
    let mut out = String::from("<h2>Who agreed</h2>\n");
    if c.phases.is_empty() {
        out.push_str("<p>No phase moves this cohort: it was moved by hand, and nobody had to sign for it.</p>\n");
    }
    for phase in &c.phases {
        let intent = or_why(&phase.intent, |d| format!("<code>{}</code>", escaped(&d.0)));
        let _ = writeln!(out, "<p>Phase {}, as it is wanted now: {intent}</p>", escaped(&phase.name));
        if phase.records.is_empty() {
            out.push_str("<p>Nothing is recorded for it.</p>\n");
            continue;
        }
        out.push_str("<table><tr><th>record</th><th>of</th><th>by</th><th>at</th><th></th></tr>\n");
        for r in &phase.records {
            let word = match (r.trusted, r.of_this_intent) {
                (true, true) => "<span class=\"good\">good, of this plan</span>",
                (true, false) => "<span class=\"bad\">good, of an earlier plan</span>",
                (false, _) => "<span class=\"bad\">by a key that is not trusted</span>",
            };
            let _ = writeln!(
                out,
                "<tr><td>{}<small><code>{}</code></small></td><td>{}</td><td>{}</td><td>{}</td><td>{word}</td></tr>",
                escaped(&r.kind),
                escaped(&r.file),
                escaped(&r.node),
                escaped(&r.who),
                r.when
            );
        }
        out.push_str("</table>\n");
    }
    out
}

fn applied(c: &Certificate) -> String {
    let mut out = String::from("<h2>Applies</h2>\n");
    match &c.applies {
        Known::Not { .. } => _ = writeln!(out, "<p>{}</p>", or_why(&c.applies, |_| String::new())),
        Known::Is(all) if all.is_empty() => out.push_str("<p>None of this machine's journal.</p>\n"),
        Known::Is(all) => {
            out.push_str("<table><tr><th>apply</th><th>at</th><th>by</th><th>waves</th><th>plan</th></tr>\n");
            for a in all {
                let back = a
                    .takes_back
                    .as_ref()
                    .map_or_else(String::new, |of| format!("<small>takes back {}</small>", escaped(of)));
                let change =
                    a.change.as_ref().map_or_else(String::new, |c| format!("<small>change {}</small>", escaped(c)));
                let _ = writeln!(
                    out,
                    "<tr><td>{}{back}{change}</td><td>{}</td><td>{}</td><td>{} of {}</td><td><code>{}</code></td></tr>",
                    escaped(&a.id),
                    a.at,
                    escaped(&a.by),
                    a.done,
                    a.waves,
                    escaped(a.intent.0.get(..16).unwrap_or_default())
                );
            }
            out.push_str("</table>\n");
        }
    }
    out
}

pub fn page(c: &Certificate) -> String {
    let title = escaped(&format!("{} of {} has moved", c.cohort, c.organization));
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n"
    );
    let (from, to) = (c.from.as_deref().unwrap_or("?"), c.to.as_deref().unwrap_or("?"));
    let place = c.environment.as_ref().map_or_else(String::new, |e| format!(", environment {e}"));
    let rehearsal = if c.rehearsal { "; a rehearsal" } else { "" };
    let _ = writeln!(
        out,
        "<p class=\"sub\">{}. Made {} by {}.</p>\n<div class=\"totals\">{}</div>",
        escaped(&format!("From {from} to {to}{place}{rehearsal}")),
        c.made,
        escaped(&c.by),
        totals(c)
    );
    out.push_str("<h2>People</h2>\n<table><tr><th>user</th><th>state</th><th>moved</th><th class=\"n\">messages</th><th class=\"n\">size</th><th>logins waited</th><th>both sides</th><th>report</th></tr>\n");
    let longest = c.totals.downtime_longest_ms.unwrap_or(0);
    c.people.iter().for_each(|p| out.push_str(&row(p, longest)));
    out.push_str("</table>\n");
    if !c.left_out.is_empty() {
        out.push_str("<h2>Left out</h2>\n<table><tr><th>user</th><th>reason</th></tr>\n");
        for l in &c.left_out {
            let _ =
                writeln!(out, "<tr><td>{}</td><td>{}</td></tr>", escaped(&l.user), or_why(&l.reason, |r| escaped(r)));
        }
        out.push_str("</table>\n");
    }
    out.push_str(&agreed(c));
    out.push_str(&applied(c));
    let commit = or_why(&c.commit, |h| format!("<code>{}</code>", escaped(h)));
    let _ = writeln!(
        out,
        "<h2>What this page is of</h2>\n<p>Commit of the topology: {commit}<br>List of people: <code>{}</code><br>Certificate: <code>{}</code> (SHA-256; it stands beside this page, with its signature)</p>\n</body></html>",
        escaped(&c.list.0),
        Digest::of(&c.bytes()).0
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::certificate::tests::sample;

    #[test]
    fn what_others_wrote_is_text_on_the_page_and_what_is_not_known_is_said() {
        let made = sample();
        let html = page(&made);
        assert!(!html.contains("<script") && !html.contains("<b>no answer"), "{html}");
        assert!(html.contains("&lt;script&gt;") && html.contains("not known: nobody measured it"), "{html}");
        assert!(html.contains("<b>2</b>people") && html.contains("0.7s"), "{html}");
        assert!(!html.contains("http"), "nothing from elsewhere");
    }
}
