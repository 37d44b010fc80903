//! Directories on lab hosts, as products ship them: OpenLDAP's slapd, and Samba as a domain controller of Active Directory.

use super::lab::Lab;

/// A directory that answers: plain and StartTLS on port 389, LDAPS on 636.
pub struct Directory {
    /// PEM of the authority of its certificate, which names the host's address.
    pub ca: String,
    pub base: &'static str,
    /// Who may read.
    pub reader: &'static str,
    pub password: &'static str,
}

const ADMIN: &str = "Sehr-Geheim-77";
const READER: &str = "Read-Geheim-77";

/// People have `mail` and `employeeType`: ann old, bob new, cem held, dana blocked, odd somewhere, bare none; two are twin.
pub fn slapd(lab: &Lab, host: &str) -> Directory {
    run(lab, host, include_str!("slapd.sh"));
    Directory {
        ca: lab.sh(host, "cat /etc/ldap/ca.pem"),
        base: "dc=acme,dc=test",
        reader: "cn=reader,dc=acme,dc=test",
        password: READER,
    }
}

/// People have `mail`; bob is `memberOf` the group `CN=moved,CN=Users,DC=ad,DC=acme,DC=test`, ann and cem are not; two are twin.
/// A search from the base brings referrals to its other naming contexts, as each domain controller does.
pub fn active_directory(lab: &Lab, host: &str) -> Directory {
    run(lab, host, include_str!("samba.sh"));
    Directory {
        ca: lab.sh(host, "cat /var/lib/samba/private/tls/ca.pem"),
        base: "DC=ad,DC=acme,DC=test",
        reader: "reader@ad.acme.test",
        password: READER,
    }
}

fn run(lab: &Lab, host: &str, script: &str) {
    let values = format!("set -- {} {host}; ADMIN={ADMIN}; READER={READER}\n", lab.ip(host));
    lab.sh(host, &(values + script));
}
