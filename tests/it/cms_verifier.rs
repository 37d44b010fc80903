//! Judges the judge of moves: `tests/soak/cms/verify.py`, which has none of our code, must find what is planted into copies of a mailbox that a
//! real Dovecot serves. `CUTOVER_MUTATIONS=500` for the long form.

use std::process::Command;

#[test]
fn the_independent_verifier_finds_every_planted_mutation() {
    let count = std::env::var("CUTOVER_MUTATIONS").unwrap_or_else(|_| "48".into());
    let run = Command::new("python3")
        .args(["tests/soak/cms/mutations.py", "--count", &count])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("python3");
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{said}{}", String::from_utf8_lossy(&run.stderr));
    assert!(said.contains(&format!("\"planted\": {count}, \"found\": {count}")), "{said}");
}
