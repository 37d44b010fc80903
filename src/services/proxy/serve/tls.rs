//! What TLS is done with: certificates by the name that a client asks for, and how the servers behind are verified.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::services::proxy::config::Certificate;
use crate::services::proxy::session::Protocol;

/// The certificates in force. Replaced whole; connections that stand keep what they have.
#[derive(Debug)]
pub struct Certificates {
    set: Arc<ArcSwap<Set>>,
    servers: HashMap<Protocol, Arc<ServerConfig>>,
}

/// By host name, small letters, `*.` in front where it stands for one label.
#[derive(Debug, Default)]
pub struct Set {
    first: Option<Arc<CertifiedKey>>,
    names: HashMap<String, Arc<CertifiedKey>>,
    expiry: Vec<(String, i64)>,
}

#[derive(Debug)]
struct Resolver(Arc<ArcSwap<Set>>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load().of(hello.server_name())
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

impl Set {
    /// Opens what the configuration names. Every mistake at once.
    pub fn open(certificates: &[Certificate]) -> Result<Self, Vec<String>> {
        let mut set = Self::default();
        let mut faults = Vec::new();
        for certificate in certificates {
            match opened(certificate) {
                Ok((key, names, expiry)) => {
                    let first = names.first().cloned();
                    set.expiry.push((first.unwrap_or_else(|| certificate.chain.display().to_string()), expiry));
                    for name in names {
                        set.names.entry(name).or_insert_with(|| key.clone());
                    }
                    set.first.get_or_insert(key);
                }
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty() { Ok(set) } else { Err(faults) }
    }

    fn of(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let named = name.and_then(|name| {
            let name = name.to_ascii_lowercase();
            let wild = || name.split_once('.').and_then(|(_, rest)| self.names.get(&format!("*.{rest}")));
            self.names.get(&name).or_else(wild)
        });
        named.or(self.first.as_ref()).cloned()
    }
}

fn opened(certificate: &Certificate) -> Result<(Arc<CertifiedKey>, Vec<String>, i64), String> {
    let (chain_at, key_at) = (certificate.chain.display(), certificate.key.display());
    let chain = chain(&certificate.chain)?;
    let key = PrivateKeyDer::from_pem_file(&certificate.key)
        .map_err(|e| format!("certificate: {key_at} holds no private key in PEM: {e}"))?;
    let first = chain.first().ok_or_else(|| format!("certificate: {chain_at} holds no certificate"))?;
    let (_, parsed) = X509Certificate::from_der(first)
        .map_err(|e| format!("certificate: the first one of {chain_at} cannot be read: {e}"))?;
    let names = match certificate.names.is_empty() {
        false => certificate.names.iter().map(|n| n.to_ascii_lowercase()).collect(),
        true => {
            let names = parsed.subject_alternative_name().ok().flatten();
            let names = names.iter().flat_map(|n| &n.value.general_names);
            names
                .filter_map(|n| if let GeneralName::DNSName(n) = n { Some(n.to_ascii_lowercase()) } else { None })
                .collect()
        }
    };
    let expiry = parsed.validity().not_after.timestamp();
    let key = CertifiedKey::from_der(chain.clone(), key, &provider())
        .map_err(|e| format!("certificate: {key_at} is not the key of {chain_at}: {e}"))?;
    Ok((Arc::new(key), names, expiry))
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    certificates.map_err(|e| format!("certificate: {} cannot be read as PEM: {e}", path.display()))
}

impl Certificates {
    pub fn open(certificates: &[Certificate]) -> Result<Self, Vec<String>> {
        Self::new(Set::open(certificates)?).map_err(|e| vec![e])
    }

    fn new(set: Set) -> Result<Self, String> {
        let set = Arc::new(ArcSwap::from_pointee(set));
        let mut servers = HashMap::new();
        for protocol in Protocol::ALL {
            let config = server(protocol, Resolver(set.clone())).map_err(|e| e.to_string())?;
            servers.insert(protocol, Arc::new(config));
        }
        Ok(Self { set, servers })
    }

    /// The names of the certificates in force, and when each expires, in seconds since 1970.
    pub fn expiry(&self) -> Vec<(String, i64)> {
        self.set.load().expiry.clone()
    }

    /// New handshakes use these.
    pub fn replace(&self, set: Set) {
        self.set.store(Arc::new(set));
    }

    pub(super) fn server(&self, protocol: Protocol) -> Option<Arc<ServerConfig>> {
        self.servers.get(&protocol).cloned()
    }
}

/// What ALPN calls a protocol: imap and pop3 as IANA lists them (RFC 7301), smtp as Exim does. A client that asks for something
/// else was sent here by somebody (ALPACA, CVE-2021-3618), and one that asks for nothing is an ordinary mail client.
fn alpn(protocol: Protocol) -> &'static [u8] {
    match protocol {
        Protocol::Imap => b"imap",
        Protocol::Pop3 => b"pop3",
        Protocol::Submission => b"smtp",
    }
}

fn server(protocol: Protocol, resolver: Resolver) -> Result<ServerConfig, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = vec![alpn(protocol).to_vec()];
    // Resumption without a store: the ticket holds the state, sealed by a key of this process that changes every six hours.
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 1;
    Ok(config)
}
