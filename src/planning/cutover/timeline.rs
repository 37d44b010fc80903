//! The stages of one zone with their changes, waits and clock times.

use crate::model::cutover::{Stage, Window, clock};
use crate::model::dns::{RecordSet, SetChange, SetKey};

use super::facts::{Held, ZoneFacts, targets};
use super::refusal::{Refusal, spoken};

/// One stage. Times are Unix seconds, counted as if every name server followed at once.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    pub stage: Stage,
    pub changes: Vec<SetChange>,
    /// Not begun before this, whatever comes earlier.
    pub not_before: Option<i64>,
    /// Not begun after this.
    pub not_after: Option<i64>,
    pub begins: i64,
    /// Seconds that pass after the slowest name server serves the changes, before what depends on it may begin.
    pub wait: i64,
    pub latest: Option<i64>,
    pub what: String,
    pub why: String,
}

impl Part {
    pub fn ends(&self) -> i64 {
        self.begins + self.wait
    }

    /// What every name server must serve at the end of this stage.
    pub fn served(&self) -> Vec<RecordSet> {
        self.changes.iter().filter_map(|c| c.after.clone()).collect()
    }
}

/// The stages of one zone, in order; a stage without anything to do is left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Timeline {
    pub zone: String,
    pub parts: Vec<Part>,
    /// T, in seconds.
    pub old_ttl: i64,
    /// L, in seconds.
    pub lag: i64,
    pub refusals: Vec<Refusal>,
    /// The held sets as they are now, for the way back.
    pub origin: Vec<RecordSet>,
}

impl Timeline {
    pub fn part(&self, stage: Stage) -> Option<&Part> {
        self.parts.iter().find(|p| p.stage == stage)
    }
}

/// The longest TTL among sets, and whose it is.
fn longest<'a>(sets: impl IntoIterator<Item = &'a RecordSet>) -> Option<(u32, &'a SetKey)> {
    sets.into_iter().map(|s| (s.ttl, &s.key)).max_by_key(|(ttl, _)| *ttl)
}

/// The stages from what is served now to what is wanted.
pub fn timeline(now: i64, window: &Window, zone: &ZoneFacts, held: &[Held]) -> Timeline {
    let short = |ttl: u32| ttl.min(zone.short_ttl);
    let olds: Vec<&RecordSet> = held.iter().filter_map(|h| h.observed.as_ref()).collect();
    let moving: Vec<&Held> = held.iter().filter(|h| h.differs()).collect();
    let behind = moving.iter().filter_map(|h| h.observed.as_ref()).flat_map(|old| zone.behind(old));
    let longest_old = longest(moving.iter().filter_map(|h| h.observed.as_ref()).chain(behind));
    let former = moving.iter().filter_map(|h| Some((h.former_ttl?, &h.wanted.key)));
    let longest_old = longest_old.into_iter().chain(former).max_by_key(|(ttl, _)| *ttl);
    let old_ttl = i64::from(longest_old.map_or(0, |(ttl, _)| ttl));
    let whose = longest_old.map_or_else(String::new, |(_, key)| format!(" of {key}"));
    let lag = zone.lag();
    let has = |stage| window.stages.contains(&stage);
    let mut parts = Vec::new();

    let created = zone.publishes.iter().any(|c| c.before.is_none());
    let replaced =
        longest(zone.publishes.iter().filter_map(|c| c.before.as_ref())).map_or(0, |(ttl, _)| i64::from(ttl));
    let unseen = if created { i64::from(zone.negative_ttl) } else { 0 };
    // Old and new digests stand beside each other for two TTLs before a certificate changes (RFC 7671, section 8.1).
    let tlsa = zone.publishes.iter().filter(|c| c.key().is_some_and(|k| k.kind == "TLSA"));
    let paired = 2 * longest(tlsa.flat_map(|c| c.before.iter().chain(&c.after))).map_or(0, |(ttl, _)| i64::from(ttl));
    let published = unseen.max(replaced).max(paired);
    if !zone.publishes.is_empty() {
        let what = names(zone.publishes.iter().filter_map(SetChange::key));
        let why = if paired == published && paired > 0 {
            format!("TLSA stands for twice its TTL before certificates change: {}", spoken(paired))
        } else if unseen >= replaced {
            format!(
                "caches may remember for {} that these names are not there (the zone's negative TTL)",
                spoken(unseen)
            )
        } else {
            format!("caches may hold the former answers for {}", spoken(replaced))
        };
        parts.push(Part {
            stage: Stage::Publish,
            changes: zone.publishes.clone(),
            not_before: None,
            not_after: None,
            begins: now,
            wait: published,
            latest: Some(window.start - published - lag),
            what: format!("publish {what}"),
            why,
        });
    }

    let lowered: Vec<SetChange> = moving
        .iter()
        .filter_map(|h| Some((h.observed.as_ref()?, h.former_ttl)))
        // One that was lowered by a run that nobody finished is waited for again, from the beginning.
        .filter(|(old, former)| old.ttl > zone.short_ttl || former.is_some_and(|f| f > old.ttl))
        .filter(|_| has(Stage::LowerTtl))
        .map(|(old, _)| SetChange {
            before: Some(old.clone()),
            after: Some(RecordSet { ttl: short(old.ttl), ..old.clone() }),
        })
        .collect();
    let lowers = !lowered.is_empty();
    if lowers {
        let keys = names(lowered.iter().filter_map(SetChange::key));
        parts.push(Part {
            stage: Stage::LowerTtl,
            changes: lowered,
            not_before: None,
            not_after: None,
            begins: now,
            wait: old_ttl,
            latest: Some(window.start - old_ttl - lag),
            what: format!("TTL of {keys} to {}", spoken(i64::from(zone.short_ttl))),
            why: format!("caches may hold the old answers for {}, the longest TTL{whose}", spoken(old_ttl)),
        });
    }

    let lead = parts.iter().map(|p: &Part| p.wait).max().unwrap_or(0);
    let mut after_flip = now;
    if !moving.is_empty() && has(Stage::FlipMx) {
        let before = |h: &Held| {
            h.observed.as_ref().map(|old| match has(Stage::LowerTtl) {
                true => RecordSet { ttl: short(old.ttl), ..old.clone() },
                false => old.clone(),
            })
        };
        // Addresses first: a name must lead somewhere before mail is sent to it.
        let mut order = moving.clone();
        order.sort_by_key(|h| (h.wanted.key.kind == "MX", h.wanted.key.clone()));
        let changes: Vec<SetChange> = order
            .iter()
            .map(|h| SetChange {
                before: before(h),
                after: Some(RecordSet { ttl: short(h.wanted.ttl), ..h.wanted.clone() }),
            })
            .collect();
        let served = changes.iter().filter_map(|c| Some(i64::from(c.before.as_ref()?.ttl))).max().unwrap_or(0);
        // Names that were not there may be remembered as such.
        let unseen = if changes.iter().any(|c| c.before.is_none()) { i64::from(zone.negative_ttl) } else { 0 };
        let wait = (2 * served).max(unseen);
        let begins = window.start.max(now + lead);
        after_flip = begins + wait;
        parts.push(Part {
            stage: Stage::FlipMx,
            what: format!("swap {}", names(changes.iter().filter_map(SetChange::key))),
            changes,
            not_before: Some(window.start),
            not_after: Some(window.end - wait),
            begins,
            wait,
            latest: Some(window.end - wait),
            why: match 2 * served >= unseen {
                true => format!("the old answers run out: twice their TTL of {}", spoken(served)),
                false => format!("caches may remember for {} that the name was not there", spoken(unseen)),
            },
        });
        if has(Stage::Verify) && after_flip < window.end {
            parts.push(Part {
                stage: Stage::Verify,
                changes: Vec::new(),
                not_before: None,
                not_after: None,
                begins: after_flip,
                wait: window.end - after_flip,
                latest: None,
                what: "observe: both sides accept, `cutover undo` goes back within the short TTL".into(),
                why: "until the window ends".into(),
            });
        }
    }

    let raised: Vec<SetChange> = held
        .iter()
        .filter(|h| has(Stage::RaiseTtl) && (!h.differs() || has(Stage::FlipMx)))
        .filter_map(|h| {
            let served = match (&h.observed, h.differs()) {
                (Some(o), false) => o.ttl,
                _ => short(h.wanted.ttl),
            };
            let set = |ttl| RecordSet { ttl, ..h.wanted.clone() };
            (served < h.wanted.ttl).then(|| SetChange { before: Some(set(served)), after: Some(set(h.wanted.ttl)) })
        })
        .collect();
    if !raised.is_empty() {
        parts.push(Part {
            stage: Stage::RaiseTtl,
            what: format!("TTL of {} as the topology wants it", names(raised.iter().filter_map(SetChange::key))),
            changes: raised,
            not_before: Some(window.end),
            not_after: None,
            begins: window.end.max(after_flip).max(now),
            wait: 0,
            latest: None,
            why: "a way back would cost the whole TTL from here on".into(),
        });
    }
    let flip = parts.iter().find(|p| p.stage == Stage::FlipMx).map(|p| p.begins);
    if has(Stage::Prune) && (flip.is_some() || !zone.prunes.is_empty()) {
        let keep = old_ttl.max(i64::try_from(window.keep).unwrap_or(i64::MAX / 4));
        // A swap of an earlier run: its moment is not known here, and is not later than the end of the window.
        let (begins, not_before) = flip.map_or((window.end, window.over()), |at| (at, window.end));
        let what = "the old side keeps accepting until then";
        let names =
            |change: fn(&&SetChange) -> bool| names(zone.prunes.iter().filter(change).filter_map(SetChange::key));
        let (narrowed, gone) = (names(|c| c.after.is_some()), names(|c| c.after.is_none()));
        let mut then = Vec::new();
        if !gone.is_empty() {
            then.push(format!("{gone} go"));
        }
        if !narrowed.is_empty() {
            then.push(format!("{narrowed} as the topology wants it"));
        }
        parts.push(Part {
            stage: Stage::Prune,
            changes: zone.prunes.clone(),
            not_before: Some(not_before),
            not_after: None,
            begins,
            wait: keep,
            latest: None,
            what: if then.is_empty() { what.to_owned() } else { format!("{what}; then {}", then.join(", ")) },
            why:
                "senders retry for days (RFC 5321, section 4.5.4.1), and resolvers hold answers longer than they should"
                    .into(),
        });
    }

    let mut out = Timeline {
        zone: zone.name.clone(),
        parts,
        old_ttl,
        lag,
        refusals: Vec::new(),
        origin: olds.into_iter().cloned().collect(),
    };
    out.refusals = refusals(now, window, zone, &moving, &out, lead);
    out
}

fn refusals(now: i64, window: &Window, zone: &ZoneFacts, moving: &[&Held], line: &Timeline, lead: i64) -> Vec<Refusal> {
    let mut out = Vec::new();
    let at = |time| clock(time, &window.timezone);
    for h in moving {
        let set = h.wanted.key.clone();
        if h.wanted.data.is_empty() {
            out.push(Refusal::Empty { set: set.clone() });
        }
        if !window.stages.contains(&Stage::FlipMx) {
            out.push(Refusal::NoFlip { window: window.name.clone(), set: set.clone() });
        }
        for target in targets(&h.wanted).into_iter().filter(|t| zone.contains(t)) {
            let leads = |key: &SetKey| key.name == target && matches!(key.kind.as_str(), "A" | "AAAA");
            let comes = zone.publishes.iter().filter(|c| c.after.is_some()).filter_map(SetChange::key);
            let there = zone.sets.iter().map(|s| &s.key).chain(comes).chain(moving.iter().map(|h| &h.wanted.key));
            if !there.into_iter().any(leads) {
                out.push(Refusal::NoAddress { set: set.clone(), target });
            }
        }
    }
    let Some(flip) = line.part(Stage::FlipMx) else { return out };
    if now >= window.end {
        out.push(Refusal::Over { window: window.name.clone(), end: at(window.end) });
        return out;
    }
    let ready = flip.ends();
    if ready > window.end {
        out.push(Refusal::Long { window: window.name.clone(), end: at(window.end), ready: at(ready) });
    }
    // Where nothing has to run out before the swap, there is no lead to be short of.
    if lead > 0 && now > window.start - lead - line.lag {
        out.push(Refusal::Short {
            window: window.name.clone(),
            start: at(window.start),
            latest: at(window.start - lead - line.lag),
            old_ttl: lead,
            lag: line.lag,
            swap: at(flip.begins),
        });
    }
    out
}

fn names<'a>(keys: impl IntoIterator<Item = &'a SetKey>) -> String {
    keys.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    const START: i64 = 1_795_000_000;

    fn set(name: &str, kind: &str, ttl: u32, data: &[&str]) -> RecordSet {
        let key = SetKey { name: name.into(), kind: kind.into() };
        RecordSet { key, ttl, data: data.iter().map(|d| (*d).to_owned()).collect() }
    }

    fn window(lasts: i64) -> Window {
        Window {
            name: "night".into(),
            start: START,
            end: START + lasts,
            timezone: "UTC".into(),
            stages: Stage::ALL.into(),
            timeouts: BTreeMap::new(),
            rolls_back: BTreeSet::new(),
            way_back: None,
            rollback: "way-back".into(),
            policies: Vec::new(),
            keep: 5 * 86_400,
            holds: BTreeSet::new(),
            short_ttls: BTreeMap::new(),
        }
    }

    fn mx(ttl: u32, host: &str) -> RecordSet {
        set("acme.example.", "MX", ttl, &[&format!("10 {host}.acme.example.")])
    }

    fn zone() -> ZoneFacts {
        ZoneFacts {
            name: "acme.example.".into(),
            short_ttl: 300,
            negative_ttl: 900,
            refresh: 1_200,
            secondaries: true,
            sets: vec![
                set("old.acme.example.", "A", 7_200, &["192.0.2.1"]),
                set("new.acme.example.", "A", 3_600, &["192.0.2.2"]),
                set("acme.example.", "TXT", 60, &["\"v=spf1 mx -all\""]),
                set("www.acme.example.", "A", 86_400, &["192.0.2.3"]),
            ],
            publishes: vec![],
            prunes: vec![],
        }
    }

    fn held() -> Vec<Held> {
        vec![Held { wanted: mx(3_600, "new"), observed: Some(mx(3_600, "old")), former_ttl: None }]
    }

    fn stages(line: &Timeline) -> Vec<(Stage, i64, i64)> {
        line.parts.iter().map(|p| (p.stage, p.begins - START, p.wait)).collect()
    }

    #[test]
    fn every_wait_comes_from_the_zone() {
        let line = timeline(START - 10_000, &window(7_200), &zone(), &held());
        assert_eq!(line.refusals, []);
        assert_eq!(
            (line.old_ttl, line.lag),
            (7_200, 1_200),
            "the address of the old host is cached longest; www leads nowhere"
        );
        assert_eq!(
            stages(&line),
            [
                (Stage::LowerTtl, -10_000, 7_200),
                (Stage::FlipMx, 0, 600),
                (Stage::Verify, 600, 6_600),
                (Stage::RaiseTtl, 7_200, 0),
                (Stage::Prune, 0, 432_000),
            ]
        );
        let lower = line.part(Stage::LowerTtl).expect("a stage");
        assert_eq!(lower.latest, Some(START - 8_400), "start - T - L");
        assert_eq!(lower.served(), [mx(300, "old")]);
        assert!(lower.why.contains("2h") && lower.why.contains("old.acme.example. A"), "{}", lower.why);
        let flip = line.part(Stage::FlipMx).expect("a stage");
        assert_eq!(flip.changes, [SetChange { before: Some(mx(300, "old")), after: Some(mx(300, "new")) }]);
        assert_eq!((flip.not_before, flip.not_after), (Some(START), Some(START + 6_600)));
        assert_eq!(line.part(Stage::RaiseTtl).expect("a stage").served(), [mx(3_600, "new")]);
    }

    #[test]
    fn a_window_that_begins_too_early_is_refused_and_says_when_it_could() {
        let line = timeline(START - 8_399, &window(7_200), &zone(), &held());
        let [refusal] = line.refusals.as_slice() else { panic!("{:?}", line.refusals) };
        assert!(refusal.can_be_waived());
        let text = refusal.to_string();
        assert!(text.contains("had to begin by 2026-11-18 08:46:40 UTC") && text.contains("--short-lead"), "{text}");
        assert_eq!(timeline(START - 8_400, &window(7_200), &zone(), &held()).refusals, []);
        // Waived, the swap comes when the old TTLs have run out.
        let late = timeline(START - 200, &window(9_000), &zone(), &held());
        assert_eq!(late.part(Stage::FlipMx).map(|p| p.begins), Some(START + 7_000));
        assert_eq!(late.refusals.len(), 1);
        let too_late = timeline(START - 200, &window(7_200), &zone(), &held());
        assert!(too_late.refusals.iter().any(|r| matches!(r, Refusal::Long { .. })), "{:?}", too_late.refusals);
        let over = timeline(START + 7_200, &window(7_200), &zone(), &held());
        assert!(over.refusals.iter().all(|r| !r.can_be_waived()), "{:?}", over.refusals);
    }

    #[test]
    fn a_short_ttl_needs_no_lowering_and_is_never_raised_above_the_wanted() {
        let low = vec![Held { wanted: mx(120, "new"), observed: Some(mx(60, "old")), former_ttl: None }];
        let line = timeline(START, &window(7_200), &zone(), &low);
        assert_eq!(stages(&line)[0], (Stage::FlipMx, 0, 120));
        assert_eq!(line.part(Stage::RaiseTtl), None);
        assert_eq!(line.part(Stage::FlipMx).expect("a stage").served(), [mx(120, "new")]);
        assert_eq!(line.refusals, []);
    }

    #[test]
    fn what_is_new_waits_for_those_who_remember_that_it_was_not_there() {
        let mut zone = zone();
        let a = zone.sets.remove(1);
        zone.publishes = vec![SetChange { before: None, after: Some(a) }];
        let mut held = held();
        held[0].observed = Some(mx(30, "old"));
        zone.sets.clear();
        let line = timeline(START - 100_000, &window(7_200), &zone, &held);
        assert_eq!(stages(&line)[0], (Stage::Publish, -100_000, 900));
        let late = timeline(START - 1_000, &window(7_200), &zone, &held);
        assert_eq!(late.part(Stage::FlipMx).map(|p| p.begins), Some(START));
        assert!(
            matches!(late.refusals.as_slice(), [Refusal::Short { .. }]),
            "the secondary may lag: {:?}",
            late.refusals
        );
        zone.publishes.clear();
        let nowhere = timeline(START - 100_000, &window(7_200), &zone, &held);
        assert!(matches!(nowhere.refusals.as_slice(), [Refusal::NoAddress { .. }]), "{:?}", nowhere.refusals);
    }

    #[test]
    fn an_address_that_moves_with_its_name_goes_first() {
        let a = |host: &str| set("mail.acme.example.", "A", 3_600, &[host]);
        let held = vec![
            Held { wanted: mx(3_600, "mail"), observed: Some(mx(3_600, "old")), former_ttl: None },
            Held { wanted: a("192.0.2.2"), observed: Some(a("192.0.2.1")), former_ttl: None },
        ];
        let line = timeline(START - 100_000, &window(7_200), &zone(), &held);
        let kinds = |p: &Part| p.changes.iter().filter_map(|c| Some(c.key()?.kind.clone())).collect::<Vec<_>>();
        assert_eq!(kinds(line.part(Stage::FlipMx).expect("a stage")), ["A", "MX"]);
        assert_eq!(line.refusals, []);
    }

    #[test]
    fn a_plan_that_was_lost_goes_on_where_the_zone_stands() {
        let flipped = vec![Held { wanted: mx(3_600, "new"), observed: Some(mx(300, "new")), former_ttl: None }];
        let line = timeline(START + 100, &window(7_200), &zone(), &flipped);
        assert_eq!(stages(&line), [(Stage::RaiseTtl, 7_200, 0)]);
        let done = vec![Held { wanted: mx(3_600, "new"), observed: Some(mx(3_600, "new")), former_ttl: None }];
        assert_eq!(timeline(START + 100, &window(7_200), &zone(), &done).parts, []);
        // Lowered by a run that nobody finished: the old TTL is waited for again.
        let lowered = vec![Held { wanted: mx(3_600, "new"), observed: Some(mx(300, "old")), former_ttl: Some(9_000) }];
        let line = timeline(START - 20_000, &window(7_200), &zone(), &lowered);
        assert_eq!(stages(&line)[0], (Stage::LowerTtl, -20_000, 9_000));
        assert_eq!(line.part(Stage::LowerTtl).expect("a stage").served(), [mx(300, "old")]);
    }

    #[test]
    fn what_could_never_come_true_is_said() {
        let mut none = window(7_200);
        none.stages.remove(&Stage::FlipMx);
        let line = timeline(START - 100_000, &none, &zone(), &held());
        assert!(matches!(line.refusals.as_slice(), [Refusal::NoFlip { .. }]), "{:?}", line.refusals);
        let mut empty = held();
        empty[0].wanted.data.clear();
        let line = timeline(START - 100_000, &window(7_200), &zone(), &empty);
        assert!(line.refusals.iter().any(|r| matches!(r, Refusal::Empty { .. })), "{:?}", line.refusals);
    }
}
