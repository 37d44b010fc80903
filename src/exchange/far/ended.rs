//! What became of each call.

use serde_json::Value as Json;

use super::failure::Failure;
use crate::exchange::diff::Call;
use crate::exchange::script;

/// The end of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    Done {
        warnings: Vec<String>,
    },
    Failed {
        failure: Failure,
        warnings: Vec<String>,
    },
    /// A call before it failed, so it was not begun.
    NotBegun,
    /// Nobody said what became of it: what is there has to be asked for.
    Unknown {
        why: String,
    },
}

/// What `act.ps1` said of these calls.
pub fn ended(calls: &[Call], stdout: &str) -> Vec<End> {
    let unknown = |why: &str| calls.iter().map(|_| End::Unknown { why: why.to_owned() }).collect();
    let json = match script::answer(stdout) {
        Ok(json) => json,
        Err(e) => return unknown(&e.to_string()),
    };
    let Some(results) = json.get("results").and_then(Json::as_array).filter(|r| r.len() <= calls.len()) else {
        return unknown("its answer cannot be read");
    };
    let broken = json.get("failed").map(Failure::read);
    let begun = json.get("begun").and_then(Json::as_u64);
    let mut ends = Vec::with_capacity(calls.len());
    let mut stopped = false;
    for (at, call) in calls.iter().enumerate() {
        let end = match (results.get(at), &broken) {
            (Some(result), _) => one(call, result),
            _ if stopped => End::NotBegun,
            // The script itself broke here: before this call, or within it.
            (None, Some(failure)) if at == results.len() => match failure {
                Some(failure) if begun == Some(at as u64) => {
                    End::Failed { failure: failure.clone(), warnings: Vec::new() }
                }
                Some(failure) => End::Unknown { why: failure.to_string() },
                None => End::Unknown { why: "its error cannot be read".to_owned() },
            },
            (None, Some(_)) => End::NotBegun,
            (None, None) => End::Unknown { why: "it is not spoken of".to_owned() },
        };
        stopped |= matches!(end, End::Failed { .. });
        ends.push(end);
    }
    ends
}

fn one(call: &Call, result: &Json) -> End {
    let unreadable = || End::Unknown { why: "what is said of it cannot be read".to_owned() };
    if result.get("cmdlet").and_then(Json::as_str) != Some(&call.cmdlet) {
        return End::Unknown { why: "another call is spoken of".to_owned() };
    }
    let list = |name: &str| result.get(name).and_then(Json::as_array);
    let (Some(warnings), Some(errors), Some(done)) =
        (list("warnings"), list("errors"), result.get("done").and_then(Json::as_bool))
    else {
        return unreadable();
    };
    let warnings = warnings.iter().filter_map(Json::as_str).map(str::to_owned).collect();
    match (done, errors.first().map(Failure::read)) {
        (true, None) => End::Done { warnings },
        // The session broke under it: the server may have carried it out.
        (false, Some(Some(failure))) if failure.of_session() => End::Unknown { why: failure.to_string() },
        (false, Some(Some(failure))) => End::Failed { failure, warnings },
        _ => unreadable(),
    }
}
