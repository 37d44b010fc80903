//! The scripts that ask and change, constant to the letter: what they are told comes as base64 of JSON by standard input.
//!
//! The command line holds a loader alone, since the shell before it may take no more than 8,191 letters.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;
use zeroize::Zeroizing;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// Lists objects; changes nothing.
    Observe,
    /// Makes calls in order, up to the first that fails.
    Act,
}

const BEGIN: &str = "-----BEGIN CUTOVER ANSWER-----";
const END: &str = "-----END CUTOVER ANSWER-----";

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    #[error("the script ended without an answer")]
    Missing,
    #[error("the answer is cut off or holds two")]
    Torn,
    #[error("the answer is not JSON: {0}")]
    NotJson(String),
}

impl Script {
    pub const ALL: [Script; 2] = [Script::Observe, Script::Act];

    /// The whole script.
    pub fn text(self) -> String {
        let own = match self {
            Script::Observe => include_str!("ps/observe.ps1"),
            Script::Act => include_str!("ps/act.ps1"),
        };
        format!("{}\n{own}", include_str!("ps/base.ps1"))
    }

    /// Standard input: the script in the first line, what it is told in the second.
    pub fn input(self, told: &Json) -> String {
        format!("{}\n{}\n", STANDARD.encode(self.text()), STANDARD.encode(told.to_string()))
    }

    /// The same of a document that has secrets in it; wiped on drop.
    pub fn input_of(self, told: &Zeroizing<String>) -> Zeroizing<String> {
        let script = STANDARD.encode(self.text());
        // Sized at once: growing would leave unwiped copies behind.
        let mut out = Zeroizing::new(String::with_capacity(script.len() + told.len().div_ceil(3) * 4 + 2));
        out.push_str(&script);
        out.push('\n');
        STANDARD.encode_string(told.as_bytes(), &mut out);
        out.push('\n');
        out
    }
}

/// The loader.
pub fn loader() -> &'static str {
    include_str!("ps/load.ps1")
}

/// The command, the same for every script and every host.
pub fn command() -> [String; 5] {
    let words = ["powershell.exe", "-NoProfile", "-NonInteractive", "-EncodedCommand"].map(str::to_owned);
    let [program, profile, interactive, encoded] = words;
    [program, profile, interactive, encoded, encoded_command(loader())]
}

/// A script as `-EncodedCommand` takes it: base64 of UTF-16, low octet first.
pub fn encoded_command(script: &str) -> String {
    let octets: Vec<u8> = script.encode_utf16().flat_map(u16::to_le_bytes).collect();
    STANDARD.encode(octets)
}

/// The JSON between the marks; what a profile or a module prints around it is left alone.
pub fn answer(stdout: &str) -> Result<Json, NoAnswer> {
    let (_, rest) = stdout.split_once(BEGIN).ok_or(NoAnswer::Missing)?;
    let (json, after) = rest.split_once(END).ok_or(NoAnswer::Torn)?;
    if json.contains(BEGIN) || after.contains(BEGIN) {
        return Err(NoAnswer::Torn);
    }
    serde_json::from_str(json.trim()).map_err(|e| NoAnswer::NotJson(e.to_string()))
}
