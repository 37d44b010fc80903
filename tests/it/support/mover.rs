//! Two private Dovecots, a configuration between them, and `cutover-cms` itself.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::path::PathBuf;
use std::process::{Command, Output};

use super::dovecot::{Client, Dovecot};

pub const USER: &str = "ann";

pub struct Move {
    pub old: Dovecot,
    pub new: Dovecot,
    folder: tempfile::TempDir,
}

/// What came of a command.
pub struct Said {
    pub code: i32,
    pub text: String,
}

impl Said {
    pub fn of(output: &Output) -> Self {
        let text = [output.stdout.as_slice(), &output.stderr].concat();
        Self { code: output.status.code().unwrap_or(-1), text: String::from_utf8_lossy(&text).into_owned() }
    }

    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}", self.text);
        self.text
    }
}

impl Move {
    pub fn new() -> Self {
        Self::with("")
    }

    /// Between servers that are there already.
    pub fn between(old: Dovecot, new: Dovecot) -> Self {
        let folder = tempfile::Builder::new().prefix("cms-move-").tempdir().unwrap();
        let made = Self { old, new, folder };
        std::fs::write(made.path("password"), "secret\n").unwrap();
        made.configure(made.old.imap, made.new.imap, "");
        made
    }

    /// `more` stands at the end of the configuration.
    pub fn with(more: &str) -> Self {
        let made = Self::between(Dovecot::start(), Dovecot::start());
        made.configure(made.old.imap, made.new.imap, more);
        made
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn configure(&self, old: u16, new: u16, more: &str) {
        self.configure_as("state", old, new, more);
    }

    /// With the state folder of this name.
    pub fn configure_as(&self, state: &str, old: u16, new: u16, more: &str) {
        let at = self.folder.path().display();
        let end = |name: &str, port: u16| {
            format!(
                "[{name}]\nkind = \"imap\"\nserver = \"127.0.0.1:{port}\"\ntls = \"none\"\npassword = \"file:{at}/password\"\ntimeout = \"10s\"\n"
            )
        };
        let text = format!(
            "[cms]\nstate = \"{at}/{state}\"\ncontrol = \"{at}/control\"\n{}{}[[mailbox]]\nuser = \"{USER}\"\n{more}",
            end("source", old),
            end("target", new)
        );
        std::fs::write(self.path("cms.toml"), text).unwrap();
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cutover-cms"));
        command.arg("--config").arg(self.path("cms.toml")).args(words);
        command
    }

    pub fn run(&self, words: &[&str]) -> Said {
        Said::of(&self.command(words).output().unwrap())
    }

    pub fn once(&self) -> String {
        self.run(&["run", "--once"]).ok()
    }

    pub fn source(&self) -> Client {
        self.old.client(USER)
    }

    pub fn target(&self) -> Client {
        self.new.client(USER)
    }

    /// Messages of a folder.
    pub fn count(client: &mut Client, folder: &str) -> u64 {
        let said = client.ask(&format!("STATUS \"{folder}\" (MESSAGES)"));
        let (_, rest) = said.split_once("(MESSAGES ").unwrap();
        rest.split(')').next().unwrap().parse().unwrap()
    }

    /// What the verifier, which has none of the code under test, finds.
    pub fn differences(&self) -> String {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/soak/cms/verify.py");
        let end = |port: u16| format!("imap://{USER}:secret@127.0.0.1:{port}");
        let mut command = Command::new("python3");
        command
            .arg(script)
            .args(["--ignore", "special", "--extra-folders"])
            .arg(end(self.old.imap))
            .arg(end(self.new.imap));
        let said = Said::of(&command.output().unwrap());
        assert!(said.code < 2, "{}", said.text);
        if said.code == 0 { String::new() } else { said.text }
    }

    pub fn same(&self) {
        assert_eq!(self.differences(), "");
    }

    pub fn audit(&self) -> String {
        std::fs::read_to_string(self.path("state/audit.log")).unwrap()
    }
}

/// A small message; `n` goes into its subject and body.
pub fn mail(n: usize) -> Vec<u8> {
    format!(
        "From: x@acme.example\r\nMessage-ID: <{n}@acme.example>\r\nSubject: {n}\r\n\r\nText {n} {}\r\n",
        "y".repeat(n % 70)
    )
    .into_bytes()
}
