//! Where a side keeps what is not mail: rules, contacts, signatures. What is not said is as at the side's mail.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::{End, Item, Kind, Tls};
use crate::model::written::optional_duration;
use crate::services::trust;

/// `[source.rules]`, `[target.contacts]` and the like. The keys are those of [`End`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Part {
    pub kind: Kind,
    /// `HOST:PORT` for `managesieve`; the mail server's host and port 4190 unless said.
    pub server: Option<String>,
    /// For `carddav` and `ews`.
    pub url: Option<String>,
    /// As of the side's mail; `starttls` for `managesieve` where that is `implicit` (RFC 5804 has no other).
    pub tls: Option<Tls>,
    pub verify: Option<trust::Verify>,
    pub ca: Option<PathBuf>,
    pub tls_name: Option<String>,
    pub pins: Option<Vec<String>>,
    pub login: Option<String>,
    pub master: Option<String>,
    pub password: Option<String>,
    pub authzid: Option<bool>,
    pub token: Option<bool>,
    /// For files, with the parts of `login`.
    pub path: Option<String>,
    /// For `csv`: header of a column to where it goes.
    #[serde(default)]
    pub columns: BTreeMap<String, String>,
    #[serde(default, with = "optional_duration")]
    pub timeout: Option<Duration>,
}

/// What goes over one end beside mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    Rules,
    Contacts,
    Signature,
    /// Over the mail sessions.
    Permissions,
}

impl Field {
    pub const ALL: [Field; 4] = [Field::Rules, Field::Contacts, Field::Signature, Field::Permissions];

    /// Its table in the configuration.
    pub fn key(self) -> &'static str {
        match self {
            Field::Rules => "rules",
            Field::Contacts => "contacts",
            Field::Signature => "signature",
            Field::Permissions => "permissions",
        }
    }

    pub fn items(self) -> &'static [Item] {
        match self {
            Field::Rules => &[Item::Rules, Item::OutOfOffice],
            Field::Contacts => &[Item::Contacts],
            Field::Signature => &[Item::Signature],
            Field::Permissions => &[Item::Permissions],
        }
    }

    fn holds(self, kind: Kind) -> bool {
        match self {
            Field::Rules => matches!(kind, Kind::Managesieve | Kind::Sieve | Kind::Ews),
            Field::Contacts => matches!(kind, Kind::Carddav | Kind::Vcard | Kind::Ldif | Kind::Csv | Kind::Ews),
            Field::Signature => matches!(kind, Kind::Signature),
            Field::Permissions => kind == Kind::Imap,
        }
    }

    /// What may stand as `kind`.
    fn kinds(self) -> &'static str {
        match self {
            Field::Rules => "managesieve, sieve or ews",
            Field::Contacts => "carddav, vcard, ldif, csv or ews",
            Field::Signature => "signature",
            Field::Permissions => "imap",
        }
    }
}

impl Kind {
    /// Whether it can be the kind of a whole side.
    pub fn is_mail(self) -> bool {
        matches!(
            self,
            Kind::Imap | Kind::Pop3 | Kind::Maildir | Kind::Mbox | Kind::Jmap | Kind::Lmtp | Kind::Ews | Kind::Custom
        )
    }
}

impl End {
    fn part(&self, field: Field) -> Option<&Part> {
        match field {
            Field::Rules => self.rules.as_deref(),
            Field::Contacts => self.contacts.as_deref(),
            Field::Signature => self.signature.as_deref(),
            Field::Permissions => None,
        }
    }

    /// The end at which this side holds a field: what is configured, or the side's mail end where that holds it too.
    pub fn holder(&self, field: Field) -> Option<End> {
        match self.part(field) {
            Some(part) => Some(part.at(self)),
            None => field.holds(self.kind).then(|| self.clone()),
        }
    }

    pub(super) fn judge_parts(&self, at: &str, fault: &mut impl FnMut(&str, String)) {
        for field in Field::ALL {
            let Some(part) = self.part(field) else { continue };
            let at = format!("{at}.{}", field.key());
            if !field.holds(part.kind) {
                fault(&format!("{at}.kind"), format!("this end holds no {}; write {}", field.key(), field.kinds()));
            }
            part.at(self).judge(&at, fault);
        }
    }
}

impl Part {
    fn at(&self, side: &End) -> End {
        let beside = || {
            let (host, _) = side.server.as_deref()?.rsplit_once(':')?;
            (self.kind == Kind::Managesieve).then(|| format!("{host}:4190"))
        };
        let tls = self.tls.unwrap_or(match side.tls {
            Tls::Implicit if self.kind == Kind::Managesieve => Tls::Starttls,
            tls => tls,
        });
        End {
            kind: self.kind,
            profile: side.profile,
            server: self.server.clone().or_else(beside),
            url: self.url.clone(),
            tls,
            verify: self.verify.unwrap_or(side.verify),
            ca: self.ca.clone().or_else(|| side.ca.clone()),
            tls_name: self.tls_name.clone().or_else(|| side.tls_name.clone()),
            pins: self.pins.clone().unwrap_or_else(|| side.pins.clone()),
            login: self.login.clone().unwrap_or_else(|| side.login.clone()),
            master: self.master.clone().or_else(|| side.master.clone()),
            password: self.password.clone().or_else(|| side.password.clone()),
            authzid: self.authzid.unwrap_or(side.authzid),
            token: self.token.unwrap_or(side.token),
            path: self.path.clone(),
            columns: self.columns.clone(),
            program: Vec::new(),
            read: None,
            sessions: side.sessions,
            timeout: self.timeout.unwrap_or(side.timeout),
            compress: false,
            rules: None,
            contacts: None,
            signature: None,
        }
    }
}
