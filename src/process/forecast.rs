//! Whether the people of each cohort fit into its window, and by when copying has to begin. Arithmetic on what the topology says, how many
//! people its lists have, and how quick earlier moves were.
//!
//! People are held in groups, one group after the other ([`TOGETHER`] people each); canaries are watched before the others follow. A group takes
//! as long as groups took so far, where some were measured. Mailboxes are copied before the window, at the rate that the content service may use.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::calendar::{Calendar, Span, cutovers};
use super::forward::conflicts;
use crate::catalog::wave::HOLD;
use crate::model::capacity::{seconds, share, speed};
use crate::model::cutover;
use crate::model::topology::{Node, Topology};
use crate::people::wave::{Rules, TOGETHER};

/// Milliseconds of a group where nothing was measured: the delta and the flip that a move is made for.
const ASSUMED_MS: u64 = 5_000;

/// How long groups of people took until they were let in on the new side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Pace {
    /// Groups that were measured; none: `usual` is assumed, `slow` is what apply reckons with.
    pub measured: usize,
    /// Milliseconds of a group, on average.
    pub usual_ms: u64,
    /// Milliseconds of which 95 of 100 groups took less.
    pub slow_ms: u64,
}

impl Pace {
    /// Of what groups took, in milliseconds.
    pub fn of(groups: &mut [u64]) -> Option<Self> {
        groups.sort_unstable();
        let count = groups.len();
        let slow = *groups.get((count * 95).div_ceil(100).checked_sub(1)?)?;
        let usual = groups.iter().sum::<u64>() / count as u64;
        Some(Self { measured: count, usual_ms: usual, slow_ms: slow.max(usual) })
    }

    /// Where nothing was measured: `longest` is the migration's `downtime-max`.
    pub fn assumed(longest: Option<u64>) -> Self {
        let slow_ms = longest.unwrap_or(HOLD).saturating_mul(1000);
        Self { measured: 0, usual_ms: ASSUMED_MS.min(slow_ms), slow_ms }
    }
}

/// How many people a cohort has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// Of its lists.
    Counted(u64),
    /// A list that nobody is asked about yet names some of them: what the others leave of the source is taken.
    Left,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Also when every group is slow.
    Fits,
    /// When groups take as long as they usually do.
    Tight,
    /// Not even then.
    Short,
    /// The window was over before it began.
    Over,
    /// The cohort has no window to fit into.
    Free,
}

impl Verdict {
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Fits => "fits",
            Verdict::Tight => "tight",
            Verdict::Short => "too short",
            Verdict::Over => "over",
            Verdict::Free => "no window",
        }
    }
}

/// One cohort.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Line {
    pub cohort: String,
    pub people: u64,
    /// The number is what the other cohorts leave of the source's mailboxes.
    pub about: bool,
    pub waves: u64,
    pub groups: u64,
    pub window: Option<String>,
    /// When people begin to move: the window opens, and the cohort's turn in it has come.
    pub begins: Option<Timestamp>,
    pub closes: Option<Timestamp>,
    /// Seconds that moving takes, the watch over canaries with it.
    pub usual: u64,
    pub slow: u64,
    pub pace: Pace,
    pub verdict: Verdict,
    /// Bytes of mail, at the average of the source.
    pub data: Option<u64>,
}

impl Line {
    pub fn ends(&self, seconds: u64) -> Option<Timestamp> {
        self.begins?.checked_add(SignedDuration::from_secs(i64::try_from(seconds).ok()?)).ok()
    }
}

/// What one content service copies before the windows.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Copying {
    pub cms: String,
    /// Bytes; none: the source does not say how much it holds.
    pub data: Option<u64>,
    /// Bits per second, and what says so (`--rate`, `throttle`, `link wan`).
    pub rate: Option<(u64, String)>,
    /// Seconds for all of it.
    pub takes: Option<u64>,
    /// The latest moment to begin, so that each cohort is copied when its window opens, and the cohort that decides it.
    pub begin_by: Option<(Timestamp, String)>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Forecast {
    pub cohorts: Vec<Line>,
    pub copying: Vec<Copying>,
    /// What cannot be.
    pub conflicts: Vec<String>,
}

/// What a forecast is made of.
pub struct Given<'a> {
    pub topology: &'a Topology,
    pub calendar: &'a Calendar,
    /// Cutover windows with the zones that wait for them.
    pub windows: &'a [cutover::Window],
    /// By cohort.
    pub people: &'a BTreeMap<String, Head>,
    /// By migration.
    pub pace: &'a BTreeMap<String, Pace>,
    /// Bits per second that were measured: wins over what the topology says.
    pub rate: Option<u64>,
    pub now: Timestamp,
}

/// Waves and groups of so many people.
fn parts(people: u64, rules: &Rules) -> (u64, u64) {
    let canaries = people.min(rules.canaries as u64);
    let others = people - canaries;
    let size = rules.size.map_or(others, |s| s as u64).max(1);
    let together = TOGETHER as u64;
    let (whole, rest) = (others / size, others % size);
    let waves = u64::from(canaries > 0) + whole + u64::from(rest > 0);
    let groups = canaries.div_ceil(together) + whole * size.div_ceil(together) + rest.div_ceil(together);
    (waves, groups)
}

fn positive(node: &Node, field: &str) -> Option<u64> {
    node.int(field).and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0)
}

pub fn forecast(given: &Given<'_>) -> Forecast {
    let t = given.topology;
    let spans = cutovers(t, &given.calendar.zone);
    let heads = heads(given);
    let mut lines: Vec<Line> = t.all("cohort").map(|c| line(given, &spans, &heads, c)).collect();
    lines.sort_by(|a, b| (a.begins.is_none(), a.begins, &a.cohort).cmp(&(b.begins.is_none(), b.begins, &b.cohort)));
    in_turn(t, &mut lines);
    for line in &mut lines {
        line.verdict = verdict(line, given.now);
    }
    let mut wrong: Vec<String> =
        conflicts(t, given.calendar, given.windows, &spans).into_iter().collect::<BTreeSet<_>>().into_iter().collect();
    wrong.extend(out_of_order(t, given.calendar, &lines));
    Forecast { copying: copying(given, &lines), cohorts: lines, conflicts: wrong }
}

/// People of each cohort, and whether that is what the others leave.
fn heads(given: &Given<'_>) -> BTreeMap<String, (u64, bool)> {
    let t = given.topology;
    let mut known: BTreeMap<&str, u64> = BTreeMap::new();
    let mut out = BTreeMap::new();
    for (name, head) in given.people {
        if let Head::Counted(n) = head {
            let migration = t.get("cohort", name).and_then(|c| c.text("migration")).unwrap_or_default();
            *known.entry(migration).or_default() += n;
            out.insert(name.clone(), (*n, false));
        }
    }
    for (name, _) in given.people.iter().filter(|(_, h)| **h == Head::Left) {
        let migration = t.get("cohort", name).and_then(|c| t.target(c, "migration"));
        let all = migration.and_then(|m| t.target(m, "from")).and_then(|f| positive(f, "mailboxes")).unwrap_or(0);
        let others = migration.and_then(|m| known.get(m.id.name.as_str())).copied().unwrap_or(0);
        out.insert(name.clone(), (all.saturating_sub(others), true));
    }
    out
}

fn line(given: &Given<'_>, spans: &BTreeMap<String, Span>, heads: &BTreeMap<String, (u64, bool)>, c: &Node) -> Line {
    let t = given.topology;
    let rules = Rules::of(c);
    let (people, about) = heads.get(c.id.name.as_str()).copied().unwrap_or_default();
    let (waves, groups) = parts(people, &rules);
    let migration = t.target(c, "migration");
    let longest = migration.and_then(|m| m.duration("downtime-max")).map(|d| d.as_secs());
    let measured = migration.and_then(|m| given.pace.get(m.id.name.as_str())).copied();
    let pace = measured.unwrap_or_else(|| Pace::assumed(longest));
    let soak = if rules.canaries > 0 && people > rules.canaries as u64 { rules.soak.as_secs() } else { 0 };
    let of = |ms: u64| (groups.saturating_mul(ms)).div_ceil(1000).saturating_add(soak);
    let span = c.text("window").and_then(|w| spans.get(w)).copied();
    let from = migration.and_then(|m| t.target(m, "from"));
    let data = from.and_then(|f| Some(share(f.size("data")?, people, positive(f, "mailboxes")?)));
    Line {
        cohort: c.id.name.to_string(),
        people,
        about,
        waves,
        groups,
        window: c.text("window").map(str::to_owned),
        begins: span.map(|s| s.from),
        closes: span.map(|s| s.to),
        usual: of(pace.usual_ms),
        slow: of(pace.slow_ms),
        pace,
        verdict: Verdict::Free,
        data,
    }
}

/// Cohorts of one window go one after the other: who is in `after` first.
fn in_turn(t: &Topology, lines: &mut [Line]) {
    let after = |name: &str| -> BTreeSet<String> {
        let refs = t.get("cohort", name).into_iter().flat_map(|c| c.refs("after").collect::<Vec<_>>());
        refs.map(|(id, _)| id.name.to_string()).collect()
    };
    let mut by: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (i, line) in lines.iter().enumerate() {
        if let Some(window) = &line.window {
            by.entry(window.clone()).or_default().push(i);
        }
    }
    for mut waiting in by.into_values().filter(|all| all.len() > 1) {
        let mut at: Option<Timestamp> = None;
        while !waiting.is_empty() {
            let names: BTreeSet<String> = waiting.iter().filter_map(|i| Some(lines.get(*i)?.cohort.clone())).collect();
            // A ring of `after` is told elsewhere; here somebody has to be first.
            let next = waiting
                .iter()
                .position(|i| lines.get(*i).is_some_and(|l| after(&l.cohort).is_disjoint(&names)))
                .unwrap_or(0);
            let Some(line) = lines.get_mut(waiting.remove(next)) else { continue };
            line.begins = at.or(line.begins);
            at = line.ends(line.usual);
        }
    }
}

fn verdict(line: &Line, now: Timestamp) -> Verdict {
    let (Some(begins), Some(closes)) = (line.begins, line.closes) else { return Verdict::Free };
    if closes <= now {
        return Verdict::Over;
    }
    let left = closes.duration_since(begins.max(now)).as_secs().max(0);
    let left = u64::try_from(left).unwrap_or(0);
    match (line.slow <= left, line.usual <= left) {
        (true, _) => Verdict::Fits,
        (false, true) => Verdict::Tight,
        (false, false) => Verdict::Short,
    }
}

/// Cohorts whose window closes before the people that they come after are over.
fn out_of_order(t: &Topology, calendar: &Calendar, lines: &[Line]) -> Vec<String> {
    let by: BTreeMap<&str, &Line> = lines.iter().map(|l| (l.cohort.as_str(), l)).collect();
    let clock = |at: Timestamp| at.to_zoned(calendar.zone.clone()).strftime("%Y-%m-%d %H:%M").to_string();
    let mut out = Vec::new();
    for line in lines {
        let Some(node) = t.get("cohort", &line.cohort) else { continue };
        for (id, _) in node.refs("after") {
            let Some(first) = by.get(id.name.as_str()) else { continue };
            let (Some(over), Some(closes)) = (first.ends(first.usual), line.closes) else { continue };
            if over >= closes {
                out.push(format!(
                    "cohort {} goes after {}, who are over at {}; its window closes at {}",
                    line.cohort,
                    first.cohort,
                    clock(over),
                    clock(closes)
                ));
            }
        }
    }
    out
}

fn copying(given: &Given<'_>, lines: &[Line]) -> Vec<Copying> {
    let t = given.topology;
    let mut out = Vec::new();
    for cms in t.all("cms") {
        let mine = |l: &&Line| {
            let migration = t.get("cohort", &l.cohort).and_then(|c| t.target(c, "migration"));
            migration.and_then(|m| m.reference("cms")) == Some(&cms.id)
        };
        let mine: Vec<&Line> = lines.iter().filter(mine).collect();
        if mine.is_empty() {
            continue;
        }
        let rate = given.rate.map(|r| (r, "--rate".to_owned())).or_else(|| {
            let (rate, by, field) = speed(t, cms)?;
            Some((rate, if by.id == cms.id { field.to_owned() } else { by.id.to_string() }))
        });
        let data = mine.iter().map(|l| l.data).sum::<Option<u64>>();
        let takes = data.zip(rate.as_ref()).map(|(d, (r, _))| seconds(d, *r));
        // In the order of their windows: each is copied before it, and all before it with it.
        let mut so_far = 0u64;
        let mut begin_by: Option<(Timestamp, String)> = None;
        if let Some((rate, _)) = &rate {
            for line in &mine {
                let (Some(data), Some(opens)) = (line.data, line.begins) else { continue };
                so_far = so_far.saturating_add(data);
                let before = SignedDuration::from_secs(i64::try_from(seconds(so_far, *rate)).unwrap_or(i64::MAX));
                let Ok(at) = opens.checked_sub(before) else { continue };
                if begin_by.as_ref().is_none_or(|(first, _)| at < *first) {
                    begin_by = Some((at, line.cohort.clone()));
                }
            }
        }
        out.push(Copying { cms: cms.id.name.to_string(), data, rate, takes, begin_by });
    }
    out
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::unit::Percent;
    use crate::people::wave::waves;

    #[test]
    fn waves_and_groups_are_counted_as_they_are_made() {
        for (people, canaries, size) in
            [(0, 0, None), (1, 1, None), (25, 2, Some(10)), (25, 30, Some(10)), (40, 0, Some(8)), (999, 100, Some(250))]
        {
            let soak = Duration::from_secs(60);
            let rules = Rules { canaries, soak, size, together: TOGETHER, max_failed: Percent(0) };
            let users: Vec<String> = (0..people).map(|i| format!("u{i}@acme.example")).collect();
            let made = waves(&users, &rules);
            let groups: usize = made.iter().map(|w| w.groups.len()).sum();
            assert_eq!(parts(people, &rules), (made.len() as u64, groups as u64), "{people} {canaries} {size:?}");
        }
    }

    #[test]
    fn a_pace_is_what_groups_took_and_never_slower_on_average_than_at_its_worst() {
        let mut groups: Vec<u64> = (1..=100).map(|n| n * 10).collect();
        let pace = Pace::of(&mut groups).expect("some");
        assert_eq!((pace.measured, pace.usual_ms, pace.slow_ms), (100, 505, 950));
        assert_eq!(Pace::of(&mut []), None);
        assert_eq!(Pace::of(&mut [7]), Some(Pace { measured: 1, usual_ms: 7, slow_ms: 7 }));
        let short = Pace::assumed(Some(2));
        assert_eq!((short.usual_ms, short.slow_ms), (2_000, 2_000), "nobody is held for longer than may be");
    }
}
