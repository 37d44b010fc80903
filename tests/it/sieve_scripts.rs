//! Scripts as programs and people write them, judged by Pigeonhole: what we write is valid, and does the same.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use cutover::protocol::sieve::{parse, write};
use cutover::services::cms::personal::sieve::{read, script};

const EXTENSIONS: &str = "+vacation-seconds +editheader +imapflags";

const MESSAGES: [&str; 5] = [
    "From: Bob <bob@else.example>\nTo: ann@acme.example\nSubject: hello\n\nText\n",
    "From: boss@acme.example\nTo: ann@acme.example\nSubject: urgent REPORT, grüße\nX-Spam-Flag: YES\n\ninvoice\n",
    "From: noreply@spam.example\nTo: ann+shop@acme.example\nCc: team@acme.example\nSubject: cheap offer warning\nPrecedence: bulk\nList-Id: <dev.acme.example>\nList-Post: x\nList-Unsubscribe: <http://x>\n\nx\n",
    "From: x@spam.example\nTo: undisclosed\nSubject: say \"hi\" \\ there\n\nbill\n",
    "From: friend@acme.example\nTo: ann@acme.example\nSubject: [Ticket #5] project work\n\nx\n",
];

/// Name, how many commands are not of the neutral form, text.
fn corpus() -> Vec<(String, usize, String)> {
    let text = std::fs::read_to_string("tests/corpus/sieve/scripts.txt").unwrap();
    let each = text.split("\n=== ").skip(1).map(|part| {
        let (head, body) = part.split_once('\n').unwrap_or((part, ""));
        let (name, left) = head.rsplit_once(" left ").unwrap_or((head, "0"));
        (name.to_owned(), left.parse().unwrap(), format!("{body}\n"))
    });
    each.collect()
}

fn compile(folder: &Path, path: &Path) -> Result<(), String> {
    let mut command = Command::new("sievec");
    // Not to /dev/null: run by root it takes away what stands under the name that it writes to, and puts a file there.
    let compiled = tempfile::tempdir().unwrap();
    std::fs::set_permissions(compiled.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    command.args(identity(folder)).args(["-x", EXTENSIONS]).arg(path).arg(compiled.path().join("script.svbin"));
    let output = command.output().unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// It gives its rights away, even when it has none.
fn identity(folder: &Path) -> Vec<String> {
    use rustix::process::{getgid, getuid};
    let (uid, gid) = if getuid().is_root() { (8, 8) } else { (getuid().as_raw(), getgid().as_raw()) };
    let keys = [
        format!("mail_uid={uid}"),
        format!("mail_gid={gid}"),
        "first_valid_uid=1".into(),
        "first_valid_gid=1".into(),
        format!("mail_home={}", folder.display()),
        format!("plugin/sieve=file:{0}/scripts;active={0}/active", folder.display()),
        format!("mail_location=maildir:{}/Maildir", folder.display()),
    ];
    keys.into_iter().flat_map(|key| ["-o".to_owned(), key]).collect()
}

/// What Pigeonhole would do with each message.
fn actions(folder: &Path, path: &Path) -> Vec<String> {
    let one = |n: usize| {
        let mail = folder.join(format!("mail-{n}"));
        let (from, to) = ("bob@else.example", "ann+shop@acme.example");
        let mut command = Command::new("sieve-test");
        command.args(identity(folder));
        command.args(["-x", EXTENSIONS, "-f", from, "-r", to, "-a", to]).arg(path).arg(mail);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // Folders go with the mail: that one would be made is no difference.
        let text = text.replace("        + create mailbox if it does not exist\n", "");
        // When an answer is sent again to the same sender is a time, which is another one for half an hour and for a day.
        let same = text.lines().filter(|l| !l.contains("handle") && !l.contains("duration") && !l.contains("expire"));
        let mut same: Vec<&str> = same.collect();
        // Whether an answer goes before or after the message is filed is no difference.
        same.sort_unstable();
        same.join("\n")
    };
    (0..MESSAGES.len()).map(one).collect()
}

#[test]
fn scripts_are_read_written_and_said_in_the_neutral_form_without_another_meaning() {
    let all = corpus();
    assert!(all.len() >= 60, "{}", all.len());
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    std::fs::create_dir(folder.path().join("scripts")).unwrap();
    for (n, mail) in MESSAGES.iter().enumerate() {
        std::fs::write(folder.path().join(format!("mail-{n}")), mail).unwrap();
    }
    let compared = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for (at, part) in all.chunks(all.len().div_ceil(4)).enumerate() {
            let (folder, compared) = (folder.path(), &compared);
            scope.spawn(move || {
                for (n, (name, left, text)) in part.iter().enumerate() {
                    let file = |form: &str, text: &str| {
                        let path = folder.join(format!("{at}-{n}-{form}.sieve"));
                        std::fs::write(&path, text).unwrap();
                        compile(folder, &path).unwrap_or_else(|e| panic!("{name}, {form}: {e}\n{text}"));
                        path
                    };
                    let original = file("original", text);
                    let tree = parse(text).unwrap_or_else(|e| panic!("{name}: {e}"));
                    let written = write(&tree.commands);
                    assert_eq!(parse(&written).unwrap().commands, tree.commands, "{name}");
                    let wanted = actions(folder, &original);
                    assert_eq!(actions(folder, &file("written", &written)), wanted, "{name}");
                    let said = read(text).unwrap();
                    assert_eq!(said.left.len(), *left, "{name}: {:?}", said.left);
                    let words = said.left.iter().all(|(at, what)| at.starts_with("line ") && what.contains('`'));
                    assert!(words, "{name}: {:?}", said.left);
                    let made = script(&said.rules, said.away.as_ref());
                    let rebuilt = file("rebuilt", &made.text);
                    let again = read(&made.text).unwrap();
                    assert_eq!((&again.rules, again.left.len()), (&said.rules, 0), "{name}: {}", made.text);
                    if *left == 0 {
                        let done = actions(folder, &rebuilt);
                        assert_eq!(done, wanted, "{name}\n{text}\n{}", made.text);
                        compared.fetch_add(done.len(), std::sync::atomic::Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let compared = compared.into_inner();
    assert!(compared >= 200, "{compared} actions were compared");
}

/// What a report says of each kind of thing that is left.
#[test]
fn what_is_left_is_named_with_the_words_of_the_script() {
    let mut said: BTreeMap<String, String> = BTreeMap::new();
    for (name, _, text) in corpus() {
        for (at, what) in read(&text).unwrap().left {
            said.insert(format!("{name}, {at}"), what);
        }
    }
    let of = |name: &str| said.iter().find(|(n, _)| n.starts_with(name)).map(|(_, w)| w.as_str()).unwrap_or_default();
    assert!(of("roundcube regex").contains("header :regex"));
    assert!(of("hand include").contains("`include` has nothing like it") && of("hand include").contains("\"other\""));
    assert!(of("roundcube set variable").contains("`set`"));
    assert!(of("hand elsif goes on").contains("a choice between blocks"));
}
