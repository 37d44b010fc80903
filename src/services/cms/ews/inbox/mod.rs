//! Inbox rules (Exchange 2010 and later) and out-of-office (2007 and later) of a mailbox.
//!
//! The rules of a mailbox are one thing, and so is its out-of-office: each is written as a whole, so that a put that is repeated after a
//! lost answer changes nothing.

mod away;
mod rule;
mod wire;

use jiff::Timestamp;

use self::rule::InboxRule;
use self::wire::Places;
use super::soap::Version;
use super::xml::{Node, escaped};
use super::{Class, Ews, Fault, codes};
use crate::services::cms::config::{End, Item};
use crate::services::cms::mailbox::{Access, Folder, FolderPath, SpecialUse};
use crate::services::cms::personal::fit::{AWAY, RULES};
use crate::services::cms::personal::rule::Rules;
use crate::services::cms::personal::{Body, Left, Listing, Seen, Thing};
use crate::services::cms::wire::shown;

const OLD: &str = "Exchange 2007 lets nobody read or write inbox rules by its Web Services; users make them anew";

#[derive(Debug)]
pub struct EwsInbox {
    ews: Ews,
    /// The mailbox's primary address, by which both are asked for.
    address: String,
    lost: Vec<Left>,
    /// Ids of the rules that can be read, and whether Outlook keeps some of its own, of the last listing.
    rules: Vec<String>,
    outlook: bool,
}

/// What a mailbox has.
struct Told {
    rules: Vec<InboxRule>,
    left: Vec<Left>,
}

impl EwsInbox {
    pub async fn connect(end: &End, access: &Access, writes: bool) -> Result<Self, Fault> {
        let ews = Ews::connect(end, access, writes).await?;
        Ok(Self { ews, address: access.user.clone(), lost: Vec::new(), rules: Vec::new(), outlook: false })
    }

    fn has_rules(&self) -> bool {
        self.ews.soap.version > Version::Exchange2007Sp1
    }

    /// An answer that is no list of response messages.
    async fn ask(&self, operation: &str, answer: &str) -> Result<Node, Fault> {
        let told = self.ews.soap.whole(operation, answer).await?;
        let message = told.child("ResponseMessage").ok_or_else(super::soap::silent)?;
        codes::refusal(message).map_or(Ok(()), |(_, fault)| Err(fault))?;
        Ok(told)
    }

    async fn away(&self) -> Result<Option<Seen>, Fault> {
        let told = self.ask(&away::asked(&self.address), "GetUserOofSettingsResponse").await?;
        let found = told.child("OofSettings").and_then(|s| away::read(s, Timestamp::now()));
        Ok(found.map(|away| Seen::whole(Thing::new(Item::OutOfOffice, AWAY, Body::Away(away)))))
    }

    async fn places(&mut self) -> Result<Places, Fault> {
        let folders = self.ews.folders().await?;
        let bin = folders.iter().find(|f| f.special == Some(SpecialUse::Trash)).map(|f| f.path.key());
        let id = |f: &Folder| String::from_utf8_lossy(&f.raw).into_owned();
        Ok(Places { all: folders.iter().map(|f| (id(f), f.path.key())).collect(), bin })
    }

    async fn told(&mut self) -> Result<Told, Fault> {
        let asked = format!(
            "<m:GetInboxRules><m:MailboxSmtpAddress>{}</m:MailboxSmtpAddress></m:GetInboxRules>",
            escaped(&self.address)
        );
        let message = self.ews.soap.one(&asked).await?;
        let mut nodes: Vec<&Node> = message.child("InboxRules").iter().flat_map(|r| &r.children).collect();
        nodes.sort_by_key(|n| n.value("Priority").and_then(|p| p.trim().parse::<u32>().ok()));
        self.outlook = message.value("OutlookRuleBlobExists").is_some_and(|v| v.trim() == "true");
        self.rules.clear();
        let mut told = Told { rules: Vec::new(), left: Vec::new() };
        if nodes.is_empty() {
            return Ok(told);
        }
        let places = self.places().await?;
        for node in nodes {
            match wire::read(node, &places) {
                Ok(rule) => {
                    self.rules.extend(node.value("RuleId").map(str::to_owned));
                    told.rules.push(rule);
                }
                Err(why) => {
                    let name = shown(node.value("DisplayName").unwrap_or_default());
                    told.left.push(Left::new(Item::Rules, format!("{RULES}:{name}"), why));
                }
            }
        }
        Ok(told)
    }

    pub async fn list(&mut self) -> Result<Listing, Fault> {
        let mut listing = Listing::default();
        match self.away().await {
            Ok(away) => listing.things.extend(away),
            Err(fault) if matches!(fault.class, Class::Unreachable | Class::Busy | Class::Login) => return Err(fault),
            Err(fault) => listing.left.push(Left::of(Item::OutOfOffice, AWAY, fault)),
        }
        if !self.has_rules() {
            listing.left.push(Left::new(Item::Rules, RULES, OLD));
            return Ok(listing);
        }
        let told = self.told().await?;
        listing.left.extend(told.left);
        if self.outlook {
            let what = "Outlook keeps rules of its own here, which only Outlook shows and which are not carried";
            listing.left.push(Left::new(Item::Rules, format!("{RULES}:Outlook"), what));
        }
        if !told.rules.is_empty() {
            let rules = Rules(told.rules.iter().map(rule::neutral).collect());
            listing.things.push(Seen::whole(Thing::new(Item::Rules, RULES, Body::Rules(rules))));
        }
        Ok(listing)
    }

    /// What of these can be said here, in the form in which it will be listed, and what stays behind.
    pub fn holds(&self, things: Vec<Seen>) -> (Vec<Seen>, Vec<Left>) {
        let (mut out, mut left) = (Vec::new(), Vec::new());
        for mut seen in things {
            let Some(thing) = &mut seen.thing else {
                out.push(seen);
                continue;
            };
            match &thing.body {
                Body::Away(found) => {
                    let (made, lost, notes) = away::fitted(found, Timestamp::now());
                    let lost = lost.into_iter().map(|(part, what)| (format!("{}:{part}", thing.id), what));
                    left.extend(lost.map(|(id, what)| Left::new(Item::OutOfOffice, id, what)));
                    thing.notes.extend(notes);
                    thing.body = Body::Away(made);
                }
                Body::Rules(_) if !self.has_rules() => {
                    left.push(Left::new(Item::Rules, &thing.id, OLD));
                    continue;
                }
                Body::Rules(Rules(rules)) => {
                    let mut made = Vec::new();
                    for one in rules {
                        match rule::of(one) {
                            Ok((there, notes)) => {
                                made.push(rule::neutral(&there));
                                let named = notes.into_iter().map(|n| format!("{}: {n}", one.name));
                                thing.notes.extend(named);
                            }
                            Err(why) => {
                                let what = format!("Exchange cannot say it: {why}");
                                left.push(Left::new(Item::Rules, format!("{}:{}", thing.id, one.name), what));
                            }
                        }
                    }
                    if made.is_empty() {
                        continue;
                    }
                    thing.body = Body::Rules(Rules(made));
                }
                _ => {}
            }
            out.push(seen);
        }
        (out, left)
    }

    pub async fn put(&mut self, things: &[(&Thing, Option<&str>)]) -> Result<Vec<Result<String, Fault>>, Fault> {
        self.lost.clear();
        let mut done = Vec::with_capacity(things.len());
        for (thing, _) in things {
            let put = match &thing.body {
                Body::Away(away) => {
                    let asked = away::written(Some(away), &self.address);
                    self.ask(&asked, "SetUserOofSettingsResponse").await.map(drop)
                }
                Body::Rules(Rules(rules)) => self.replace(rules).await,
                _ => Err(Fault::new(Class::Unsupported, "a mailbox of Exchange holds rules and an out-of-office")),
            };
            done.push(match put {
                Err(fault) if matches!(fault.class, Class::Unreachable | Class::Busy | Class::Login) => {
                    return Err(fault);
                }
                put => put,
            });
        }
        // What is there now is what is known of it.
        let there = self.list().await?;
        let marks = things.iter().zip(done).map(|((thing, _), done)| {
            done?;
            let found = there.things.iter().find(|s| s.item == thing.item);
            let gone = || Fault::new(Class::Protocol, "ews: it was stored and is not there");
            let seen = found.ok_or_else(gone)?;
            if seen.thing.as_ref().map(Thing::digest) != Some(thing.digest()) {
                let what = "the server left out or changed a part of it";
                self.lost.push(Left::new(thing.item, format!("{}:changed", thing.id), what));
            }
            Ok(seen.mark.clone())
        });
        Ok(marks.collect())
    }

    /// Takes the place of all rules that can be read. Those that Exchange refuses are named, and the others go.
    async fn replace(&mut self, rules: &[crate::services::cms::personal::rule::Rule]) -> Result<(), Fault> {
        if !self.has_rules() {
            return Err(Fault::new(Class::Unsupported, OLD));
        }
        let mut wanted = Vec::new();
        for one in rules {
            let (made, _) = rule::of(one).map_err(|why| Fault::new(Class::Unsupported, why))?;
            wanted.push(made);
        }
        if self.outlook {
            let what = "Outlook keeps rules of its own there, and would lose them; export them in Outlook, delete all rules, and the next pass writes these";
            return Err(Fault::new(Class::Unsupported, what));
        }
        let places = self.with_folders(&wanted).await?;
        for _ in 0..=wanted.len() {
            let mut operations: Vec<String> = self.rules.iter().map(|id| delete(id)).collect();
            let before = operations.len();
            for (n, one) in wanted.iter().enumerate() {
                let text = wire::written(one, n + 1, &places).map_err(|key| {
                    Fault::new(Class::Vanished, format!("the folder {key}, which a rule names, is not there"))
                })?;
                operations.push(format!("<t:CreateRuleOperation>{text}</t:CreateRuleOperation>"));
            }
            let refused = self.update(&operations).await?;
            if refused.is_empty() {
                return Ok(());
            }
            for (at, why) in refused.into_iter().rev() {
                let Some(n) = at.checked_sub(before).filter(|n| *n < wanted.len()) else {
                    return Err(Fault::new(Class::Busy, format!("ews: the rules changed meanwhile: {why}")));
                };
                let gone = wanted.remove(n);
                self.lost.push(Left::new(
                    Item::Rules,
                    format!("{RULES}:{}", gone.name),
                    format!("Exchange refuses it: {why}"),
                ));
            }
            if wanted.is_empty() {
                break;
            }
        }
        Err(Fault::new(Class::Malformed, "Exchange refuses each of the rules"))
    }

    /// Folders of rules; those that are not there yet are made.
    async fn with_folders(&mut self, wanted: &[InboxRule]) -> Result<Places, Fault> {
        let places = self.places().await?;
        let named = wanted.iter().flat_map(|r| r.deeds.copy.iter().chain(&r.deeds.file));
        let missing: Vec<FolderPath> =
            named.filter(|k| places.id(k).is_none()).filter_map(|k| FolderPath::of_key(k)).collect();
        if missing.is_empty() {
            return Ok(places);
        }
        for path in missing {
            self.ews.create(&path, None).await?;
        }
        self.places().await
    }

    /// Which operations are refused, and why; then none was done.
    async fn update(&self, operations: &[String]) -> Result<Vec<(usize, String)>, Fault> {
        if operations.is_empty() {
            return Ok(Vec::new());
        }
        let asked = format!(
            "<m:UpdateInboxRules><m:MailboxSmtpAddress>{}</m:MailboxSmtpAddress><m:RemoveOutlookRuleBlob>false</m:RemoveOutlookRuleBlob>\
             <m:Operations>{}</m:Operations></m:UpdateInboxRules>",
            escaped(&self.address),
            operations.concat()
        );
        let message = self.ews.soap.ask(&asked).await?.pop().ok_or_else(super::soap::silent)?;
        let Some((_, fault)) = codes::refusal(&message) else { return Ok(Vec::new()) };
        let mut refused = Vec::new();
        for error in message.child("RuleOperationErrors").iter().flat_map(|e| &e.children) {
            let at = error.value("OperationIndex").and_then(|n| n.trim().parse::<usize>().ok());
            let said = |e: &Node, name: &str| shown(e.value(name).unwrap_or_default());
            let of = |e: &Node| format!("{} {} {}", said(e, "FieldURI"), said(e, "ErrorCode"), said(e, "ErrorMessage"));
            let each = error.child("ValidationErrors").map(|v| v.children.iter().map(of).collect::<Vec<_>>());
            refused.extend(at.map(|at| (at, each.unwrap_or_default().join("; "))));
        }
        refused.sort();
        refused.dedup_by_key(|(at, _)| *at);
        if refused.is_empty() { Err(fault) } else { Ok(refused) }
    }

    /// What the server left out of what it has taken in the last put.
    pub fn lost(&mut self) -> Vec<Left> {
        std::mem::take(&mut self.lost)
    }

    /// One that is not as it was left stays.
    pub async fn remove(&mut self, item: Item, mark: &str) -> Result<(), Fault> {
        let there = self.list().await?;
        if !there.things.iter().any(|s| s.item == item && s.mark == mark) {
            return Ok(());
        }
        if item == Item::OutOfOffice {
            return self.ask(&away::written(None, &self.address), "SetUserOofSettingsResponse").await.map(drop);
        }
        let operations: Vec<String> = self.rules.iter().map(|id| delete(id)).collect();
        match self.update(&operations).await?.into_iter().next() {
            Some((_, why)) => Err(Fault::new(Class::Busy, format!("ews: the rules changed meanwhile: {why}"))),
            None => Ok(()),
        }
    }

    pub async fn close(self) {
        self.ews.close().await;
    }
}

fn delete(id: &str) -> String {
    format!("<t:DeleteRuleOperation><t:RuleId>{}</t:RuleId></t:DeleteRuleOperation>", escaped(id))
}
