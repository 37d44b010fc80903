//! Attribute values of resources, and the contents of files, in which secrets are references.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Lower-case hex SHA-256, as `sha256sum` prints it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct Digest(pub String);

impl Digest {
    pub fn of(bytes: &[u8]) -> Self {
        Self(hex(&Sha256::digest(bytes)))
    }

    /// What a host shows for content that holds a secret: `sha256(KEY ":" sha256hex(content))`. The key never leaves
    /// the operator's state folder but over SSH, so a digest in a plan cannot be used to guess a weak secret.
    pub fn masked(key: &str, content: &[u8]) -> Self {
        Self::of(format!("{key}:{}", Self::of(content).0).as_bytes())
    }

    /// The first 12 hex digits, for people.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut s, b| {
        let _ = write!(s, "{b:02x}");
        s
    })
}

/// A secret by reference, as written: `env:NAME`, `file:PATH`, `age:PATH`, `cmd:LINE`, `vault:PATH#KEY`. Never the value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct SecretRef(pub String);

impl SecretRef {
    /// `(scheme, rest)`; the language has checked the form.
    pub fn parts(&self) -> (&str, &str) {
        self.0.split_once(':').unwrap_or(("", &self.0))
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A piece of a file's content.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Segment {
    Text(String),
    /// Replaced by the secret's value at apply (trailing newline cut), in memory, handed over by stdin.
    Secret(SecretRef),
    /// `secret` made into a `{SHA512-CRYPT}` hash with a salt derived from `salt`, so that the same password gives the same line.
    PasswordHash {
        secret: SecretRef,
        salt: String,
    },
    /// A local file of bytes (a binary), read at plan (for its digest) and at apply (to upload).
    LocalFile(String),
    /// A program of ours by its name: the file that stands beside the running one. Read as a local file is.
    Program(String),
}

/// The content of a file as the topology wants it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Body {
    pub segments: Vec<Segment>,
}

impl Body {
    pub fn text(text: impl Into<String>) -> Self {
        Self { segments: vec![Segment::Text(text.into())] }
    }

    /// True when a segment refers to a secret: content and raw digest stay out of plans and reports.
    pub fn sensitive(&self) -> bool {
        self.segments.iter().any(|s| matches!(s, Segment::Secret(_) | Segment::PasswordHash { .. }))
    }

    /// Identity of what is wanted, with secrets by name; enters the intent digest.
    pub fn intent(&self) -> Digest {
        Digest::of(&serde_json::to_vec(&self.segments).unwrap_or_default())
    }

    /// The text for diffs, secrets as `(secret env:NAME)`; `None` where bytes come from a local file.
    pub fn shown(&self) -> Option<String> {
        let mut out = String::new();
        for s in &self.segments {
            match s {
                Segment::Text(t) => out.push_str(t),
                Segment::Secret(r) => out.push_str(&format!("(secret {r})")),
                Segment::PasswordHash { secret, .. } => out.push_str(&format!("(hash of secret {secret})")),
                Segment::LocalFile(_) | Segment::Program(_) => return None,
            }
        }
        Some(out)
    }
}

/// Content as an attribute: which body, and the digest that the host must show.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Content {
    /// `Body::intent`; key into the site's and plan's bodies.
    pub id: Digest,
    /// Digest that the host must show; masked when `sensitive`. `None` until sealed (see `secret::seal`).
    pub digest: Option<Digest>,
    pub sensitive: bool,
}

/// The value of one attribute.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Attr {
    Text(String),
    Int(i64),
    Bool(bool),
    List(Vec<String>),
    /// Desired side: content by reference.
    Content(Content),
    /// Observed side: the digest found.
    Digest(Digest),
}

impl Attr {
    pub fn text(s: impl Into<String>) -> Self {
        Attr::Text(s.into())
    }

    pub fn as_text(&self) -> Option<&str> {
        match self {
            Attr::Text(s) => Some(s),
            _ => None,
        }
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Attr::Bool(b) => Some(*b),
            _ => None,
        }
    }
}

impl fmt::Display for Attr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Attr::Text(s) => f.write_str(s),
            Attr::Int(i) => write!(f, "{i}"),
            Attr::Bool(b) => write!(f, "{b}"),
            Attr::List(l) => f.write_str(&l.join(" ")),
            Attr::Content(c) => match &c.digest {
                _ if c.sensitive => f.write_str("(sensitive)"),
                Some(d) => f.write_str(d.short()),
                None => f.write_str("(unknown)"),
            },
            Attr::Digest(d) => f.write_str(d.short()),
        }
    }
}

pub use super::attrs::Attrs;
