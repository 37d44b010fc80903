//! A saved plan: one line that vouches for it, then the plan as JSON.
//!
//! ```text
//! cutover-plan 1 KEYID MAC
//! { "version": 1, … }
//! ```
//!
//! The MAC is made with the state key, so a file that was edited, or made by somebody with another key, is refused.

use std::path::Path;

use super::failure::Failure;
use super::whole;
use crate::model::attr::Digest;
use crate::model::plan::{PLAN_VERSION, Plan};
use crate::secret::StateKey;

const MAGIC: &str = "cutover-plan";

/// Writes the plan to `path`, readable by its owner only: contents of configuration files stand in it.
pub fn save(path: &Path, plan: &Plan, key: &StateKey) -> Result<(), Failure> {
    let fail = |e: std::io::Error| Failure::new(format!("the plan was not saved to {}: {e}", path.display()));
    let body = serde_json::to_vec_pretty(plan).map_err(|e| fail(e.into()))?;
    let mut file = format!("{MAGIC} {PLAN_VERSION} {} {}\n", key.id(), mac(key, &body)).into_bytes();
    file.extend_from_slice(&body);
    file.push(b'\n');
    whole::write(path, |f| std::io::Write::write_all(f, &file)).map_err(fail)
}

/// Reads a saved plan and checks that it is whole, ours and untouched.
pub fn load(path: &Path, key: &StateKey) -> Result<Plan, Failure> {
    let shown = path.display();
    let bytes = std::fs::read(path).map_err(|e| {
        Failure::new(format!("the plan {shown} cannot be read: {e}")).help("make one with: cutover plan --out plan.cut")
    })?;
    let not_a_plan = || {
        Failure::new(format!("{shown} is not a saved plan"))
            .help("make one with: cutover plan --out plan.cut (JSON output is for reading only)")
    };
    let line = bytes.iter().position(|b| *b == b'\n').ok_or_else(not_a_plan)?;
    let (head, body) = (std::str::from_utf8(&bytes[..line]).map_err(|_| not_a_plan())?, &bytes[line + 1..]);
    let body = body.strip_suffix(b"\n").unwrap_or(body);
    let words: Vec<&str> = head.split(' ').collect();
    let [MAGIC, version, key_id, found] = words[..] else {
        return Err(not_a_plan());
    };
    if version != PLAN_VERSION.to_string() {
        return Err(Failure::new(format!(
            "{shown} has plan format {version}; this cutover reads format {PLAN_VERSION}"
        ))
        .help("plan again with this version"));
    }
    if key_id != key.id() {
        return Err(Failure::new(format!("{shown} was made with another state key ({key_id}, not {})", key.id()))
            .help(
                "apply it where it was made, or plan again here; CUTOVER_STATE_KEY shares one key between machines",
            ));
    }
    if found != mac(key, body).0 {
        return Err(Failure::new(format!("{shown} was changed after it was made, or cut short; it is refused"))
            .help("change the topology instead and plan again"));
    }
    serde_json::from_slice(body)
        .map_err(|e| Failure::new(format!("{shown} cannot be read: {e}")).help("plan again with this version"))
}

fn mac(key: &StateKey, body: &[u8]) -> Digest {
    Digest::masked(&format!("plan file {}", key.expose()), body)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn plan() -> Plan {
        Plan {
            version: PLAN_VERSION,
            organization: "acme".into(),
            environment: None,
            phase: None,
            targets: vec![],
            exceed: vec![],
            intent: Digest::of(b"i"),
            observation: Digest::of(b"o"),
            key_id: "k".into(),
            anchor: None,
            hosts: BTreeMap::new(),
            steps: vec![],
            bodies: BTreeMap::new(),
            examined: 0,
            failed: vec![],
            notes: vec![],
            schedule: None,
        }
    }

    fn key(digits: &str) -> StateKey {
        StateKey::load(Path::new("/"), Some(digits.repeat(32))).expect("key")
    }

    #[test]
    fn comes_back_as_it_was() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("plan.cut");
        save(&path, &plan(), &key("ab")).expect("saved");
        assert_eq!(load(&path, &key("ab")).expect("loaded"), plan());
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&path).expect("file").permissions().mode() & 0o777, 0o600);
    }

    /// Every single byte counts: a plan with any byte changed or cut is refused.
    #[test]
    fn a_changed_byte_anywhere_is_refused() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("plan.cut");
        save(&path, &plan(), &key("ab")).expect("saved");
        let whole = std::fs::read(&path).expect("bytes");
        for at in 0..whole.len() - 1 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(&path, &bytes).expect("write");
            assert!(load(&path, &key("ab")).is_err(), "byte {at}");
            std::fs::write(&path, &whole[..at]).expect("write");
            assert!(load(&path, &key("ab")).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn another_key_is_named() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("plan.cut");
        save(&path, &plan(), &key("ab")).expect("saved");
        assert!(format!("{:?}", load(&path, &key("cd"))).contains("another state key"));
        std::fs::write(&path, "{}").expect("write");
        assert!(format!("{:?}", load(&path, &key("ab"))).contains("not a saved plan"));
    }
}
