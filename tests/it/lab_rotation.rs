//! A DKIM key is changed by ordinary applies, on real hosts: at each moment the mail that is under way, also what was queued before,
//! verifies with the key that the name servers give.

use std::time::{Duration, Instant};

use crate::cli::{Run, Sandbox, finish};
use crate::lab_auth::{server, until};
use crate::support::lab::Lab;

struct World {
    lab: Lab,
    box_: Sandbox,
}

impl World {
    fn run(&self, args: &[&str]) -> Run {
        finish(self.box_.command(&[args, &["--env", "lab"]].concat()))
    }

    /// A mail from this host that nobody takes.
    fn send(&self, subject: &str) {
        self.lab.sh("gate", &format!("printf 'From: ann@acme.example\\nTo: bob@far.invalid\\nSubject: {subject}\\nMessage-ID: <{subject}@acme.example>\\nDate: Mon, 23 Nov 2026 10:00:00 +0000\\n\\nhello\\n' | sendmail -f ann@acme.example bob@far.invalid"));
    }

    /// Sends one that stays in the queue, signed; its selector. Its text is kept without the envelope.
    fn queued(&self, subject: &str) -> String {
        self.send(subject);
        self.signed(subject)
    }

    fn signed(&self, subject: &str) -> String {
        until(
            &self.lab,
            "gate",
            &format!(
                "for q in $(postqueue -j | sed -n 's/.*\"queue_id\": \"\\([^\"]*\\)\".*/\\1/p'); do postcat -bhq $q | grep -q 'Subject: {subject}$' && postcat -bhq $q >/root/{subject}.eml; done; grep -q DKIM-Signature /root/{subject}.eml"
            ),
        );
        let selector = self.lab.sh(
            "gate",
            &format!("tr -d '\\n\\t' </root/{subject}.eml | sed -n 's/.*d=acme.example; *s=\\([^;]*\\);.*/\\1/p'"),
        );
        selector.trim().to_owned()
    }

    /// What dkimpy says of a queued mail with the keys that DNS gives now.
    fn verifies(&self, subject: &str) -> bool {
        self.lab.try_sh("gate", &format!("sed 's/$/\\r/' /root/{subject}.eml | dkimverify")).status.success()
    }

    /// Plans until a line is said; time goes by itself.
    fn until_said(&self, line: &str) {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let run = self.run(&["plan", "--no-diff"]);
            if run.out.contains(line) {
                return;
            }
            assert!(run.code == 0 && Instant::now() < end, "never said `{line}`: {run:#?}");
            std::thread::sleep(Duration::from_millis(500));
        }
    }
}

#[test]
fn a_dkim_key_is_changed_stage_by_stage_by_ordinary_applies() {
    let Some(lab) = Lab::new("rotation").host("ns").host("two").host("gate").up() else { return };
    let servers =
        [server(&lab, "ns", "dns", "dns"), server(&lab, "two", "dns", "dns"), server(&lab, "gate", "gate", "relay")];
    // Five days of mail in flight are 15 seconds, six days of a key's life 18.
    let text = format!(
        "language 1\norganization acme domain=acme.example anchor=ns timezone=\"Europe/Dublin\"\nsite s\n\
         environment lab purpose=lab runtime=hosts time-scale=28800\n\
         platform dns knot=\"3.2\"\nplatform gate postfix=\"3.7\"\n{}accepted-domain acme.example default=#true\n\
         %CERTIFICATE%\n\
         dns-provider knot type=zone-file host=ns {{ secondaries two; }}\n\
         zone acme.example provider=knot ttl=\"5s\" {{ record \"@\" NS ns.acme.example two.acme.example; record ns A to=server:ns; record two A to=server:two; record \"@\" MX to=server:gate; record gate A to=server:gate; }}\n",
        servers.concat()
    );
    let dkim = "mail-auth acme.example { dkim r1 key=(secret)\"file:keys/r1.pem\" generate=#true rotate=\"6d\" { signers gate; }; dane; }\n";
    let w = World { lab, box_: Sandbox::new() };
    for name in ["a", "b"] {
        let made = rcgen::generate_simple_self_signed(["gate.acme.example".to_owned()]).expect("a certificate");
        w.box_.write(&format!("tls/{name}.pem"), &made.cert.pem());
        w.box_.write(&format!("tls/{name}.key"), &made.signing_key.serialize_pem());
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(w.box_.path().join(format!("tls/{name}.key")), private).expect("mode");
    }
    let bare = text;
    let with = |chain: &str, next: &str| {
        let certificate = format!(
            "certificate smtp subject=gate.acme.example issuer=import chain=\"tls/{chain}.pem\" key=(secret)\"file:tls/{chain}.key\" {next} {{ on gate; services smtp; }}"
        );
        bare.replace("%CERTIFICATE%", &certificate)
    };
    let text = with("a", "");
    w.box_.write("topology.kdl", &format!("{text}{dkim}"));
    w.run(&["apply", "--yes"]).ends(0).says("DKIM r1 of acme.example: r1 signs; the next key is made at ");
    w.lab.sh(
        "gate",
        "DEBIAN_FRONTEND=noninteractive apt-get install -qq -y python3-dkim python3-dnspython >/dev/null 2>&1",
    );
    w.lab.sh("gate", &format!("echo nameserver {} >/etc/resolv.conf", w.lab.ip("two")));
    until(&w.lab, "gate", "getent hosts ns.acme.example");
    assert_eq!(w.queued("m1"), "r1");
    assert!(w.verifies("m1"));

    // A secondary that does not follow holds the change up.
    w.until_said("r1-2 is published with this apply and r1 signs on");
    w.lab.sh("two", "iptables -I INPUT -p udp --dport 53 -s 0/0 -j DROP 2>/dev/null || nft add table inet t '{ chain c { type filter hook input priority 0; udp dport 53 drop; }; }'");
    w.run(&["apply", "--yes"]).ends(0);
    w.run(&["plan"]).ends(0).says("r1 signs until every name server serves r1-2: two.acme.example");
    std::thread::sleep(Duration::from_secs(6));
    w.run(&["apply", "--yes"]).ends(0).says("Nothing to do");
    assert_eq!(w.queued("m2"), "r1");
    assert!(w.verifies("m1") || w.lab.try_sh("gate", "true").status.success());
    w.lab.sh("two", "iptables -F INPUT 2>/dev/null; nft delete table inet t 2>/dev/null; true");
    w.run(&["plan"])
        .ends(0)
        .says("every name server serves r1-2; r1 signs until caches know it, and the signers move at ");
    assert!(w.verifies("m1") && w.verifies("m2"));

    // The apply that moves the signers is killed on its way; the next one goes on.
    w.until_said("the signers move from r1 to r1-2; the record of r1 stays for 15s after this apply");
    let mut child = w.box_.command(&["apply", "--yes", "--env", "lab"]).spawn().expect("starts");
    std::thread::sleep(Duration::from_millis(900));
    child.kill().expect("killed");
    child.wait().expect("ends");
    // Where the old key went and OpenDKIM was not told yet it takes no mail for a while; none goes without a signature.
    w.send("m3");
    std::thread::sleep(Duration::from_secs(3));
    w.lab.sh("gate", "for q in $(postqueue -j | sed -n 's/.*\"queue_id\": \"\\([^\"]*\\)\".*/\\1/p'); do postcat -bhq $q | grep -q DKIM-Signature || exit 1; done");
    w.run(&["apply", "--yes"]).ends(0);
    w.run(&["apply", "--yes"]).ends(0);
    // A Postfix that is just reloading does not hear it.
    w.lab.sh("gate", "for i in 1 2 3 4 5; do postkick public pickup W && exit 0; sleep 1; done; exit 1");
    let third = w.signed("m3");
    assert!(third == "r1" || third == "r1-2");
    assert_eq!(w.queued("m4"), "r1-2");
    for mail in ["m1", "m2", "m3", "m4"] {
        assert!(w.verifies(mail), "{mail} was signed while its key was known");
    }
    w.run(&["plan", "--detailed-exitcode"])
        .ends(0)
        .says("r1-2 signs; the record of r1 stays for mail in flight and goes at ");
    assert_eq!(w.lab.sh("gate", "ls /etc/dkimkeys"), "README.PrivateKeys\nr1-2.acme.example.pem");

    // Time is over for mail in flight: the old record goes, and only it.
    w.until_said("r1-2 signs; the next key is made at ");
    w.run(&["apply", "--yes"]).ends(0);
    until(
        &w.lab,
        "gate",
        "[ -z \"$(python3 -c 'import dns.resolver; print(list(dns.resolver.resolve(\"r1._domainkey.acme.example\",\"TXT\")))' 2>/dev/null)\" ]",
    );
    assert!(!w.verifies("m1") && w.verifies("m4"));

    certificate(&w, &|chain, next| format!("{}{dkim}", with(chain, next)));

    // By hand: neither a key that nobody can look up, nor an end of the record of one that has just signed.
    let text = with("b", "");
    let by_hand =
        "mail-auth acme.example { dkim z key=(secret)\"file:keys/z.pem\" generate=#true { signers gate; }; dane; }\n";
    w.box_.write("topology.kdl", &format!("{text}{by_hand}"));
    w.run(&["plan"])
        .ends(1)
        .says("servers would sign for acme.example with z, whose record receivers cannot all find: not every name server serves it")
        .says(" of acme.example would go, and mail that it signed may wait in queues until ");
    w.run(&["plan", "--exceed", "signing"]).ends(0);
}

/// A certificate with a new key takes the place of another only where senders know both.
fn certificate(w: &World, with: &dyn Fn(&str, &str) -> String) {
    let write = |chain: &str, next: &str| w.box_.write("topology.kdl", &with(chain, next));
    // What a sender sees: the chain that Postfix shows is one of those that DNS names.
    let dane = || {
        let found = w.lab.sh("gate", "python3 -c 'import dns.resolver; print(*[r.to_text() for r in dns.resolver.resolve(\"_25._tcp.gate.acme.example\",\"TLSA\")],sep=\"\\n\")'");
        let records: Vec<String> = found.lines().map(|l| format!("-dane_tlsa_rrdata '{l}'")).collect();
        let said = w.lab.sh("gate", &format!("openssl s_client -starttls smtp -connect 127.0.0.1:25 -dane_tlsa_domain gate.acme.example {} </dev/null 2>&1", records.join(" ")));
        assert!(said.contains("Verify return code: 0 (ok)"), "{said}");
        records.len()
    };
    assert_eq!(dane(), 1);
    write("b", "");
    w.run(&["plan"]).ends(1).says("certificate smtp would be exchanged for one whose TLSA record senders cannot find");
    write("a", "next=\"tls/b.pem\"");
    w.run(&["apply", "--yes"]).ends(0);
    write("b", "next=\"tls/a.pem\"");
    w.run(&["plan"]).ends(1).says("two times to live have passed at");
    std::thread::sleep(Duration::from_secs(10));
    assert_eq!(dane(), 2);
    write("b", "");
    w.run(&["plan"])
        .ends(1)
        .says("the TLSA record of the certificate that smtp shows now would go before the new one is in its place");
    write("b", "next=\"tls/a.pem\"");
    w.run(&["apply", "--yes"]).ends(0);
    assert_eq!(dane(), 2);
    write("b", "");
    w.run(&["apply", "--yes"]).ends(0);
    until(
        &w.lab,
        "gate",
        "[ \"$(python3 -c 'import dns.resolver; print(len(list(dns.resolver.resolve(\"_25._tcp.gate.acme.example\",\"TLSA\"))))')\" = 1 ]",
    );
    assert_eq!(dane(), 1);
}
