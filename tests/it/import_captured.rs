//! `cutover import captured`: what the proxy has sealed logs its people in on the new side, and stands in the clear nowhere.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use cutover::protocol::sasl::Credentials;
use cutover::services::proxy::config::{PasswordMode, Passwords};
use cutover::services::proxy::proof::{Keeper, file_name};
use cutover::services::proxy::route::Route;

use crate::cli::Sandbox;

const CANARY: &str = "kanarie-\u{fc}-\u{645}-7";

/// A gate that captures these logins, as the proxy does it.
fn gate(state: &Path, recipient: &str, logins: &[(&str, &str)]) {
    let recipient = Some(recipient.to_owned());
    let config = Passwords { mode: PasswordMode::Capture, recipient, store: None, max_size: None, purge: None };
    let keeper = Keeper::begin(&config, state, std::sync::Arc::default()).unwrap();
    let end = Instant::now() + Duration::from_secs(10);
    for (user, password) in logins {
        let login = Credentials::password(user.as_bytes(), b"", password.as_bytes()).unwrap();
        keeper.proven(user, Route::Old, &login);
        while !state.join("passwords").join(file_name(user)).exists() {
            assert!(Instant::now() < end, "{user} is not captured");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn fits(hash: &str, password: &str) -> bool {
    let out = Command::new("doveadm").args(["pw", "-t", hash, "-p", password]).output();
    out.expect("doveadm (apt-get install dovecot-core)").status.success()
}

#[test]
fn captured_passwords_reach_accounts_as_hashes() {
    let sandbox = Sandbox::new();
    let key = age::x25519::Identity::generate();
    sandbox.write("key.txt", age::secrecy::ExposeSecret::expose_secret(&key.to_string()));
    let recipient = key.to_public().to_string();
    let folder = |name: &str| sandbox.path().join(name);
    gate(&folder("gate-1"), &recipient, &[("ann@acme.test", "former"), ("bob@acme.test", CANARY)]);
    // She has changed it since, and came by the other gate.
    std::thread::sleep(Duration::from_millis(1100));
    gate(&folder("gate-2"), &recipient, &[("ann@acme.test", CANARY)]);
    sandbox.write("keys/old.passwd", "# of the old side\ncem@acme.test:{SSHA}abcd=\nbob@acme.test:{SSHA}efgh=\n");
    let import = |more: &[&str]| {
        let args = ["import", "captured", "gate-2/passwords", "gate-1/passwords", "--out", "keys/old.passwd"];
        let run = sandbox.run(&[&args[..], more].concat());
        assert!(!run.out.contains(CANARY) && !run.err.contains(CANARY) && !run.err.contains("$6$"), "{run:?}");
        run
    };
    let before = sandbox.read("keys/old.passwd");
    import(&["--identity", "key.txt"]).ends(1).says("is there already");
    // Another key, and a file in the place of another: nothing is written.
    let other = age::x25519::Identity::generate();
    sandbox.write("other.txt", age::secrecy::ExposeSecret::expose_secret(&other.to_string()));
    import(&["--identity", "other.txt", "--force"]).ends(1).says("nothing was written").says("cannot be decrypted");
    let swapped = folder("gate-1/passwords").join(file_name("eve@acme.test"));
    std::fs::copy(folder("gate-1/passwords").join(file_name("bob@acme.test")), &swapped).unwrap();
    import(&["--identity", "key.txt", "--force"]).ends(1).says("of another user than its name says");
    std::fs::remove_file(&swapped).unwrap();
    assert_eq!(sandbox.read("keys/old.passwd"), before);

    import(&["--identity", "key.txt", "--force"])
        .ends(0)
        .says("2 captured passwords as hashes: 1 new, 1 changed, 0 as before; 1 lines of others stay");
    let written = sandbox.read("keys/old.passwd");
    assert!(!written.contains(CANARY) && !written.contains("former"));
    let of = |user: &str| written.lines().find_map(|l| l.strip_prefix(&format!("{user}:"))).unwrap().to_owned();
    assert!(fits(&of("ann@acme.test"), CANARY) && !fits(&of("ann@acme.test"), "former"), "the latest of all gates");
    assert!(fits(&of("bob@acme.test"), CANARY));
    assert_eq!(of("cem@acme.test"), "{SSHA}abcd=");
    // Once more: nothing is another, and a later plan has nothing to change.
    import(&["--identity", "key.txt", "--force"]).ends(0).says("0 new, 0 changed, 2 as before");
    assert_eq!(sandbox.read("keys/old.passwd"), written);
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(std::fs::metadata(folder("keys/old.passwd")).unwrap().permissions().mode() & 0o777, 0o600);
    sandbox
        .run(&["import", "captured", "gate-1/passwords", "--identity", "key.txt"])
        .ends(1)
        .says("not shown on a screen");
    sandbox
        .run(&["import", "captured", "keys", "--identity", "key.txt", "--out", "x"])
        .ends(1)
        .says("no sealed password");
}
