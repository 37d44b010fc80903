//! The shared secret of a TSIG key (RFC 8945).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hickory_proto::rr::TSigner;
use hickory_proto::rr::rdata::tsig::TsigAlgorithm;

use super::{DnsError, data};

/// Seconds that clocks may be apart, as RFC 8945, section 10 recommends.
const FUDGE: u16 = 300;

/// A key that signs what we send and proves what we get. Not `Debug`: it holds the secret.
#[derive(Clone)]
pub struct TsigKey {
    pub(super) signer: TSigner,
}

impl TsigKey {
    /// `secret` in base64, as key files of name servers have it; `algorithm` as in `hmac-sha256`.
    pub fn new(name: &str, algorithm: &str, secret: &str) -> Result<Self, DnsError> {
        let wrong = |what: String| DnsError::Input(format!("TSIG key {name}: {what}"));
        let algorithm = match algorithm {
            "hmac-sha256" => TsigAlgorithm::HmacSha256,
            "hmac-sha384" => TsigAlgorithm::HmacSha384,
            "hmac-sha512" => TsigAlgorithm::HmacSha512,
            other => return Err(wrong(format!("the algorithm {other} is not known"))),
        };
        // Not the error of the decoder: it quotes a byte of the secret.
        let secret = STANDARD.decode(secret.trim()).map_err(|_| wrong("its secret is not base64".into()))?;
        let signer = TSigner::new(secret, algorithm, data::name(name)?, FUDGE).map_err(|e| wrong(e.to_string()))?;
        Ok(Self { signer })
    }
}
