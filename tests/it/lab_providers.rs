//! Every resource kind on a real host: made, seen, changed by hand, mended, removed and put back.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // helpers of tests are tests

use std::collections::BTreeMap;

use cutover::model::Kind;
use cutover::model::attr::Attr;
use cutover::model::resource::{Notify, NotifyHow, Resource};
use cutover::model::step::{Action, Outcome};

use crate::support::lab::Lab;
use crate::support::life::{Life, Place, differing};
use crate::support::steps::{content, done, outcome, resource, restore, step};

/// A service of the test's own: hosts of the lab are bare.
const SLEEPER: &str = "printf '[Service]\\nExecStart=/bin/sleep 9999\\n[Install]\\nWantedBy=multi-user.target\\n' \
     >/usr/lib/systemd/system/sleeper.service; systemctl daemon-reload";

fn text(s: &str) -> Attr {
    Attr::text(s)
}

#[tokio::test]
async fn files_folders_programs_lines_and_units_live() {
    let Some(lab) = Lab::new("pathkinds").host("h").up() else { return };
    let p = Place::new(lab);
    let r = |kind, key: &str, attrs: &[(&str, Attr)]| resource("h", kind, key, attrs);
    p.sh("useradd -M ann; mkdir /srv/t");
    let look = "stat -c '%f %U %G %n' /srv/t/*; sha256sum /srv/t/* /etc/systemd/system/tick.*; getfacl -p /srv/t/*";

    let body = b"smtpd_banner = hello\n";
    let full = |bytes: &[u8], mode: &str| {
        vec![("content", content(bytes, false)), ("owner", text("ann")), ("group", text("mail")), ("mode", text(mode))]
    };
    Life {
        place: &p,
        wanted: r(Kind::File, "/srv/t/f", &full(body, "0640")),
        bytes: Some(body),
        by_hand: &[
            ("content", "echo other >>/srv/t/f"),
            ("owner", "chown root /srv/t/f"),
            ("group", "chgrp root /srv/t/f"),
            ("mode", "chmod 4755 /srv/t/f"),
            ("content", "rm /srv/t/f; ln -s /etc/hostname /srv/t/f"),
            ("content", "rm /srv/t/f"),
        ],
        shown: look,
    }
    .lived()
    .await;

    let program: Vec<u8> = (0..3 << 20).map(|i: u32| (i.wrapping_mul(2654435761) >> 13) as u8).collect();
    Life {
        place: &p,
        wanted: r(Kind::Binary, "/srv/t/program", &full(&program, "0755")),
        bytes: Some(&program),
        by_hand: &[
            ("content", "printf x >>/srv/t/program"),
            ("owner", "chown root /srv/t/program"),
            ("group", "chgrp root /srv/t/program"),
            ("mode", "chmod 0700 /srv/t/program"),
        ],
        shown: look,
    }
    .lived()
    .await;

    let folder = [("owner", text("ann")), ("group", text("mail")), ("mode", text("2770"))];
    Life {
        place: &p,
        wanted: r(Kind::Directory, "/srv/t/d", &folder),
        bytes: None,
        by_hand: &[
            ("owner", "chown root /srv/t/d"),
            ("group", "chgrp root /srv/t/d"),
            ("mode", "chmod 0700 /srv/t/d"),
            ("mode", "rmdir /srv/t/d"),
        ],
        shown: look,
    }
    .lived()
    .await;

    p.sh("printf 'a=1\\nb=2' >/srv/t/l; chown ann:mail /srv/t/l; chmod 0604 /srv/t/l");
    Life {
        place: &p,
        wanted: r(Kind::Line, "/srv/t/l#b", &[("line", text("b=3")), ("prefix", text("b="))]),
        bytes: None,
        by_hand: &[
            ("line", "sed -i s/^b=.*/b=9/ /srv/t/l"),
            ("line", "sed -i /^b=/d /srv/t/l"),
            ("line", "rm /srv/t/l"),
        ],
        shown: look,
    }
    .lived()
    .await;
    p.sh("rm -f /srv/t/l");

    let unit = b"[Service]\nType=oneshot\nExecStart=/bin/true\n";
    p.sh("true");
    Life {
        place: &p,
        wanted: r(Kind::Unit, "tick.service", &[("content", content(unit, false)), ("mode", text("0644"))]),
        bytes: Some(unit),
        by_hand: &[
            ("content", "echo '# by hand' >>/etc/systemd/system/tick.service"),
            ("mode", "chmod 0600 /etc/systemd/system/tick.service"),
        ],
        shown: look,
    }
    .lived()
    .await;

    // A timer needs what it starts.
    let made = p.look(&r(Kind::Unit, "tick.service", &[])).await.fingerprint;
    let service = r(Kind::Unit, "tick.service", &[("content", content(unit, false))]);
    done(p.one("tick", step(0, &service, Action::Create, Some(&made), Some(unit))).await);
    let timer = b"[Timer]\nOnCalendar=yearly\n[Install]\nWantedBy=timers.target\n";
    let attrs = [("content", content(timer, false)), ("enabled", Attr::Bool(true)), ("running", Attr::Bool(true))];
    Life {
        place: &p,
        wanted: r(Kind::Timer, "tick.timer", &attrs),
        bytes: Some(timer),
        by_hand: &[
            ("content", "sed -i s/yearly/monthly/ /etc/systemd/system/tick.timer; systemctl daemon-reload"),
            ("enabled", "systemctl disable tick.timer"),
            ("running", "systemctl stop tick.timer"),
            (
                "content",
                "systemctl disable --now tick.timer; rm /etc/systemd/system/tick.timer; systemctl daemon-reload",
            ),
        ],
        shown: "systemctl is-enabled tick.timer; systemctl is-active tick.timer; cat /etc/systemd/system/tick.timer",
    }
    .lived()
    .await;
}

#[tokio::test]
async fn packages_accounts_and_services_live() {
    let Some(lab) = Lab::new("syskinds").host("h").up() else { return };
    let p = Place::new(lab);
    let r = |kind, key: &str, attrs: &[(&str, Attr)]| resource("h", kind, key, attrs);
    let first = &p;
    Life {
        place: &p,
        wanted: r(Kind::Group, "vmail", &[("gid", Attr::Int(5000))]),
        bytes: None,
        by_hand: &[("gid", "groupmod -g 5005 vmail"), ("gid", "groupdel vmail")],
        shown: "cat /etc/group",
    }
    .lived()
    .await;
    p.sh("groupadd one; groupadd two; groupadd three");
    let attrs = [
        ("uid", Attr::Int(5001)),
        ("group", text("one")),
        ("groups", Attr::List(vec!["two".into(), "mail".into()])),
        ("home", text("/srv/my mail")),
        ("shell", text("/usr/sbin/nologin")),
        ("comment", text("Mail, of all")),
    ];
    Life {
        place: &p,
        wanted: r(Kind::User, "vmail", &attrs),
        bytes: None,
        by_hand: &[
            ("uid", "usermod -u 6001 vmail"),
            ("group", "usermod -g two vmail"),
            ("groups", "usermod -G three,two vmail"),
            ("groups", "usermod -G '' vmail"),
            ("home", "usermod -d /home/x vmail"),
            ("shell", "usermod -s /bin/sh vmail"),
            ("comment", "usermod -c other vmail"),
        ],
        shown: "cat /etc/passwd /etc/group",
    }
    .lived()
    .await;
    // With a group of its own name, which userdel would take along.
    p.sh("groupadd -g 5100 lone");
    let lone = r(Kind::User, "lone", &[("home", text("/nonexistent"))]);
    let made = done(first.one("lone", step(0, &lone, Action::Create, Some("absent"), None)).await);
    assert_eq!(done(first.one("unlone", restore(0, &lone, "lone", 0, &made)).await), "absent");
    assert_eq!(p.sh("getent group lone"), "lone:x:5100:");

    p.sh(SLEEPER);
    Life {
        place: &p,
        wanted: r(Kind::Service, "sleeper", &[("enabled", Attr::Bool(false)), ("running", Attr::Bool(true))]),
        bytes: None,
        by_hand: &[
            ("running", "systemctl stop sleeper"),
            ("enabled", "systemctl enable sleeper"),
            ("enabled", "systemctl enable sleeper; systemctl stop sleeper"),
        ],
        shown: "systemctl is-enabled sleeper; systemctl is-active sleeper",
    }
    .lived()
    .await;

    Life {
        place: &p,
        wanted: r(Kind::Package, "acl", &[("hold", Attr::Bool(true))]),
        bytes: None,
        by_hand: &[("hold", "apt-mark unhold acl"), ("hold", "apt-get remove -qq -y --allow-change-held-packages acl")],
        shown: "dpkg-query -W -f '${Status} ${Version}' acl | grep ' installed'",
    }
    .lived()
    .await;

    // Several packages in one go, each with its own mark; a bad name fails alone.
    let packages = ["tree", "no-such-package-here", "moreutils"].map(|n| r(Kind::Package, n, &[]));
    let steps = (0..3).map(|i| step(i as u32, &packages[i], Action::Create, Some("absent"), None)).collect();
    let reports = p.run("many", steps).await;
    assert!(outcome(&reports, 0).unwrap().is_done() && outcome(&reports, 2).unwrap().is_done(), "{reports:?}");
    assert!(matches!(outcome(&reports, 1), Some(Outcome::Failed { .. })), "{reports:?}");
    let seen = p.observe(&packages).await;
    assert_eq!(seen.owned.iter().map(|o| o.key.as_str()).collect::<Vec<_>>(), ["moreutils", "tree"]);
    // A package on which others stand is not torn out from under them.
    p.sh("true");
    let perl = p.look(&r(Kind::Package, "libio-pty-perl", &[])).await;
    assert!(perl.present);
    let expect = perl.fingerprint.as_str();
    let adopted = r(Kind::Package, "libio-pty-perl", &[("hold", Attr::Bool(false))]);
    done(p.one("adopt", step(0, &adopted, Action::Update, Some(expect), None)).await);
    let refused = p.one("tear", step(0, &adopted, Action::Delete, Some(expect), None)).await;
    assert!(matches!(&refused, Outcome::Failed { output, .. } if output.contains("moreutils")), "{refused:?}");

    // dpkg's lock is held by somebody else: waited for, then said.
    let script =
        "import fcntl,time; f=open('/var/lib/dpkg/lock-frontend','w'); fcntl.lockf(f,fcntl.LOCK_EX); time.sleep(60)";
    let has_python = p.lab.try_sh("h", "command -v python3").status.success();
    let hold = match has_python {
        true => format!("python3 -c \"{script}\" >/dev/null 2>&1 & echo $!"),
        false => "perl -e 'use Fcntl; open(F,\">\",\"/var/lib/dpkg/lock-frontend\"); my $l=pack(\"s s l! l! i\",F_WRLCK,0,0,0,0); fcntl(F,F_SETLK,$l) or die; sleep 60' >/dev/null 2>&1 & echo $!".to_owned(),
    };
    let pid = p.sh(&hold);
    let cpio = r(Kind::Package, "cpio", &[]);
    let begun = std::time::Instant::now();
    let locked = p.one("locked", step(0, &cpio, Action::Create, Some("absent"), None)).await;
    assert!(matches!(&locked, Outcome::Failed { output, .. } if output.contains("lock")), "{locked:?}");
    assert!(begun.elapsed().as_secs() < 40, "{:?}", begun.elapsed());
    p.sh(&format!("kill {pid}"));
    assert!(!p.look(&cpio).await.present);
}

#[tokio::test]
async fn settings_firewalls_zones_accounts_and_commands_live() {
    let Some(lab) = Lab::new("prodkinds").host("h").up() else { return };
    let p = Place::new(lab);
    let r = |kind, key: &str, attrs: &[(&str, Attr)]| resource("h", kind, key, attrs);
    p.sh("apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends postfix >/dev/null 2>&1; command -v postconf; [ -e /etc/postfix/main.cf ] || cp /usr/share/postfix/main.cf.debian /etc/postfix/main.cf; mkdir -p /etc/dovecot");
    Life {
        place: &p,
        wanted: r(Kind::Setting, "postfix:smtpd_banner", &[("value", text("$myhostname ESMTP = ok"))]),
        bytes: None,
        by_hand: &[
            ("value", "postconf -e 'smtpd_banner = other'"),
            ("value", "printf 'smtpd_banner = one\\n  two\\n' >>/etc/postfix/main.cf"),
            ("value", "postconf -X smtpd_banner"),
        ],
        shown: "cat /etc/postfix/main.cf",
    }
    .lived()
    .await;

    let rules = b"table inet cutover {\n\tset trusted {\n\t\ttype ipv4_addr\n\t\telements = { 192.0.2.1, 192.0.2.2 }\n\t}\n\tchain input {\n\t\ttype filter hook input priority 10; policy accept;\n\t\tip saddr @trusted counter accept\n\t\ttcp dport 9999 drop\n\t}\n}\n";
    Life {
        place: &p,
        wanted: r(Kind::Firewall, "cutover", &[("content", content(rules, false)), ("loaded", Attr::Bool(true))]),
        bytes: Some(rules),
        by_hand: &[
            ("content", "sed -i s/9999/9998/ /etc/nftables.d/cutover.nft"),
            ("loaded", "nft delete table inet cutover"),
            ("loaded", "nft add rule inet cutover input tcp dport 7 drop"),
            ("loaded", "nft delete element inet cutover trusted '{ 192.0.2.2 }'"),
            ("content", "rm /etc/nftables.d/cutover.nft"),
        ],
        shown: "nft -s list ruleset; cat /etc/nftables.conf /etc/nftables.d/*",
    }
    .lived()
    .await;

    let zone =
        b"$TTL 300\n@ SOA ns hostmaster (\n    @SERIAL@ ; serial\n    3600 600 86400 300 )\n@ NS ns\nns A 192.0.2.53\n";
    p.sh("mkdir -p /var/lib/knot/zones; useradd -M ann; useradd -M knot");
    let zone_attrs = [
        ("content", content(zone, false)),
        ("owner", text("knot")),
        ("group", text("knot")),
        ("mode", text("0640")),
        ("path", text("/var/lib/knot/zones/acme.zone")),
        ("validate", text("grep -q SOA %s")),
        ("reload", text("echo reloaded >>/tmp/reloads")),
    ];
    Life {
        place: &p,
        wanted: r(Kind::DnsZone, "acme.example", &zone_attrs),
        bytes: Some(zone),
        by_hand: &[
            ("content", "sed -i s/192.0.2.53/192.0.2.54/ /var/lib/knot/zones/acme.zone"),
            ("owner", "chown ann /var/lib/knot/zones/acme.zone"),
            ("group", "chgrp ann /var/lib/knot/zones/acme.zone"),
            ("mode", "chmod 0600 /var/lib/knot/zones/acme.zone"),
        ],
        // The serial only ever grows.
        shown: "sed 's/[0-9]* ; serial/N ; serial/' /var/lib/knot/zones/acme.zone; stat -c '%f %U %G' /var/lib/knot/zones/acme.zone",
    }
    .lived()
    .await;
    let reloads: u32 = p.sh("wc -l </tmp/reloads").trim().parse().unwrap();
    assert!(reloads > 8, "{reloads}");
    let made = step(0, &r(Kind::DnsZone, "acme.example", &zone_attrs), Action::Create, Some("absent"), Some(zone));
    done(p.one("zone1", made).await);
    let serial = || p.sh("awk '/; serial/ { print $1 }' /var/lib/knot/zones/acme.zone").parse::<u64>().unwrap();
    let one = serial();
    let other = String::from_utf8_lossy(zone).replace("300 )", "301 )");
    let mut changed = r(Kind::DnsZone, "acme.example", &zone_attrs);
    changed.attrs.insert("content".into(), content(other.as_bytes(), false));
    let now = p.look(&changed).await.fingerprint;
    done(p.one("zone2", step(0, &changed, Action::Update, Some(&now), Some(other.as_bytes()))).await);
    assert_eq!(serial(), one + 1);

    let hash = b"{SHA512-CRYPT}$6$salt$hash/of.it";
    let account = [
        ("password", content(hash, true)),
        ("uid", text("vmail")),
        ("gid", text("5000")),
        ("home", text("/srv/mail/ann")),
        ("quota", text("5368709120")),
        ("file", text("/etc/dovecot/users")),
    ];
    p.sh("printf 'bob@acme.example:{PLAIN}x:1:1::/srv/bob::userdb_mail=maildir:~/M\\n' >/etc/dovecot/users; chmod 0604 /etc/dovecot/users");
    let line = |field: &str, by: &str| {
        format!(
            "awk -F: -v OFS=: '$1 == \"ann@acme.example\" {{ ${field} = \"{by}\" }} {{ print }}' /etc/dovecot/users >/tmp/u && cat /tmp/u >/etc/dovecot/users"
        )
    };
    let by_hand = [
        line("2", "{PLAIN}other"),
        line("3", "root"),
        line("4", "1"),
        line("6", "/srv/x"),
        line("9", "bytes=7"),
        "sed -i /^ann@/d /etc/dovecot/users".to_owned(),
    ];
    let names = ["password", "uid", "gid", "home", "quota", "home"];
    let by_hand: Vec<(&str, &str)> = names.into_iter().zip(by_hand.iter().map(String::as_str)).collect();
    Life {
        place: &p,
        wanted: r(Kind::MailAccount, "ann@acme.example", &account),
        bytes: Some(hash),
        by_hand: &by_hand,
        shown: "cat /etc/dovecot/users; stat -c '%f %U %G' /etc/dovecot/users",
    }
    .lived()
    .await;

    let attrs = [
        ("run", text("mkdir /srv/made")),
        ("creates", text("/srv/made")),
        ("undo", text("rmdir /srv/made")),
        ("satisfied", Attr::Bool(true)),
        ("user", text("root")),
    ];
    let command = r(Kind::Command, "mkdir", &attrs);
    done(p.one("cmd", step(0, &command, Action::Run, Some("command unsatisfied"), None)).await);
    assert_eq!(differing(&command, &p.look(&command).await), Vec::<&str>::new());
    p.sh("rmdir /srv/made");
    assert_eq!(differing(&command, &p.look(&command).await), ["satisfied"]);
    done(p.one("cmd2", step(0, &command, Action::Run, Some("command unsatisfied"), None)).await);
    assert_eq!(done(p.one("cmdu", restore(0, &command, "cmd2", 0, "command satisfied")).await), "command unsatisfied");
    assert!(!p.lab.try_sh("h", "test -e /srv/made").status.success());
    let as_ann = r(
        Kind::Command,
        "who",
        &[("run", text("id -un >/tmp/who")), ("once", Attr::Bool(true)), ("user", text("ann"))],
    );
    done(p.one("who", step(0, &as_ann, Action::Run, None, None)).await);
    assert_eq!(p.sh("cat /tmp/who"), "ann");
}

#[tokio::test]
async fn a_service_is_told_once_and_reads_what_came_after_its_package() {
    let Some(lab) = Lab::new("notify").host("h").up() else { return };
    let p = Place::new(lab);
    p.sh(&format!("{SLEEPER}; systemctl start sleeper"));
    let mut conf = resource("h", Kind::File, "/etc/sleeper.conf", &[("content", content(b"# extra\n", false))]);
    conf.notifies = vec![Notify { service: "sleeper".into(), how: NotifyHow::Restart }];
    done(p.one("f", step(0, &conf, Action::Create, Some("absent"), Some(b"# extra\n"))).await);
    assert_eq!(p.observe(&[]).await.pending, BTreeMap::from([("sleeper".to_owned(), NotifyHow::Restart)]));
    let sleeper =
        resource("h", Kind::Service, "sleeper", &[("enabled", Attr::Bool(true)), ("running", Attr::Bool(true))]);
    let pid = || p.sh("systemctl show -p MainPID sleeper");
    let before = pid();
    done(p.one("r", step(0, &sleeper, Action::Restart, None, None)).await);
    assert_ne!(pid(), before);
    assert!(p.observe(&[]).await.pending.is_empty());
    let now = pid();
    done(p.one("r", step(0, &sleeper, Action::Restart, None, None)).await);
    assert_eq!(pid(), now, "the mark answers; nothing is restarted twice");

    // The plan starts the service, but its package has started it already, before the file came.
    let run = "systemctl start sleeper";
    p.sh("systemctl stop sleeper");
    let package = resource("h", Kind::Command, "package", &[("run", text(run)), ("once", Attr::Bool(true))]);
    conf.attrs.insert("content".into(), content(b"# other\n", false));
    let found = p.observe(&[conf.clone(), sleeper.clone()]).await;
    let expect = |r: &Resource| found.records[&r.address.local()].fingerprint.clone();
    let steps = vec![
        step(0, &package, Action::Run, Some("command unsatisfied"), None),
        step(1, &conf, Action::Update, Some(&expect(&conf)), Some(b"# other\n")),
        step(2, &sleeper, Action::Create, Some(&expect(&sleeper)), None),
    ];
    p.sh("echo >/tmp/starts; mkdir -p /etc/systemd/system/sleeper.service.d; printf '[Service]\\nExecStartPre=+/bin/sh -c \"cat /etc/sleeper.conf >>/tmp/starts\"\\n' >/etc/systemd/system/sleeper.service.d/t.conf; systemctl daemon-reload");
    let reports = p.run("pkg", steps).await;
    assert!((0..3).all(|i| outcome(&reports, i).is_some_and(|o| o.is_done())), "{reports:?}");
    assert_eq!(p.sh("cat /tmp/starts").trim(), "# extra\n# other", "it runs with the new file");
    assert!(p.observe(&[]).await.pending.is_empty());

    // A service that cannot start: failed, with its own words, and as it was before.
    p.sh("systemctl disable --now sleeper; printf '[Service]\\nExecStartPre=/bin/sh -c \"echo no way >&2; false\"\\n' >/etc/systemd/system/sleeper.service.d/t.conf; systemctl daemon-reload");
    let before = p.look(&sleeper).await.fingerprint;
    let failed = p.one("bad", step(0, &sleeper, Action::Update, Some(&before), None)).await;
    assert!(matches!(&failed, Outcome::Failed { output, .. } if output.contains("does not start")), "{failed:?}");
    assert_eq!(p.look(&sleeper).await.fingerprint, before, "enabling was taken back");
}
