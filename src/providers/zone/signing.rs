//! Requests to Amazon, signed with Signature Version 4.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// Octets that the hash works on at once (FIPS 180-4).
const BLOCK: usize = 64;

/// HMAC-SHA-256 (RFC 2104).
fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut block = Zeroizing::new([0_u8; BLOCK]);
    if key.len() > BLOCK {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let pad = |with: u8| {
        let mut out = Zeroizing::new([0_u8; BLOCK]);
        out.iter_mut().zip(block.iter()).for_each(|(o, b)| *o = b ^ with);
        out
    };
    let inner = Sha256::new().chain_update(*pad(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(*pad(0x5c)).chain_update(inner).finalize().into()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// What is signed. `path` and `query` as they stand in the URL, the query sorted by name.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub method: &'a str,
    pub host: &'a str,
    pub path: &'a str,
    pub query: &'a str,
    pub body: &'a [u8],
    /// `20150830T123600Z`.
    pub time: &'a str,
    pub region: &'a str,
    pub service: &'a str,
}

/// The value of `Authorization`; the headers `host` and `x-amz-date` are signed.
pub fn authorization(request: &Request<'_>, account: &str, secret: &[u8]) -> String {
    let Request { method, host, path, query, body, time, region, service } = *request;
    let day = time.get(..8).unwrap_or(time);
    let canonical = format!(
        "{method}\n{path}\n{query}\nhost:{host}\nx-amz-date:{time}\n\nhost;x-amz-date\n{}",
        hex(&Sha256::digest(body))
    );
    let scope = format!("{day}/{region}/{service}/aws4_request");
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&Sha256::digest(canonical.as_bytes())));
    let first = Zeroizing::new([b"AWS4", secret].concat());
    let key = [day, region, service, "aws4_request"]
        .iter()
        .fold(first, |key, part| Zeroizing::new(hmac(&key, part.as_bytes()).to_vec()));
    let signature = hex(&hmac(&key, text.as_bytes()));
    format!("AWS4-HMAC-SHA256 Credential={account}/{scope}, SignedHeaders=host;x-amz-date, Signature={signature}")
}

/// A text within a query: all but letters, digits, `-`, `.`, `_` and `~` is written `%2F`.
pub fn encoded(text: &str) -> String {
    let mut out = String::new();
    for b in text.bytes() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(b)),
            _ => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_is_that_of_rfc_4231() {
        for (key, text, wanted) in [
            (vec![0x0b; 20], b"Hi There".to_vec(), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (
                b"Jefe".to_vec(),
                b"what do ya want for nothing?".to_vec(),
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                vec![0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First".to_vec(),
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ] {
            assert_eq!(hex(&hmac(&key, &text)), wanted);
        }
    }

    /// `get-vanilla` and `get-vanilla-query-order-key-case` of Amazon's own test suite for this signature.
    #[test]
    fn signatures_are_those_that_amazon_publishes() {
        for (query, wanted) in [
            ("", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
            ("Param1=value1&Param2=value2", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
        ] {
            let request = Request {
                method: "GET",
                host: "example.amazonaws.com",
                path: "/",
                query,
                body: b"",
                time: "20150830T123600Z",
                region: "us-east-1",
                service: "service",
            };
            let said = authorization(&request, "AKIDEXAMPLE", b"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
            assert_eq!(
                said,
                format!(
                    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, Signature={wanted}"
                )
            );
        }
    }
}
