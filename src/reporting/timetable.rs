//! The timetable of a window as a picture: a row a stage with its clock times, the window as a band, now as a line.
//!
//! A lead of days, a window of hours and a wait of five days stand beside each other, so the axis is no ruler: between two moments
//! that matter it is as long as the logarithm of the time. Each text has a line of its own; none can cover another.

use std::fmt::Write as _;

use crate::model::cutover::{Entry, Schedule, Stage, clock};
use crate::model::unit::format_duration;

use super::graph::escaped;
use super::style::one_line;

/// Pixels.
const LEFT: f64 = 128.0;
const CHART: f64 = 820.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 100.0;
const ROW: f64 = 66.0;
/// Characters of a text that fit beside the names of the stages, at 6.7 pixels each.
const FIT: usize = 118;
/// A line that passes behind a text does not run through it.
const HALO: &str = "paint-order=\"stroke\" stroke=\"#fff\" stroke-width=\"3\"";

fn spoken(seconds: i64) -> String {
    format_duration(std::time::Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

fn cut(text: &str) -> String {
    let text = one_line(text);
    match text.chars().count() > FIT {
        true => text.chars().take(FIT - 1).chain(['…']).collect(),
        false => text,
    }
}

/// Where the moments stand.
struct Axis {
    /// Moments that matter, in order, each with its place in pixels.
    marks: Vec<(i64, f64)>,
}

impl Axis {
    fn of(schedule: &Schedule) -> Self {
        let mut times = vec![schedule.planned];
        if !schedule.takes_back {
            times.extend([schedule.start, schedule.end]);
        }
        times.extend(schedule.entries.iter().flat_map(|e| [e.begins, e.ends]));
        times.sort_unstable();
        times.dedup();
        // One minute is the unit: what takes seconds is seen, what takes days leaves room for the rest.
        let long = |pair: &[i64]| 0.4 + ((pair[1] - pair[0]) as f64 / 60.0 + 1.0).ln();
        let whole: f64 = times.windows(2).map(long).sum::<f64>().max(1.0);
        let mut at = LEFT;
        let mut marks = vec![(times[0], at)];
        for pair in times.windows(2) {
            at += long(pair) / whole * CHART;
            marks.push((pair[1], at));
        }
        Self { marks }
    }

    fn x(&self, time: i64) -> f64 {
        let at = self.marks.partition_point(|(t, _)| *t < time).min(self.marks.len() - 1);
        self.marks[at].1
    }
}

/// The picture, in SVG; the same schedule gives the same bytes.
pub fn schedule_svg(schedule: &Schedule) -> String {
    let axis = Axis::of(schedule);
    let at = |time| clock(time, &schedule.timezone);
    let (width, bottom) = (LEFT + CHART + RIGHT, TOP + ROW * schedule.entries.len() as f64);
    let height = bottom + 34.0;
    let mut out = String::new();
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\" \
         font-family=\"ui-monospace, 'DejaVu Sans Mono', monospace\" font-size=\"11\">"
    );
    out.push_str(
        "<defs><pattern id=\"wait\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
         <rect width=\"6\" height=\"6\" fill=\"#dbe7f5\"/><rect width=\"2\" height=\"6\" fill=\"#9bbbe0\"/></pattern></defs>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
    );
    let title = match schedule.takes_back {
        true => format!("Way back of window {} to {}", schedule.window, schedule.rollback),
        false => format!("Window {}, rollback point {}", schedule.window, schedule.rollback),
    };
    let _ = writeln!(
        out,
        "<text x=\"16\" y=\"22\" font-size=\"14\" font-family=\"sans-serif\" font-weight=\"bold\">{}</text>",
        escaped(&cut(&title))
    );
    let rows: Vec<&Entry> = schedule.entries.iter().collect();
    for (i, _) in rows.iter().enumerate() {
        let fill = if i % 2 == 0 { "#f6f7f9" } else { "#eef1f5" };
        let top = TOP + ROW * i as f64;
        let _ = writeln!(
            out,
            "<rect x=\"4\" y=\"{top:.0}\" width=\"{:.0}\" height=\"{ROW:.0}\" fill=\"{fill}\"/>",
            width - 8.0
        );
    }
    if !schedule.takes_back {
        let (from, to) = (axis.x(schedule.start), axis.x(schedule.end));
        let _ = writeln!(
            out,
            "<rect x=\"{from:.1}\" y=\"{:.0}\" width=\"{:.1}\" height=\"{:.0}\" fill=\"#f5d76e\" fill-opacity=\"0.35\"/>",
            TOP - 8.0,
            to - from,
            bottom - TOP + 8.0
        );
    }
    // Each on a line of its own above the rows, so that moments that lie close do not cover each other.
    let mut lines = vec![("planned", schedule.planned, "#c0392b", 44.0)];
    if !schedule.takes_back {
        lines.push(("window begins", schedule.start, "#8a6d00", 60.0));
        lines.push(("window ends", schedule.end, "#8a6d00", 76.0));
    }
    for (what, time, colour, y) in lines {
        let x = axis.x(time);
        let label = format!("{what} {}", at(time));
        let fits = x + 10.0 + label.chars().count() as f64 * 6.7 < LEFT + CHART + RIGHT;
        let (anchor, shift) = if fits { ("start", 5.0) } else { ("end", -5.0) };
        let _ = writeln!(
            out,
            "<path d=\"M{x:.1} {:.0}V{bottom:.0}\" stroke=\"{colour}\" stroke-width=\"1.2\"{}/>\
             <text x=\"{:.1}\" y=\"{y:.0}\" fill=\"{colour}\" text-anchor=\"{anchor}\" {HALO}>{}</text>",
            y - 9.0,
            if what == "planned" { "" } else { " stroke-dasharray=\"4 3\"" },
            x + shift,
            escaped(&label)
        );
    }
    for (i, entry) in rows.iter().enumerate() {
        row(&mut out, schedule, entry, &axis, TOP + ROW * i as f64);
    }
    let _ = writeln!(
        out,
        "<text x=\"16\" y=\"{:.0}\" font-size=\"10\" fill=\"#556\">Solid: done. Hatched: waits. Times count as if every name server followed at once; \
         the axis is no ruler.</text>\n</svg>",
        bottom + 20.0
    );
    out
}

fn row(out: &mut String, schedule: &Schedule, e: &Entry, axis: &Axis, top: f64) {
    let at = |time| clock(time, &schedule.timezone);
    let (from, to) = (axis.x(e.begins), axis.x(e.ends));
    let text = LEFT + 8.0;
    let name = match (schedule.takes_back, e.stage) {
        (true, Stage::Prune) => "publish again",
        (true, _) => "swap back",
        (false, stage) => stage.as_str(),
    };
    let mut times = at(e.begins);
    if e.ends > e.begins {
        let _ = write!(times, " to {} ({})", at(e.ends), spoken(e.ends - e.begins));
    }
    if let Some(latest) = e.latest {
        let _ = write!(times, ", at the latest {}", at(latest));
    }
    let _ = writeln!(
        out,
        "<g><title>{}</title>\n<text x=\"16\" y=\"{:.0}\" font-family=\"sans-serif\" font-weight=\"bold\" fill=\"#223\">{name}</text>\n\
         <text x=\"{text:.0}\" y=\"{:.0}\" fill=\"#223\" {HALO}>{}</text>\n<text x=\"{text:.0}\" y=\"{:.0}\" fill=\"#556\" {HALO}>{}</text>",
        escaped(&one_line(&e.why)),
        top + 15.0,
        top + 15.0,
        escaped(&cut(&format!("{}: {}", e.zone, e.what))),
        top + 58.0,
        escaped(&cut(&times))
    );
    let y = top + 24.0;
    if e.ends > e.begins {
        let _ = writeln!(
            out,
            "<rect x=\"{from:.1}\" y=\"{y:.0}\" width=\"{:.1}\" height=\"20\" rx=\"2\" fill=\"url(#wait)\" stroke=\"#6f94c0\"/>",
            (to - from).max(1.0)
        );
    }
    // Prune is done at the end of its wait, the others at its beginning; to verify nothing is done.
    let done = match (schedule.takes_back, e.stage) {
        (false, Stage::Prune) => to - 3.0,
        _ => from - 3.0,
    };
    if e.stage != Stage::Verify {
        let fill = if e.stage == Stage::FlipMx { "#1f7a4d" } else { "#2f5f9e" };
        let _ =
            writeln!(out, "<rect x=\"{done:.1}\" y=\"{y:.0}\" width=\"6\" height=\"20\" rx=\"1\" fill=\"{fill}\"/>");
    }
    out.push_str("</g>\n");
}
