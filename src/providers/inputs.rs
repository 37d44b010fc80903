//! What the far side needs to know to look at a resource, beyond its kind and key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::model::attr::{Attr, Attrs};
use crate::model::{Digest, Kind};

/// Inputs of a look, from desired attributes or from those that the ledger keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inputs {
    pub kind: Kind,
    pub key: String,
    /// Digests of its content are masked.
    pub secret: bool,
    pub wanted: Option<Digest>,
    pub file: String,
    pub path: String,
    pub prefix: String,
    pub line: String,
    pub creates: String,
    pub unless: String,
    /// Name of the mark of a command that runs once.
    pub once: String,
    pub user: String,
}

fn text(attrs: &Attrs, name: &str) -> String {
    attrs.get(name).and_then(Attr::as_text).unwrap_or_default().to_owned()
}

impl Inputs {
    pub fn of(kind: Kind, key: &str, attrs: &Attrs) -> Self {
        let content = match attrs.get(if kind == Kind::MailAccount { "password" } else { "content" }) {
            Some(Attr::Content(c)) => Some(c),
            _ => None,
        };
        let once = attrs.get("once").and_then(Attr::as_bool) == Some(true);
        Self {
            kind,
            key: key.to_owned(),
            // A password's hash is masked even where nobody said that it is secret.
            secret: content.map_or(kind == Kind::MailAccount, |c| c.sensitive),
            wanted: content.and_then(|c| c.digest.clone()),
            file: text(attrs, "file"),
            path: text(attrs, "path"),
            prefix: text(attrs, "prefix"),
            line: text(attrs, "line"),
            creates: text(attrs, "creates"),
            unless: text(attrs, "unless"),
            once: if once {
                Digest::of(format!("{key}\n{}", text(attrs, "run")).as_bytes()).0[..32].to_owned()
            } else {
                String::new()
            },
            user: text(attrs, "user"),
        }
    }

    /// Texts that would break the rows or a path are refused here, with a reason.
    pub fn check(&self) -> Result<(), String> {
        let named = [
            ("key", &self.key),
            ("file", &self.file),
            ("path", &self.path),
            ("creates", &self.creates),
            ("user", &self.user),
        ];
        for (name, value) in named {
            if value.contains(['\n', '\t', '\0', '\r', '\\']) {
                return Err(format!(
                    "{}:{}: {name} holds a line break, tab or backslash",
                    self.kind,
                    self.key.escape_debug()
                ));
            }
        }
        if self.line.contains(['\n', '\0']) || self.prefix.contains(['\n', '\0']) {
            return Err(format!("{}:{}: a line holds a line break", self.kind, self.key));
        }
        let absolute = |what: &str, p: &str| match p.starts_with('/')
            && !p.split('/').any(|s| s == "..")
            && !(p.len() > 1 && p.ends_with('/'))
        {
            true => Ok(()),
            false => Err(format!("{}:{}: {what} `{p}` is not an absolute, plain path", self.kind, self.key)),
        };
        let plain = |k: &str| match k.contains('/') || k.starts_with('.') || k.starts_with('-') {
            true => Err(format!("{}:{k}: this name cannot stand in a path", self.kind)),
            false => Ok(()),
        };
        match self.kind {
            Kind::File | Kind::Binary | Kind::Directory => absolute("path", &self.key),
            Kind::Line => match self.key.rsplit_once('#') {
                Some((path, name)) if !name.is_empty() => absolute("path", path),
                _ => Err(format!("line:{}: the key of a line is PATH#NAME", self.key)),
            },
            Kind::DnsZone => absolute("path", &self.path),
            Kind::MailAccount => absolute("file", &self.file),
            // A drop-in: `prometheus.service.d/local.conf`.
            Kind::Unit => match self.key.split_once(".d/") {
                Some((unit, file)) => plain(unit).and_then(|()| plain(file)),
                None => plain(&self.key),
            },
            Kind::Timer | Kind::Firewall | Kind::Service | Kind::User | Kind::Group | Kind::Package => plain(&self.key),
            Kind::RecordSet | Kind::Barrier | Kind::Wave => {
                Err(format!("{}:{}: neither records nor people live on a host", self.kind, self.key))
            }
            Kind::Setting | Kind::Command => Ok(()),
        }
    }

    /// The file that the resource lies in, where it lies in one.
    pub fn place(&self) -> Option<String> {
        Some(match self.kind {
            Kind::File | Kind::Binary | Kind::Directory => self.key.clone(),
            Kind::Unit | Kind::Timer => format!("/etc/systemd/system/{}", self.key),
            Kind::Firewall => format!("/etc/nftables.d/{}.nft", self.key),
            Kind::DnsZone => self.path.clone(),
            Kind::MailAccount => self.file.clone(),
            Kind::Line => self.key.rsplit_once('#').map_or(self.key.clone(), |(p, _)| p.to_owned()),
            Kind::Setting => "/etc/postfix/main.cf".to_owned(),
            _ => return None,
        })
    }

    /// One row for the batched look. `text`: what differs is wanted as text.
    pub fn row(&self, text: bool) -> String {
        let b64 = |s: &str| if s.is_empty() { "-".to_owned() } else { STANDARD.encode(s) };
        let or = |s: &str| if s.is_empty() { "-".to_owned() } else { s.to_owned() };
        let flag = if text && !self.secret { "t" } else { "-" };
        let wanted = self.wanted.as_ref().map_or("-", |d| &d.0);
        let rest = match self.kind {
            Kind::File | Kind::Binary | Kind::Unit | Kind::Timer | Kind::Firewall => wanted.to_owned(),
            Kind::DnsZone => format!("{wanted}\t{}", or(&self.path)),
            Kind::MailAccount => or(&self.file),
            Kind::Line => format!("{}\t{}", or(&escaped(&self.prefix)), or(&escaped(&self.line))),
            Kind::Command => {
                format!("{}\t{}\t{}\t{}", or(&self.creates), b64(&self.unless), or(&self.once), or(&self.user))
            }
            _ => "-".to_owned(),
        };
        format!("{}\t{}\t{flag}\t{rest}", self.kind, self.key)
    }

    /// The same for one resource, as shell variables.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let mut out = vec![];
        let mut set = |name, value: &str| {
            if !value.is_empty() {
                out.push((name, value.to_owned()));
            }
        };
        set("o_secret", if self.secret { "1" } else { "" });
        set("o_file", &self.file);
        set("o_path", &self.path);
        set("o_prefix", &escaped(&self.prefix));
        set("o_line", &escaped(&self.line));
        set("o_creates", &self.creates);
        set("o_unless", &self.unless);
        set("o_once", &self.once);
        set("o_user", &self.user);
        out
    }
}

fn escaped(line: &str) -> String {
    line.replace('%', "%25").replace('\t', "%09")
}
