//! What a configuration must hold beyond its form. All mistakes at once.

use std::collections::BTreeSet;

use super::{Config, End, Kind, Tls};
use crate::model::unit::{Percent, parse_rate};
use crate::services::trust;

/// What stands in braces in `login` and `path`.
const PARTS: [&str; 4] = ["user", "name", "domain", "master"];

impl Config {
    /// Reads and judges a configuration. Each error names its key and says what to write.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let config: Self = toml::from_str(text).map_err(|e| vec![e.to_string().trim_end().to_owned()])?;
        let faults = config.faults();
        if faults.is_empty() { Ok(config) } else { Err(faults) }
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut fault = |at: &str, text: String| faults.push(format!("{at}: {text}"));
        if self.cms.workers == 0 || self.cms.workers > 256 {
            fault("cms.workers", "write a number from 1 to 256".into());
        }
        if self.cms.connections == 0 || self.cms.connections > 64 {
            fault("cms.connections", "write a number from 1 to 64".into());
        }
        if self.cms.memory < 4 << 20 {
            fault("cms.memory", "write at least 4MiB".into());
        }
        if self.mailboxes.is_empty() && self.cms.mailboxes.is_none() {
            fault("mailbox", "nobody moves: write [[mailbox]] with user, or cms.mailboxes = \"list.csv\"".into());
        }
        let mut users = BTreeSet::new();
        for mailbox in &self.mailboxes {
            if mailbox.user.is_empty() || mailbox.user.contains(char::is_control) {
                fault("mailbox.user", "write the user's address".into());
            }
            if !users.insert(mailbox.user.to_lowercase()) {
                fault("mailbox.user", format!("{} stands here twice", mailbox.user));
            }
        }
        if let Some(rate) = &self.limits.rate
            && parse_rate(rate).is_none()
        {
            fault("limits.rate", format!("`{rate}` is no rate; write one as `200Mbit/s`"));
        }
        if Percent::parse(&self.limits.max_failed).is_none() {
            fault("limits.max-failed", format!("`{}` is no share; write one as `0%`", self.limits.max_failed));
        }
        for hours in &self.limits.hours {
            if super::hours(hours).is_none() {
                fault("limits.hours", format!("`{hours}` is no time of day; write one as `20:00-06:00`"));
            }
        }
        if !self.source.kind.reads() {
            fault(
                "source.kind",
                "this end cannot be read; write imap, pop3, maildir, mbox, jmap, ews or custom".into(),
            );
        }
        if !self.target.kind.writes() {
            fault("target.kind", "this end cannot be written; write imap, jmap, lmtp, maildir, ews or custom".into());
        }
        for (at, end) in [("source", &self.source), ("target", &self.target)] {
            end.judge(at, &mut fault);
            end.judge_parts(at, &mut fault);
        }
        faults
    }
}

impl Kind {
    pub fn reads(self) -> bool {
        self.is_mail() && self != Kind::Lmtp
    }

    pub fn writes(self) -> bool {
        self.is_mail() && !matches!(self, Kind::Pop3 | Kind::Mbox)
    }
}

impl End {
    pub(super) fn judge(&self, at: &str, fault: &mut impl FnMut(&str, String)) {
        let missing = |what: &str| format!("write {what}");
        match self.kind {
            Kind::Imap | Kind::Pop3 | Kind::Lmtp | Kind::Managesieve
                if self.server.as_deref().is_none_or(|s| !s.contains(':')) =>
            {
                fault(&format!("{at}.server"), missing("HOST:PORT"));
            }
            Kind::Jmap | Kind::Ews | Kind::Carddav if self.url.as_deref().is_none_or(|u| !u.starts_with("http")) => {
                fault(&format!("{at}.url"), missing("the https:// address of the service"));
            }
            Kind::Maildir | Kind::Mbox if self.path.is_none() => {
                fault(&format!("{at}.path"), missing("where a mailbox lies, as in /var/vmail/{domain}/{name}/Maildir"));
            }
            Kind::Sieve | Kind::Vcard | Kind::Ldif | Kind::Csv | Kind::Signature if self.path.is_none() => {
                fault(&format!("{at}.path"), missing("where a user's files lie, as in /var/export/{user}"));
            }
            Kind::Custom if self.program.is_empty() => {
                fault(&format!("{at}.program"), missing("the program and its arguments"))
            }
            _ => {}
        }
        for (header, place) in &self.columns {
            if !crate::services::cms::contacts::is_place(place) {
                let what = "is no place of a contact; write one as EMAIL, N.family, ADR.city;home, or nothing";
                fault(&format!("{at}.columns"), format!("`{header}`: `{place}` {what}"));
            }
        }
        for (key, text) in [("login", Some(&self.login)), ("path", self.path.as_ref()), ("url", self.url.as_ref())] {
            for part in text.into_iter().flat_map(|t| parts(t)) {
                if !PARTS.contains(&part) {
                    fault(
                        &format!("{at}.{key}"),
                        format!("`{{{part}}}` is unknown; there are {{user}} {{name}} {{domain}} {{master}}"),
                    );
                }
                if part == "master" && self.master.is_none() {
                    fault(&format!("{at}.master"), missing("the name of the master user"));
                }
            }
        }
        if self.authzid && self.master.is_none() {
            fault(&format!("{at}.master"), "authzid needs the name of the master user".into());
        }
        if self.verify == trust::Verify::Pin && self.pins.is_empty() {
            fault(&format!("{at}.pins"), missing("\"sha256:..\" of the server's public key"));
        }
        if self.tls == Tls::None && self.verify == trust::Verify::Pin {
            fault(&format!("{at}.tls"), "without TLS no certificate is checked".into());
        }
        if self.sessions == 0 {
            fault(&format!("{at}.sessions"), missing("at least 1"));
        }
        if self.kind == Kind::Lmtp {
            match &self.read {
                Some(read) if read.kind == Kind::Imap => read.judge(&format!("{at}.read"), fault),
                _ => fault(&format!("{at}.read"), "LMTP cannot be read back: name the server's IMAP here".into()),
            }
        }
    }

    /// The name with which a user's mailbox is opened.
    pub fn login_of(&self, user: &str) -> String {
        self.fill(&self.login, user)
    }

    /// Where a user's mailbox lies. A user's name that would lead out of the folder is refused.
    pub fn path_of(&self, user: &str) -> Result<std::path::PathBuf, String> {
        if user.split(['/', '@']).any(|part| part.is_empty() || part == "." || part == "..")
            || user.contains(['/', '\0'])
        {
            return Err(format!("`{user}` cannot be part of a path"));
        }
        Ok(self.fill(self.path.as_deref().unwrap_or_default(), user).into())
    }

    fn fill(&self, form: &str, user: &str) -> String {
        let (name, domain) = user.split_once('@').unwrap_or((user, ""));
        let master = self.master.as_deref().unwrap_or("");
        form.replace("{user}", user).replace("{name}", name).replace("{domain}", domain).replace("{master}", master)
    }
}

fn parts(form: &str) -> impl Iterator<Item = &str> {
    form.split('{').skip(1).filter_map(|rest| rest.split_once('}').map(|(part, _)| part))
}
