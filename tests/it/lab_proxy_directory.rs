//! The proxy's directory against OpenLDAP's slapd and a domain controller of Active Directory (Samba), by TLS, as products ship them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cutover::services::proxy::config::Directory as Settings;
use cutover::services::proxy::directory::{Directory, Unknown};
use cutover::services::proxy::meter::Meter;
use cutover::services::proxy::route::Route;

use crate::support::directories::{self, active_directory, slapd};
use crate::support::lab::Lab;

fn begin(lab: &Lab, of: &directories::Directory, more: &str) -> Result<Arc<Directory>, String> {
    let (ca, password) = (lab.root().join("directory-ca.pem"), lab.root().join("directory-password"));
    std::fs::write(&ca, &of.ca).expect("ca");
    std::fs::write(&password, format!("{}\n", of.password)).expect("password");
    let text = format!(
        "base = \"{}\"\nbind-dn = \"{}\"\npassword-file = {password:?}\nca = {ca:?}\ntimeout = \"3s\"\n{more}",
        of.base, of.reader
    );
    let settings: Settings = toml::from_str(&text).map_err(|e| e.to_string())?;
    Directory::begin(&settings, Arc::new(Meter::default()))
}

async fn side(directory: &Directory, user: &str) -> Result<Option<Route>, Unknown> {
    directory.ask(user).await.map(|answer| answer.and_then(|a| a.route))
}

const PEOPLE: &str = "filter = \"(&(objectClass=inetOrgPerson)(mail={user}))\"\nattribute = \"employeeType\"\nold = [\"old\"]\nnew = [\"new\"]\nheld = [\"held\"]\nblocked = [\"blocked\"]\nlogin-old = \"uid\"\n";
const MEMBERS: &str = "filter = \"(&(objectClass=user)(mail={user}))\"\nattribute = \"memberOf\"\nnew = [\"CN=moved,CN=Users,DC=ad,DC=acme,DC=test\"]\nlogin-new = \"sAMAccountName\"\n";

#[tokio::test]
async fn lab_proxy_slapd() {
    let Some(lab) = Lab::new("proxyldap").host("dir-1").up() else { return };
    let of = slapd(&lab, "dir-1");
    let ip = lab.ip("dir-1");
    for (servers, starttls) in
        [(format!("ldaps://{ip}"), false), (format!("ldap://{ip}"), true), (format!("ldap://{ip}"), false)]
    {
        let d = begin(&lab, &of, &format!("servers = [\"{servers}\"]\nstarttls = {starttls}\n{PEOPLE}"))
            .expect("directory");
        for (user, route) in [
            ("ann", Some(Route::Old)),
            ("bob", Some(Route::New)),
            ("cem", Some(Route::Held)),
            ("dana", Some(Route::Blocked)),
            ("odd", None),
            ("bare", None),
        ] {
            assert_eq!(side(&d, &format!("{user}@acme.test")).await, Ok(route), "{servers} {user}");
        }
        assert_eq!(d.ask("ann@acme.test").await.expect("asked").expect("there").login(Route::Old), Some("ann"));
        assert_eq!(d.ask("nobody@acme.test").await, Ok(None));
        assert!(matches!(d.ask("twin@acme.test").await, Err(Unknown::Wrong(_))), "two entries");
        // Each octet that a filter knows as its own, and everything else.
        for user in
            ["*", "ann*", "*)(uid=ann", "ann@acme.test)(|(mail=*)", "\\2a", "(", ")", "\\", "a\u{fc}", "ann@acme.tes?"]
        {
            assert_eq!(d.ask(user).await, Ok(None), "{user}");
        }
    }
    // Somebody else's certificate, a wrong password, a base that is not there, a port where nobody is: each is "could not be asked".
    let tls = format!("servers = [\"ldaps://{ip}\"]\n{PEOPLE}");
    let other = directories::Directory { ca: rcgen_ca(), ..slapd_like(&of) };
    let wrong = directories::Directory { password: "wrong", ..slapd_like(&of) };
    let nowhere = directories::Directory { base: "dc=nowhere,dc=test", ..slapd_like(&of) };
    let closed = format!("servers = [\"ldap://{ip}:3899\"]\n{PEOPLE}");
    for (what, d) in [
        ("certificate", begin(&lab, &other, &tls)),
        ("password", begin(&lab, &wrong, &tls)),
        ("base", begin(&lab, &nowhere, &tls)),
        ("port", begin(&lab, &of, &closed)),
    ] {
        let d = d.expect("directory");
        assert!(matches!(d.ask("bob@acme.test").await, Err(Unknown::Unreachable(_))), "{what}");
    }
    // It stops and hangs: what was known serves, and after its return the others are asked again.
    let d = begin(&lab, &of, &format!("cache = \"10ms\"\n{tls}")).expect("directory");
    assert_eq!(side(&d, "bob@acme.test").await, Ok(Some(Route::New)));
    lab.sh("dir-1", "pkill -STOP slapd");
    tokio::time::sleep(Duration::from_millis(20)).await;
    let began = Instant::now();
    assert_eq!(side(&d, "bob@acme.test").await, Ok(Some(Route::New)), "it hangs");
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    assert!(matches!(d.ask("ann@acme.test").await, Err(Unknown::Unreachable(_))));
    lab.sh("dir-1", "pkill -CONT slapd; systemctl restart slapd");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(side(&d, "ann@acme.test").await, Ok(Some(Route::Old)), "it is back, on new connections");
    let before: usize = opened(&lab);
    let all: Vec<_> = (0..1000)
        .map(|_| {
            let d = d.clone();
            tokio::spawn(async move { side(&d, "dana@acme.test").await })
        })
        .collect();
    for login in all {
        assert_eq!(login.await.expect("asked"), Ok(Some(Route::Blocked)));
    }
    assert!(opened(&lab) <= before + 5, "the pool is bounded");
    // Last, as so many people slow down searches by mail.
    crate::import_directory::of_slapd(&lab, "dir-1", &of);
}

fn opened(lab: &Lab) -> usize {
    lab.sh("dir-1", "ss -Htn state established '( sport = :636 )' | wc -l").trim().parse().expect("number")
}

fn slapd_like(of: &directories::Directory) -> directories::Directory {
    directories::Directory { ca: of.ca.clone(), base: of.base, reader: of.reader, password: of.password }
}

/// An authority that signed nothing here.
pub fn rcgen_ca() -> String {
    let key = rcgen::KeyPair::generate().expect("key");
    rcgen::CertificateParams::new(vec!["other".to_owned()])
        .expect("names")
        .self_signed(&key)
        .expect("certificate")
        .pem()
}

#[tokio::test]
async fn lab_proxy_active_directory() {
    let Some(lab) = Lab::new("proxyad").host("dc-1").up() else { return };
    let of = active_directory(&lab, "dc-1");
    let ip = lab.ip("dc-1");
    for (servers, starttls, referrals) in
        [(format!("ldaps://{ip}"), false, "ignore"), (format!("ldap://{ip}"), true, "ignore")]
    {
        let more = format!("servers = [\"{servers}\"]\nstarttls = {starttls}\nreferrals = \"{referrals}\"\n{MEMBERS}");
        let d = begin(&lab, &of, &more).expect("directory");
        assert_eq!(side(&d, "bob@acme.test").await, Ok(Some(Route::New)), "{servers}");
        assert_eq!(d.ask("bob@acme.test").await.expect("asked").expect("there").login(Route::New), Some("bob"));
        assert_eq!(side(&d, "ann@acme.test").await, Ok(None), "there, and in no group that means a side");
        assert!(d.ask("ann@acme.test").await.expect("asked").is_some());
        assert_eq!(d.ask("nobody@acme.test").await, Ok(None), "its referrals to other naming contexts say nothing");
        assert!(matches!(d.ask("twin@acme.test").await, Err(Unknown::Wrong(_))));
        for user in ["*", "*)(objectClass=*", "bob@acme.test)(cn=*", "\\2a"] {
            assert_eq!(d.ask(user).await, Ok(None), "{user}");
        }
        lab.sh("dc-1", "samba-tool group addmembers moved ann >/dev/null");
        assert!(d.flush("ann@acme.test"));
        assert_eq!(side(&d, "ann@acme.test").await, Ok(Some(Route::New)), "after the flush it is asked again");
        lab.sh("dc-1", "samba-tool group removemembers moved ann >/dev/null");
    }
    crate::import_directory::of_active_directory(&lab, "dc-1", &of);
    // Without TLS a domain controller takes no password (Samba's `ldap server require strong auth`).
    let d = begin(&lab, &of, &format!("servers = [\"ldap://{ip}\"]\n{MEMBERS}")).expect("directory");
    assert!(matches!(d.ask("bob@acme.test").await, Err(Unknown::Unreachable(_))));
    // Nobody: operationsError, which is not "not there".
    let text = format!("base = \"{}\"\nservers = [\"ldap://{ip}\"]\n{MEMBERS}", of.base);
    let nobody = Directory::begin(&toml::from_str::<Settings>(&text).expect("settings"), Arc::new(Meter::default()))
        .expect("directory");
    assert!(matches!(nobody.ask("bob@acme.test").await, Err(Unknown::Unreachable(_))));
}
