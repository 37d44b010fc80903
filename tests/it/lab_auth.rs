//! Mail authentication and name servers from their role packs, on real hosts: what is composed is published, signed with, verified by
//! another organisation's server, and accepted by tools that are not ours.
#![allow(clippy::print_stderr)] // what was left out is part of the result

use std::process::Command;
use std::time::{Duration, Instant};

use crate::cli::Sandbox;
use crate::support::lab::Lab;

/// A server of the topology on a host of the lab.
pub fn server(lab: &Lab, host: &str, platform: &str, roles: &str) -> String {
    let access = lab.access(host);
    format!(
        "server {host} platform={platform} site=s ip=\"{}\" {{ roles {roles}; connection user=root key=(secret)\"file:{}\" host-key=\"{}\"; }}\n",
        access.address,
        lab.key().display(),
        access.host_key.expect("pinned"),
    )
}

/// Waits until a line on a host ends well.
pub fn until(lab: &Lab, host: &str, line: &str) {
    let end = Instant::now() + Duration::from_secs(60);
    while !lab.try_sh(host, line).status.success() {
        assert!(Instant::now() < end, "on {host} never: {line}");
        std::thread::sleep(Duration::from_millis(500));
    }
}

const HEAD: &str = "language 1\norganization acme domain=acme.test anchor=ns\nsite s\n\
platform dns knot=\"3.2\"\nplatform bind bind=\"9.18\"\nplatform gate postfix=\"3.7\" nginx=\"1.22\"\n\
platform store postfix=\"3.7\" dovecot=\"2.3\" unbound=\"1.17\"\n";

#[test]
fn mail_is_signed_published_and_verified() {
    let Some(lab) = Lab::new("auth").host("ns").host("gate").host("far").up() else { return };
    let box_ = Sandbox::new();
    let servers = [
        server(&lab, "ns", "dns", "dns"),
        server(&lab, "gate", "gate", "relay mta-sts"),
        server(&lab, "far", "store", "imap smtp resolver; setting \"unbound:module-config\" iterator"),
    ];
    let subnet = lab.ip("ns").to_string();
    let subnet = subnet.rsplit_once('.').map(|(net, _)| format!("{net}.0/24")).expect("an address");
    // OpenDKIM asks by libunbound, which answers names below `test` itself.
    let head = HEAD.replace("acme.test", "acme.example");
    let text = format!(
        "{head}subnet lab cidr=\"{subnet}\" site=s\n{}\
accepted-domain acme.example default=#true\naccepted-domain far.example\n\
mail-account bob@far.example on=far password=(secret)\"env:BOB\"\n\
certificate smtp subject=gate.acme.example issuer=internal {{ on gate; services smtp; }}\n\
certificate sts subject=mta-sts.acme.example issuer=internal {{ on gate; services https; }}\n\
certificate far subject=far.acme.example issuer=internal {{ on far; services smtp imap pop; }}\n\
dns-provider knot type=zone-file host=ns\n\
zone acme.example provider=knot ttl=\"5m\" {{ record \"@\" MX to=server:gate; record gate A to=server:gate; record far A to=server:far; record \"@\" A to=server:gate; }}\n\
zone far.example provider=knot ttl=\"5m\" {{ record \"@\" MX to=server:far; }}\n\
mail-auth acme.example {{\n\
    spf all=fail {{ allow gate; }}\n\
    dkim r1 key=(secret)\"file:keys/r1.pem\" generate=#true {{ signers gate; }}\n\
    dmarc policy=reject {{ reports d@acme.example; }}\n\
    mta-sts mode=testing host=gate\n    tls-rpt {{ reports t@acme.example; }}\n}}\n\
mail-auth far.example {{ spf all=fail {{ allow far; }}; dkim f1 key=(secret)\"file:keys/f1.pem\" generate=#true {{ signers far; }}; }}\n",
        servers.concat()
    );
    box_.write("topology.kdl", &text);
    let run = |args: &[&str]| {
        let mut command = box_.command(args);
        command.env("BOB", "canary-bob-77");
        crate::cli::finish(command)
    };
    run(&["apply", "--yes"]).ends(0).says("done in");
    run(&["plan", "--detailed-exitcode"]).ends(0).says("Nothing to do");

    // The private key lies where it signs, and nowhere else.
    let key = box_.read("keys/r1.pem");
    assert_eq!(lab.sh("gate", "cat /etc/dkimkeys/r1.acme.example.pem"), key.trim_end());
    assert_eq!(lab.sh("gate", "stat -c '%U %a' /etc/dkimkeys/r1.acme.example.pem"), "opendkim 600");
    for host in ["ns", "far"] {
        let line = key.lines().nth(1).expect("PEM");
        assert_eq!(lab.sh(host, &format!("grep -rlsF '{line}' /etc /var/lib | head -1")), "", "{host}");
    }

    lab.sh("gate", "DEBIAN_FRONTEND=noninteractive apt-get install -qq -y opendkim-tools curl >/dev/null 2>&1");
    // From here names are asked of the resolver in between.
    for host in ["gate", "far"] {
        lab.sh(
            host,
            &format!("echo nameserver {} > /etc/resolv.conf; systemctl restart opendkim postfix", lab.ip("far")),
        );
    }
    until(&lab, "gate", "getent hosts far.acme.example");

    // A mail goes out signed, and another's OpenDKIM verifies it with the key that DNS gives.
    lab.sh("gate", "printf 'From: ann@acme.example\\nTo: bob@far.example\\nSubject: signed\\nMessage-ID: <1@acme.example>\\nDate: Mon, 23 Nov 2026 10:00:00 +0000\\n\\nhello\\n' | sendmail -f ann@acme.example bob@far.example");
    until(&lab, "far", "grep -rqs '^Subject: signed' /var/vmail/far.example/bob");
    let mail = lab.sh("far", "cat $(grep -rl '^Subject: signed' /var/vmail/far.example/bob)");
    assert!(mail.contains("DKIM-Signature:") && mail.contains("d=acme.example; s=r1;"), "{mail}");
    assert!(mail.contains("dkim=pass"), "{mail}");
    lab.sh("gate", "opendkim-testkey -x /etc/opendkim.conf -d acme.example -s r1 -k /etc/dkimkeys/r1.acme.example.pem");

    // The policy is served under its name, and DNS says which one it is.
    let served = lab
        .sh("gate", "curl -sS --cacert /etc/ssl/cutover/ca.pem https://mta-sts.acme.example/.well-known/mta-sts.txt");
    assert_eq!(served, "version: STSv1\nmode: testing\nmx: gate.acme.example\nmax_age: 604800");
    assert!(
        !lab.try_sh("gate", "curl -skS https://other.example/ --resolve other.example:443:127.0.0.1").status.success()
    );
    let zone = lab.sh("ns", "cat /var/lib/knot/acme.example.zone");
    lab.sh("ns", "kzonecheck -o acme.example /var/lib/knot/acme.example.zone");
    assert!(zone.contains("_mta-sts 300 TXT \"v=STSv1; id="), "{zone}");

    checkdmarc(&lab);
}

/// checkdmarc (PyPI) reads what was published through the lab's resolver. Left out, and said so, where it cannot be installed.
fn checkdmarc(lab: &Lab) {
    let dir = tempfile::tempdir().expect("folder");
    let venv = dir.path().join("venv");
    let made = Command::new("python3").args(["-m", "venv"]).arg(&venv).status().is_ok_and(|s| s.success())
        && Command::new(venv.join("bin/pip"))
            .args(["-q", "install", "checkdmarc==6.0.4"])
            .status()
            .is_ok_and(|s| s.success());
    if !made {
        eprintln!("left out: checkdmarc cannot be installed here");
        return;
    }
    let program = "import json,sys\nfrom checkdmarc import spf,dmarc,mta_sts,smtp_tls_reporting as t\nns=[sys.argv[1]]\nd='acme.example'\n\
out={'spf':spf.check_spf(d,nameservers=ns),'dmarc':dmarc.check_dmarc(d,nameservers=ns),\n\
'sts':mta_sts.query_mta_sts_record(d,nameservers=ns),'tls':t.check_smtp_tls_reporting(d,nameservers=ns)}\n\
print(json.dumps(out,default=str))\n";
    let out = Command::new(venv.join("bin/python"))
        .args(["-c", program, &lab.ip("far").to_string()])
        .output()
        .expect("python runs");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{text}{}", String::from_utf8_lossy(&out.stderr));
    let said: serde_json::Value = serde_json::from_str(text.trim()).expect("JSON");
    eprintln!("checkdmarc: {said}");
    assert_eq!(said["spf"]["valid"], true, "{said}");
    assert_eq!((&said["spf"]["dns_lookups"], &said["spf"]["void_dns_lookups"]), (&0.into(), &0.into()), "{said}");
    assert_eq!(said["dmarc"]["valid"], true, "{said}");
    assert_eq!(said["dmarc"]["tags"]["p"]["value"], "reject", "{said}");
    assert_eq!(said["tls"]["valid"], true, "{said}");
    assert!(said["sts"]["record"].as_str().is_some_and(|r| r.starts_with("v=STSv1; id=")), "{said}");
}

#[test]
fn bind_serves_as_primary_and_secondary_with_views() {
    let Some(lab) = Lab::new("bindpack").host("ns").host("follower").up() else { return };
    let box_ = Sandbox::new();
    let servers = [server(&lab, "ns", "bind", "dns"), server(&lab, "follower", "bind", "dns")];
    let text = format!(
        "{HEAD}{}accepted-domain acme.test\n\
dns-provider world type=zone-file host=ns tsig-name=follow.acme.test key=(secret)\"env:TSIG\" {{ secondaries follower; }}\n\
dns-provider inner type=zone-file host=ns\n\
zone acme.test view=public provider=world ttl=\"5m\" {{ record \"@\" NS ns.acme.test follower.acme.test; record ns A to=server:ns; record follower A to=server:follower; record \"@\" MX mail.acme.test; record mail A \"203.0.113.25\"; }}\n\
zone acme.test view=internal provider=inner {{ record mail A \"10.9.9.9\"; record \"@\" MX mail.acme.test; }}\n\
zone both.test provider=world {{ record \"@\" NS ns.acme.test follower.acme.test; record mail A \"203.0.113.99\"; }}\n",
        servers.concat()
    );
    let run = |args: &[&str]| {
        let mut command = box_.command(args);
        command.env("TSIG", "b25seSBhIHRlc3Qgc2VjcmV0IG9mIDMyIG9jdGV0cy4=");
        crate::cli::finish(command)
    };
    let answer = |host: &str, at: &str, zone: &str, wanted: &str| {
        until(&lab, host, &format!("[ \"$(dig +short +time=1 +tries=1 @{at} mail.{zone} A)\" = {wanted} ]"));
    };

    box_.write("topology.kdl", &text);
    run(&["apply", "--yes"]).ends(0).says("done in");
    run(&["plan", "--detailed-exitcode"]).ends(0).says("Nothing to do");
    let (ns, follower) = (lab.ip("ns").to_string(), lab.ip("follower").to_string());
    // The organisation's own hosts get the inner view, a secondary and with it the world the public one; what has no view is in both.
    answer("ns", "127.0.0.1", "acme.test", "10.9.9.9");
    answer("follower", &ns, "acme.test", "203.0.113.25");
    answer("ns", &follower, "acme.test", "203.0.113.25");
    for (host, at) in [("ns", "127.0.0.1"), ("follower", &ns), ("ns", &follower)] {
        answer(host, at, "both.test", "203.0.113.99");
    }
    // Without the key there is no transfer, from whatever address.
    for zone in ["acme.test", "both.test"] {
        assert!(lab.sh("follower", &format!("dig @{ns} {zone} AXFR")).contains("Transfer failed"));
    }
    lab.sh(
        "ns",
        "named-checkconf -z /etc/bind/named.conf && named-checkzone acme.test /var/lib/bind/acme.test@public.zone",
    );

    // A change reaches the secondary by NOTIFY and TSIG, long before its refresh of an hour.
    box_.write("topology.kdl", &text.replace("203.0.113.25", "203.0.113.26"));
    run(&["apply", "--yes"]).ends(0);
    answer("ns", &follower, "acme.test", "203.0.113.26");
    run(&["plan", "--detailed-exitcode"]).ends(0).says("Nothing to do");
}

/// An edge signs with RSA and Ed25519 at once; its address has a name; mail programs find what they need. Each is looked at by
/// somebody else's program.
#[test]
fn an_edge_signs_twice_is_named_and_tells_mail_programs() {
    let Some(lab) = Lab::new("edge").host("ns").host("edge").up() else { return };
    let box_ = Sandbox::new();
    let servers = [server(&lab, "ns", "dns", "dns"), server(&lab, "edge", "edge", "edge autoconfig")];
    let address = lab.ip("edge").to_string();
    let octets: Vec<&str> = address.split('.').collect();
    let [a, b, c, d] = octets.as_slice() else { panic!("{address}") };
    let text = format!(
        "language 1\norganization acme domain=acme.example anchor=ns\nsite s\nplatform dns knot=\"3.2\"\nplatform edge postfix=\"3.7\" rspamd=\"3.4\" nginx=\"1.22\"\n{}\
         environment lab purpose=lab runtime=hosts\naccepted-domain acme.example default=#true\n\
         certificate smtp subject=edge.acme.example issuer=internal {{ on edge; services smtp; }}\n\
         certificate web subject=autoconfig.acme.example issuer=internal {{ names autodiscover.acme.example; on edge; services https; }}\n\
         dns-provider knot type=zone-file host=ns\n\
         namespace mail.acme.example target=server:edge {{ services imap submission; }}\n\
         zone acme.example provider=knot ttl=\"5s\" {{ record \"@\" MX to=server:edge; record edge A to=server:edge; }}\n\
         zone \"{c}.{b}.{a}.in-addr.arpa\" provider=knot ttl=\"5s\"\n\
         zone sub.acme.example provider=knot ttl=\"5s\" {{ record \"@\" NS ns1.sub.acme.example; record ns1 A to=server:ns; record www A to=server:edge; }}\n\
         mail-auth acme.example {{\n    spf all=fail {{ allow edge; }}\n\
             dkim r1 key=(secret)\"file:keys/r1.pem\" generate=#true {{ signers edge; }}\n\
             dkim e1 algorithm=ed25519-sha256 key=(secret)\"file:keys/e1.pem\" generate=#true {{ signers edge; }}\n\
             discovery host=edge {{ namespaces mail.acme.example; }}\n}}\n",
        servers.concat()
    );
    box_.write("topology.kdl", &text);
    let run = |args: &[&str]| crate::cli::finish(box_.command(&[args, &["--env", "lab"]].concat()));
    run(&["apply", "--yes"]).ends(0).says("done in");
    run(&["plan", "--detailed-exitcode"]).ends(0).says("Nothing to do");

    // Both signatures, and both verify with the keys that DNS gives (dkimpy, as Debian has it).
    lab.sh("edge", "DEBIAN_FRONTEND=noninteractive apt-get install -qq -y python3-dkim python3-dnspython python3-nacl curl libxml2-utils >/dev/null 2>&1");
    lab.sh("edge", &format!("echo nameserver {} >/etc/resolv.conf", lab.ip("ns")));
    lab.sh("edge", "printf 'From: ann@acme.example\\nTo: bob@far.invalid\\nSubject: twice\\nMessage-ID: <1@acme.example>\\nDate: Mon, 23 Nov 2026 10:00:00 +0000\\n\\nhello\\n' | sendmail -f ann@acme.example bob@far.invalid");
    until(
        &lab,
        "edge",
        "q=$(postqueue -j | sed -n 's/.*\"queue_id\": \"\\([^\"]*\\)\".*/\\1/p' | head -1); postcat -bhq $q | sed 's/$/\\r/' >/root/m.eml; [ $(grep -c '^DKIM-Signature' /root/m.eml) = 2 ]",
    );
    let verify = "import dkim\nm=open('/root/m.eml','rb').read()\nfor i in range(2):\n d=dkim.DKIM(m)\n print(d.verify(idx=i), d.signature_fields[b'a'].decode(), d.signature_fields[b's'].decode())\n";
    lab.sh("edge", &format!("cat >/root/v.py <<'E'\n{verify}E"));
    let said = lab.sh("edge", "python3 /root/v.py | sort");
    assert_eq!(said, "True ed25519-sha256 e1\nTrue rsa-sha256 r1");

    // From the address to the name and back, and the policy as a receiver walks it.
    let resolver = lab.ip("ns").to_string();
    run(&["dns", "senders", "--resolver", &resolver])
        .ends(0)
        .says("acme.example SPF: 0 lookups, 0 void: ok")
        .says(&format!("edge.acme.example {address}: edge.acme.example: ok"));
    let names = "python3 -c 'import dns.resolver; print(dns.resolver.resolve_address(\"ADDRESS\")[0])'"
        .replace("ADDRESS", &address);
    assert_eq!(lab.sh("edge", &names), "edge.acme.example.");
    // The child zone is found through its parent.
    assert!(
        lab.sh(
            "edge",
            "python3 -c 'import dns.resolver; print(dns.resolver.resolve(\"sub.acme.example\",\"NS\").rrset)'"
        )
        .contains("ns1.sub.acme.example.")
    );
    let zone = lab.sh("ns", "cat /var/lib/knot/acme.example.zone");
    assert!(zone.contains("sub 5 NS ns1.sub.acme.example.") && zone.contains("ns1.sub 5 A "), "{zone}");
    for zone in ["acme.example", "sub.acme.example", &format!("{c}.{b}.{a}.in-addr.arpa")] {
        lab.sh("ns", &format!("kzonecheck -o {zone} /var/lib/knot/{zone}.zone"));
    }
    // A name that leads elsewhere is told.
    box_.write(
        "topology.kdl",
        &text
            .replace(
                "in-addr.arpa\" provider=knot ttl=\"5s\"",
                &format!("in-addr.arpa\" provider=knot ttl=\"5s\" {{ record \"{d}\" PTR other.acme.example; }}"),
            )
            .replace("spf all=fail {", "spf all=fail { include gone.acme.example;"),
    );
    run(&["apply", "--yes"]).ends(0);
    until(&lab, "edge", &format!("[ \"$({names})\" = other.acme.example. ]"));
    run(&["dns", "senders", "--resolver", &resolver])
        .ends(2)
        .says("its name other.acme.example has no address")
        .says("it calls itself edge.acme.example, and its PTR record another name")
        .says("gone.acme.example has no SPF record")
        .says("acme.example SPF: 1 lookups, 1 void: WRONG");

    // What Thunderbird and Outlook ask for, over HTTPS, read by a parser of XML.
    let fetch = |name: &str, how: &str, path: &str| {
        lab.sh("edge", &format!("curl -fsS --cacert /etc/ssl/cutover/ca.pem {how} https://{name}.acme.example{path} | tee /root/x.xml; xmllint --noout /root/x.xml"))
    };
    let config = fetch("autoconfig", "", "/mail/config-v1.1.xml?emailaddress=ann%40acme.example");
    assert!(
        config.contains("<hostname>mail.acme.example</hostname>") && config.contains("<port>993</port>"),
        "{config}"
    );
    assert_eq!(fetch("autoconfig", "", "/.well-known/autoconfig/mail/config-v1.1.xml"), config);
    let outlook =
        fetch("autodiscover", "-H 'Content-Type: text/xml' -d '<Autodiscover/>'", "/autodiscover/autodiscover.xml");
    assert!(
        outlook.contains("<Type>IMAP</Type>") && outlook.contains("<Server>mail.acme.example</Server>"),
        "{outlook}"
    );
    assert_eq!(fetch("autodiscover", "-d '<Autodiscover/>'", "/Autodiscover/Autodiscover.xml"), outlook);
    assert_eq!(lab.sh("edge", "xmllint --xpath \"count(//*[local-name()='Protocol'])\" /root/x.xml"), "2");
}
