//! Whom a TLS session of a service takes for the server: by name, by key, or anybody.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs::default_provider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// What makes a server's certificate the right one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verify {
    /// Signed by an authority, and for that name.
    #[default]
    Name,
    /// One of `pins`, whoever signed it.
    Pin,
    /// Any certificate: whoever stands in between can read along. A lint speaks of it.
    None,
}

/// How servers are spoken with. Opens `ca` (PEM; the system's authorities without it). `pins` are `sha256:` and the hexadecimal digest of
/// the certificate's public key (SubjectPublicKeyInfo).
pub fn client(verify: Verify, ca: Option<&Path>, pins: &[String]) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|e| e.to_string())?.dangerous();
    let verifier: Arc<dyn ServerCertVerifier> = match verify {
        Verify::Name => {
            let roots = Arc::new(roots(ca)?);
            WebPkiServerVerifier::builder_with_provider(roots, provider).build().map_err(|e| e.to_string())?
        }
        Verify::Pin => Arc::new(Key { pins: Some(pins.iter().filter_map(|p| digest(p)).collect()), provider }),
        Verify::None => Arc::new(Key { pins: None, provider }),
    };
    Ok(Arc::new(builder.with_custom_certificate_verifier(verifier).with_no_client_auth()))
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let certificates = match ca {
        Some(path) => {
            let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
            read.map_err(|e| format!("ca: {} cannot be read as PEM: {e}", path.display()))?
        }
        None => rustls_native_certs::load_native_certs().certs,
    };
    match (roots.add_parsable_certificates(certificates).0, ca) {
        (0, Some(path)) => Err(format!("ca: {} holds no authority", path.display())),
        (0, None) => Err("ca: this system has no authorities; write ca = \"FILE\"".into()),
        _ => Ok(roots),
    }
}

fn digest(pin: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    let hex = pin.strip_prefix("sha256:")?;
    for (n, octet) in out.iter_mut().enumerate() {
        *octet = u8::from_str_radix(hex.get(2 * n..2 * n + 2)?, 16).ok()?;
    }
    Some(out)
}

/// Whoever signed it: the key counts, or (with `None`) nothing does.
#[derive(Debug)]
struct Key {
    pins: Option<Vec<[u8; 32]>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Key {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(pins) = &self.pins else { return Ok(ServerCertVerified::assertion()) };
        let bad = rustls::Error::InvalidCertificate;
        let (_, parsed) =
            X509Certificate::from_der(end_entity).map_err(|_| bad(rustls::CertificateError::BadEncoding))?;
        let digest: [u8; 32] = Sha256::digest(parsed.public_key().raw).into();
        match pins.contains(&digest) {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(bad(rustls::CertificateError::ApplicationVerificationFailure)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
