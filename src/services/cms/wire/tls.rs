//! Whom TLS takes for the server: by name, by key, or anybody.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs::default_provider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sha2::Digest as _;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::services::cms::config::{CertificateCheck, End};
use crate::services::cms::mailbox::{Class, Fault};

/// How the server of an end is spoken with. Opens `ca`.
pub(super) fn client(end: &End) -> Result<Arc<ClientConfig>, Fault> {
    let local = |e: String| Fault::new(Class::Local, e);
    let provider = Arc::new(default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|e| local(e.to_string()))?.dangerous();
    let verifier: Arc<dyn ServerCertVerifier> = match end.verify {
        CertificateCheck::Name => {
            let roots = Arc::new(roots(end.ca.as_deref())?);
            let built = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
            built.map_err(|e| local(e.to_string()))?
        }
        CertificateCheck::Pin => Arc::new(Key { pins: Some(pins(end)), provider }),
        CertificateCheck::None => Arc::new(Key { pins: None, provider }),
    };
    Ok(Arc::new(builder.with_custom_certificate_verifier(verifier).with_no_client_auth()))
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, Fault> {
    let local = |e: String| Fault::new(Class::Local, e);
    let mut roots = RootCertStore::empty();
    let certificates = match ca {
        Some(path) => {
            let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
            read.map_err(|e| local(format!("ca: {}: {e}", path.display())))?
        }
        None => rustls_native_certs::load_native_certs().certs,
    };
    match (roots.add_parsable_certificates(certificates).0, ca) {
        (0, Some(path)) => Err(local(format!("ca: {} holds no authority", path.display()))),
        (0, None) => Err(local("ca: this system has no authorities; write ca = \"FILE\"".into())),
        _ => Ok(roots),
    }
}

fn pins(end: &End) -> Vec<[u8; 32]> {
    let digest = |pin: &String| {
        let mut out = [0; 32];
        let hex = pin.strip_prefix("sha256:")?;
        for (n, octet) in out.iter_mut().enumerate() {
            *octet = u8::from_str_radix(hex.get(2 * n..2 * n + 2)?, 16).ok()?;
        }
        Some(out)
    };
    end.pins.iter().filter_map(digest).collect()
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
        let digest: [u8; 32] = sha2::Sha256::digest(parsed.public_key().raw).into();
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
