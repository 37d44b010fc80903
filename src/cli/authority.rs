//! Makes what lowering needs and may not make itself: certificates of the organisation's own authority, and secrets between hosts.
//!
//! All of it is kept in the state folder (`ca/`, `secrets/`, files of mode 0600), so that the next run finds the same: a plan stays
//! empty until a certificate comes near its end. Whoever plans from another machine needs the same folder, or `issuer=import`.

use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer as Signer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use sha2::{Digest as _, Sha256};
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;
use zeroize::Zeroizing;

use crate::lowering::certificate::{Issued, Issuer, Request};
use crate::lowering::{Needs, Options};
use crate::model::{Diagnostic, Diagnostics, SecretRef};

const DAY: Duration = Duration::from_secs(86_400);
/// An authority outlives what it signs; it is distributed again when it changes.
const AUTHORITY_LIFE: Duration = Duration::from_secs(10 * 365 * 86_400);
/// Clients refuse more than 398 days (CA/Browser Forum baseline requirements 6.3.2).
const LEAF_LIFE: Duration = Duration::from_secs(365 * 86_400);

/// Where to keep what is made, and the time.
pub struct Authority {
    /// Folder of the topology; paths of imported certificates and references are relative to it.
    root: PathBuf,
    /// State folder of this organisation and environment.
    dir: PathBuf,
    organization: String,
    now: SystemTime,
}

impl Authority {
    pub fn new(root: &Path, dir: &Path, organization: &str, now: SystemTime) -> Self {
        Self { root: root.to_owned(), dir: dir.to_owned(), organization: organization.to_owned(), now }
    }

    /// Makes or finds everything that is needed. What fails is reported and left out.
    pub fn fulfil(&self, needs: &Needs, diagnostics: &mut Diagnostics) -> Options {
        let mut options = Options::default();
        for request in &needs.certificates {
            match self.certificate(request, diagnostics) {
                Ok(issued) => {
                    options.certificates.insert(request.name.clone(), issued);
                }
                Err(why) => diagnostics.push(
                    Diagnostic::error("E1022", format!("certificate {}: {why}", request.name))
                        .label(request.span, "asked for here"),
                ),
            }
        }
        for name in &needs.secrets {
            let path = self.dir.join("secrets").join(name);
            match keep(&path, random) {
                Ok(_) => {
                    options.secrets.insert(name.clone(), self.reference(&path));
                }
                Err(why) => diagnostics.push(Diagnostic::error("E1022", format!("secret {name}: {why}"))),
            }
        }
        options
    }

    fn certificate(&self, request: &Request, diagnostics: &mut Diagnostics) -> Result<Issued, String> {
        match request.issuer {
            Issuer::Import => self.import(request, diagnostics),
            Issuer::Internal => {
                let (ca_pem, ca_key) = self.own_authority()?;
                let signer = Signer::from_ca_cert_pem(&ca_pem, ca_key).map_err(|e| format!("the authority: {e}"))?;
                let chain = self.leaf(request, Some(&ca_pem), |params, key| params.signed_by(key, &signer))?;
                Ok(Issued {
                    keys: digest(&chain)?,
                    chain,
                    trust: Some(ca_pem),
                    key: self.reference(&self.key_path(&request.name)),
                })
            }
            Issuer::SelfSigned => {
                let chain = self.leaf(request, None, |params, key| params.self_signed(key))?;
                Ok(Issued {
                    keys: digest(&chain)?,
                    trust: Some(chain.clone()),
                    chain,
                    key: self.reference(&self.key_path(&request.name)),
                })
            }
        }
    }

    fn import(&self, request: &Request, diagnostics: &mut Diagnostics) -> Result<Issued, String> {
        let key = request.key.clone().ok_or("issuer=import wants key=(secret)\"file:..\"")?;
        let chain =
            request.chain.as_ref().ok_or("issuer=import wants chain=\"PATH\", a PEM file with the leaf first")?;
        let path = self.root.join(chain);
        let text = std::fs::read_to_string(&path).map_err(|e| format!("{} cannot be read: {e}", path.display()))?;
        let end = not_after(&text).ok_or_else(|| format!("{} holds no PEM certificate", path.display()))?;
        let left = end.saturating_sub(self.seconds());
        let help = "import a newer one; it is exchanged by the next apply";
        if left == 0 {
            diagnostics.push(
                Diagnostic::error("E1023", format!("certificate {} has ended", request.name))
                    .label(request.span, "imported here")
                    .help(help),
            );
        } else if left < warn_before(request).as_secs() {
            let days = left / DAY.as_secs();
            let left = if days == 1 { "1 more day".to_owned() } else { format!("{days} more days") };
            let label = match request.exchange && days < EXCHANGE_RED {
                true => "imported here; HealthChecker reports an error of it by now",
                false => "imported here",
            };
            diagnostics.push(
                Diagnostic::warning("W1003", format!("certificate {} is valid for {left}", request.name))
                    .label(request.span, label)
                    .help(help),
            );
        }
        let mut keys = digest(&text)?;
        if let Some(next) = &request.next {
            let path = self.root.join(next);
            let text = std::fs::read_to_string(&path).map_err(|e| format!("{} cannot be read: {e}", path.display()))?;
            keys.extend(digest(&text).map_err(|_| format!("{} holds no PEM certificate", path.display()))?);
        }
        Ok(Issued { chain: text, trust: None, key, keys })
    }

    /// The organisation's authority, made at first use.
    fn own_authority(&self) -> Result<(String, KeyPair), String> {
        let key = self.key("ca")?;
        let path = self.dir.join("ca/ca.pem");
        if let Some(found) = read(&path)?
            && not_after(&found).is_some_and(|end| end > self.seconds() + LEAF_LIFE.as_secs())
        {
            return Ok((found, key));
        }
        let mut params = CertificateParams::new(Vec::new()).map_err(|e| e.to_string())?;
        params.distinguished_name.push(DnType::OrganizationName, &self.organization);
        params.distinguished_name.push(DnType::CommonName, format!("{} mail authority", self.organization));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        self.dates(&mut params, AUTHORITY_LIFE);
        let pem = params.self_signed(&key).map_err(|e| e.to_string())?.pem();
        replace(&path, pem.as_bytes())?;
        Ok((pem, key))
    }

    /// The leaf certificate on disk when it still serves, else a new one with the same key.
    fn leaf(
        &self,
        request: &Request,
        ca: Option<&str>,
        sign: impl FnOnce(CertificateParams, &KeyPair) -> Result<rcgen::Certificate, rcgen::Error>,
    ) -> Result<String, String> {
        let path = self.dir.join("ca").join(format!("{}.pem", request.name));
        let key = self.key(&request.name)?;
        if let Some(found) = read(&path)?
            && self.serves(&found, request, ca)
        {
            return Ok(found);
        }
        let mut params = CertificateParams::new(request.names.clone()).map_err(|e| e.to_string())?;
        for address in &request.addresses {
            let address: IpAddr = address.parse().map_err(|_| format!("`{address}` is no address"))?;
            params.subject_alt_names.push(SanType::IpAddress(address));
        }
        params.distinguished_name.push(DnType::CommonName, &request.subject);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // Client use too: members of a pair log in to each other.
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = ca.is_some();
        self.dates(&mut params, LEAF_LIFE);
        let pem = sign(params, &key).map_err(|e| e.to_string())?.pem();
        replace(&path, pem.as_bytes())?;
        Ok(pem)
    }

    fn serves(&self, pem: &str, request: &Request, ca: Option<&str>) -> bool {
        let end = not_after(pem).unwrap_or(0);
        let signed = ca.is_none_or(|ca| signed_by(pem, ca));
        signed
            && end > self.seconds() + request.renew_before.as_secs()
            && names(pem).is_some_and(|(dns, ip)| dns == request.names && ip == request.addresses)
    }

    fn dates(&self, params: &mut CertificateParams, life: Duration) {
        let epoch = date_time_ymd(1970, 1, 1);
        let now = Duration::from_secs(self.seconds());
        // Hosts whose clock is behind must not refuse a fresh certificate.
        params.not_before = epoch + now.saturating_sub(DAY);
        params.not_after = epoch + now + life;
    }

    fn seconds(&self) -> u64 {
        self.now.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
    }

    fn key_path(&self, name: &str) -> PathBuf {
        self.dir.join("ca").join(format!("{name}.key"))
    }

    fn key(&self, name: &str) -> Result<KeyPair, String> {
        let make = || Ok(KeyPair::generate().map_err(|e| e.to_string())?.serialize_pem());
        let pem = keep(&self.key_path(name), make)?;
        KeyPair::from_pem(&pem).map_err(|e| format!("{}: {e}", self.key_path(name).display()))
    }

    /// Relative to the root folder where it can be, so that a plan means the same elsewhere.
    fn reference(&self, path: &Path) -> SecretRef {
        let relative = path.strip_prefix(&self.root).map(Path::to_owned);
        let shown = relative.or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned());
        SecretRef(format!("file:{}", shown.display()))
    }
}

/// Days before the end from which Microsoft's CSS-Exchange HealthChecker warns of a certificate, and reports an error of it.
const EXCHANGE_YELLOW: u32 = 60;
const EXCHANGE_RED: u64 = 30;

/// How long before its end an import is warned of.
fn warn_before(request: &Request) -> Duration {
    match request.exchange {
        true => request.renew_before.max(DAY * EXCHANGE_YELLOW),
        false => request.renew_before,
    }
}

fn parse(pem: &str) -> Option<Pem> {
    Pem::iter_from_buffer(pem.as_bytes()).next()?.ok()
}

/// SHA-256 of the leaf's public key (SubjectPublicKeyInfo), as a TLSA record with selector 1 has it (RFC 6698, section 2.1).
pub(super) fn digest(pem: &str) -> Result<Vec<String>, String> {
    let pem = parse(pem).ok_or("there is no PEM certificate")?;
    let cert = pem.parse_x509().map_err(|e| e.to_string())?;
    Ok(vec![Sha256::digest(cert.public_key().raw).iter().map(|b| format!("{b:02x}")).collect()])
}

/// Unix seconds.
fn not_after(pem: &str) -> Option<u64> {
    let pem = parse(pem)?;
    u64::try_from(pem.parse_x509().ok()?.validity().not_after.timestamp()).ok()
}

fn signed_by(pem: &str, ca: &str) -> bool {
    let (Some(leaf), Some(ca)) = (parse(pem), parse(ca)) else { return false };
    let (Ok(leaf), Ok(ca)) = (leaf.parse_x509(), ca.parse_x509()) else { return false };
    // By key, not by signature: the checker would want another crypto library.
    let id = |cert: &x509_parser::certificate::X509Certificate<'_>, authority: bool| {
        cert.extensions().iter().find_map(|e| match e.parsed_extension() {
            x509_parser::extensions::ParsedExtension::AuthorityKeyIdentifier(a) if authority => {
                a.key_identifier.as_ref().map(|k| k.0.to_vec())
            }
            x509_parser::extensions::ParsedExtension::SubjectKeyIdentifier(k) if !authority => Some(k.0.to_vec()),
            _ => None,
        })
    };
    let (of_leaf, of_ca) = (id(&leaf, true), id(&ca, false));
    of_leaf.is_some() && of_leaf == of_ca
}

/// DNS names and addresses, each sorted.
fn names(pem: &str) -> Option<(Vec<String>, Vec<String>)> {
    let pem = parse(pem)?;
    let cert = pem.parse_x509().ok()?;
    let san = cert.subject_alternative_name().ok()??;
    let mut dns = Vec::new();
    let mut ips = Vec::new();
    for name in &san.value.general_names {
        match name {
            GeneralName::DNSName(n) => dns.push((*n).to_owned()),
            GeneralName::IPAddress(b) => ips.push(match b.len() {
                4 => IpAddr::from(<[u8; 4]>::try_from(*b).ok()?).to_string(),
                _ => IpAddr::from(<[u8; 16]>::try_from(*b).ok()?).to_string(),
            }),
            _ => {}
        }
    }
    dns.sort();
    ips.sort();
    Some((dns, ips))
}

fn random() -> Result<String, String> {
    let mut bytes = Zeroizing::new([0u8; 32]);
    getrandom::fill(bytes.as_mut_slice()).map_err(|e| e.to_string())?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

fn read(path: &Path) -> Result<Option<String>, String> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(format!("{} cannot be read: {e}", path.display())),
    }
}

/// The text of a private file, made at first use. Two first uses at once end with one text.
pub(super) fn keep(path: &Path, make: impl FnOnce() -> Result<String, String>) -> Result<Zeroizing<String>, String> {
    if let Some(found) = read(path)? {
        return Ok(Zeroizing::new(found));
    }
    let text = Zeroizing::new(make()?);
    let aside = write_aside(path, text.as_bytes())?;
    let linked = std::fs::hard_link(&aside, path);
    let removed = std::fs::remove_file(&aside);
    match linked {
        Ok(()) => removed.map(|()| text).map_err(|e| e.to_string()),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            read(path)?.map(Zeroizing::new).ok_or_else(|| format!("{} has gone", path.display()))
        }
        Err(e) => Err(format!("{} cannot be written: {e}", path.display())),
    }
}

pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let aside = write_aside(path, bytes)?;
    std::fs::rename(&aside, path).map_err(|e| format!("{} cannot be written: {e}", path.display()))
}

fn write_aside(path: &Path, bytes: &[u8]) -> Result<PathBuf, String> {
    let fail = |e: std::io::Error| format!("{} cannot be written: {e}", path.display());
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).map_err(fail)?;
    let aside = path.with_extension(format!("new-{}", std::process::id()));
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside).map_err(fail)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(fail)?;
    Ok(aside)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{SourceId, Span};

    fn request(issuer: Issuer) -> Request {
        Request {
            name: "tls".into(),
            issuer,
            subject: "mail.acme.example".into(),
            names: vec!["gate.acme.example".into(), "mail.acme.example".into()],
            addresses: vec!["192.0.2.10".into(), "2001:db8::10".into()],
            renew_before: 30 * DAY,
            exchange: false,
            key: None,
            chain: None,
            next: None,
            span: Span { source: SourceId(0), offset: 0, len: 0 },
        }
    }

    fn issue(dir: &Path, request: &Request, now: SystemTime) -> Issued {
        let needs =
            Needs { certificates: vec![request.clone()], secrets: vec!["pair-store".into()], ..Needs::default() };
        let mut diagnostics = Diagnostics::default();
        let options = Authority::new(dir, &dir.join(".cutover/a-lab"), "acme", now).fulfil(&needs, &mut diagnostics);
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
        assert_eq!(options.secrets["pair-store"].0, "file:.cutover/a-lab/secrets/pair-store");
        options.certificates["tls"].clone()
    }

    #[test]
    fn certificates_stay_until_they_near_their_end_or_their_names_change() {
        for issuer in [Issuer::Internal, Issuer::SelfSigned] {
            let dir = tempfile::tempdir().unwrap();
            let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
            let first = issue(dir.path(), &request(issuer), now);
            assert_eq!(first, issue(dir.path(), &request(issuer), now + 300 * DAY), "still long to go");
            let renewed = issue(dir.path(), &request(issuer), now + 336 * DAY);
            assert_ne!(first.chain, renewed.chain, "30 days before the end");
            assert_eq!(first.key, renewed.key);
            let mut other = request(issuer);
            other.names.push("new.acme.example".into());
            let wider = issue(dir.path(), &other, now + 336 * DAY);
            assert_ne!(wider.chain, renewed.chain, "another name");
            if issuer == Issuer::Internal {
                assert_eq!(first.trust, wider.trust, "the authority stays");
                assert!(signed_by(&wider.chain, wider.trust.as_deref().unwrap()));
            }
        }
    }

    #[test]
    fn keys_are_private_files_and_references() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let issued = issue(dir.path(), &request(Issuer::Internal), SystemTime::now());
        assert_eq!(issued.key.0, "file:.cutover/a-lab/ca/tls.key");
        for file in ["ca/tls.key", "ca/ca.key", "secrets/pair-store"] {
            let path = dir.path().join(".cutover/a-lab").join(file);
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{file}");
        }
    }

    #[test]
    fn imports_warn_before_they_end_and_say_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let own = issue(dir.path(), &request(Issuer::SelfSigned), now);
        std::fs::write(dir.path().join("chain.pem"), &own.chain).unwrap();
        let mut import = request(Issuer::Import);
        let run = |r: &Request, now| {
            let mut d = Diagnostics::default();
            let needs = Needs { certificates: vec![r.clone()], ..Needs::default() };
            let options = Authority::new(dir.path(), &dir.path().join("s"), "acme", now).fulfil(&needs, &mut d);
            (options, d.iter().map(|d| format!("{} {}", d.code, d.message)).collect::<Vec<_>>())
        };
        assert!(run(&import, now).1[0].contains("wants key="));
        import.key = Some(SecretRef("file:k.pem".into()));
        import.chain = Some("chain.pem".into());
        let (options, said) = run(&import, now);
        assert_eq!((options.certificates["tls"].chain.as_str(), said.len()), (own.chain.as_str(), 0));
        assert_eq!(options.certificates["tls"].keys, own.keys);
        // The certificate that comes next is announced beside it.
        let mut other = request(Issuer::SelfSigned);
        other.name = "other".into();
        let needs = Needs { certificates: vec![other], ..Needs::default() };
        let other =
            Authority::new(dir.path(), &dir.path().join("s"), "acme", now).fulfil(&needs, &mut Diagnostics::default());
        let other = other.certificates["other"].clone();
        std::fs::write(dir.path().join("next.pem"), &other.chain).unwrap();
        let with_next = Request { next: Some("next.pem".into()), ..import.clone() };
        assert_eq!(run(&with_next, now).0.certificates["tls"].keys, [own.keys[0].clone(), other.keys[0].clone()]);
        assert_eq!(run(&import, now + 350 * DAY).1, ["W1003 certificate tls is valid for 15 more days"]);
        assert_eq!(run(&import, now + 364 * DAY).1, ["W1003 certificate tls is valid for 1 more day"]);
        assert_eq!(run(&import, now + 366 * DAY).1, ["E1023 certificate tls has ended"]);
        assert!(run(&import, now + 320 * DAY).1.is_empty());
        import.exchange = true;
        assert_eq!(run(&import, now + 320 * DAY).1, ["W1003 certificate tls is valid for 45 more days"]);
        assert!(run(&import, now + 300 * DAY).1.is_empty());
    }
}
