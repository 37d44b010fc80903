//! Record sets: a zone has other owners beside us, so what stands there is ours only when the ledger says so.

use std::collections::BTreeMap;

use crate::catalog::record_set::{self, fingerprint};
use crate::model::address::{HostName, Kind};
use crate::model::attr::Attr;
use crate::model::host::HostError;
use crate::model::observed::{Observation, Observed, Owned, Record};
use crate::model::resource::Resource;
use crate::model::site::Site;
use crate::model::step::Action;

use super::diff::Change;

/// What becomes of a wanted record set.
pub enum Ruling {
    /// As for everything else; `None`: nothing to do.
    Go(Option<Change>),
    /// Goes, and a reader should know this.
    Told(Change, String),
    /// Must not go; the text says why and what to do.
    Blocked(String),
}

/// `change` is what the comparison alone would do.
pub fn rule(r: &Resource, record: &Record, owned: Option<&Owned>, change: Option<Change>) -> Ruling {
    let noted = |reason: &str| Change { action: Action::Update, fields: Vec::new(), reason: reason.to_owned() };
    match (owned, change) {
        (Some(owned), None) if !written(owned, &r.attrs) => {
            Ruling::Go(Some(noted("stands there as wanted already; the ledger learns it")))
        }
        (None, None) if record.present => {
            Ruling::Go(Some(noted("stands there as wanted already; cutover takes it into its ledger")))
        }
        (None, Some(change)) if record.present => {
            let found = record.fingerprint.trim_start_matches("record-set ");
            match r.attrs.get("adopt").and_then(Attr::as_bool) == Some(true) {
                true => {
                    let text = format!("was not made by cutover and is taken over (adopt): it was {found}");
                    Ruling::Told(change, text)
                }
                false => Ruling::Blocked(format!(
                    "was not made by cutover, and differs: {found} stands there. Write adopt=#true on the record to take it over, write \
                     what stands there, or take the record out of the topology"
                )),
            }
        }
        (_, change) => Ruling::Go(change),
    }
}

/// Whether the ledger holds that we wrote just this.
fn written(owned: &Owned, attrs: &crate::model::attr::Attrs) -> bool {
    record_set::of_attrs(&owned.key, &owned.attrs) == record_set::of_attrs(&owned.key, attrs)
}

/// Why a set of ours may not be taken away: somebody else has written there since.
pub fn keeps(owned: &Owned, record: &Record) -> Option<String> {
    let wrote = fingerprint(record_set::of_attrs(&owned.key, &owned.attrs).as_ref());
    (record.present && record.fingerprint != wrote).then(|| {
        let (wrote, found) =
            (wrote.trim_start_matches("record-set "), record.fingerprint.trim_start_matches("record-set "));
        format!("stays: cutover wrote {wrote}, and somebody else made it {found}")
    })
}

/// Of more sets than this a plan may change or delete only a part without being told.
const FEW: usize = 10;
/// That part, in percent: as octoDNS, whose users have been kept from many an accident by it.
const PART: usize = 30;

/// What a plan may do beyond its limits, as `--exceed` says it. The last two are of signed mail and of certificates.
pub const WORDS: [&str; 4] = ["updates", "deletes", "signing", "tlsa"];

/// Why a plan must not be applied that changes or deletes much of what cutover owns in a zone. `exceed`: the words that were said.
pub fn limits(zone: &str, owned: usize, updates: usize, deletes: usize, exceed: &[String]) -> Vec<String> {
    let too_many = |n: usize| owned > FEW && n * 100 > owned * PART;
    let counted = [(updates, "change", WORDS[0]), (deletes, "go", WORDS[1])];
    let told = |word: &str| exceed.iter().any(|e| e == word);
    counted
        .into_iter()
        .filter(|(n, _, word)| too_many(*n) && !told(word))
        .map(|(n, what, word)| {
            format!("{zone}: {n} of {owned} record sets of cutover would {what}, more than {PART} %; if that is meant, add --exceed {word}")
        })
        .collect()
}

/// A zone that cannot be asked because its server is still to be made: the host itself says that the zone was never begun there.
/// Its answer is then what is certain: no record set of ours stands in it. Silence alone never is.
pub fn unborn(site: &Site, observed: &mut Observed) {
    let certain = |error: &HostError, hosts: &BTreeMap<HostName, Observation>| -> Option<Observation> {
        let access = site.hosts.get(&error.host)?;
        let zone = access.zone().filter(|z| !z.departed)?;
        let name = error.host.0.strip_prefix("zone.")?;
        let seed = format!("{}:seed-zone-{name}", Kind::Command);
        let begun =
            hosts.get(zone.host.as_ref()?)?.records.get(&seed)?.attrs.get("satisfied").and_then(Attr::as_bool)?;
        let absent = |r: &Resource| {
            let record = Record {
                present: false,
                attrs: Default::default(),
                fingerprint: record_set::ABSENT.to_owned(),
                text: None,
            };
            (r.address.local(), record)
        };
        (!begun).then(|| Observation {
            host: error.host.clone(),
            facts: Default::default(),
            records: site.of_host(&error.host).iter().map(absent).collect(),
            owned: Vec::new(),
            pending: BTreeMap::new(),
            lease: None,
            armed: None,
            zone: None,
        })
    };
    let mut kept = Vec::new();
    for error in std::mem::take(&mut observed.failed) {
        match certain(&error, &observed.hosts) {
            Some(empty) => drop(observed.hosts.insert(error.host.clone(), empty)),
            None => kept.push(error),
        }
    }
    observed.failed = kept;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_that_takes_much_away_is_told_of_and_a_small_zone_is_not() {
        let none: [String; 0] = [];
        assert_eq!(limits("z", 10, 10, 10, &none), none, "ten are few");
        assert_eq!(limits("z", 100, 30, 30, &none), none, "thirty percent are not more than thirty");
        let both = limits("z", 100, 31, 40, &none);
        assert!(both.len() == 2 && both[0].contains("--exceed updates") && both[1].contains("40 of 100"), "{both:?}");
        assert_eq!(limits("z", 100, 31, 40, &["updates".into()]), both[1..], "each is told apart");
    }
}
