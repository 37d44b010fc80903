//! Canaries: a value of each scheme goes to a host, and nowhere else. Not into a plan, a report, the journal, a log, an argument list
//! or an environment, here or there.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::cli::{Run, finish};
use crate::lab_flow::{PACK, World};

const CANARIES: [(&str, &str); 5] = [
    ("env:ANN", "canary-env-58213"),
    ("file:keys/pw", "canary-file-77120"),
    ("age:keys/pw.age", "canary-age-90311"),
    ("cmd:cat keys/pw2 | tr x y", "canary-cmd-y41"),
    ("vault:mail/eve#password", "canary-vault-6650"),
];
const TOKEN: &str = "canary-token-1212";

/// A vault that knows one path.
fn vault() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let url = format!("http://{}", listener.local_addr().expect("address"));
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.expect("accept");
            let mut request = Vec::new();
            let mut buffer = [0; 1024];
            while !request.windows(4).any(|w| w == b"\r\n\r\n") {
                let n = socket.read(&mut buffer).expect("read");
                request.extend_from_slice(&buffer[..n]);
            }
            let body = format!("{{\"data\":{{\"data\":{{\"password\":\"{}\"}}}}}}", CANARIES[4].1);
            let known = String::from_utf8_lossy(&request).contains(TOKEN);
            let (status, body) = if known { ("200 OK", body) } else { ("403 Forbidden", String::new()) };
            let answer =
                format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
            socket.write_all(answer.as_bytes()).expect("write");
        }
    });
    url
}

/// Canaries in bytes, whatever the bytes are.
fn leaks(bytes: &[u8]) -> Vec<&'static str> {
    let all = CANARIES.iter().map(|(_, v)| *v).chain([TOKEN]);
    all.filter(|v| bytes.windows(v.len()).any(|w| w == v.as_bytes())).collect()
}

#[track_caller]
fn clean(what: &str, bytes: &[u8]) {
    assert_eq!(leaks(bytes), Vec::<&str>::new(), "in {what}:\n{}", String::from_utf8_lossy(bytes));
}

fn below(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("folder").map(|e| e.expect("entry").path()) {
        if entry.is_dir() { below(&entry, found) } else { found.push(entry) }
    }
}

/// Collects the argument lists and environments of every process of this machine until told to stop. Containers share it.
fn watch_processes(stop: Arc<AtomicBool>) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut seen = std::collections::HashSet::new();
        let own = std::process::id().to_string();
        while !stop.load(Ordering::Relaxed) {
            for entry in std::fs::read_dir("/proc").expect("proc").filter_map(Result::ok) {
                let name = entry.file_name();
                let Some(pid) = name.to_str().filter(|n| n.bytes().all(|b| b.is_ascii_digit()) && **n != own) else {
                    continue;
                };
                let cmdline = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                // The environment of cutover itself holds env:ANN and the token: whoever runs it has put them there.
                let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
                let inherits = matches!(comm.trim(), "cutover" | "ssh" | "sh" | "cat" | "tr" | "ssh-keygen");
                let environ = if inherits {
                    Vec::new()
                } else {
                    std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default()
                };
                seen.insert([cmdline, b"\n".to_vec(), environ].concat());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        seen.into_iter().collect::<Vec<_>>().join(&b'\n')
    })
}

impl World {
    fn with_canaries(&self, url: &str) {
        let identity = age::x25519::Identity::generate();
        let secret = identity.to_string();
        self.box_.write("keys/id", cutover::secret::ExposeSecret::expose_secret(&secret));
        let sealed = age::encrypt_and_armor(&identity.to_public(), CANARIES[2].1.as_bytes()).expect("age");
        self.box_.write("keys/pw.age", &sealed);
        self.box_.write("keys/pw", "canary-file-77120\n");
        self.box_.write("keys/pw2", "canary-cmd-x41\n");
        let mut text = self.box_.read("topology.kdl");
        text.push_str(&format!("vault main url=\"{url}\" token=(secret)\"env:VAULT_TOKEN\"\n"));
        for (n, (reference, _)) in CANARIES.iter().enumerate().skip(1) {
            text.push_str(&format!("mail-account user{n}@flow.example on=a password=(secret)\"{reference}\"\n"));
        }
        self.box_.write("topology.kdl", &text);
    }

    fn with_secrets(&self, args: &[&str]) -> Run {
        let mut command = self.command(args);
        command.env("CUTOVER_AGE_IDENTITY", self.box_.path().join("keys/id")).env("VAULT_TOKEN", TOKEN);
        command.stderr(Stdio::piped());
        finish(command)
    }
}

#[test]
fn secrets_reach_the_host_and_nothing_else() {
    let Some(world) = World::new("canary") else { return };
    world.with_canaries(&vault());
    let stop = Arc::new(AtomicBool::new(false));
    let watcher = watch_processes(Arc::clone(&stop));
    let mut said = Vec::new();
    let mut hear = |run: Run| {
        said.extend_from_slice(run.out.as_bytes());
        said.extend_from_slice(run.err.as_bytes());
        run
    };
    hear(world.with_secrets(&["check"])).ends(0);
    hear(world.with_secrets(&["explain", "mail-account.user3@flow.example"])).ends(0);
    for format in ["text", "json", "markdown"] {
        hear(world.with_secrets(&["plan", "-vvv", "--format", format])).ends(0);
    }
    hear(world.with_secrets(&["plan", "--out", "plan.cut"])).ends(0);
    hear(world.with_secrets(&["apply", "-vvv", "--json", "plan.cut"])).ends(0);
    // They did arrive.
    let arrived = world.lab.sh("a", "cat /srv/flow/secret.conf");
    for (reference, value) in CANARIES {
        assert!(arrived.contains(value), "{reference} did not arrive: {arrived}");
    }

    // A changed secret, and a program on the host that prints what it was given and fails.
    let chatty = PACK.replace("template=secret.hbs", "template=secret.hbs validate=\"cat %s >&2; cat %s; false\"");
    world.box_.write("modules/flow/module.kdl", &chatty);
    world.lab.sh("a", "echo changed >> /srv/flow/secret.conf");
    hear(world.with_secrets(&["drift", "--format", "json", "-vvv"])).ends(2);
    let failed = hear(world.with_secrets(&["apply", "--yes", "-vvv"])).ends(1);
    assert!(failed.out.contains("(secret file:keys/pw)"), "the output is shown, the secret is not: {}", failed.out);
    for command in
        [&["show"][..], &["show", "--format", "json"], &["history"], &["state", "list"], &["state", "observe"]]
    {
        hear(world.with_secrets(command)).ends(0);
    }
    hear(world.with_secrets(&["state", "show", "server.a/file:/srv/flow/secret.conf"])).ends(0);
    stop.store(true, Ordering::Relaxed);
    clean("what was said", &said);
    clean("process lists", &watcher.join().expect("watched"));

    let mut files = Vec::new();
    below(&world.box_.path().join(".cutover"), &mut files);
    files.push(world.box_.path().join("plan.cut"));
    assert!(files.iter().any(|f| f.ends_with("state.db")), "{files:?}");
    for file in files {
        clean(&file.display().to_string(), &std::fs::read(&file).expect("read"));
    }
    // On the host: the file itself and, root only, its former content.
    let elsewhere = world.lab.sh(
        "a",
        "grep -rlE 'canary-(env|file|age|cmd|vault|token)' /etc /root /tmp /run /home /srv /var/lib /var/log /var/tmp 2>/dev/null; \
         journalctl --no-pager 2>/dev/null | grep -c canary-; true",
    );
    let places: Vec<&str> = elsewhere.lines().filter(|l| !l.contains("/former/")).collect();
    assert_eq!(places, ["/srv/flow/secret.conf", "0"]);
    let modes = world.lab.sh("a", "stat -c %a /var/lib/cutover /var/lib/cutover/flow");
    assert!(modes.lines().all(|m| m == "700"), "{modes}");
}
