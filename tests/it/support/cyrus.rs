//! Cyrus IMAP on a lab host, as Debian ships it: a source that is not Dovecot.

use super::lab::Lab;

/// IMAP on 143 and 993, POP3 on 110 and 995; each user has INBOX and Sent. Plain logins are taken. The PEM of the
/// authority of its certificate, which names `cyrus.acme.test` and the host's address. Passwords hold no quotes and no spaces.
pub fn cyrus(lab: &Lab, host: &str, users: &[(&str, &str)]) -> String {
    let users: Vec<String> = users.iter().map(|(name, password)| format!("{name} {password}")).collect();
    let values = format!("set -- {}; USERS='{}'\n", lab.ip(host), users.join("\n"));
    lab.sh(host, &(values + include_str!("cyrus.sh")));
    lab.sh(host, "cat /etc/cyrus-tls/ca.pem")
}
