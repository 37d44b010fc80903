//! Rights of others in a user's folders, over IMAP (RFC 4314), and who is a delegate by them.

use std::collections::{BTreeMap, BTreeSet};

use super::grant::Grant;
use super::{Body, Left, Listing, Seen, Thing};
use crate::services::cms::config::{End, Item};
use crate::services::cms::imap::Session;
use crate::services::cms::mailbox::{Access, Class, Fault, Folder, FolderPath};

/// Who has all of these may do with mail what the owner does.
const FULL: &str = "lrswite";

#[derive(Debug)]
pub struct Rights {
    session: Session,
    user: String,
    /// Of the last listing.
    folders: Vec<Folder>,
}

/// The id of a grant.
pub fn id(folder: &str, who: &str) -> String {
    format!("{folder} for {who}")
}

fn whole(grant: Grant) -> Seen {
    Seen::whole(Thing::new(Item::Permissions, id(&grant.folder, &grant.who), Body::Grant(grant)))
}

/// Grants as the written side says them: its names of folders and of people. Somebody who does not move keeps the name.
pub fn fit<'p>(
    things: Vec<Seen>,
    folder: &dyn Fn(&FolderPath) -> FolderPath,
    who: &dyn Fn(&str) -> Option<&'p str>,
) -> Vec<Seen> {
    let fitted = |mut seen: Seen| {
        if let Some(thing) = &mut seen.thing
            && let Body::Grant(grant) = &mut thing.body
        {
            if let Some(path) = FolderPath::of_key(&grant.folder) {
                grant.folder = folder(&path).key();
            }
            let bare = grant.who.trim_start_matches('-');
            if let Some(name) = who(bare) {
                grant.who = grant.who.replace(bare, name);
            }
            thing.id = id(&grant.folder, &grant.who);
            seen.id.clone_from(&thing.id);
        }
        seen
    };
    things.into_iter().map(fitted).collect()
}

impl Rights {
    pub async fn connect(end: &End, access: &Access, writes: bool) -> Result<Self, Fault> {
        let session = Session::connect(end, access, writes).await?;
        if !session.has_acl() {
            session.close().await;
            let what = "this server keeps no access control lists (RFC 4314); take permissions out of cms.items";
            return Err(Fault::new(Class::Unsupported, what));
        }
        Ok(Self { session, user: access.user.clone(), folders: Vec::new() })
    }

    /// Whether an identifier is the owner: what owners may do is not given by anybody.
    fn is_owner(&self, who: &str) -> bool {
        let name = self.user.split('@').next().unwrap_or_default();
        let who = who.strip_prefix("user=").unwrap_or(who);
        who == "owner" || who.eq_ignore_ascii_case(&self.user) || who.eq_ignore_ascii_case(name)
    }

    /// All grants in the user's own folders.
    pub async fn list(&mut self) -> Result<Listing, Fault> {
        let folders = self.session.folders().await?;
        self.folders = folders.into_iter().filter(|f| !f.foreign && f.selectable).collect();
        let told = self.session.grants(&self.folders).await?;
        let mut listing = Listing::default();
        let mut of: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut grants = Vec::new();
        for (folder, told) in self.folders.iter().zip(told) {
            let folder = folder.path.key();
            match told {
                Ok(all) => {
                    for (who, rights) in
                        all.into_iter().filter(|(who, rights)| !self.is_owner(who) && !rights.is_empty())
                    {
                        if FULL.chars().all(|r| rights.contains(r)) && !who.starts_with('-') {
                            of.entry(who.clone()).or_default().insert(folder.clone());
                        }
                        grants.push(Grant { folder: folder.clone(), who, rights });
                    }
                }
                Err(fault) => listing.left.push(Left::of(Item::Permissions, folder, fault)),
            }
        }
        for grant in grants {
            let full = of.get(&grant.who);
            let delegate = full.filter(|f| f.contains("INBOX") && grant.folder == "INBOX").map(|f| {
                let all = f.len() == self.folders.len();
                let where_ = if all {
                    "all folders".to_owned()
                } else {
                    format!("{} of {} folders", f.len(), self.folders.len())
                };
                format!("{} is a delegate: full access to {where_}", grant.who)
            });
            let mut seen = whole(grant);
            if let Some(thing) = &mut seen.thing {
                thing.notes.extend(delegate);
            }
            listing.things.push(seen);
        }
        Ok(listing)
    }

    /// Gives rights, and asks afterwards what was given: servers add and leave out.
    pub async fn put(&mut self, things: &[(&Thing, Option<&str>)]) -> Result<Vec<Result<String, Fault>>, Fault> {
        let mut done = Vec::with_capacity(things.len());
        for (thing, _) in things {
            done.push(match &thing.body {
                Body::Grant(grant) => match self.give(grant).await {
                    Err(fault) if matches!(fault.class, Class::Unreachable | Class::Login) => return Err(fault),
                    given => given,
                },
                _ => Err(Fault::new(Class::Unsupported, "access control lists hold permissions only")),
            });
        }
        Ok(done)
    }

    async fn give(&mut self, grant: &Grant) -> Result<String, Fault> {
        let Some(folder) = self.folders.iter().find(|f| f.path.key() == grant.folder).cloned() else {
            return Err(Fault::new(Class::Vanished, format!("the folder {} is not there", grant.folder)));
        };
        let left = self.session.grant(&folder, &grant.who, &grant.rights).await?;
        let told = self.session.grants(std::slice::from_ref(&folder)).await?.pop();
        let now = told.unwrap_or(Ok(Vec::new()))?;
        let has = now.into_iter().find(|(who, _)| *who == grant.who).map(|(_, rights)| rights).unwrap_or_default();
        let missing: String = grant.rights.chars().filter(|r| !has.contains(*r)).collect();
        if !missing.is_empty() || !left.is_empty() {
            let what = format!(
                "{} in {}: of the rights `{}` the server gives `{has}`; `{missing}` stay behind",
                grant.who, grant.folder, grant.rights
            );
            return Err(Fault::new(Class::Unsupported, what));
        }
        let now = whole(Grant { rights: has, ..grant.clone() });
        Ok(now.mark)
    }

    /// Takes away a grant that is as it was left.
    pub async fn remove(&mut self, key: &str, mark: &str) -> Result<(), Fault> {
        for folder in self.folders.clone() {
            let name = folder.path.key();
            let Some(who) = key.strip_prefix(&format!("{name} for ")) else { continue };
            let told = self.session.grants(std::slice::from_ref(&folder)).await?.pop().unwrap_or(Ok(Vec::new()))?;
            let grant = told.into_iter().find(|(w, _)| w == who);
            let Some((who, rights)) = grant else { return Ok(()) };
            if whole(Grant { folder: name, who: who.clone(), rights }).mark == mark {
                self.session.grant(&folder, &who, "").await?;
            }
            return Ok(());
        }
        Ok(())
    }

    pub async fn close(self) {
        self.session.close().await;
    }
}
