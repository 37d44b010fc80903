//! The git repository that the topology stands in: what was said at which commit, and what is different now.

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::super::failure::Failure;

pub struct Repository {
    /// Folder of the topology.
    root: PathBuf,
}

/// Who made a commit, as far as it can be proven.
pub enum Author {
    Person(String),
    Unproven,
}

impl Repository {
    /// `None`: the topology is in no repository, or nothing was committed yet.
    pub fn find(root: &Path) -> Option<Self> {
        let repository = Self { root: root.to_owned() };
        repository.head().map(|_| repository)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("git");
        command.arg("-C").arg(&self.root).args(["-c", "core.quotePath=false"]).env("GIT_OPTIONAL_LOCKS", "0");
        command.stdin(Stdio::null());
        command
    }

    fn ask(&self, args: &[&str]) -> Result<Vec<u8>, String> {
        let done = self.command().args(args).output().map_err(|e| format!("git cannot be started: {e}"))?;
        match done.status.success() {
            true => Ok(done.stdout),
            false => Err(String::from_utf8_lossy(&done.stderr).trim().to_owned()),
        }
    }

    fn text(&self, args: &[&str]) -> Result<String, Failure> {
        let bytes = self.ask(args).map_err(|e| Failure::new(format!("git {}: {e}", args.first().unwrap_or(&""))))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    pub fn head(&self) -> Option<String> {
        let bytes = self.ask(&["rev-parse", "--verify", "--quiet", "HEAD"]).ok()?;
        Some(String::from_utf8_lossy(&bytes).trim().to_owned()).filter(|h| !h.is_empty())
    }

    pub fn config(&self, name: &str) -> Option<String> {
        let bytes = self.ask(&["config", "--get", name]).ok()?;
        Some(String::from_utf8_lossy(&bytes).trim().to_owned()).filter(|v| !v.is_empty())
    }

    /// Each commit of this history with its place, the first one 0.
    pub fn places(&self) -> Result<HashMap<String, usize>, Failure> {
        let all = self.text(&["rev-list", "--topo-order", "--reverse", "HEAD"])?;
        Ok(all.lines().enumerate().map(|(i, c)| (c.to_owned(), i)).collect())
    }

    /// Files that differ from the last commit: what somebody signs must be what others can check out. Records and state are no part of it.
    pub fn changed(&self) -> Result<Vec<String>, Failure> {
        let out = self.text(&["status", "--porcelain", "-z", "--untracked-files=all", "--no-renames", "--", "."])?;
        let counts = |entry: &&str| {
            let path = entry.get(3..).unwrap_or_default();
            let untracked = entry.starts_with("??");
            let ours = path.split('/').any(|p| p == "records" || p == ".cutover");
            !ours && (!untracked || path.ends_with(".kdl") || path.ends_with(".pub"))
        };
        let entries = out.split('\0').filter(|e| e.len() > 3);
        Ok(entries.filter(counts).map(|e| e.get(3..).unwrap_or_default().to_owned()).collect())
    }

    /// Records that once were in this history and are gone: they are only ever added.
    pub fn removed_records(&self) -> Result<Vec<String>, Failure> {
        let list =
            ["log", "--no-renames", "--diff-filter=A", "--name-only", "--format=", "--relative", "--", "records"];
        let all = self.text(&list)?;
        let mut gone: Vec<String> = all.lines().filter(|l| l.starts_with("records/")).map(str::to_owned).collect();
        gone.sort();
        gone.dedup();
        gone.retain(|path| !self.root.join(path).exists());
        Ok(gone)
    }

    /// Names with the identities of what says who decides, at a commit: equal listings are equal topologies.
    pub fn listing(&self, commit: &str) -> Option<Vec<(String, String)>> {
        let bytes = self.ask(&["ls-tree", "-r", "-z", commit]).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let entry = |line: &str| {
            let (meta, path) = line.split_once('\t')?;
            let object = meta.split(' ').nth(2)?;
            (path.ends_with(".kdl") || path.ends_with(".pub")).then(|| (path.to_owned(), object.to_owned()))
        };
        Some(text.split('\0').filter_map(entry).collect())
    }

    /// Contents of such a listing.
    pub fn contents(&self, listing: &[(String, String)]) -> Option<BTreeMap<String, Vec<u8>>> {
        let mut child = self
            .command()
            .args(["cat-file", "--batch"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut input = child.stdin.take()?;
        let wanted: String = listing.iter().map(|(_, object)| format!("{object}\n")).collect();
        // Apart, so that neither side waits for the other with a full pipe.
        let writer = std::thread::spawn(move || input.write_all(wanted.as_bytes()));
        let out = child.wait_with_output().ok()?.stdout;
        writer.join().ok()?.ok()?;
        let mut rest = out.as_slice();
        let mut files = BTreeMap::new();
        for (path, _) in listing {
            let line = rest.iter().position(|b| *b == b'\n')?;
            let size: usize = std::str::from_utf8(&rest[..line]).ok()?.rsplit(' ').next()?.parse().ok()?;
            let begin = line + 1;
            files.insert(path.clone(), rest.get(begin..begin.checked_add(size)?)?.to_vec());
            rest = rest.get(begin + size + 1..)?;
        }
        Some(files)
    }

    /// Who changed the topology after a commit (from the beginning without one). `signers`: a file of allowed signers.
    pub fn authors(&self, since: Option<&str>, signers: &Path) -> Result<Vec<Author>, Failure> {
        let range = since.map_or_else(|| "HEAD".to_owned(), |c| format!("{c}..HEAD"));
        let mut command = self.command();
        command.args(["-c", "gpg.format=ssh", "-c"]);
        command.arg(format!("gpg.ssh.allowedSignersFile={}", signers.display()));
        command.args(["log", "--format=%G?%x1f%GS", &range, "--", ".", ":(exclude)records"]);
        let done = command.output().map_err(|e| Failure::new(format!("git cannot be started: {e}")))?;
        if !done.status.success() {
            return Err(Failure::new(format!("git log: {}", String::from_utf8_lossy(&done.stderr).trim())));
        }
        let text = String::from_utf8_lossy(&done.stdout);
        let author = |line: &str| match line.split_once('\u{1f}') {
            Some(("G", person)) if !person.is_empty() => Author::Person(person.to_owned()),
            _ => Author::Unproven,
        };
        Ok(text.lines().filter(|l| !l.is_empty()).map(author).collect())
    }
}
