//! Calls as the script is told them, with their secrets in them: by standard input only, wiped after.

use serde_json::{Map, Value as Json, json};
use zeroize::Zeroizing;

use crate::exchange::diff::Call;

/// A secret that cannot be had. Names the reference, never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{cmdlet} -{parameter}: {why}")]
pub struct Untold {
    pub cmdlet: String,
    pub parameter: String,
    pub why: String,
}

/// The document of `act.ps1`. `secret` reads a reference. All that cannot be had is told.
pub fn told(
    calls: &[Call],
    mut secret: impl FnMut(&str) -> Result<Zeroizing<Vec<u8>>, String>,
) -> Result<Zeroizing<String>, Vec<Untold>> {
    let mut wrong = Vec::new();
    let mut whole = Vec::with_capacity(calls.len());
    for call in calls {
        let mut parameters = Map::new();
        for (name, json) in &call.parameters {
            match value(json, &mut secret) {
                Ok(json) => drop(parameters.insert(name.clone(), json)),
                Err(why) => wrong.push(Untold { cmdlet: call.cmdlet.clone(), parameter: name.clone(), why }),
            }
        }
        whole.push(json!({"cmdlet": call.cmdlet, "parameters": parameters}));
    }
    if wrong.is_empty() { Ok(Zeroizing::new(json!({"calls": whole}).to_string())) } else { Err(wrong) }
}

fn value(json: &Json, secret: &mut impl FnMut(&str) -> Result<Zeroizing<Vec<u8>>, String>) -> Result<Json, String> {
    let Json::Object(object) = json else { return Ok(json.clone()) };
    let of = |name: &str| object.get(name).and_then(Json::as_str);
    let mut text = |reference: &str| -> Result<String, String> {
        let value = secret(reference)?;
        // The end of the line of a file is no part of a password.
        let text = std::str::from_utf8(&value).map_err(|_| format!("secret {reference} is not text"))?;
        Ok(text.trim_end_matches(['\n', '\r']).to_owned())
    };
    match (of("$user"), of("$password"), of("$secret"), of("$octets")) {
        (Some(user), Some(password), None, None) => Ok(json!({"$user": user, "$secure": text(password)?})),
        (None, None, Some(reference), None) => Ok(json!({"$secure": text(reference)?})),
        (None, None, None, Some(reference)) => {
            use base64::Engine as _;
            Ok(json!({"$bytes": base64::engine::general_purpose::STANDARD.encode(&secret(reference)?)}))
        }
        _ => Err("its value is of no known form".to_owned()),
    }
}
