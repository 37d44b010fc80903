//! Which action follows from what the read side lists, what the ledger knows and what the written side holds. Pure.
//!
//! | listing | ledger | written side | before the switch | after it |
//! |---|---|---|---|---|
//! | there | unknown | | append | append (late mail) |
//! | there | known | gone | append again | nothing: the user removed it |
//! | flags differ | known | there | set them | set them where the user has not changed them |
//! | same flags | known | other flags | set them | nothing |
//! | gone | known | there | remove | nothing |
//! | gone | known | gone | forget | forget |
//!
//! A message is gone when its end said so, or when a whole listing does not have it; never when it was not asked for.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::model::unit::Percent;
use crate::services::cms::ledger::Row;
use crate::services::cms::mailbox::{Changes, Class, Flags, Id, Seen, Sha256};

/// What is to be done in a folder, in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Orders {
    /// To be read and stored, in the order of the listing.
    pub append: Vec<Id>,
    /// Rows whose message is among `append` because its former place on the written side is gone.
    pub lost: Vec<i64>,
    pub flags: Vec<(i64, Id, Flags)>,
    pub remove: Vec<(i64, Id)>,
    pub forget: Vec<i64>,
    /// Gone from the read side, and what the written side calls them is not known: they stay there.
    pub stuck: Vec<Row>,
}

impl Orders {
    pub fn is_empty(&self) -> bool {
        self.append.is_empty()
            && self.flags.is_empty()
            && self.remove.is_empty()
            && self.forget.is_empty()
            && self.stuck.is_empty()
    }
}

/// What the written side holds, where it was looked at: `None` means that its mark is what we left.
pub type Held = Option<BTreeMap<Id, Flags>>;

/// `rows` are all of the folder, or, with [`Changes::Since`] and no `held`, at least those that the listing names.
pub fn orders(rows: &[Row], listing: &Changes, held: &Held, retry: &[Id], switched: bool) -> Orders {
    let mut orders = Orders::default();
    let (seen, whole): (&[Seen], bool) = match listing {
        Changes::Whole(seen) => (seen, true),
        Changes::Since { changed, .. } => (changed, false),
    };
    let vanished: HashSet<&Id> = match listing {
        Changes::Whole(_) => HashSet::new(),
        Changes::Since { vanished, .. } => vanished.iter().collect(),
    };
    let listed: HashMap<&Id, &Seen> = seen.iter().map(|s| (&s.id, s)).collect();
    let known: HashSet<&Id> = rows.iter().filter_map(|r| r.from.as_ref()).collect();
    orders
        .append
        .extend(seen.iter().filter(|s| !known.contains(&s.id) && !vanished.contains(&s.id)).map(|s| s.id.clone()));
    for row in rows {
        let now = row.from.as_ref().and_then(|id| listed.get(id));
        let gone = match &row.from {
            None => true,
            Some(id) => vanished.contains(id) || whole && now.is_none(),
        };
        let lost = held.as_ref().zip(row.to.as_ref()).is_some_and(|(held, to)| !held.contains_key(to));
        match (gone, lost, &row.to) {
            (true, true, _) => orders.forget.push(row.row),
            (true, false, _) if switched => {}
            (true, false, Some(to)) => orders.remove.push((row.row, to.clone())),
            (true, false, None) => orders.stuck.push(row.clone()),
            (false, true, _) if !switched => {
                orders.append.extend(row.from.clone());
                orders.lost.push(row.row);
            }
            (false, true, _) => {}
            (false, false, to) => {
                let Some(to) = to else { continue };
                let there = held.as_ref().and_then(|h| h.get(to));
                let (wanted, changed) = match now {
                    Some(now) => (&now.flags, !now.flags.same(&row.flags)),
                    None => (&row.flags, false),
                };
                let set = match (changed, there) {
                    (true, Some(there)) => !there.same(wanted) && (!switched || there.same(&row.flags)),
                    (true, None) => !switched,
                    (false, Some(there)) => !switched && !there.same(wanted),
                    (false, None) => false,
                };
                if set {
                    orders.flags.push((row.row, to.clone(), wanted.clone()));
                } else if changed && there.is_some_and(|t| t.same(wanted)) {
                    // Already so: remembered with the rest, and not sent again next time.
                    orders.flags.push((row.row, to.clone(), wanted.clone()));
                }
            }
        }
    }
    let already: HashSet<Id> = orders.append.iter().cloned().collect();
    let again = retry.iter().filter(|id| !already.contains(id) && !known.contains(id) && !vanished.contains(id));
    orders.append.extend(again.filter(|id| !whole || listed.contains_key(id)).cloned());
    orders
}

/// Whether so much goes at once that a person should look: an empty or foreign mailbox may have answered.
pub fn suspicious(left: u64, known: u64) -> bool {
    known > 20 && left < known / 2
}

/// After a renumbering: which of `found` (new id, digest) is which of `rows`, each used once, in the order of both. Gives the rows with
/// their new ids; what is left of `found` is new, and rows without a partner are gone.
pub fn rejoin(rows: &[Row], found: &[(Id, Sha256)]) -> Vec<(i64, Option<Id>)> {
    let mut by_digest: HashMap<Sha256, std::collections::VecDeque<&Id>> = HashMap::new();
    for (id, digest) in found {
        by_digest.entry(*digest).or_default().push_back(id);
    }
    rows.iter().map(|r| (r.row, by_digest.get_mut(&r.digest).and_then(|ids| ids.pop_front()).cloned())).collect()
}

/// Which of `wanted` digests stand among `candidates`, each candidate used once. Gives for each wanted one its candidate.
pub fn assign(wanted: &[Sha256], candidates: &[(Id, Sha256)]) -> Vec<Option<Id>> {
    let mut used = HashSet::new();
    wanted
        .iter()
        .map(|digest| {
            let (n, (id, _)) = candidates.iter().enumerate().find(|(n, (_, d))| d == digest && !used.contains(n))?;
            used.insert(n);
            Some(id.clone())
        })
        .collect()
}

/// Whether a mailbox may count as moved although messages of it stay behind: only such as one end refuses or no longer has, each named in
/// the report, and no more than this share of all. What a verification found to differ is never borne.
pub fn bearable(exceptions: &[Class], moved: u64, share: Percent) -> bool {
    let left = exceptions.len() as u64;
    exceptions.iter().all(|class| class.of_message()) && share.covers(left, moved + left)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_share_may_stay_behind_but_nothing_that_differs() {
        let share = |text| Percent::parse(text).expect("percent");
        assert!(bearable(&[], 0, share("0%")));
        assert!(!bearable(&[Class::Malformed], 1_000_000, share("0%")));
        assert!(bearable(&[Class::Malformed], 99, share("1%")) && !bearable(&[Class::TooLarge], 98, share("1%")));
        assert!(
            !bearable(&[Class::Protocol], 1000, share("50%"))
                && !bearable(&[Class::Malformed, Class::Quota], 1000, share("50%"))
        );
    }

    fn row(n: u32, to: u32, flags: &str) -> Row {
        Row {
            row: i64::from(n),
            from: Some(Id::uid(n)),
            to: Some(Id::uid(to)),
            size: 1,
            digest: Sha256([n as u8; 32]),
            flags: Flags::of(flags.split(' ')),
            date: None,
        }
    }

    fn seen(n: u32, flags: &str) -> Seen {
        Seen { id: Id::uid(n), flags: Flags::of(flags.split(' ')), size: None, date: None }
    }

    fn held(list: &[(u32, &str)]) -> Held {
        Some(list.iter().map(|(n, f)| (Id::uid(*n), Flags::of(f.split(' ')))).collect())
    }

    #[test]
    fn the_table_before_the_switch() {
        let rows = [row(1, 11, ""), row(2, 12, ""), row(3, 13, "\\Seen"), row(4, 14, ""), row(5, 15, "")];
        let listing = Changes::Whole(vec![seen(1, ""), seen(2, "\\Seen"), seen(3, "\\Seen"), seen(6, "")]);
        let o = orders(&rows, &listing, &held(&[(12, ""), (13, ""), (14, ""), (99, "")]), &[], false);
        assert_eq!(o.append, [Id::uid(6), Id::uid(1)], "new, and lost on the written side");
        assert_eq!(o.flags.iter().map(|f| f.0).collect::<Vec<_>>(), [2, 3]);
        assert_eq!((o.remove, o.forget), (vec![(4, Id::uid(14))], vec![5]));
    }

    /// `--delete2` of others removes new mail on the target: nothing that the ledger does not know is ever touched.
    #[test]
    fn failure_19_what_the_new_side_received_itself_is_not_touched() {
        let o = orders(&[], &Changes::Whole(vec![]), &held(&[(99, "")]), &[], false);
        assert!(o.is_empty());
    }

    #[test]
    fn after_the_switch_the_new_side_wins() {
        let rows = [row(1, 11, ""), row(2, 12, ""), row(3, 13, ""), row(4, 14, "")];
        let listing = Changes::Whole(vec![seen(1, "\\Seen"), seen(2, "\\Seen"), seen(3, ""), seen(9, "")]);
        // The user flagged 2 and removed 3 on the new side; 4 went on the old one.
        let o = orders(&rows, &listing, &held(&[(11, ""), (12, "\\Flagged"), (14, "")]), &[], true);
        assert_eq!(o.append, [Id::uid(9)]);
        assert_eq!(o.flags.iter().map(|f| f.0).collect::<Vec<_>>(), [1]);
        assert!(o.remove.is_empty() && o.forget.is_empty());
    }

    /// A body that was not sent, an error, a listing that was not made: nothing is concluded from silence.
    #[test]
    fn failure_13_silence_is_not_an_expunge() {
        let rows = [row(1, 11, ""), row(2, 12, "")];
        let o = orders(&rows, &Changes::Since { changed: vec![], vanished: vec![] }, &None, &[], false);
        assert!(o.is_empty());
        let o =
            orders(&rows, &Changes::Since { changed: vec![], vanished: vec![Id::uid(2)] }, &None, &[Id::uid(7)], false);
        assert_eq!((o.remove, o.append), (vec![(2, Id::uid(12))], vec![Id::uid(7)]), "an exception is tried again");
    }

    #[test]
    fn failure_21_an_empty_mailbox_that_answers_empties_nothing() {
        assert!(suspicious(0, 500) && suspicious(249, 500));
        assert!(!suspicious(250, 500) && !suspicious(0, 20), "small mailboxes may be emptied");
    }

    proptest! {
        /// After a renumbering equal contents find as many partners as there are, and no id is given twice.
        #[test]
        fn failure_06_renumbered_messages_find_themselves(bodies in proptest::collection::vec(0u8..4, 0..12), now in proptest::collection::vec(0u8..4, 0..12)) {
            let rows: Vec<Row> = bodies.iter().enumerate().map(|(n, b)| Row { digest: Sha256([*b; 32]), ..row(n as u32, n as u32, "") }).collect();
            let found: Vec<(Id, Sha256)> = now.iter().enumerate().map(|(n, b)| (Id::uid(n as u32 + 100), Sha256([*b; 32]))).collect();
            let joined = rejoin(&rows, &found);
            let ids: Vec<&Id> = joined.iter().filter_map(|(_, id)| id.as_ref()).collect();
            prop_assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
            for body in 0..4u8 {
                let had = bodies.iter().filter(|b| **b == body).count();
                let has = now.iter().filter(|b| **b == body).count();
                let joined = joined.iter().zip(&rows).filter(|((_, id), r)| id.is_some() && r.digest.0[0] == body).count();
                prop_assert_eq!(joined, had.min(has));
            }
        }

        /// Carrying the orders out makes the written side what the listing is, keeps what is foreign, and a second look has nothing to say.
        #[test]
        fn orders_lead_to_sameness(
            old in proptest::collection::btree_map(0u32..12, 0usize..3, 0..10),
            carried in proptest::collection::btree_map(0u32..12, 0usize..3, 0..10),
            lost in proptest::collection::btree_set(0u32..12, 0..4),
            foreign in proptest::collection::btree_set(200u32..205, 0..3),
        ) {
            const FLAGS: [&str; 3] = ["", "\\Seen", "\\Seen Work"];
            let mut rows: Vec<Row> = carried.iter().map(|(n, f)| row(*n, n + 100, FLAGS[*f])).collect();
            let mut there: BTreeMap<Id, Flags> =
                carried.iter().filter(|(n, _)| !lost.contains(n)).map(|(n, f)| (Id::uid(n + 100), Flags::of(FLAGS[*f].split(' ')))).collect();
            there.extend(foreign.iter().map(|n| (Id::uid(*n), Flags::default())));
            let listing = Changes::Whole(old.iter().map(|(n, f)| seen(*n, FLAGS[*f])).collect());
            let o = orders(&rows, &listing, &Some(there.clone()), &[], false);
            for (row, id, flags) in &o.flags {
                there.insert(id.clone(), flags.clone());
                rows.iter_mut().filter(|r| r.row == *row).for_each(|r| r.flags = flags.clone());
            }
            for (row, id) in &o.remove {
                prop_assert!(!foreign.iter().any(|f| Id::uid(*f) == *id));
                there.remove(id);
                rows.retain(|r| r.row != *row);
            }
            rows.retain(|r| !o.forget.contains(&r.row));
            for (n, id) in o.append.iter().enumerate() {
                let source = id.number().unwrap_or(0);
                let flags = FLAGS[old[&source]];
                rows.retain(|r| r.from.as_ref() != Some(id));
                rows.push(row(source, 1000 + n as u32, flags));
                there.insert(Id::uid(1000 + n as u32), Flags::of(flags.split(' ')));
            }
            prop_assert_eq!(there.len(), old.len() + foreign.len());
            for r in &rows {
                let source = r.from.as_ref().and_then(Id::number).unwrap_or(0);
                prop_assert!(there[r.to.as_ref().unwrap_or(&Id::uid(0))].same(&Flags::of(FLAGS[old[&source]].split(' '))));
            }
            prop_assert!(orders(&rows, &listing, &Some(there), &[], false).is_empty());
        }
    }
}
