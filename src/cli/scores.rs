//! Scorecards asked of Prometheus on the host of a monitor, and written for people.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::failure::Failure;
use super::near::{Near, curl};
use super::project::Project;
use super::silences::watchers;
use crate::monitoring::scorecard::{Colour, Period, Row, Scorecard, percent, questions};
use crate::reporting::graph::escaped;
use crate::reporting::{Paint, one_line};
use crate::transport::quote::sh;

const PORT: u16 = 9090;
/// How long an answer is waited for; the host's own limits are shorter.
const PATIENCE: Duration = Duration::from_secs(150);

/// A line of JSON for each question. Prometheus answers on its own host only.
pub fn script(period: Period, until: Timestamp, port: u16) -> String {
    let mut out = "set -e\n".to_owned();
    for (path, arguments) in questions(period, until) {
        let _ = write!(out, "{} --get http://127.0.0.1:{port}/api/v1/{path}", curl(20));
        for (name, value) in arguments {
            let _ = write!(out, " --data-urlencode {}", sh(&format!("{name}={value}")));
        }
        out.push_str("\necho\n");
    }
    out
}

/// What the first monitor says that answers.
pub async fn ask(project: &Project, near: &Near, period: Period, until: Timestamp) -> Result<String, Failure> {
    let mut refused = Vec::new();
    for (name, host) in watchers(project) {
        match near.run(&host, script(period, until, PORT), PATIENCE).await {
            Ok(heard) if heard.code == Some(0) => return Ok(heard.out),
            Ok(heard) => refused.push(format!("Prometheus on {name}: {}", heard.why("curl"))),
            Err(why) => refused.push(format!("{name}: {why}")),
        }
    }
    Err(match refused.is_empty() {
        true => Failure::new("no server has the role monitor: there is no Prometheus to ask")
            .help("give a server the role, or show a card that was kept: cutover scorecard --from FILE"),
        false => Failure::several(refused),
    })
}

fn word(colour: Colour) -> &'static str {
    match colour {
        Colour::Green => "green",
        Colour::Red => "red",
        Colour::Unknown => "not known",
    }
}

fn good(share: Option<f64>) -> String {
    share.map_or("-".to_owned(), percent)
}

/// Against the same span before; nothing where one of the two is not known.
fn trend(row: &Row) -> &'static str {
    match row.now.good.zip(row.before.good).map(|(now, before)| now - before) {
        None => "no figures of before",
        Some(d) if d > 1e-5 => "better",
        Some(d) if d < -1e-5 => "worse",
        Some(_) => "as before",
    }
}

/// What is beside the share.
fn notes(row: &Row) -> String {
    let mut all = Vec::new();
    if let Some(used) = row.budget_used {
        all.push(format!("{:.0}% of its error budget used", used * 100.0));
    }
    if row.now.good.is_some() {
        all.push(trend(row).to_owned());
        if row.now.missing > 1e-3 {
            all.push(format!("{} of the time is missing", percent(row.now.missing)));
        }
    }
    all.extend(row.why.clone());
    all.join("; ")
}

fn days(card: &Scorecard, zone: &TimeZone) -> String {
    let at = |t: Timestamp| t.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M").to_string();
    format!("{}, {} to {}", card.period.word(), at(card.from), at(card.until))
}

pub fn text(cards: &[Scorecard], zone: &TimeZone, paint: Paint) -> String {
    let mut out = String::new();
    for card in cards {
        let _ = writeln!(out, "{} ({})", paint.bold(&card.name), days(card, zone));
        for row in &card.levels {
            // Padded before it is coloured: codes have no width.
            let padded = format!("{:9}", word(row.colour));
            let colour = match row.colour {
                Colour::Green => paint.green(&padded),
                Colour::Red => paint.red(&padded),
                Colour::Unknown => paint.yellow(&padded),
            };
            let _ = writeln!(
                out,
                "  {colour} {:20} {:8} {:>9} of {:>9}  {}",
                row.level,
                row.formality,
                good(row.now.good),
                good(row.target),
                one_line(&notes(row))
            );
        }
        let count = |c: Colour| card.levels.iter().filter(|r| r.colour == c).count();
        let _ = writeln!(
            out,
            "  {} green, {} red, {} not known\n",
            count(Colour::Green),
            count(Colour::Red),
            count(Colour::Unknown)
        );
    }
    out
}

const STYLE: &str = "\
:root{--fg:#1d2125;--bg:#fff;--soft:#e9ecef;--line:#868e96;--green:#15803d;--red:#b91c1c;--unknown:#b45309}\
@media(prefers-color-scheme:dark){:root{--fg:#dfe1dc;--bg:#17191b;--soft:#30353a;--line:#868e96;--green:#4ade80;--red:#f87171;--unknown:#fbbf24}}\
body{font:15px/1.45 system-ui,sans-serif;margin:2rem;color:var(--fg);background:var(--bg)}h1{font-size:1.3rem}h2{font-size:1.05rem;margin-top:2rem}\
table{border-collapse:collapse}td,th{padding:.3rem .9rem .3rem 0;text-align:left;border-bottom:1px solid var(--soft);vertical-align:middle}\
.green{color:var(--green)}.red{color:var(--red)}.unknown{color:var(--unknown)}b{white-space:nowrap}svg{display:block}@media print{body{margin:0}}";

/// Cards as one page with a chart a level. It holds no script and asks nobody for anything.
pub fn page(cards: &[Scorecard], zone: &TimeZone) -> String {
    let organization = cards.first().map_or("", |c| c.organization.as_str());
    let title = escaped(&format!("Service levels of {organization}"));
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n"
    );
    for card in cards {
        let to = if card.to.is_empty() { String::new() } else { format!("; for {}", card.to.join(", ")) };
        let _ = writeln!(
            out,
            "<h2>{}</h2>\n<p>{}, times of {}{}</p>\n<table><tr><th></th><th>Level</th><th>Promise</th><th>Kept</th><th>Before</th><th>Course</th><th></th></tr>",
            escaped(&card.name),
            days(card, zone),
            escaped(zone.iana_name().unwrap_or("UTC")),
            escaped(&to)
        );
        for row in &card.levels {
            let class = if row.colour == Colour::Unknown { "unknown" } else { word(row.colour) };
            let _ = writeln!(
                out,
                "<tr><td class=\"{class}\"><b>{}</b></td><td>{}<br><small>{}, {}</small></td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                word(row.colour),
                escaped(&row.level),
                escaped(&row.formality),
                escaped(&row.kind),
                good(row.target),
                good(row.now.good),
                good(row.before.good),
                chart(row),
                escaped(&notes(row))
            );
        }
        out.push_str("</table>\n");
    }
    out.push_str("</body></html>\n");
    out
}

const WIDTH: f64 = 240.0;
const HEIGHT: f64 = 56.0;

/// A bar a point, as high as what was good lies above the floor of the chart; what is missing is an empty frame. The line is the promise.
fn chart(row: &Row) -> String {
    let lowest = row.course.iter().filter_map(|s| s.good).chain(row.target).fold(1.0, f64::min);
    // The promise stands at half height at least: the part of interest is close to everything.
    let floor = (1.0 - (1.0 - lowest).max(1e-4) * 2.0).max(0.0);
    let high = |share: f64| ((share - floor) / (1.0 - floor) * HEIGHT).clamp(1.0, HEIGHT);
    let width = WIDTH / row.course.len().max(1) as f64;
    let about = format!("{}: {} of {}, {}", row.level, good(row.now.good), good(row.target), word(row.colour));
    let mut out = format!(
        "<svg role=\"img\" width=\"{WIDTH:.0}\" height=\"{HEIGHT:.0}\" viewBox=\"0 0 {WIDTH:.0} {HEIGHT:.0}\"><title>{}</title>",
        escaped(&about)
    );
    for (n, share) in row.course.iter().enumerate() {
        let (x, w) = (n as f64 * width, (width - 2.0).max(1.0));
        let missing =
            if share.missing > 1e-3 { format!(", {} missing", percent(share.missing)) } else { String::new() };
        let _ = match share.good {
            None => write!(
                out,
                "<rect x=\"{:.1}\" y=\"0.5\" width=\"{w:.1}\" height=\"{:.1}\" fill=\"none\" stroke=\"var(--line)\" stroke-dasharray=\"3 3\"><title>no figures</title></rect>",
                x + 1.0,
                HEIGHT - 1.0
            ),
            Some(share) => {
                let fill = if row.target.is_some_and(|t| share < t - 1e-9) { "red" } else { "green" };
                let h = high(share);
                write!(
                    out,
                    "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" fill=\"var(--{fill})\"><title>{}{missing}</title></rect>",
                    x + 1.0,
                    HEIGHT - h,
                    percent(share)
                )
            }
        };
    }
    if let Some(target) = row.target {
        let y = HEIGHT - high(target);
        let _ = write!(
            out,
            "<line x1=\"0\" y1=\"{y:.1}\" x2=\"{WIDTH:.0}\" y2=\"{y:.1}\" stroke=\"var(--fg)\" stroke-dasharray=\"5 3\"/>"
        );
    }
    out.push_str("</svg>");
    out
}
