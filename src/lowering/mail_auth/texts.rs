//! The texts of DKIM, DMARC, MTA-STS and TLS reports as they stand in DNS and in the policy file.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::PublicKey;

/// RFC 6376, section 3.6.1; Ed25519 by RFC 8463, section 4.
pub fn dkim(key: &PublicKey) -> String {
    format!("v=DKIM1; k={}; p={}", key.kind, key.base64)
}

/// RFC 9989, section 4.7: no `pct`, which it dropped.
pub fn dmarc(policy: &str, reports: &[&str]) -> String {
    let mut out = format!("v=DMARC1; p={policy}");
    if !reports.is_empty() {
        out.push_str("; rua=");
        out.push_str(&mailto(reports));
    }
    out
}

/// RFC 8460, section 3.
pub fn tls_rpt(reports: &[&str]) -> String {
    format!("v=TLSRPTv1; rua={}", mailto(reports))
}

/// Addresses as URIs: `,` and `!` would end or size one (RFC 8460 3, RFC 9989 4.7), and a `%` begins an escape (RFC 3986 2.1).
fn mailto(addresses: &[&str]) -> String {
    let escape = |a: &&str| {
        let mut out = "mailto:".to_owned();
        for c in a.chars() {
            match c {
                ',' | '!' | ';' | '%' | '?' | '#' | ' ' => out.push_str(&format!("%{:02X}", u32::from(c))),
                c => out.push(c),
            }
        }
        out
    };
    addresses.iter().map(escape).collect::<Vec<_>>().join(",")
}

/// The policy file of MTA-STS (RFC 8461, section 3.2).
pub fn sts_policy(mode: &str, exchangers: &[String], max_age: Duration) -> String {
    let mut out = format!("version: STSv1\nmode: {mode}\n");
    for mx in exchangers {
        out.push_str(&format!("mx: {mx}\n"));
    }
    out.push_str(&format!("max_age: {}\n", max_age.as_secs()));
    out
}

/// The record that says when the policy changed (RFC 8461, section 3.1): its `id` is made from the policy, so that it changes
/// with it and with nothing else.
pub fn sts_record(policy: &str) -> String {
    let digest = Sha256::digest(policy.as_bytes());
    let id: String = digest.iter().take(10).map(|b| format!("{b:02x}")).collect();
    format!("v=STSv1; id={id};")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_is_as_its_standard_has_it() {
        let key =
            PublicKey { kind: "ed25519", base64: "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=".into(), bits: 256 };
        // The key of RFC 8463, appendix A.2.
        assert_eq!(dkim(&key), "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
        assert_eq!(dmarc("none", &[]), "v=DMARC1; p=none");
        assert_eq!(
            dmarc("reject", &["a@x.example", "b!c@x.example"]),
            "v=DMARC1; p=reject; rua=mailto:a@x.example,mailto:b%21c@x.example"
        );
        assert_eq!(tls_rpt(&["t@x.example"]), "v=TLSRPTv1; rua=mailto:t@x.example");
    }

    #[test]
    fn the_id_follows_the_policy() {
        let policy = |mode: &str, mx: &[&str]| {
            let mx: Vec<String> = mx.iter().map(|m| (*m).to_owned()).collect();
            sts_policy(mode, &mx, Duration::from_secs(604_800))
        };
        let first = policy("testing", &["mx1.a.example", "mx2.a.example"]);
        assert_eq!(first, "version: STSv1\nmode: testing\nmx: mx1.a.example\nmx: mx2.a.example\nmax_age: 604800\n");
        assert_eq!(sts_record(&first), sts_record(&policy("testing", &["mx1.a.example", "mx2.a.example"])));
        assert_ne!(sts_record(&first), sts_record(&policy("enforce", &["mx1.a.example", "mx2.a.example"])));
        assert_ne!(sts_record(&first), sts_record(&policy("testing", &["mx1.a.example"])));
        // RFC 8461: 1 to 32 letters and digits.
        let id = sts_record(&first).split("id=").nth(1).map(|i| i.trim_end_matches(';').to_owned()).unwrap_or_default();
        assert!(id.len() == 20 && id.bytes().all(|b| b.is_ascii_alphanumeric()), "{id}");
    }
}
