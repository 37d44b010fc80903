//! Access control lists, delegates and shared folders between two private Dovecots with the acl plugin.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use super::support::dovecot::{Client, Dovecot};
use super::support::mover::{Move, mail};

const PLUGIN: &str = "mail_plugins = acl\nprotocol imap {\n mail_plugins = acl imap_acl\n}\n\
    plugin {\n acl = vfile:%h/../acls\n acl_shared_dict = file:%h/../shared\n}\n\
    namespace theirs {\n type = shared\n separator = /\n prefix = shared/%%u/\n location = maildir:%%h/Maildir\n subscriptions = no\n list = children\n}\n\
    namespace all {\n type = public\n separator = /\n prefix = Public/\n location = maildir:%h/../public\n subscriptions = no\n list = yes\n}\n";

fn pair() -> Move {
    let m = Move::between(Dovecot::with(PLUGIN), Dovecot::with(PLUGIN));
    for server in [&m.old, &m.new] {
        let home = server.path().join("home");
        std::fs::write(home.join("acls"), "Public/* anyone lrwstipekx\n").unwrap();
        // The root of the public namespace has a list of its own.
        std::fs::create_dir(home.join("public")).unwrap();
        std::fs::write(home.join("public/dovecot-acl"), "anyone lrwstipekx\n").unwrap();
        if rustix::process::getuid().is_root() {
            for path in ["public", "public/dovecot-acl"] {
                std::os::unix::fs::chown(home.join(path), Some(server.uid), Some(server.uid)).unwrap();
            }
        }
    }
    configure(&m, "");
    m
}

fn configure(m: &Move, more: &str) {
    let bob = "[[mailbox]]\nuser = \"bob\"\ntarget-user = \"robert\"\n";
    m.configure(m.old.imap, m.new.imap, &format!("{bob}{more}"));
    let items = "items = [\"messages\", \"flags\", \"folders\", \"subscriptions\", \"permissions\"]\n";
    let text = std::fs::read_to_string(m.path("cms.toml")).unwrap();
    std::fs::write(m.path("cms.toml"), text.replacen("[cms]\n", &format!("[cms]\n{items}"), 1)).unwrap();
}

/// What a folder's list says of one name, in order.
fn rights(client: &mut Client, folder: &str, who: &str) -> String {
    let said = client.ask(&format!("GETACL \"{folder}\""));
    let line = said.lines().find(|l| l.starts_with("* ACL")).unwrap_or_default().replace('"', "");
    let words: Vec<&str> = line.split_whitespace().collect();
    let at = words.iter().position(|w| *w == who);
    let mut letters: Vec<char> =
        at.map(|n| words[n + 1].chars().filter(|c| !"cd".contains(*c)).collect()).unwrap_or_default();
    letters.sort_unstable();
    letters.into_iter().collect()
}

#[test]
fn rights_of_others_follow_with_their_new_names_and_delegates_are_named() {
    let m = pair();
    let mut old = m.old.client("ann");
    old.ask("CREATE \"Work/a b\"");
    old.ask("SETACL INBOX bob lrswipte");
    old.ask("SETACL \"Work/a b\" cat lr");
    old.ask("SETACL \"Work/a b\" bob lrs");
    m.run(&["run", "--once"]).ok();
    let mut new = m.new.client("ann");
    assert_eq!(rights(&mut new, "INBOX", "robert"), "eilprstw", "bob is called robert over there");
    assert_eq!(rights(&mut new, "INBOX", "bob"), "");
    assert_eq!(rights(&mut new, "Work/a b", "cat"), "lr", "who does not move yet keeps the name");
    let report = m.run(&["report", "ann"]).ok();
    assert!(report.contains("is a delegate") && report.contains("1 of"), "{report}");
    // Changed and gone at the source; what somebody gave over there is not touched.
    new.ask("SETACL \"Work/a b\" dan l");
    old.ask("SETACL \"Work/a b\" cat lrst");
    old.ask("DELETEACL \"Work/a b\" bob");
    m.run(&["run", "--once"]).ok();
    assert_eq!(rights(&mut new, "Work/a b", "cat"), "lrst");
    assert_eq!(rights(&mut new, "Work/a b", "robert"), "");
    assert_eq!(rights(&mut new, "Work/a b", "dan"), "l");
    assert!(m.run(&["final", "ann"]).ok().contains("final"));
    // Now it is the user's: what is given on the new side stays as it is, and a rollback carries it back by its old name.
    new.ask("SETACL \"Work/a b\" robert lr");
    old.ask("SETACL \"Work/a b\" cat l");
    m.run(&["run", "--once"]).ok();
    assert_eq!(rights(&mut new, "Work/a b", "robert"), "lr");
    m.run(&["rollback", "ann"]).ok();
    assert_eq!(rights(&mut old, "Work/a b", "bob"), "lr");
}

#[test]
fn a_server_without_access_control_lists_says_so_and_the_mail_moves() {
    let m = Move::new();
    configure(&m, "");
    m.source().append("INBOX", "", "", &mail(1));
    m.run(&["run", "--once"]);
    assert_eq!(Move::count(&mut m.target(), "INBOX"), 1);
    let report = m.run(&["report", "ann"]).text;
    assert!(report.contains("no access control lists"), "{report}");
}

/// Two users see the same folders: each is carried once.
#[test]
fn shared_folders_are_carried_once_by_their_owner_or_by_the_first_who_sees_them() {
    let m = pair();
    configure(&m, "[folders]\nshared = true\n");
    let mut bob = m.old.client("bob");
    bob.ask("CREATE Team");
    (0..3).for_each(|n| bob.append("Team", "", "", &mail(n)));
    bob.ask("SETACL Team ann lrs");
    bob.ask("CREATE Public/News");
    (10..15).for_each(|n| bob.append("Public/News", "", "", &mail(n)));
    let mut ann = m.old.client("ann");
    let seen = ann.ask("LIST \"\" *");
    assert!(seen.contains("shared/bob/Team") && seen.contains("Public/News"), "{seen}");
    for _ in 0..2 {
        m.run(&["run", "--once"]).ok();
    }
    assert_eq!(Move::count(&mut m.new.client("ann"), "Public/News"), 5);
    assert_eq!(Move::count(&mut m.new.client("robert"), "Team"), 3);
    let there = m.new.client("ann").ask("LIST \"\" *");
    assert!(!there.contains("shared/bob"), "{there}");
    // A message that comes later comes once, too.
    bob.append("Public/News", "", "", &mail(20));
    m.run(&["run", "--once"]).ok();
    assert_eq!(Move::count(&mut m.new.client("ann"), "Public/News"), 6);
    for user in ["ann", "bob"] {
        assert!(m.run(&["final", user]).ok().contains("final"));
    }
}
