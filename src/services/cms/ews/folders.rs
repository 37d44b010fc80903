//! Folders: found by what they are for, in whatever language they are named.

use std::collections::HashMap;

use jiff::Timestamp;
use sha2::Digest as _;

use super::properties::{self, COMMITTED, DELETED};
use super::xml::{Node, escaped};
use super::{Class, Ews, Fault, Mark, codes};
use crate::services::cms::mailbox::{Beside, Folder, FolderPath, SpecialUse};
use crate::services::cms::wire::shown;

/// Folders of one page.
const PAGE: usize = 500;
/// Folders of one mailbox.
const MOST: usize = 100_000;

/// What an address book is, in small letters. What stands behind another stroke is a cache of a client.
pub(super) const CONTACTS: &str = "ipf.contact";

/// Distinguished folders that hold mail.
pub(super) const SPECIAL: [(&str, Option<SpecialUse>); 5] = [
    ("inbox", None),
    ("drafts", Some(SpecialUse::Drafts)),
    ("sentitems", Some(SpecialUse::Sent)),
    ("deleteditems", Some(SpecialUse::Trash)),
    ("junkemail", Some(SpecialUse::Junk)),
];

pub(super) fn folder_id(id: &str) -> String {
    format!("<t:FolderId Id=\"{}\"/>", escaped(id))
}

fn raw(folder: &Folder) -> String {
    String::from_utf8_lossy(&folder.raw).into_owned()
}

pub(super) fn id_of(node: &Node, name: &str) -> Option<String> {
    node.child(name)?.attribute("Id").map(str::to_owned)
}

/// Ids mean the same as long as the folder is the same.
fn validity(id: &str) -> u64 {
    let digest: [u8; 32] = sha2::Sha256::digest(id.as_bytes()).into();
    let first = digest.first_chunk::<8>().copied().unwrap_or_default();
    // SQLite keeps 63 bits.
    u64::from_be_bytes(first) >> 2
}

fn mark(id: &str, node: &Node) -> Mark {
    let count = node.value("TotalCount").and_then(|c| c.trim().parse().ok()).unwrap_or(0);
    let committed = properties::of_tag(node, COMMITTED).and_then(|t| t.trim().parse::<Timestamp>().ok());
    let deleted = properties::of_tag(node, DELETED).and_then(|n| n.trim().parse::<i64>().ok()).unwrap_or(0);
    // Without the time nothing is said of changes: then no two marks are the same.
    let at = committed.unwrap_or_else(Timestamp::now).as_microsecond().wrapping_add(deleted.wrapping_mul(1 << 20));
    Mark { validity: validity(id), next: None, modseq: Some((at as u64) >> 1), count, state: None }
}

/// Of a listing. Exchange tells names apart by more than their case.
fn found<'f>(all: &'f [Folder], path: &FolderPath) -> Option<&'f Folder> {
    let folded = || all.iter().find(|f| f.path.key().to_lowercase() == path.key().to_lowercase());
    all.iter().find(|f| f.path == *path).or_else(folded)
}

impl Ews {
    pub(super) fn distinguished(&self, name: &str) -> String {
        match &self.soap.mailbox {
            Some(address) => format!(
                "<t:DistinguishedFolderId Id=\"{name}\"><t:Mailbox><t:EmailAddress>{}</t:EmailAddress></t:Mailbox></t:DistinguishedFolderId>",
                escaped(address)
            ),
            None => format!("<t:DistinguishedFolderId Id=\"{name}\"/>"),
        }
    }

    fn shape(&self) -> String {
        format!(
            "<m:FolderShape><t:BaseShape>IdOnly</t:BaseShape><t:AdditionalProperties>{}</t:AdditionalProperties></m:FolderShape>",
            properties::wanted_of_folders()
        )
    }

    /// All folders below the root of what users see.
    pub(super) async fn tree(&self) -> Result<(String, Vec<Node>), Fault> {
        let root = self.distinguished("msgfolderroot");
        let message = self
            .soap
            .one(&format!("<m:GetFolder>{}<m:FolderIds>{root}</m:FolderIds></m:GetFolder>", self.shape()))
            .await?;
        let top = message.find("Folders").and_then(|f| f.children.first()).and_then(|f| id_of(f, "FolderId"));
        let top = top.ok_or_else(super::soap::silent)?;
        let mut all: Vec<Node> = Vec::new();
        loop {
            let asked = format!(
                "<m:FindFolder Traversal=\"Deep\">{}<m:IndexedPageFolderView MaxEntriesReturned=\"{PAGE}\" Offset=\"{}\" BasePoint=\"Beginning\"/>\
                 <m:ParentFolderIds>{root}</m:ParentFolderIds></m:FindFolder>",
                self.shape(),
                all.len()
            );
            let mut message = self.soap.one(&asked).await?;
            let root = message.children.iter_mut().find(|c| c.name == "RootFolder").ok_or_else(super::soap::silent)?;
            let is_last = root.attribute("IncludesLastItemInRange") == Some("true");
            let total: Option<usize> = root.attribute("TotalItemsInView").and_then(|t| t.parse().ok());
            let page = root.children.iter_mut().find(|c| c.name == "Folders").map(|f| std::mem::take(&mut f.children));
            let page = page.unwrap_or_default();
            let is_empty = page.is_empty();
            all.extend(page);
            if is_last || is_empty {
                if total.is_some_and(|t| t != all.len()) {
                    return Err(Fault::new(Class::Busy, "ews: the folders change while they are listed"));
                }
                return Ok((top, all));
            }
            if all.len() > MOST {
                return Err(Fault::new(Class::Protocol, "ews: folders without end"));
            }
        }
    }

    /// Ids of the distinguished folders that are there.
    pub(super) async fn special(&self) -> Result<HashMap<String, usize>, Fault> {
        let ids: String = SPECIAL.iter().map(|(name, _)| self.distinguished(name)).collect();
        let asked = format!(
            "<m:GetFolder><m:FolderShape><t:BaseShape>IdOnly</t:BaseShape></m:FolderShape><m:FolderIds>{ids}</m:FolderIds></m:GetFolder>"
        );
        let messages = self.soap.ask(&asked).await?;
        if messages.len() != SPECIAL.len() {
            return Err(super::soap::silent());
        }
        let mut found = HashMap::new();
        for (n, message) in messages.iter().enumerate() {
            match codes::refusal(message) {
                // Junk is made when it is first needed.
                Some((_, fault)) if fault.class == Class::Vanished && n > 0 => {}
                Some((_, fault)) => return Err(fault),
                None => {
                    let folder = message.find("Folders").and_then(|f| f.children.first());
                    found.extend(folder.and_then(|f| id_of(f, "FolderId")).map(|id| (id, n)));
                }
            }
        }
        Ok(found)
    }

    pub async fn folders(&mut self) -> Result<Vec<Folder>, Fault> {
        let (top, nodes) = self.tree().await?;
        let special = self.special().await?;
        let by_id: HashMap<String, &Node> = nodes.iter().filter_map(|n| Some((id_of(n, "FolderId")?, n))).collect();
        let path = |id: &str| {
            let (mut names, mut at) = (Vec::new(), id.to_owned());
            while at != top {
                let node = by_id.get(&at)?;
                let is_inbox = special.get(&at) == Some(&0);
                names.push(if is_inbox { "INBOX" } else { node.value("DisplayName")? }.to_owned());
                at = id_of(node, "ParentFolderId")?;
                if names.len() > 64 {
                    return None;
                }
            }
            names.reverse();
            FolderPath::new(names)
        };
        let mut folders = Vec::with_capacity(nodes.len());
        let mut beside = Vec::new();
        for node in &nodes {
            let Some(id) = id_of(node, "FolderId") else { continue };
            let class = node.value("FolderClass").unwrap_or_default().to_ascii_lowercase();
            let is_mail = class.is_empty() || class == "ipf.note" || class.starts_with("ipf.note.");
            // A search holds nothing of its own.
            if node.name == "SearchFolder" {
                continue;
            }
            let Some(path) = path(&id) else { continue };
            if !is_mail {
                let count = node.value("TotalCount").map_or("", str::trim);
                if count != "0" {
                    let what = format!("{count} items that are no mail ({}) are not carried", shown(&class));
                    beside.push(Beside { folder: path.key(), is_contacts: class == CONTACTS, what });
                }
                continue;
            }
            folders.push(Folder {
                path,
                special: special.get(&id).and_then(|n| SPECIAL[*n].1),
                subscribed: properties::is_subscribed(node),
                selectable: true,
                foreign: false,
                identity: Some(id.clone()),
                // Counts only: whether anything has changed is asked of each folder.
                mark: Some(Mark { modseq: None, ..mark(&id, node) }),
                raw: id.into_bytes(),
            });
        }
        folders.sort_by(|a, b| a.path.cmp(&b.path));
        self.beside = beside;
        Ok(folders)
    }

    pub async fn open(&mut self, folder: &Folder) -> Result<Mark, Fault> {
        let id = raw(folder);
        let asked = format!("<m:GetFolder>{}<m:FolderIds>{}</m:FolderIds></m:GetFolder>", self.shape(), folder_id(&id));
        let message = self.soap.one(&asked).await?;
        let node = message.find("Folders").and_then(|f| f.children.first()).ok_or_else(super::soap::silent)?;
        let mark = mark(&id, node);
        (self.folder, self.reached) = (Some(id), None);
        Ok(mark)
    }

    /// A folder that is there already is the one meant.
    pub async fn create(&mut self, path: &FolderPath, special: Option<SpecialUse>) -> Result<Folder, Fault> {
        let _ = special;
        let mut parent = self.distinguished("msgfolderroot");
        let (mut all, mut made) = (self.folders().await?, None);
        for depth in 1..=path.names().len() {
            let Some(part) = FolderPath::new(path.names()[..depth].to_vec()) else { continue };
            let folder = match found(&all, &part) {
                Some(folder) => folder.clone(),
                None => {
                    let name = escaped(&path.names()[depth - 1]);
                    let asked = format!(
                        "<m:CreateFolder><m:ParentFolderId>{parent}</m:ParentFolderId><m:Folders><t:Folder><t:FolderClass>IPF.Note</t:FolderClass>\
                         <t:DisplayName>{name}</t:DisplayName></t:Folder></m:Folders></m:CreateFolder>"
                    );
                    match self.soap.one(&asked).await {
                        // Somebody was quicker, or a folder that holds no mail has the name.
                        Err(fault) if fault.what.contains("ErrorFolderExists") => {}
                        done => drop(done?),
                    }
                    let lost = || {
                        Fault::new(
                            Class::Unsupported,
                            format!("ews: {part} cannot be a folder of mail here: another one has this name"),
                        )
                    };
                    all = self.folders().await?;
                    found(&all, &part).cloned().ok_or_else(lost)?
                }
            };
            parent = folder_id(&raw(&folder));
            made = Some(folder);
        }
        made.ok_or_else(|| Fault::new(Class::Local, "a folder without a name"))
    }

    async fn update(&self, folder: &Folder, changes: &str) -> Result<(), Fault> {
        let asked = format!(
            "<m:UpdateFolder><m:FolderChanges><t:FolderChange>{}<t:Updates>{changes}</t:Updates></t:FolderChange></m:FolderChanges></m:UpdateFolder>",
            folder_id(&raw(folder))
        );
        self.soap.one(&asked).await.map(drop)
    }

    pub async fn rename(&mut self, folder: &Folder, to: &FolderPath) -> Result<Folder, Fault> {
        if folder.path.parent() != to.parent() {
            let parent = match to.parent() {
                Some(parent) => folder_id(&raw(&self.create(&parent, None).await?)),
                None => self.distinguished("msgfolderroot"),
            };
            let asked = format!(
                "<m:MoveFolder><m:ToFolderId>{parent}</m:ToFolderId><m:FolderIds>{}</m:FolderIds></m:MoveFolder>",
                folder_id(&raw(folder))
            );
            self.soap.one(&asked).await?;
        }
        if folder.path.names().last() != to.names().last() {
            let name = to.names().last().map(String::as_str).unwrap_or_default();
            let change = format!(
                "<t:SetFolderField><t:FieldURI FieldURI=\"folder:DisplayName\"/><t:Folder><t:DisplayName>{}</t:DisplayName></t:Folder></t:SetFolderField>",
                escaped(name)
            );
            self.update(folder, &change).await?;
        }
        let lost = || Fault::new(Class::Protocol, format!("ews: {to} is not there after it was named so"));
        found(&self.folders().await?, to).cloned().ok_or_else(lost)
    }

    pub async fn delete(&mut self, folder: &Folder) -> Result<(), Fault> {
        let asked = format!(
            "<m:DeleteFolder DeleteType=\"HardDelete\"><m:FolderIds>{}</m:FolderIds></m:DeleteFolder>",
            folder_id(&raw(folder))
        );
        match self.soap.one(&asked).await {
            Err(fault) if fault.class == Class::Vanished => Ok(()),
            done => done.map(drop),
        }
    }

    /// Exchange has no subscriptions: what is not subscribed is marked so for a way back.
    pub async fn subscribe(&mut self, folder: &Folder, on: bool) -> Result<(), Fault> {
        self.update(folder, &properties::subscription(on)).await
    }
}
