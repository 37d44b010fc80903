//! Scripts on a ManageSieve server as things.

use std::collections::BTreeMap;

use super::{Body, Left, Listing, Seen, Thing};
use crate::services::cms::config::{End, Item};
use crate::services::cms::mailbox::{Access, Class, Fault};
use crate::services::cms::managesieve::{Scripts, Stored};

/// Scripts are few and small: all are read, whatever was known.
pub fn listing(stored: Vec<Stored>) -> Listing {
    let mut listing = Listing::default();
    for script in stored {
        match script.text {
            Ok(text) => {
                let body = Body::Script { text, active: script.active };
                listing.things.push(Seen::whole(Thing::new(Item::Rules, script.name, body)));
            }
            Err(why) => {
                let what = format!("the script cannot be read: {why}; its owner can save it anew");
                listing.left.push(Left::new(Item::Rules, script.name, what));
            }
        }
    }
    listing
}

/// A server that is written.
#[derive(Debug)]
pub struct ScriptTarget {
    session: Scripts,
    /// Which script works there now.
    active: Option<String>,
}

impl ScriptTarget {
    pub async fn connect(end: &End, access: &Access) -> Result<Self, Fault> {
        Ok(Self { session: Scripts::connect(end, access).await?, active: None })
    }

    pub fn extensions(&self) -> &[String] {
        self.session.extensions()
    }

    pub async fn list(&mut self) -> Result<Listing, Fault> {
        let stored = self.session.list().await?;
        self.active = stored.iter().find(|s| s.active).map(|s| s.name.clone());
        Ok(listing(stored))
    }

    /// All scripts first, then the active one: at no time is there none that was there before.
    pub async fn put(&mut self, things: &[(&Thing, Option<&str>)]) -> Result<Vec<Result<String, Fault>>, Fault> {
        let mut done: BTreeMap<usize, Result<String, Fault>> = BTreeMap::new();
        let mut wanted = None;
        let mut off = false;
        for (n, (thing, _)) in things.iter().enumerate() {
            let Body::Script { text, active } = &thing.body else {
                let what = "a Sieve server holds scripts only";
                done.insert(n, Err(Fault::new(Class::Unsupported, what)));
                continue;
            };
            let stored = match self.session.put(&thing.id, text).await {
                Err(fault) if matches!(fault.class, Class::Unreachable | Class::Busy) => return Err(fault),
                stored => stored,
            };
            if stored.is_ok() {
                if *active {
                    wanted = Some((n, thing.id.clone()));
                } else if self.active.as_deref() == Some(thing.id.as_str()) {
                    off = true;
                }
            }
            done.insert(n, stored.map(|()| thing.digest().to_string()));
        }
        match wanted {
            Some((n, name)) if self.active.as_deref() != Some(name.as_str()) => {
                match self.session.activate(&name).await {
                    Ok(()) => self.active = Some(name),
                    Err(fault) if fault.class == Class::Unreachable => return Err(fault),
                    Err(fault) => drop(done.insert(n, Err(fault))),
                }
            }
            None if off => {
                self.session.activate("").await?;
                self.active = None;
            }
            _ => {}
        }
        Ok(done.into_values().collect())
    }

    pub async fn remove(&mut self, name: &str) -> Result<(), Fault> {
        let active = self.active.as_deref() == Some(name);
        self.session.delete(name, active).await?;
        if active {
            self.active = None;
        }
        Ok(())
    }

    pub async fn close(self) {
        self.session.close().await;
    }
}
