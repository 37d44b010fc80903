//! Moves a mailbox from one end to another by nothing but the contract of ends: no ledger, no retries. For tests of the ends themselves.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::path::Path;
use std::process::Command;

use cutover::services::cms::config::{Config, End};
use cutover::services::cms::mailbox::{Access, Budget, Changes, Fetched, Id, Message};
use cutover::services::cms::source::{Means, Source};
use cutover::services::cms::target::{Appended, Target};
use tokio::sync::mpsc;

/// An end from its keys in TOML.
pub fn end(keys: &str) -> End {
    let text =
        format!("[cms]\n[[mailbox]]\nuser = \"a@b\"\n[source]\n{keys}\n[target]\nkind = \"maildir\"\npath = \"/x\"\n");
    Config::parse(&text).unwrap_or_else(|e| panic!("{keys}: {e:?}")).source
}

/// A target's; the same, but for kinds that are written only.
pub fn target_end(keys: &str) -> End {
    let text =
        format!("[cms]\n[[mailbox]]\nuser = \"a@b\"\n[source]\nkind = \"maildir\"\npath = \"/x\"\n[target]\n{keys}\n");
    Config::parse(&text).unwrap_or_else(|e| panic!("{keys}: {e:?}")).target
}

pub fn access(user: &str) -> Access {
    Access { user: user.into(), login: user.into(), master: None, password: zeroize::Zeroizing::new("secret".into()) }
}

pub fn means() -> Means {
    Means { budget: Budget::new(24 << 20), spool: std::env::temp_dir(), largest: 1 << 30 }
}

/// What did not arrive, with the reason.
pub type Refused = Vec<(String, String)>;

/// All folders, all messages.
pub async fn copy(source: &mut Source, target: &mut Target) -> Refused {
    let mut refused = Vec::new();
    for folder in source.folders().await.unwrap() {
        let made = match target.create(&folder.path, folder.special).await {
            Ok(made) => made,
            Err(fault) => {
                refused.push((folder.path.key(), fault.to_string()));
                continue;
            }
        };
        if target.abilities().folders {
            target.subscribe(&made, folder.subscribed).await.unwrap();
        }
        if !folder.selectable {
            continue;
        }
        source.open(&folder).await.unwrap();
        target.open(&made).await.unwrap();
        let Changes::Whole(seen) = source.changes(None).await.unwrap() else { panic!("no former mark was given") };
        let ids: Vec<Id> = seen.into_iter().map(|s| s.id).collect();
        for part in ids.chunks(target.abilities().batch.max(1)) {
            refused.extend(batch(source, target, part).await);
        }
    }
    refused
}

async fn batch(source: &mut Source, target: &mut Target, ids: &[Id]) -> Refused {
    let mut refused = Vec::new();
    let (to, mut from) = mpsc::channel(ids.len().max(1));
    source.fetch(ids, &means(), &to).await.unwrap();
    drop(to);
    let mut messages = Vec::new();
    while let Some(fetched) = from.recv().await {
        match fetched {
            Fetched::Message(message) => messages.push(*message),
            Fetched::Failed(id, fault) => refused.push((id.to_string(), fault.to_string())),
        }
    }
    assert_eq!(messages.len() + refused.len(), ids.len(), "each id brings one answer");
    store(target, messages, &mut refused).await;
    refused
}

async fn store(target: &mut Target, messages: Vec<Message>, refused: &mut Refused) {
    let mut rest = messages;
    while !rest.is_empty() {
        match target.append(&rest).await {
            Appended::Stored(ids) => {
                assert_eq!(ids.len(), rest.len());
                return;
            }
            Appended::Each(each) => {
                for (message, done) in rest.iter().zip(each) {
                    if let Err(fault) = done {
                        refused.push((message.digest.to_string(), fault.to_string()));
                    }
                }
                return;
            }
            Appended::Refused { stored, culprit, fault } => {
                rest.drain(..stored.len());
                let culprit = culprit.unwrap_or_else(|| panic!("{fault}")) - stored.len();
                refused.push((rest.remove(culprit).digest.to_string(), fault.to_string()));
            }
            Appended::Unknown(fault) => panic!("{fault}"),
        }
    }
}

/// Runs a Python program of the tests; its output.
pub fn python(program: &str, words: &[&str]) -> (bool, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(program);
    let output = Command::new("python3").arg(path).args(words).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), said)
}

/// Makes a corpus and puts it where `to` says.
pub fn corpus(words: &[&str]) -> String {
    let (done, said) = python("tests/corpus/make.py", words);
    assert!(done, "{said}");
    said
}

/// Both mailboxes must be the same, in the eyes of the independent verifier.
pub fn assert_same(words: &[&str]) -> String {
    let (same, said) = python("tests/soak/cms/verify.py", words);
    assert!(same, "{said}");
    said
}

/// A message of these octets, without flags or date.
pub fn message(octets: &[u8]) -> Message {
    let mut spool =
        cutover::services::cms::mailbox::Spool::begin(octets.len() as u64, None, &std::env::temp_dir()).unwrap();
    spool.push(octets).unwrap();
    let (content, digest) = spool.end();
    Message { id: Id::uid(1), flags: Default::default(), date: None, content, digest, uidl: None }
}
