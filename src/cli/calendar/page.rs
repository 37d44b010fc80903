//! The forward schedule as one page: a lane a name, time from left to right. It holds no script and asks nobody for anything.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;

use super::moment;
use crate::process::calendar::{Calendar, Span};
use crate::process::forward::{Item, Schedule, What};
use crate::reporting::graph::escaped;

const STYLE: &str = "\
:root{--fg:#1d2125;--bg:#fff;--soft:#f1f3f5;--line:#cfd4d9;--freeze:#9db7cf;--cutover-window:#c2410c;--change:#15803d;--window:#93c5a4;--review:#7c3aed;--due:#b45309;--bad:#b91c1c}\
@media(prefers-color-scheme:dark){:root{--fg:#dfe1dc;--bg:#17191b;--soft:#212427;--line:#383c40;--freeze:#3d5a75;--cutover-window:#f97316;--change:#4ade80;--window:#2f6b45;--review:#a78bfa;--due:#fbbf24;--bad:#f87171}}\
body{font:15px/1.45 system-ui,sans-serif;margin:2rem;color:var(--fg);background:var(--bg)}h1{font-size:1.3rem}h2{font-size:1.05rem;margin-top:2rem}\
.lane{display:grid;grid-template-columns:16rem 1fr;border-bottom:1px solid var(--line)}.lane>span{padding:.2rem .5rem;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}\
.bars{position:relative;min-height:1.7rem;background:var(--soft)}.bar{position:absolute;top:.25rem;bottom:.25rem;min-width:3px;border-radius:3px}\
.tick{position:absolute;top:0;bottom:0;border-left:1px solid var(--line);padding-left:.2rem;font-size:.75rem;white-space:nowrap}\
.now{position:absolute;top:0;bottom:0;border-left:2px solid var(--bad)}table{border-collapse:collapse}td,th{padding:.2rem .8rem .2rem 0;text-align:left;border-bottom:1px solid var(--line);vertical-align:top}\
.bad{color:var(--bad)}@media print{body{margin:0}}";

/// Per cent of the way from begin to end.
fn place(at: Timestamp, within: Span) -> f64 {
    let whole = within.to.duration_since(within.from).as_secs_f64().max(1.0);
    (at.duration_since(within.from).as_secs_f64() / whole * 100.0).clamp(0.0, 100.0)
}

fn class(what: What) -> String {
    what.as_str().replace(' ', "-")
}

fn bar(item: &Item, calendar: &Calendar, within: Span) -> String {
    let (left, right) = (place(item.from, within), place(item.to, within));
    let (from, to) = (moment(item.from, &calendar.zone), moment(item.to, &calendar.zone));
    format!(
        "<div class=\"bar\" style=\"left:{left:.3}%;width:{:.3}%;background:var(--{})\" title=\"{}\"></div>",
        right - left,
        class(item.what),
        escaped(&format!("{} {}: {from} to {to}. {}", item.what.as_str(), item.name, item.about))
    )
}

/// Mondays, at most some twenty of them.
fn ticks(calendar: &Calendar, within: Span) -> String {
    let mut out = String::new();
    let day = |at: Timestamp| at.to_zoned(calendar.zone.clone()).date();
    let weeks = within.to.duration_since(within.from).as_hours() / (24 * 7);
    let step = jiff::Span::new().weeks(weeks / 20 + 1);
    let mut next = day(within.from).nth_weekday(1, jiff::civil::Weekday::Monday);
    while let Ok(date) = next
        && date < day(within.to)
    {
        if let Ok(at) = date.to_zoned(calendar.zone.clone()) {
            let left = place(at.timestamp(), within);
            let _ = write!(out, "<div class=\"tick\" style=\"left:{left:.3}%\">{}</div>", date.strftime("%d %b"));
        }
        next = date.checked_add(step);
    }
    out
}

pub fn page(schedule: &Schedule, calendar: &Calendar, within: Span, now: Timestamp, organization: &str) -> String {
    let title = escaped(&format!("Changes of {organization}"));
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n<p>{} to {}, times of {}.</p>\n",
        moment(within.from, &calendar.zone),
        moment(within.to, &calendar.zone),
        escaped(&calendar.zone_name)
    );
    let line = if within.has(now) {
        format!("<div class=\"now\" style=\"left:{:.3}%\" title=\"now\"></div>", place(now, within))
    } else {
        String::new()
    };
    let _ =
        writeln!(out, "<div class=\"lane\"><span></span><div class=\"bars\">{}</div></div>", ticks(calendar, within));
    let mut lanes: BTreeMap<(What, &str), Vec<&Item>> = BTreeMap::new();
    schedule.items.iter().for_each(|i| lanes.entry((i.what, &i.name)).or_default().push(i));
    for ((what, name), items) in &lanes {
        let bars: String = items.iter().map(|i| bar(i, calendar, within)).collect();
        let label = escaped(&format!("{} {name}", what.as_str()));
        let _ = writeln!(
            out,
            "<div class=\"lane\"><span title=\"{label}\">{label}</span><div class=\"bars\">{bars}{line}</div></div>"
        );
    }
    for (title, list, class) in
        [("Cannot be", &schedule.conflicts, " class=\"bad\""), ("Without a day", &schedule.undated, "")]
    {
        if !list.is_empty() {
            let _ = writeln!(out, "<h2>{title}</h2>\n<ul{class}>");
            list.iter().for_each(|l| _ = writeln!(out, "<li>{}</li>", escaped(l)));
            out.push_str("</ul>\n");
        }
    }
    out.push_str("<h2>By date</h2>\n<table><tr><th>begins</th><th>ends</th><th>what</th><th>name</th><th></th></tr>\n");
    for i in &schedule.items {
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            moment(i.from, &calendar.zone),
            moment(i.to, &calendar.zone),
            i.what.as_str(),
            escaped(&i.name),
            escaped(&i.about)
        );
    }
    out.push_str("</table>\n</body></html>\n");
    out
}
