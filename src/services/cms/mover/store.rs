//! Messages of one folder on their way: read, gathered into batches, announced in the ledger, appended, recorded. Reading the next batch,
//! its announcement and the append of the one before it go on at the same time.

use tokio::sync::mpsc;

use super::add;
use super::lane::Lane;
use super::pass::Course;
use crate::services::cms::audit::Event;
use crate::services::cms::ledger::{Item, Stored};
use crate::services::cms::mailbox::{Class, Fault, Fetched, Id, Message};
use crate::services::cms::source::Source;
use crate::services::cms::target::{Abilities, Appended, Target};

/// Messages between the reader and the batches.
const WAITING: usize = 64;

/// How long a batch that is not full waits for its next message. What it holds is memory that others may wait for.
const IDLE: std::time::Duration = std::time::Duration::from_millis(100);

/// The written folder of an append.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub folder: i64,
    /// For people.
    pub path: &'a str,
    pub validity: u64,
    /// UIDNEXT before anything of this pass.
    pub next: Option<u64>,
}

struct Batch {
    messages: Vec<Message>,
    octets: u64,
}

/// What became of a batch.
#[derive(Default)]
struct Settled {
    stored: Vec<Stored>,
    refused: Vec<(Item, Fault)>,
    /// Nothing more is to be sent.
    stop: Option<Fault>,
    /// An answer was lost: the intent stays open.
    unknown: bool,
}

fn item(m: &Message) -> Item {
    Item { source: m.id.clone(), size: m.content.length(), digest: m.digest, flags: m.flags.clone(), date: m.date }
}

/// Whether a refusal is about more than one message.
fn stops(class: Class) -> bool {
    use Class::{Busy, Local, Login, Permission, Quota, Renumbered, Unreachable};
    matches!(class, Unreachable | Busy | Login | Permission | Quota | Local | Renumbered)
}

type Announced = Option<(Batch, i64)>;
type Done = Option<(i64, Vec<Stored>)>;

impl Course {
    /// Carries these messages over. `true` when the written side did not tell all ids.
    pub(super) async fn carry(&self, lane: &mut Lane, at: Place<'_>, ids: &[Id]) -> Result<bool, Fault> {
        let (tx, rx) = mpsc::channel(WAITING);
        let abilities = lane.target.abilities().clone();
        let (fetched, stored) =
            tokio::join!(self.read(&mut lane.source, ids, tx), self.write(&mut lane.target, at, rx, &abilities));
        // The end that was written says more about why the reading stopped than the other way round.
        let unmapped = stored?;
        fetched.map(|()| unmapped)
    }

    async fn read(&self, source: &mut Source, ids: &[Id], to: mpsc::Sender<Fetched>) -> Result<(), Fault> {
        source.fetch(ids, &self.mover.means, &to).await
    }

    async fn write(
        &self,
        target: &mut Target,
        at: Place<'_>,
        mut rx: mpsc::Receiver<Fetched>,
        abilities: &Abilities,
    ) -> Result<bool, Fault> {
        let mut carry = None;
        let mut unmapped = false;
        let mut done: Done = None;
        let mut ready = self.announce(&mut rx, &mut carry, at, abilities, None).await?;
        while let Some((batch, intent)) = ready {
            if let Err(fault) = self.still_ours(target).await {
                // What was announced and not sent is no doubt.
                self.held.step(self.way, at.folder, Some((intent, Vec::new())), None).await?;
                if done.is_some() {
                    self.held.step(self.way, at.folder, done, None).await?;
                }
                return Err(fault);
            }
            let (settled, next) = tokio::join!(
                self.append(target, batch),
                self.announce(&mut rx, &mut carry, at, abilities, done.take())
            );
            unmapped |= settled.stored.iter().any(|s| s.to.is_none());
            add(&self.tally.appended, settled.stored.len());
            add(&self.tally.octets, settled.stored.iter().map(|s| s.item.size as usize).sum());
            add(&self.mover.meter.messages, settled.stored.len());
            add(&self.mover.meter.octets, settled.stored.iter().map(|s| s.item.size as usize).sum());
            for (item, fault) in &settled.refused {
                self.except(at.folder, at.path, &item.source.to_string(), fault.clone()).await?;
            }
            if settled.stop.is_some() || next.is_err() {
                // What was announced and not sent is no doubt.
                if let Ok(Some((_, unsent))) = next {
                    self.held.step(self.way, at.folder, Some((unsent, Vec::new())), None).await?;
                }
                match settled.unknown {
                    true => self.held.record(self.way, at.folder, settled.stored).await?,
                    false => drop(self.held.step(self.way, at.folder, Some((intent, settled.stored)), None).await?),
                }
                let last = next.map(drop);
                return Err(settled
                    .stop
                    .or(last.err())
                    .unwrap_or_else(|| Fault::new(Class::Local, "the pass stopped")));
            }
            done = Some((intent, settled.stored));
            ready = next?;
        }
        if done.is_some() {
            self.held.step(self.way, at.folder, done, None).await?;
        }
        Ok(unmapped)
    }

    /// Gathers the next batch and makes its intent durable, together with the record of an append that is over.
    async fn announce(
        &self,
        rx: &mut mpsc::Receiver<Fetched>,
        carry: &mut Option<Message>,
        at: Place<'_>,
        abilities: &Abilities,
        done: Done,
    ) -> Result<Announced, Fault> {
        let batch = self.gather(rx, carry, at, abilities).await?;
        if batch.messages.is_empty() {
            if done.is_some() {
                self.held.step(self.way, at.folder, done, None).await?;
            }
            return Ok(None);
        }
        let items = batch.messages.iter().map(item).collect();
        let intent = self.held.step(self.way, at.folder, done, Some((at.validity, at.next, items))).await?;
        Ok(intent.map(|intent| (batch, intent)))
    }

    async fn gather(
        &self,
        rx: &mut mpsc::Receiver<Fetched>,
        carry: &mut Option<Message>,
        at: Place<'_>,
        abilities: &Abilities,
    ) -> Result<Batch, Fault> {
        let mut batch = Batch { messages: Vec::new(), octets: 0 };
        loop {
            let message = match carry.take() {
                Some(message) => message,
                None => {
                    let fetched = match batch.messages.is_empty() {
                        true => rx.recv().await,
                        false => match tokio::time::timeout(IDLE, rx.recv()).await {
                            Ok(fetched) => fetched,
                            Err(_) => return Ok(batch),
                        },
                    };
                    match fetched {
                        None => return Ok(batch),
                        Some(Fetched::Message(message)) => *message,
                        Some(Fetched::Failed(id, fault)) => {
                            self.unread(at, &id, fault).await?;
                            continue;
                        }
                    }
                }
            };
            let length = message.content.length();
            if let Some(largest) = abilities.largest.filter(|l| length > *l) {
                let what = format!("{length} octets, and the {} side takes {largest} at the most", self.way.to());
                self.except(at.folder, at.path, &message.id.to_string(), Fault::new(Class::TooLarge, what)).await?;
                continue;
            }
            if !batch.messages.is_empty() && batch.octets + length > abilities.batch_octets {
                *carry = Some(message);
                return Ok(batch);
            }
            batch.octets += length;
            batch.messages.push(message);
            if batch.messages.len() >= abilities.batch.max(1) || batch.octets >= abilities.batch_octets {
                return Ok(batch);
            }
        }
    }

    /// A message that could not be read. One that its server says is gone needs no place in the report.
    async fn unread(&self, at: Place<'_>, id: &Id, fault: Fault) -> Result<(), Fault> {
        match fault.class {
            Class::Vanished => self.held.settle(at.folder, vec![id.to_string()]).await,
            _ => self.except(at.folder, at.path, &id.to_string(), fault).await,
        }
    }

    /// Appends a batch; what is refused is narrowed down to single messages by halves. Its memory is free when this returns.
    async fn append(&self, target: &mut Target, batch: Batch) -> Settled {
        let messages = batch.messages;
        let mut settled = Settled::default();
        let mut parts = vec![(0, messages.len())];
        self.mover.pace.wait(messages.len(), batch.octets).await;
        while let Some((from, to)) = parts.pop() {
            let part = &messages[from..to];
            if part.is_empty() {
                continue;
            }
            if let Err(fault) = self.held.sure() {
                settled.stop = Some(fault);
                return settled;
            }
            let keep = |settled: &mut Settled, n: usize, id: Option<Id>| {
                settled.stored.push(Stored { item: item(&part[n]), to: id })
            };
            match target.append(part).await {
                Appended::Stored(ids) => {
                    ids.into_iter().take(part.len()).enumerate().for_each(|(n, id)| keep(&mut settled, n, id))
                }
                Appended::Each(results) => {
                    for (n, result) in results.into_iter().take(part.len()).enumerate() {
                        match result {
                            Ok(id) => keep(&mut settled, n, id),
                            Err(fault) if stops(fault.class) => settled.stop = Some(fault),
                            Err(fault) => settled.refused.push((item(&part[n]), fault)),
                        }
                    }
                    if settled.stop.is_some() {
                        return settled;
                    }
                }
                Appended::Refused { stored, culprit, fault } => {
                    let first = stored.len().min(part.len());
                    stored.into_iter().take(part.len()).enumerate().for_each(|(n, id)| keep(&mut settled, n, id));
                    if stops(fault.class) {
                        settled.stop = Some(fault);
                        return settled;
                    }
                    match (part.len() - first, culprit.filter(|c| (first..part.len()).contains(c))) {
                        (0, _) => {}
                        (1, _) => settled.refused.push((item(&part[first]), fault)),
                        (_, Some(n)) => {
                            settled.refused.push((item(&part[n]), fault));
                            parts.extend([(from + n + 1, to), (from + first, from + n)]);
                        }
                        (left, None) => {
                            let middle = from + first + left / 2;
                            parts.extend([(middle, to), (from + first, middle)]);
                        }
                    }
                }
                Appended::Unknown(fault) => {
                    add(&self.tally.doubts, 1);
                    add(&self.mover.meter.doubts, 1);
                    settled.unknown = true;
                    settled.stop = Some(Fault::new(
                        Class::Unreachable,
                        format!("the answer to an append was lost: {}", fault.what),
                    ));
                    return settled;
                }
            }
        }
        settled
    }

    /// Lists what could not be carried over.
    pub(super) async fn except(&self, folder: i64, path: &str, item: &str, fault: Fault) -> Result<(), Fault> {
        self.mover.meter.fault(fault.class);
        self.mover.audit.tell(&Event::Exception {
            user: &self.held.user,
            folder: path,
            item,
            class: fault.class,
            what: &fault.what,
        })?;
        self.held.except(folder, item.to_owned(), fault).await
    }
}
