//! What a mail program puts under a user's mail.

use serde::Serialize;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Signature {
    pub text: Option<String>,
    pub html: Option<String>,
}

impl Signature {
    /// With LF at the ends of lines and none at the end of all.
    pub fn canonical(self) -> Self {
        let plain = |t: String| t.replace("\r\n", "\n").trim_end_matches('\n').to_owned();
        Self { text: self.text.map(plain), html: self.html.map(plain) }
    }
}
