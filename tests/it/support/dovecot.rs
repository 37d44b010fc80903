//! A private Dovecot on loopback: any name logs in with the password `secret` (or as `NAME*master` with `master-secret`).

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub struct Dovecot {
    folder: tempfile::TempDir,
    child: Child,
    /// Plain text, and STARTTLS.
    pub imap: u16,
    pub imaps: u16,
    pub uid: u32,
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

impl Dovecot {
    pub fn start() -> Self {
        Self::with("")
    }

    /// `extra` is more configuration; what stands in it counts before what stands here.
    pub fn with(extra: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("cms-dovecot-").tempdir().unwrap();
        let at = folder.path().to_owned();
        std::fs::set_permissions(&at, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let (imap, imaps) = (free_port(), free_port());
        let root = is_root();
        let me = if root { "root".to_owned() } else { std::env::var("USER").unwrap_or("nobody".into()) };
        // Mail is kept by a user other than root, whom Dovecot refuses.
        let uid = if root { 8 } else { rustix::process::getuid().as_raw() };
        let gid = if root { 8 } else { rustix::process::getgid().as_raw() };
        std::fs::create_dir(at.join("home")).unwrap();
        if root {
            std::os::unix::fs::chown(at.join("home"), Some(uid), Some(gid)).unwrap();
        }
        let made = rcgen::generate_simple_self_signed(vec!["mail.test".to_owned()]).unwrap();
        std::fs::write(at.join("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(at.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        std::fs::write(at.join("masters"), "master:{PLAIN}master-secret\n").unwrap();
        let (login, internal) = if root { ("nobody", "dovecot") } else { (me.as_str(), me.as_str()) };
        let at_text = at.display();
        let conf = format!(
            "base_dir = {at_text}/run\nlog_path = {at_text}/log\nstate_dir = {at_text}/state\nprotocols = imap\n\
             listen = 127.0.0.1\nssl = yes\nssl_cert = <{at_text}/cert.pem\nssl_key = <{at_text}/key.pem\n\
             ssl_dh = \ndisable_plaintext_auth = no\nauth_master_user_separator = *\nfirst_valid_uid = 1\nfirst_valid_gid = 1\n\
             default_login_user = {login}\ndefault_internal_user = {internal}\ndefault_internal_group = {internal}\n\
             mail_max_userip_connections = 0\nmail_location = maildir:~/Maildir\n\
             passdb {{\n driver = passwd-file\n master = yes\n args = {at_text}/masters\n}}\n\
             passdb {{\n driver = static\n args = password=secret\n}}\n\
             userdb {{\n driver = static\n args = uid={uid} gid={gid} home={at_text}/home/%u\n}}\n\
             namespace inbox {{\n inbox = yes\n separator = /\n \
             mailbox Sent {{\n special_use = \\Sent\n }}\n mailbox Drafts {{\n special_use = \\Drafts\n }}\n \
             mailbox Trash {{\n special_use = \\Trash\n }}\n}}\n\
             service imap-login {{\n inet_listener imap {{\n port = {imap}\n }}\n inet_listener imaps {{\n port = {imaps}\n ssl = yes\n }}\n \
             service_count = 0\n chroot =\n}}\nservice anvil {{\n chroot =\n}}\n{extra}\n"
        )
        .replace("ssl_dh = \n", "");
        std::fs::write(at.join("conf"), conf).unwrap();
        // In the foreground: it ends with the test.
        let child = Command::new(program())
            .args(["-F", "-c"])
            .arg(at.join("conf"))
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let dovecot = Self { folder, child, imap, imaps, uid };
        let began = Instant::now();
        while !answers(imap) {
            let log = dovecot.log();
            assert!(began.elapsed() < Duration::from_secs(20), "Dovecot does not start: {log}");
            std::thread::sleep(Duration::from_millis(30));
        }
        dovecot
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn certificate(&self) -> PathBuf {
        self.path().join("cert.pem")
    }

    pub fn maildir(&self, user: &str) -> PathBuf {
        self.path().join("home").join(user).join("Maildir")
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path().join("log")).unwrap_or_default()
    }

    pub fn doveadm(&self, words: &[&str]) -> String {
        let output = Command::new("doveadm").arg("-c").arg(self.path().join("conf")).args(words).output().unwrap();
        assert!(output.status.success(), "doveadm {words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Changes its configuration while it runs; new sessions have it.
    pub fn reconfigure(&self, from: &str, to: &str) {
        let conf = self.path().join("conf");
        let text = std::fs::read_to_string(&conf).unwrap();
        assert!(text.contains(from), "{from} is not in the configuration");
        std::fs::write(&conf, text.replace(from, to)).unwrap();
        self.doveadm(&["reload"]);
        // The master reads it in its own time.
        std::thread::sleep(Duration::from_millis(500));
    }

    pub fn client(&self, user: &str) -> Client {
        Client::open(self.imap, user)
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id() as i32) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

fn program() -> &'static str {
    if Path::new("/usr/sbin/dovecot").exists() { "/usr/sbin/dovecot" } else { "dovecot" }
}

fn answers(port: u16) -> bool {
    let mut first = [0; 4];
    TcpStream::connect(("127.0.0.1", port)).and_then(|mut s| s.read_exact(&mut first)).is_ok() && &first == b"* OK"
}

/// An IMAP client of a few lines, none of the code under test: it fills mailboxes and looks into them.
pub struct Client {
    socket: TcpStream,
    held: Vec<u8>,
    tags: u32,
}

impl Client {
    pub fn open(port: u16, user: &str) -> Self {
        let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut client = Self { socket, held: Vec::new(), tags: 0 };
        client.line();
        client.ask(&format!("LOGIN {user} secret"));
        client
    }

    fn line(&mut self) -> Vec<u8> {
        loop {
            if let Some(n) = self.held.iter().position(|b| *b == b'\n') {
                return self.held.drain(..=n).collect();
            }
            self.more();
        }
    }

    fn more(&mut self) {
        let mut piece = [0; 65536];
        let n = self.socket.read(&mut piece).unwrap();
        assert!(n > 0, "the server hung up");
        self.held.extend_from_slice(&piece[..n]);
    }

    /// All that is answered, literals included, as text (octets above 127 as Latin-1). Fails on anything but OK.
    pub fn ask(&mut self, command: &str) -> String {
        self.tags += 1;
        let tag = format!("t{} ", self.tags);
        self.socket.write_all(format!("{tag}{command}\r\n").as_bytes()).unwrap();
        let mut all: Vec<u8> = Vec::new();
        loop {
            let line = self.line();
            all.extend_from_slice(&line);
            if let Some(n) = literal(&line) {
                while self.held.len() < n {
                    self.more();
                }
                all.extend(self.held.drain(..n));
            } else if line.starts_with(tag.as_bytes()) {
                let text: String = all.iter().map(|b| char::from(*b)).collect();
                assert!(line[tag.len()..].starts_with(b"OK"), "{command}: {text}");
                return text;
            }
        }
    }

    pub fn append(&mut self, folder: &str, flags: &str, date: &str, message: &[u8]) {
        let date = if date.is_empty() { String::new() } else { format!(" \"{date}\"") };
        let head = format!("a APPEND \"{folder}\" ({flags}){date} {{{}+}}\r\n", message.len());
        self.socket.write_all(&[head.as_bytes(), message, b"\r\n"].concat()).unwrap();
        loop {
            let line = self.line();
            if line.starts_with(b"a ") {
                assert!(line.starts_with(b"a OK"), "{}", String::from_utf8_lossy(&line));
                return;
            }
        }
    }
}

fn literal(line: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(line).ok()?.trim_end();
    text.strip_suffix('}')?.rsplit_once('{')?.1.parse().ok()
}
