//! The real program, run in a folder of its own.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A folder and the program.
pub struct Sandbox {
    dir: TempDir,
}

/// What a run said and how it ended.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Run {
    #[track_caller]
    pub fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(
            self.out.contains(text) || self.err.contains(text),
            "`{text}` is not said:\n{}\n{}",
            self.out,
            self.err
        );
        self
    }
}

impl Sandbox {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("dir") }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().expect("parent")).expect("folder");
        std::fs::write(path, text).expect("write");
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).expect(name)
    }

    /// The program with a clean environment: nothing of the caller's settings leaks in.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cutover"));
        command.args(args).current_dir(self.path()).stdin(Stdio::null()).env_clear();
        for keep in ["PATH", "HOME"] {
            if let Some(value) = std::env::var_os(keep) {
                command.env(keep, value);
            }
        }
        command
    }

    pub fn run(&self, args: &[&str]) -> Run {
        finish(self.command(args))
    }
}

pub fn finish(mut command: Command) -> Run {
    let done = command.output().expect("runs");
    Run {
        code: done.status.code().unwrap_or(-1),
        out: String::from_utf8(done.stdout).expect("UTF-8"),
        err: String::from_utf8(done.stderr).expect("UTF-8"),
    }
}

#[test]
fn help_teaches_and_lists_exit_codes() {
    let box_ = Sandbox::new();
    let help = box_.run(&["--help"]).ends(0);
    for word in ["First steps:", "cutover init", "Exit codes:", "CUTOVER_STATE_KEY", "--parallel"] {
        assert!(help.out.contains(word), "{word}");
    }
    assert!(help.err.is_empty());
}

/// Every command has a first line and, where there is something to type, an example.
#[test]
fn every_command_has_its_help() {
    let box_ = Sandbox::new();
    let help = box_.run(&["--help"]).ends(0).out;
    let commands = help.split("Commands:").nth(1).and_then(|s| s.split("\n\n").next()).expect("list");
    let names: Vec<&str> = commands.lines().filter_map(|l| l.split_whitespace().next()).collect();
    assert!(names.len() >= 3, "{names:?}");
    for name in names {
        let one = box_.run(&[name, "--help"]).ends(0).out;
        assert!(one.contains("Usage: cutover"), "{name}");
        assert!(name == "version" || one.contains("Examples:"), "`cutover {name} --help` has no example");
    }
}

#[test]
fn wrong_usage_is_one_since_two_means_changes() {
    let box_ = Sandbox::new();
    box_.run(&["plam"]).ends(1).says("unrecognized subcommand");
    box_.run(&["init", "--nope"]).ends(1);
    box_.run(&["version", "--set", "novalue"]).ends(1).says("NAME=VALUE");
    box_.run(&[]).ends(1).says("Usage");
}

#[test]
fn a_format_that_a_command_does_not_have_is_refused() {
    Sandbox::new().run(&["version", "--format", "svg"]).ends(1).says("has no svg output").says("text, json");
}

#[test]
fn completions_for_each_shell_know_the_commands() {
    let box_ = Sandbox::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = box_.run(&["completions", shell]).ends(0).out;
        assert!(script.contains("init") && script.contains("state-dir"), "{shell}");
    }
}

/// `lab` renames the domain and stands before `production`; a line to paste is of production all the same.
#[test]
fn a_line_to_paste_has_the_names_of_the_file() {
    let box_ = Sandbox::new();
    box_.run(&["init"]).ends(0);
    let gate = "server gate platform=open site=office connection=admin subnet=lan ip=\"192.0.2.10\" { roles relay; }\n";
    box_.write("topology.kdl", &(box_.read("topology.kdl") + gate));
    let checked = box_.run(&["check"]).ends(1).says("subject=gate.acme.example");
    assert!(!checked.err.contains("gate.acme.test"), "{checked:?}");
}

#[test]
fn init_writes_once_and_never_overwrites() {
    let box_ = Sandbox::new();
    box_.run(&["init", "--domain", "Example.Org"]).ends(0).says("cutover check");
    let text = box_.read("topology.kdl");
    assert!(text.contains("organization example domain=example.org"), "{text}");
    assert!(!text.contains("acme.example"));
    assert!(box_.read(".gitignore").contains(".cutover/"));
    box_.write("topology.kdl", "mine");
    box_.run(&["init"]).ends(1).says("never overwrites");
    assert_eq!(box_.read("topology.kdl"), "mine");
    box_.run(&["init", "--domain", "no dots"]).ends(1).says("is not a domain name");
    box_.run(&["init", "--root", "deep/er"]).ends(0);
    assert!(box_.read("deep/er/topology.kdl").contains("organization acme"));
}

#[test]
fn a_protected_environment_takes_saved_plans_only() {
    let box_ = Sandbox::new();
    box_.run(&["init"]).ends(0);
    let refusal = "only a saved plan is carried out there";
    let run = box_.run(&["apply", "--env", "production", "--yes"]).ends(1);
    assert!(run.err.contains(refusal), "{run:#?}");
    let open = box_.read("topology.kdl").replace(" protected=#true", "");
    box_.write("topology.kdl", &open);
    let run = box_.run(&["apply", "--env", "production", "--yes"]);
    assert!(!run.err.contains(refusal), "{run:#?}");
}

#[test]
fn colours_only_where_wanted() {
    let box_ = Sandbox::new();
    let error = ["init", "--domain", "x"];
    assert!(!box_.run(&error).ends(1).err.contains('\x1b'), "no terminal, no colour");
    let forced = finish({
        let mut c = box_.command(&error);
        c.env("CLICOLOR_FORCE", "1");
        c
    });
    assert!(forced.err.contains('\x1b'), "CLICOLOR_FORCE");
    assert!(box_.run(&["init", "--domain", "x", "--color", "always"]).err.contains('\x1b'), "--color always");
    let none = finish({
        let mut c = box_.command(&error);
        c.env("NO_COLOR", "1");
        c
    });
    assert!(!none.err.contains('\x1b'), "NO_COLOR");
}

/// `cutover completions bash | head -1` must neither panic nor fail.
#[test]
fn a_closed_pipe_is_no_error() {
    let box_ = Sandbox::new();
    let mut child =
        box_.command(&["completions", "zsh"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("runs");
    drop(child.stdout.take());
    let mut err = String::new();
    child.stderr.take().expect("stderr").read_to_string(&mut err).expect("UTF-8");
    let status = child.wait().expect("ends");
    assert_eq!((status.code(), err.as_str()), (Some(0), ""));
}

#[test]
fn starts_fast() {
    let box_ = Sandbox::new();
    let best = (0..5)
        .map(|_| {
            let start = std::time::Instant::now();
            box_.run(&["version"]).ends(0);
            start.elapsed()
        })
        .min()
        .expect("runs");
    assert!(best.as_millis() < 50, "{best:?}");
}

#[test]
fn fmt_shows_what_it_would_change_and_reads_standard_input() {
    use std::io::Write as _;
    let box_ = Sandbox::new();
    box_.write("a.kdl", "site   a\ndisk d size=(GiB)2\n");
    let check = box_.run(&["fmt", "--check", "a.kdl"]).ends(2);
    assert!(check.out.contains("-site   a\n") && check.out.contains("+disk d size=\"2GiB\"\n"), "{}", check.out);
    assert_eq!(box_.read("a.kdl"), "site   a\ndisk d size=(GiB)2\n");
    let piped = |args: &[&str], text: &str| {
        let mut command = box_.command(args);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("runs");
        child.stdin.take().expect("stdin").write_all(text.as_bytes()).expect("written");
        let done = child.wait_with_output().expect("ends");
        (
            done.status.code(),
            String::from_utf8(done.stdout).expect("UTF-8"),
            String::from_utf8(done.stderr).expect("UTF-8"),
        )
    };
    assert_eq!(piped(&["fmt", "-"], "site   a"), (Some(0), "site a\n".into(), String::new()));
    assert_eq!(piped(&["fmt", "--check", "-"], "site a\n").0, Some(0));
    assert_eq!(piped(&["fmt", "--check", "-"], "site  a\n").0, Some(2));
    let (code, out, err) = piped(&["fmt", "-"], "site {");
    assert!(code == Some(1) && out.is_empty() && err.contains("(standard input):1"), "{err}");
}
