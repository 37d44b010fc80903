//! What went wrong on the far side, in its own words.

use std::fmt;

use serde_json::Value as Json;

/// An error of a cmdlet or of the script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub id: String,
    pub reason: String,
    pub text: String,
    /// The product's own word for "there is no such object"; nothing else means that.
    pub absent: bool,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.text.trim(), self.reason.as_str()) {
            ("", "") => f.write_str("an error without a text"),
            ("", reason) => f.write_str(reason),
            (text, "") => f.write_str(text),
            (text, reason) => write!(f, "{text} ({reason})"),
        }
    }
}

impl Failure {
    pub(super) fn read(json: &Json) -> Option<Self> {
        let text = |name: &str| json.get(name).and_then(Json::as_str).map(str::to_owned);
        let absent = json.get("absent")?.as_bool()?;
        Some(Self { id: text("id")?, reason: text("reason")?, text: text("text")?, absent })
    }

    /// The session to the product broke, which says nothing of what was asked through it.
    pub(super) fn of_session(&self) -> bool {
        let of =
            ["PSRemotingTransportException", "PSRemotingTransportRedirectException", "PSInvalidOperationException"];
        of.contains(&self.reason.as_str())
    }

    /// What a person can do about it.
    pub fn help(&self) -> Option<&'static str> {
        let said = self.text.to_lowercase();
        let has = |words: &[&str]| words.iter().any(|w| said.contains(w));
        if has(&[
            "credential is invalid",
            "invalid credential",
            "logon failure",
            "0x8009030e",
            "a specified logon session",
        ]) {
            return Some(
                "a login by key has no credentials for the directory: log in by password or with delegated Kerberos \
                 tickets (GSSAPI), or register an endpoint on the server that runs as an account of its own",
            );
        }
        if self.reason == "CommandNotFoundException" || has(&["exchangeinstallpath", "remoteexchange.ps1"]) {
            return Some(
                "is the Exchange Management Shell installed on this server, and is the account in a role group?",
            );
        }
        None
    }
}
