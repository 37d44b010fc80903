//! Mailboxes, aliases and groups from the lists of an `accounts` node: a CSV with a header, or what a directory exported as LDIF.

use std::collections::{BTreeMap, BTreeSet};

use super::list::{ADDRESS_HEADERS, is_address, plain_header, table};
use super::select::{Read, Unaddressed};
use crate::model::topology::{Node, Topology};
use crate::model::unit::parse_size;
use crate::model::{Diagnostic, Span};
use crate::protocol::ldif;

const BROKEN: &str = "E1043";

/// Where somebody's password comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Password {
    /// The hash that the old side has.
    Import,
    /// Made once, and kept.
    Reset,
}

impl Password {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "import" => Some(Self::Import),
            "reset" => Some(Self::Reset),
            _ => None,
        }
    }
}

/// A person with a mailbox. Addresses are in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox {
    pub address: String,
    /// Bytes.
    pub quota: Option<u64>,
    pub aliases: Vec<String>,
    pub forward: Vec<String>,
    /// What is forwarded stays in the mailbox, too.
    pub keep_copy: bool,
    pub password: Password,
    /// What the person reads (RFC 5646), in lower case.
    pub language: Option<String>,
}

/// An address behind which several others stand, and no mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub address: String,
    pub aliases: Vec<String>,
    pub members: Vec<String>,
}

/// What the lists of one node say, by address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accounts {
    pub mailboxes: Vec<Mailbox>,
    pub groups: Vec<Group>,
    /// Of its export: they get no mailbox.
    pub unaddressed: Unaddressed,
}

impl Accounts {
    /// How many have their password from there.
    pub fn count(&self, from: Password) -> usize {
        self.mailboxes.iter().filter(|m| m.password == from).count()
    }
}

/// One row, with the place that named it (`users/staff.csv, line 3`).
struct Row {
    place: String,
    mail: String,
    quota: String,
    aliases: Vec<String>,
    forward: Vec<String>,
    keep_copy: bool,
    /// Nothing: a person.
    members: Option<Vec<String>>,
    password: String,
    language: String,
}

/// What all nodes of the topology name, by the node's name; all that is wrong with the lists.
pub fn accounts(topology: &Topology, read: Read<'_>) -> (BTreeMap<String, Accounts>, Vec<Diagnostic>) {
    let (mut all, mut faults) = (BTreeMap::new(), Vec::new());
    let mut taken: BTreeMap<String, String> = topology
        .all("mail-account")
        .map(|a| (a.id.name.to_lowercase(), format!("mail-account {}", a.id.name)))
        .collect();
    for node in topology.all("accounts") {
        let mut wrong = Wrong { node, faults: Vec::new() };
        let mut unaddressed = Unaddressed::default();
        let rows = rows(node, read, &mut unaddressed, &mut wrong);
        let found = Accounts { unaddressed, ..told(node, rows, &mut taken, &mut wrong) };
        faults.extend(wrong.faults);
        all.insert(node.id.name.to_string(), found);
    }
    (all, faults)
}

/// Mistakes in the lists of a node.
struct Wrong<'t> {
    node: &'t Node,
    faults: Vec<Diagnostic>,
}

impl Wrong<'_> {
    fn say(&mut self, field: &str, text: String, help: &str) {
        let at = self.at(field);
        self.faults.push(Diagnostic::error(BROKEN, text).label(at, "in this list").help(help));
    }

    fn at(&self, field: &str) -> Span {
        self.node.at(field)
    }
}

fn rows(node: &Node, read: Read<'_>, unaddressed: &mut Unaddressed, wrong: &mut Wrong<'_>) -> Vec<(&'static str, Row)> {
    let mut out = Vec::new();
    for field in ["csv", "ldif"] {
        let Some(path) = node.text(field) else { continue };
        let found = match read(path) {
            Ok(text) if field == "csv" => of_csv(path, &text),
            Ok(text) => of_ldif(path, &text, unaddressed),
            Err(why) => Err(vec![format!("{path}: {why}")]),
        };
        match found {
            Ok(rows) => out.extend(rows.into_iter().map(|r| (field, r))),
            Err(mistakes) => {
                let help = "a CSV with a header and a column `mail`, or LDIF content records";
                mistakes.into_iter().for_each(|text| wrong.say(field, text, help));
            }
        }
    }
    if node.text("csv").is_none() && node.text("ldif").is_none() {
        let text = format!("accounts {} names no list", node.id.name);
        let d = Diagnostic::error(BROKEN, text).label(node.span, "whose mailboxes?");
        wrong.faults.push(d.help("write csv=\"users/staff.csv\" or ldif=\"users/staff.ldif\""));
    }
    out
}

/// Several addresses in a field, apart by blanks, commas or semicolons; `smtp:` in front as Exchange has it.
fn several(text: &str) -> Vec<String> {
    let parts = text.split([',', ';', ' ', '\t']).map(str::trim).filter(|p| !p.is_empty());
    parts.map(plain_address).collect()
}

fn plain_address(text: &str) -> String {
    let small = text.to_lowercase();
    small.strip_prefix("smtp:").map_or(small.clone(), str::to_owned)
}

fn of_csv(path: &str, text: &str) -> Result<Vec<Row>, Vec<String>> {
    let mut reader = table(text.strip_prefix('\u{feff}').unwrap_or(text));
    let header = reader.headers().cloned().map_err(|e| vec![format!("{path}: {e}")])?;
    let place = |names: &[&str]| names.iter().find_map(|n| header.iter().position(|h| plain_header(h) == *n));
    let Some(mail) = place(&ADDRESS_HEADERS) else {
        return Err(vec![format!("{path}: the first line names the columns, and one of them has to be `mail`")]);
    };
    let columns = ["quota", "aliases", "forward", "keepcopy", "members", "password", "language"].map(|n| place(&[n]));
    let (mut rows, mut wrong) = (Vec::new(), Vec::new());
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(e) => {
                wrong.push(format!("{path}, line {}: {e}", e.position().map_or(0, csv::Position::line)));
                continue;
            }
        };
        let get = |column: Option<usize>| column.and_then(|c| record.get(c)).unwrap_or_default();
        let [quota, aliases, forward, keep, members, password, language] = columns.map(get);
        let place = format!("{path}, line {}", record.position().map_or(0, csv::Position::line));
        let keep_copy = match keep.to_lowercase().as_str() {
            "" | "no" | "false" | "0" => false,
            "yes" | "true" | "1" => true,
            other => {
                wrong.push(format!("{place}: keep-copy is `yes` or `no`, not `{other}`"));
                false
            }
        };
        rows.push(Row {
            place,
            mail: plain_address(get(Some(mail))),
            quota: quota.to_owned(),
            aliases: several(aliases),
            forward: several(forward),
            keep_copy,
            members: (!members.is_empty()).then(|| several(members)),
            password: password.to_lowercase(),
            language: language.to_owned(),
        });
    }
    if wrong.is_empty() { Ok(rows) } else { Err(wrong) }
}

/// The address of an entry, where it has one.
pub(super) fn address_of(entry: &ldif::Entry) -> Option<String> {
    entry.all("mail").next().map(|m| plain_address(&m))
}

pub(super) fn is_group(entry: &ldif::Entry) -> bool {
    entry.all("objectclass").any(|c| {
        let c = c.to_lowercase();
        ["group", "groupofnames", "groupofuniquenames", "nismailalias", "mailgroup"].contains(&c.as_str())
    })
}

/// Something that a person is, as far as an export says what it is; a directory's computers are users, too.
pub(super) fn is_person(entry: &ldif::Entry) -> bool {
    let mut classes = entry.all("objectclass").map(|c| c.to_lowercase()).peekable();
    classes.peek().is_none() || {
        let classes: BTreeSet<String> = classes.collect();
        let is = |names: &[&str]| names.iter().any(|n| classes.contains(*n));
        is(&["person", "user", "inetorgperson", "organizationalperson", "posixaccount", "mailrecipient"])
            && !is(&["computer", "contact"])
    }
}

/// Entries with an address. Members of groups are names of other entries, or addresses (`rfc822MailMember`, `mgrpRFC822MailMember`).
fn of_ldif(path: &str, text: &str, unaddressed: &mut Unaddressed) -> Result<Vec<Row>, Vec<String>> {
    let (entries, bad) = ldif::parse(text.as_bytes());
    if !bad.is_empty() {
        return Err(bad.into_iter().map(|b| format!("{path}, line {}: {}", b.line, b.what)).collect());
    }
    let plain_dn = |dn: &str| dn.split(',').map(str::trim).collect::<Vec<_>>().join(",").to_lowercase();
    let by_dn: BTreeMap<String, String> =
        entries.iter().filter_map(|e| Some((plain_dn(&e.dn), address_of(e)?))).collect();
    let (mut rows, mut wrong) = (Vec::new(), Vec::new());
    for e in &entries {
        let Some(mail) = address_of(e) else {
            if is_person(e) && !is_group(e) {
                unaddressed.path = path.to_owned();
                unaddressed.names.push(e.dn.clone());
            }
            continue;
        };
        let place = format!("{path}, line {}", e.line);
        let all = |names: &[&str]| -> Vec<String> {
            let found: BTreeSet<String> = names.iter().flat_map(|n| e.all(n)).map(|a| plain_address(&a)).collect();
            found.into_iter().filter(|a| *a != mail && a.contains('@')).collect()
        };
        // AD and Exchange name other things there too: X400:, X500:, SIP:.
        let proxies: Vec<String> = e
            .all("proxyaddresses")
            .filter(|a| a.to_lowercase().starts_with("smtp:"))
            .map(|a| plain_address(&a))
            .collect();
        let mut aliases = all(&["mailalternateaddress", "maillocaladdress"]);
        aliases.extend(proxies.into_iter().filter(|a| *a != mail));
        aliases.sort();
        aliases.dedup();
        let mut members = Vec::new();
        for dn in ["member", "uniquemember"].iter().flat_map(|n| e.all(n)) {
            match by_dn.get(&plain_dn(&dn)) {
                Some(address) => members.push(address.clone()),
                None => {
                    wrong.push(format!("{place}: group {mail} has the member `{dn}`, who has no address in this list"))
                }
            }
        }
        members.extend(all(&["rfc822mailmember", "mgrprfc822mailmember"]));
        rows.push(Row {
            place,
            quota: e.all("mailquota").chain(e.all("mailquotasize")).next().unwrap_or_default(),
            aliases,
            forward: all(&["mailforwardingaddress"]),
            keep_copy: e.all("maildeliveryoption").any(|o| o.eq_ignore_ascii_case("mailbox")),
            members: is_group(e).then_some(members),
            password: String::new(),
            language: e.all("preferredlanguage").next().unwrap_or_default(),
            mail,
        });
    }
    if wrong.is_empty() { Ok(rows) } else { Err(wrong) }
}

/// Rows as mailboxes and groups; an address stands for one thing only, whichever list or node names it.
fn told(
    node: &Node,
    rows: Vec<(&'static str, Row)>,
    taken: &mut BTreeMap<String, String>,
    wrong: &mut Wrong<'_>,
) -> Accounts {
    let usual = node.text("passwords").and_then(Password::parse).unwrap_or(Password::Reset);
    let own_quota = match node.value("quota").map(|v| &v.value) {
        Some(crate::model::topology::Value::Size(bytes)) => Some(*bytes),
        _ => None,
    };
    let mut out = Accounts::default();
    for (field, row) in rows {
        let named = [&row.mail].into_iter().chain(&row.aliases);
        let mut fine = true;
        for address in named.clone().chain(&row.forward).chain(row.members.iter().flatten()) {
            if !is_address(address) {
                wrong.say(field, format!("{}: `{address}` is no mail address", row.place), "as in ann@acme.example");
                fine = false;
            }
        }
        for address in named {
            match taken.get(address) {
                Some(first) => {
                    wrong.say(
                        field,
                        format!("{}: {address} is in {first} already", row.place),
                        "take one of the two out",
                    );
                    fine = false;
                }
                None => drop(taken.insert(address.clone(), row.place.clone())),
            }
        }
        let quota = match row.quota.as_str() {
            "" => own_quota,
            text => match text.parse().ok().or_else(|| parse_size(text)) {
                Some(bytes) => Some(bytes),
                None => {
                    wrong.say(field, format!("{}: `{text}` is no quota", row.place), "octets, or with a unit: 2GiB");
                    fine = false;
                    None
                }
            },
        };
        let password = match row.password.as_str() {
            "" => usual,
            text => Password::parse(text).unwrap_or_else(|| {
                wrong.say(
                    field,
                    format!("{}: password is `import` or `reset`, not `{text}`", row.place),
                    "see passwords",
                );
                usual
            }),
        };
        if password == Password::Import && row.members.is_none() && node.secret("hashes").is_none() {
            let text = format!("{}: the password of {} comes from nowhere", row.place, row.mail);
            wrong.say(field, text, "name the old side's passwd-file: hashes=(secret)\"file:..\"");
            fine = false;
        }
        // It is the name of a folder, too.
        if row.members.is_none() && (row.mail.contains('/') || row.mail.starts_with('.')) {
            let text = format!("{}: `{}` cannot have a mailbox: its name would be a path", row.place, row.mail);
            wrong.say(field, text, "give the person another address, and this one as an alias");
            fine = false;
        }
        let gone = node.texts("gone").iter().any(|g| g.eq_ignore_ascii_case(&row.mail));
        if gone {
            wrong.say(
                field,
                format!("{}: {} is in the list and among `gone`", row.place, row.mail),
                "take one of them out",
            );
            fine = false;
        }
        if !fine {
            continue;
        }
        match row.members {
            Some(members) => out.groups.push(Group { address: row.mail, aliases: row.aliases, members }),
            None => out.mailboxes.push(Mailbox {
                address: row.mail,
                quota,
                aliases: row.aliases,
                forward: row.forward,
                keep_copy: row.keep_copy,
                password,
                language: first_language(&row.language),
            }),
        }
    }
    out.mailboxes.sort_by(|a, b| a.address.cmp(&b.address));
    out.groups.sort_by(|a, b| a.address.cmp(&b.address));
    out
}

/// The first of a list as `fa, en;q=0.8` (RFC 2798, section 2.7).
fn first_language(text: &str) -> Option<String> {
    let first = text.split([',', ';']).next()?.trim().to_lowercase();
    // It becomes part of a file's name.
    let fits = !first.is_empty() && first.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    fits.then_some(first)
}
