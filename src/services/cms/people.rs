//! Whose mailboxes move, and how each is opened at both ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::config::{Config, End, Mailbox};
use super::ledger::Way;
use super::mailbox::{Access, Class, Fault};

/// Reads a reference to a password (`file:PATH`, `env:NAME`, `captured`) of a user. Errors name the reference, never the value.
pub type Passwords = Arc<dyn Fn(&str, &str) -> Result<Zeroizing<String>, String> + Send + Sync>;

/// Everybody of the configuration and of its list, by address.
#[derive(Clone, Default)]
pub struct People(BTreeMap<String, Mailbox>);

impl People {
    /// `list` is the text of `cms.mailboxes`. All mistakes at once.
    pub fn of(config: &Config, list: Option<&str>) -> Result<Self, Vec<String>> {
        let mut all: BTreeMap<String, Mailbox> = config.mailboxes.iter().map(|m| (m.user.clone(), m.clone())).collect();
        let mut lower: BTreeSet<String> = all.keys().map(|u| u.to_lowercase()).collect();
        let mut faults = Vec::new();
        let mut reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            .flexible(true)
            .from_reader(list.unwrap_or_default().as_bytes());
        let header = reader.headers().cloned().unwrap_or_default();
        const COLUMNS: [&str; 5] = ["user", "source-user", "target-user", "source-password", "target-password"];
        if list.is_some() {
            if !header.iter().any(|h| h == "user") {
                faults.push("cms.mailboxes: the first line names the columns, and one of them is `user`".to_owned());
            }
            for unknown in header.iter().filter(|h| !COLUMNS.contains(h)) {
                faults.push(format!("cms.mailboxes: `{unknown}` is no column; there are {}", COLUMNS.join(", ")));
            }
        }
        for (n, record) in reader.records().enumerate() {
            let line = n + 2;
            let record = match record {
                Ok(record) => record,
                Err(e) => {
                    faults.push(format!("cms.mailboxes: line {line}: {e}"));
                    continue;
                }
            };
            let cell = |name: &str| {
                let at = header.iter().position(|h| h == name)?;
                record.get(at).filter(|c| !c.is_empty()).map(str::to_owned)
            };
            let Some(user) = cell("user").filter(|u| !u.contains(char::is_control)) else {
                faults.push(format!("cms.mailboxes: line {line}: write the user's address"));
                continue;
            };
            if !lower.insert(user.to_lowercase()) {
                faults.push(format!("cms.mailboxes: line {line}: {user} stands here twice"));
                continue;
            }
            let mailbox = Mailbox {
                user: user.clone(),
                source_user: cell("source-user"),
                target_user: cell("target-user"),
                source_password: cell("source-password"),
                target_password: cell("target-password"),
            };
            all.insert(user, mailbox);
        }
        if faults.is_empty() { Ok(Self(all)) } else { Err(faults) }
    }

    pub fn users(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// What somebody who is called so on the side that is read is called on the written one; `None` when nobody who moves has that name.
    pub fn called(&self, name: &str, way: Way) -> Option<&str> {
        fn name_of(m: &Mailbox, old: bool) -> &str {
            let said = if old { &m.source_user } else { &m.target_user };
            said.as_deref().unwrap_or(&m.user)
        }
        let old = way == Way::Forward;
        let found = self.0.values().find(|m| name_of(m, old).eq_ignore_ascii_case(name));
        // Where users log in by the part before the @, others call them so, too.
        let local = |m: &&Mailbox| name_of(m, old).split('@').next().is_some_and(|n| n.eq_ignore_ascii_case(name));
        let mut alike = self.0.values().filter(local);
        let found = found.or_else(|| alike.next().filter(|_| alike.next().is_none()));
        let found = found.map(|m| name_of(m, !old))?;
        Some(if name.contains('@') || !found.contains('@') { found } else { found.split('@').next().unwrap_or(found) })
    }

    /// By address; a difference in case only is none.
    pub fn find(&self, user: &str) -> Option<&str> {
        self.0
            .get_key_value(user)
            .map(|(k, _)| k.as_str())
            .or_else(|| self.users().find(|u| u.eq_ignore_ascii_case(user)))
    }

    /// How the side that is read (`true`) or written in a pass of this way is opened.
    pub fn access(
        &self,
        config: &Config,
        passwords: &Passwords,
        user: &str,
        way: Way,
        reads: bool,
    ) -> Result<Access, Fault> {
        let old = reads == (way == Way::Forward);
        self.access_at(if old { &config.source } else { &config.target }, passwords, user, way, reads)
    }

    /// The same for an end of that side which is not its mail.
    pub fn access_at(
        &self,
        end: &End,
        passwords: &Passwords,
        user: &str,
        way: Way,
        reads: bool,
    ) -> Result<Access, Fault> {
        let old = reads == (way == Way::Forward);
        let entry =
            self.0.get(user).ok_or_else(|| Fault::new(Class::Login, format!("{user} is not in the configuration")))?;
        let (name, reference) = match old {
            true => (&entry.source_user, &entry.source_password),
            false => (&entry.target_user, &entry.target_password),
        };
        access(end, user, name.as_deref().unwrap_or(user), reference.as_deref(), passwords)
    }
}

fn access(end: &End, user: &str, name: &str, reference: Option<&str>, passwords: &Passwords) -> Result<Access, Fault> {
    let password = match reference.or(end.password.as_deref()) {
        Some(reference) => passwords(user, reference).map_err(|e| Fault::new(Class::Login, e))?,
        None => Zeroizing::default(),
    };
    Ok(Access {
        // Paths and logins of this end are formed of the name that it knows.
        user: name.to_owned(),
        login: end.login_of(name),
        master: end.master.clone().filter(|_| end.authzid),
        password,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"
        [cms]
        mailboxes = "list.csv"
        [source]
        kind = "imap"
        server = "old:993"
        login = "{user}*{master}"
        master = "admin"
        password = "env:M"
        [target]
        kind = "imap"
        server = "new:993"
    "#;

    #[test]
    fn a_list_adds_people_with_names_and_passwords_of_their_own() {
        let config = Config::parse(CONFIG).expect("config");
        let people =
            People::of(&config, Some("user,source-user,target-password\nann@x.example,ann,file:p\nbob@x.example,,\n"))
                .expect("people");
        let passwords: Passwords = Arc::new(|_, reference| Ok(Zeroizing::new(format!("<{reference}>"))));
        let old = people.access(&config, &passwords, "ann@x.example", Way::Forward, true).expect("access");
        assert_eq!((old.login.as_str(), old.password.as_str()), ("ann*admin", "<env:M>"));
        let new = people.access(&config, &passwords, "ann@x.example", Way::Back, true).expect("access");
        assert_eq!((new.login.as_str(), new.password.as_str()), ("ann@x.example", "<file:p>"));
        assert_eq!(people.find("BOB@x.example"), Some("bob@x.example"));
    }

    #[test]
    fn all_mistakes_of_a_list_are_said_at_once() {
        let config = Config::parse(CONFIG).expect("config");
        let faults = People::of(&config, Some("user,size\na@x,1\nA@x,2\n,3\n")).map(drop).expect_err("faults");
        assert_eq!(faults.len(), 3, "{faults:?}");
    }
}
