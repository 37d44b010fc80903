//! What is not mail, in a pass: rules, out-of-office, signatures, contacts, permissions. Whatever cannot be carried becomes an exception
//! of the user, and the pass goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::add;
use super::lane::side;
use super::pass::Course;
use super::rules::suspicious;
use crate::services::cms::audit::Event;
use crate::services::cms::config::{Field, Item, Kind};
use crate::services::cms::ledger::Carried;
use crate::services::cms::mailbox::{Beside, Class, Fault, FolderPath};
use crate::services::cms::personal::fit::{Ends, fit};
use crate::services::cms::personal::rights;
use crate::services::cms::personal::step::{Row, Step, step};
use crate::services::cms::personal::{BESIDE, Body, Known, Left, Listing, PersonalSource, PersonalTarget, Seen, Thing};

/// Times that an end is tried in one pass.
const TRIES: u32 = 3;

/// What a field came to: exceptions by name, and names of which nothing is known this time.
#[derive(Default)]
struct Said {
    faults: BTreeMap<String, Fault>,
    unasked: BTreeSet<String>,
}

impl Said {
    fn left(&mut self, left: Left) {
        let fault = Fault::new(left.class, left.what);
        self.faults.insert(format!("{}:{}", left.item.as_str(), left.id), fault);
    }

    /// Whether something is said of the thing of this name, or of a part of it.
    fn names(&self, name: &str) -> bool {
        let within = format!("{name}:");
        let part = self.faults.range(within.clone()..).next().is_some_and(|(n, _)| n.starts_with(&within));
        part || self.faults.contains_key(name)
    }
}

#[derive(Clone, Copy)]
enum Work {
    Carry { removals: bool },
    Compare,
}

/// Both ends of a field.
struct Pair {
    from: PersonalSource,
    to: PersonalTarget,
}

impl Course {
    fn asked(&self, field: Field) -> Vec<Item> {
        let items = &self.mover.config.cms.items;
        field.items().iter().copied().filter(|i| items.contains(i)).collect()
    }

    /// Carries what is asked for. Fails when the ledger does; what ends say is an exception.
    pub(super) async fn personal(&self, removals: bool) -> Result<(), Fault> {
        for field in Field::ALL {
            let items = self.asked(field);
            if !items.is_empty() {
                let said = self.patiently(field, &items, Work::Carry { removals }).await?;
                self.say(field, said, "").await?;
            }
        }
        Ok(())
    }

    /// Compares what both sides have. Differences are exceptions whose name begins with `verify:`.
    pub(super) async fn verify_personal(&self) -> Result<(), Fault> {
        for field in Field::ALL {
            let items = self.asked(field);
            if !items.is_empty() {
                let said = self.patiently(field, &items, Work::Compare).await?;
                self.say(field, said, "verify:").await?;
            }
        }
        Ok(())
    }

    /// With fresh sessions as often as it may help.
    async fn patiently(&self, field: Field, items: &[Item], work: Work) -> Result<Said, Fault> {
        let mut tries = 0;
        loop {
            let done = match self.pair(field).await {
                Ok(Some(mut pair)) => {
                    let done = match work {
                        Work::Carry { removals } => self.carry_things(&mut pair, items, removals).await,
                        Work::Compare => self.compare(&mut pair).await,
                    };
                    if done.is_ok() {
                        tokio::join!(pair.from.close(), pair.to.close());
                    }
                    done
                }
                Ok(None) => return Ok(self.nowhere(field, items)),
                Err(fault) => Err(fault),
            };
            let fault = match done {
                Ok(said) => return Ok(said),
                Err(fault) => fault,
            };
            tries += 1;
            if fault.what.starts_with("the ledger") || fault.what.starts_with("the lease") {
                return Err(fault);
            }
            if tries >= TRIES || !matches!(fault.class, Class::Unreachable | Class::Busy) {
                tracing::info!("{}: {}: {fault}", self.held.user, field.key());
                let mut said = Said::default();
                // Nothing is known of the single things: what was said of them stays.
                said.unasked.insert(String::new());
                items.iter().for_each(|item| said.left(Left::of(*item, "end", fault.clone())));
                return Ok(said);
            }
            tokio::time::sleep(fault.after.unwrap_or(Duration::from_millis(200 << tries)).min(Duration::from_secs(5)))
                .await;
        }
    }

    /// `None` where one side has no end for it.
    async fn pair(&self, field: Field) -> Result<Option<Pair>, Fault> {
        let (config, way, user) = (&self.mover.config, self.way, &self.held.user);
        let (Some(old), Some(new)) = (config.source.holder(field), config.target.holder(field)) else {
            return Ok(None);
        };
        let forward = way == crate::services::cms::ledger::Way::Forward;
        let (from, to) = if forward { (old, new) } else { (new, old) };
        let access = |end, reads| self.mover.people.access_at(end, &self.mover.passwords, user, way, reads);
        let (read, written) = (access(&from, true)?, access(&to, false)?);
        let (from, to) = tokio::try_join!(
            async { PersonalSource::connect(&from, &read, field).await.map_err(|f| side(f, way.from())) },
            async { PersonalTarget::connect(&to, &written, field).await.map_err(|f| side(f, way.to())) },
        )?;
        Ok(Some(Pair { from, to }))
    }

    /// Asked for, and one side has no end for it.
    fn nowhere(&self, field: Field, items: &[Item]) -> Said {
        let (config, mut said) = (&self.mover.config, Said::default());
        let sides = [("source", &config.source), ("target", &config.target)];
        let missing: Vec<String> = match field {
            Field::Permissions => vec!["kind = \"imap\" at [source] and [target]".to_owned()],
            _ => sides
                .into_iter()
                .filter(|(_, end)| end.holder(field).is_none())
                .map(|(side, _)| format!("[{side}.{}]", field.key()))
                .collect(),
        };
        for item in items {
            let name = item.as_str();
            let what = format!(
                "cms.items asks for {name}, and it is not said where they are: write {}, or take {name} out of cms.items",
                missing.join(" and ")
            );
            said.left(Left::new(*item, "end", what));
        }
        said
    }

    /// What both have: the read side in the form of the written one.
    async fn both(&self, pair: &mut Pair, known: &BTreeMap<(Item, String), Row>) -> Result<(Listing, Listing), Fault> {
        let (from, to) = (self.way.from(), self.way.to());
        let marks: Known = known.iter().map(|(k, row)| (k.clone(), row.to_mark.clone())).collect();
        let there = pair.to.list(&marks).await.map_err(|f| side(f, to))?;
        // What was touched on the written side is read again on the other one too.
        let at: BTreeMap<(Item, &str), &Seen> = there.things.iter().map(|s| ((s.item, s.id.as_str()), s)).collect();
        let undisturbed = known
            .iter()
            .filter(|(key, row)| at.get(&(key.0, key.1.as_str())).is_some_and(|seen| seen.mark == row.to_mark));
        let marks: Known = undisturbed.map(|(key, row)| (key.clone(), row.from_mark.clone())).collect();
        let mut here = pair.from.list(&marks).await.map_err(|f| side(f, from))?;
        let folders = self.held.folders(self.way).await?;
        let rename = &self.mover.config.folders.rename;
        let over_there = |path: &FolderPath| {
            let pair = folders.iter().find(|k| k.from_path == *path).map(|k| k.to_path.clone());
            let said = || match self.way.from() {
                "old" => rename.get(&path.key()).and_then(|p| FolderPath::of_key(p)),
                _ => rename.iter().find(|(_, new)| **new == path.key()).and_then(|(old, _)| FolderPath::of_key(old)),
            };
            pair.or_else(said).unwrap_or_else(|| path.clone())
        };
        let who = |name: &str| self.mover.people.called(name, self.way);
        here.things = rights::fit(std::mem::take(&mut here.things), &over_there, &who);
        let ends = Ends { sieve: pair.to.sieve(), spaces: &self.spaces, path: &over_there, user: &self.held.user };
        let (things, left) = fit(std::mem::take(&mut here.things), &ends);
        here.left.extend(left);
        let (things, left) = pair.to.holds(things);
        here.things = things;
        here.left.extend(left);
        Ok((here, there))
    }

    async fn carry_things(&self, pair: &mut Pair, items: &[Item], removals: bool) -> Result<Said, Fault> {
        let known = self.known(items).await?;
        let (here, there) = self.both(pair, &known).await?;
        for (item, id) in pair.to.mend().await.map_err(|f| side(f, self.way.to()))? {
            self.tell(item, &id, "removed a copy of")?;
        }
        let mut said = Said::default();
        here.left.into_iter().for_each(|left| said.left(left));
        let of = |list: &[Seen]| -> BTreeMap<(Item, String), Seen> {
            list.iter().map(|s| ((s.item, s.id.clone()), s.clone())).collect()
        };
        let (from, to) = (of(&here.things), of(&there.things));
        let held_back = !removals && suspicious(from.len() as u64, known.len() as u64);
        let (mut put, mut same, mut remove, mut forget) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let keys: BTreeSet<&(Item, String)> = from.keys().chain(known.keys()).collect();
        for key in keys {
            let (f, t, row) = (from.get(key), to.get(key), known.get(key));
            let name = format!("{}:{}", key.0.as_str(), key.1);
            if f.is_some_and(|f| f.thing.is_none()) {
                said.unasked.insert(name.clone());
            }
            // What could not be read is not gone.
            if f.is_none() && said.names(&name) {
                continue;
            }
            match (step(row, f, t, self.switched), f, t) {
                (Step::Put, Some(f), t) => match &f.thing {
                    Some(thing) => put.push((self.given(thing, t), f, t)),
                    None => said.left(Left::new(key.0, &key.1, "the end did not give its content")),
                },
                (Step::Record, Some(f), Some(t)) => same.push((f, t.mark.clone())),
                (Step::Remove, _, Some(_)) if held_back => {
                    let what =
                        "most things of this kind are gone at once: `cutover-cms retry --accept-removals` removes them";
                    said.left(Left::new(key.0, &key.1, what));
                }
                (Step::Remove, _, Some(t)) => remove.push((key, t)),
                (Step::Forget, ..) => forget.push(key.clone()),
                _ => {}
            }
        }
        // One whole batch: what becomes active does so after all is there.
        let orders: Vec<(&Thing, Option<&str>)> =
            put.iter().map(|(thing, _, t)| (thing, t.map(|t| t.mark.as_str()))).collect();
        let done = match orders.is_empty() {
            true => Vec::new(),
            false => pair.to.put(&orders).await.map_err(|f| side(f, self.way.to()))?,
        };
        pair.to.lost().into_iter().for_each(|lost| said.left(lost));
        for ((thing, f, _), done) in put.iter().zip(done) {
            match done {
                Ok(mark) => {
                    self.tell(thing.item, &thing.id, "put")?;
                    same.push((f, mark));
                    add(&self.tally.things, 1);
                    add(&self.mover.meter.things, 1);
                }
                Err(fault) => said.left(Left::of(thing.item, &thing.id, side(fault, self.way.to()))),
            }
        }
        let rows = same.into_iter().filter_map(|(f, to_mark)| {
            let thing = f.thing.as_ref()?;
            let row = Row { from_mark: f.mark.clone(), to_mark };
            Some(Carried { item: f.item, id: f.id.clone(), row, digest: thing.digest(), notes: thing.notes.clone() })
        });
        let rows: Vec<Carried> = rows.collect();
        if !rows.is_empty() {
            self.held.carried(self.way, rows).await?;
        }
        for (key, t) in remove {
            match pair.to.remove(key.0, &key.1, &t.mark).await {
                Ok(()) => {
                    self.tell(key.0, &key.1, "removed")?;
                    add(&self.tally.things, 1);
                    forget.push(key.clone());
                }
                Err(fault) if fault.class == Class::Unreachable => return Err(side(fault, self.way.to())),
                Err(fault) => said.left(Left::of(key.0, &key.1, side(fault, self.way.to()))),
            }
        }
        if !forget.is_empty() {
            self.held.forget_things(forget).await?;
        }
        Ok(said)
    }

    /// After the switch the user decides which script works.
    fn given(&self, thing: &Thing, there: Option<&Seen>) -> Thing {
        let mut thing = thing.clone();
        if let Body::Script { active, .. } = &mut thing.body
            && self.switched
        {
            let works =
                |s: &Seen| s.thing.as_ref().is_some_and(|t| matches!(t.body, Body::Script { active: true, .. }));
            *active = there.is_some_and(works);
        }
        thing
    }

    /// Rows of these items, and of those that go over the same end.
    async fn known(&self, items: &[Item]) -> Result<BTreeMap<(Item, String), Row>, Fault> {
        let field = Field::ALL.into_iter().find(|f| items.iter().any(|i| f.items().contains(i)));
        let mut known = self.held.things(self.way).await?;
        known.retain(|(item, _), _| field.is_some_and(|f| f.items().contains(item)));
        Ok(known)
    }

    async fn compare(&self, pair: &mut Pair) -> Result<Said, Fault> {
        let (here, there) = self.both(pair, &BTreeMap::new()).await?;
        let mut said = Said::default();
        let at: BTreeMap<(Item, &str), &Seen> = there.things.iter().map(|s| ((s.item, s.id.as_str()), s)).collect();
        let digest = |seen: &Seen| seen.thing.as_ref().map(Thing::digest);
        for seen in &here.things {
            match at.get(&(seen.item, seen.id.as_str())) {
                None => {
                    let what = format!("the {} side does not have it", self.way.to());
                    said.left(Left { class: Class::Protocol, ..Left::new(seen.item, &seen.id, what) });
                }
                Some(other) if digest(other) != digest(seen) => {
                    let what = format!("it is another one on the {} side", self.way.to());
                    said.left(Left { class: Class::Protocol, ..Left::new(seen.item, &seen.id, what) });
                }
                Some(_) => {}
            }
        }
        Ok(said)
    }

    /// Names folders that hold something else than mail: those that are new, and no longer those that are over. An address book of the
    /// same end goes as contacts.
    pub(super) async fn beside(&self, folders: Vec<Beside>) -> Result<(), Fault> {
        let holder = self.mover.config.source.holder(Field::Contacts).filter(|end| end.kind == Kind::Ews);
        let carried = holder.is_some() && !self.asked(Field::Contacts).is_empty();
        let left = folders.into_iter().filter(|f| !(carried && f.is_contacts));
        let mut now: BTreeMap<String, String> = left.map(|f| (format!("{BESIDE}:{}", f.folder), f.what)).collect();
        let mut over = Vec::new();
        for former in self.mover.ledger.exceptions(&self.held.user).await? {
            match now.get(&former.item) {
                _ if former.folder != 0 || !former.item.starts_with("beside:") => {}
                Some(what) if *what == former.what => drop(now.remove(&former.item)),
                Some(_) => {}
                None => over.push(former.item),
            }
        }
        self.held.settle(0, over).await?;
        for (name, what) in now {
            self.except(0, "", &name, Fault::new(Class::Unsupported, what)).await?;
        }
        Ok(())
    }

    fn tell(&self, item: Item, id: &str, what: &str) -> Result<(), Fault> {
        self.mover.audit.tell(&Event::Thing { user: &self.held.user, item: item.as_str(), id, what })
    }

    /// Writes exceptions that are new, and takes away those that are over.
    async fn say(&self, field: Field, said: Said, prefix: &'static str) -> Result<(), Fault> {
        let mut said_of: BTreeMap<String, Fault> =
            said.faults.into_iter().map(|(name, fault)| (format!("{prefix}{name}"), fault)).collect();
        let ours = |name: &str| {
            let rest = name.strip_prefix(prefix)?;
            let item = rest.split_once(':')?.0;
            field.items().iter().any(|i| i.as_str() == item).then(|| rest.to_owned())
        };
        let mut over = Vec::new();
        for former in self.mover.ledger.exceptions(&self.held.user).await? {
            let Some(rest) = ours(&former.item).filter(|_| former.folder == 0) else { continue };
            match said_of.get(&former.item) {
                Some(fault) if (fault.class, &fault.what) == (former.class, &former.what) => {
                    said_of.remove(&former.item);
                }
                Some(_) => {}
                None if said.unasked.contains("") && !rest.ends_with(":end") => {}
                None if said
                    .unasked
                    .iter()
                    .any(|u| !u.is_empty() && (rest == *u || rest.starts_with(&format!("{u}:")))) => {}
                None => over.push(former.item),
            }
        }
        self.held.settle(0, over).await?;
        for (name, fault) in said_of {
            self.except(0, "", &name, fault).await?;
        }
        Ok(())
    }
}
