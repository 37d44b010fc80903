//! Makes or reads the keys that sign mail, for their public halves. A private key stays where its reference points: lowering is
//! handed the public half, and the hosts that sign read the private one at apply, as any secret.

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{KeyPair, PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData as _, RsaKeySize};
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey as Parsed;
use x509_parser::x509::SubjectPublicKeyInfo;
use zeroize::Zeroizing;

use super::authority::keep;
use super::rotation::{self, Course};
use super::served::Servers;
use super::{runtime, secrets};
use crate::lowering::mail_auth::rotation::{Key, Stage, stage};
use crate::lowering::mail_auth::{KeyRequest, PublicKey, Selector};
use crate::model::topology::Topology;
use crate::model::unit::format_duration;
use crate::model::{Diagnostic, Diagnostics};
use crate::secret::{Resolve as _, Resolver};

/// What becomes of keys that cutover changes itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Their change goes on, where it is due.
    GoesOn,
    /// They are as the last run left them.
    Stays,
}

/// The keys of a topology.
#[derive(Default)]
pub struct Keys {
    /// By the name of the node.
    pub selectors: BTreeMap<String, Vec<Selector>>,
    /// Keys that cutover changes itself.
    pub courses: Vec<Course>,
}

/// Whether nothing stands where a key is to be, and nobody said that it may be made.
fn missing(root: &Path, request: &KeyRequest) -> bool {
    matches!(request.key.parts(), ("file", path) if !request.generate && !root.join(path).exists())
}

/// The public half of each key. One that is not there is made when the topology says so; what fails is reported and left out.
pub fn public(
    root: &Path,
    topology: &Topology,
    requests: &[KeyRequest],
    change: Change,
    diagnostics: &mut Diagnostics,
) -> Keys {
    let mut out = Keys::default();
    if requests.is_empty() {
        return out;
    }
    let resolver = secrets::resolver(root, topology);
    let servers = LazyCell::new(|| Servers::of(topology));
    let environment = topology.environment.as_deref();
    for request in requests {
        let found = match (request.automatic(), change) {
            (false, _) => one(root, &resolver, request).map(|key| vec![Selector::only(request, key)]),
            (true, Change::Stays) => rotation::published(root, environment, request),
            (true, Change::GoesOn) => rotation::go_on(root, environment, &servers, request).map(|(made, course)| {
                out.courses.push(course);
                made
            }),
        };
        let found = found.and_then(|made| match made.iter().find(|s| clashes(request, s, requests)) {
            Some(s) => {
                Err(format!("its next key has the selector {}, which another dkim has; rename that one", s.name))
            }
            None => Ok(made),
        });
        match found {
            Ok(made) => drop(out.selectors.insert(request.node.clone(), made)),
            Err(why) => {
                let said = format!("DKIM key {} of {}: {why}", request.selector, request.domain);
                let diagnostic = Diagnostic::error("E1022", said).label(request.span, "asked for here");
                diagnostics.push(match missing(root, request) {
                    true => {
                        diagnostic.help("write generate=#true, and cutover makes it; or put a private key in PEM there")
                    }
                    false => diagnostic,
                });
            }
        }
    }
    let manual = || requests.iter().filter(|r| !r.automatic());
    for (domain, ed25519) in manual().map(|r| (&r.domain, r.ed25519)).collect::<BTreeSet<_>>() {
        advise(root, manual().filter(|r| r.domain == *domain && r.ed25519 == ed25519), diagnostics);
    }
    out
}

/// Another node of the domain has this selector.
fn clashes(request: &KeyRequest, selector: &Selector, all: &[KeyRequest]) -> bool {
    all.iter().any(|r| r.node != request.node && r.domain == request.domain && r.selector == selector.name)
}

/// Says what comes next where a key is to be changed. Ages are those of files: keys from elsewhere tell none.
fn advise<'r>(root: &Path, requests: impl Iterator<Item = &'r KeyRequest>, diagnostics: &mut Diagnostics) {
    let requests: Vec<&KeyRequest> = requests.collect();
    let age = |r: &KeyRequest| match r.key.parts() {
        ("file", path) => std::fs::metadata(root.join(path)).ok()?.modified().ok()?.elapsed().ok(),
        _ => None,
    };
    let keys: Option<Vec<Key<'_>>> =
        requests.iter().map(|r| Some(Key { selector: &r.selector, age: age(r)?, signs: r.signs })).collect();
    let every = requests.iter().filter_map(|r| r.rotate).min();
    let (Some(keys), Some(every), Some(ttl)) = (keys, every, requests.iter().map(|r| r.ttl).max()) else { return };
    let days = |d: Duration| d.as_secs() / 86_400;
    let (at, said, help) = match stage(&keys, every, ttl) {
        None | Some(Stage::Steady(_)) => return,
        Some(Stage::Due { old, over }) => (
            old,
            format!("is {} days older than rotate allows", days(over)),
            "add a second dkim with a new name and key and no signers; its record is published by the next apply"
                .into(),
        ),
        Some(Stage::Announced { new, wait }) => (
            new,
            "is announced, and caches may not know it yet".to_owned(),
            format!("move the signers to it in {} or later", format_duration(Duration::from_secs(wait.as_secs()))),
        ),
        Some(Stage::Ready { old, new }) => {
            (new, "can sign now".to_owned(), format!("move the signers of {old} to {new}"))
        }
        Some(Stage::Retiring { old, wait }) if wait.is_zero() => {
            (old, "signs no more".to_owned(), "take it away five days after the signers were moved".to_owned())
        }
        // Nothing to do but wait.
        Some(Stage::Retiring { .. }) => return,
    };
    let Some(request) = requests.iter().find(|r| r.selector == at) else { return };
    diagnostics.push(
        Diagnostic::warning("W1006", format!("DKIM key {at} of {} {said}", request.domain))
            .label(request.span, "this key")
            .help(help),
    );
}

fn one(root: &Path, resolver: &Resolver, request: &KeyRequest) -> Result<PublicKey, String> {
    let pem = match request.key.parts() {
        ("file", path) if request.generate => keep(&root.join(path), || make(request))?,
        (scheme, _) if request.generate => {
            return Err(format!("generate=#true makes a file, and `{scheme}:` is none; write key=(secret)\"file:..\""));
        }
        _ => {
            let read = runtime::block_on(resolver.bytes(&request.key)).map_err(|_| "the system gives no threads")?;
            let bytes = read.map_err(|e| e.to_string())?;
            Zeroizing::new(std::str::from_utf8(&bytes).map_err(|_| "it is no PEM file")?.to_owned())
        }
    };
    let key = half(&pem)?;
    let wanted = if request.ed25519 { "ed25519" } else { "rsa" };
    if key.kind != wanted {
        let said = if request.ed25519 { "ed25519-sha256" } else { "rsa-sha256" };
        return Err(format!("it is a key for {}, and algorithm says {said}", key.kind));
    }
    Ok(key)
}

/// The public half of a private key in PEM (PKCS #8, or PKCS #1 for RSA).
pub fn half(pem: &str) -> Result<PublicKey, String> {
    let pair = KeyPair::from_pem(pem)
        .map_err(|_| "it is no private key in PEM that can be used: RSA of 2048 to 8192 bits, or Ed25519")?;
    if pair.algorithm() == &PKCS_ED25519 {
        return Ok(PublicKey { kind: "ed25519", base64: STANDARD.encode(pair.public_key_raw()), bits: 256 });
    }
    let info = pair.subject_public_key_info();
    let (_, parsed) = SubjectPublicKeyInfo::from_der(&info).map_err(|e| e.to_string())?;
    match parsed.parsed() {
        Ok(Parsed::RSA(rsa)) => {
            let bits = u32::try_from(rsa.key_size()).map_err(|_| "its key is too long")?;
            Ok(PublicKey { kind: "rsa", base64: STANDARD.encode(&info), bits })
        }
        _ => Err("it is neither an RSA nor an Ed25519 key".into()),
    }
}

/// A new private key as PEM, PKCS #8.
pub fn make(request: &KeyRequest) -> Result<String, String> {
    if request.ed25519 {
        return ed25519();
    }
    let size = match request.bits {
        2048 => RsaKeySize::_2048,
        3072 => RsaKeySize::_3072,
        4096 => RsaKeySize::_4096,
        other => return Err(format!("an RSA key of {other} bits is not made; write bits=2048, 3072 or 4096")),
    };
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, size).map(|k| k.serialize_pem()).map_err(|e| e.to_string())
}

/// PKCS #8 as RFC 8410 has it, without the public key that newer forms add: OpenSSL, and so mail programs, do not take those.
fn ed25519() -> Result<String, String> {
    const HEAD: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    let mut der = Zeroizing::new([0u8; 48]);
    der[..16].copy_from_slice(&HEAD);
    getrandom::fill(&mut der[16..]).map_err(|e| e.to_string())?;
    let text = Zeroizing::new(STANDARD.encode(der.as_slice()));
    Ok(format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", text.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{SecretRef, SourceId, Span};

    fn request(ed25519: bool, key: &str) -> KeyRequest {
        KeyRequest {
            node: "acme.example.s1".into(),
            domain: "acme.example".into(),
            selector: "s1".into(),
            ed25519,
            bits: 2048,
            generate: true,
            key: SecretRef(key.into()),
            signs: true,
            rotate: None,
            in_flight: Duration::from_secs(5 * 86_400),
            ttl: Duration::from_secs(3600),
            span: Span { source: SourceId(0), offset: 0, len: 0 },
        }
    }

    fn run(dir: &Path, request: KeyRequest) -> Result<PublicKey, String> {
        let mut diagnostics = Diagnostics::default();
        let found = public(dir, &Topology::default(), &[request], Change::GoesOn, &mut diagnostics).selectors;
        found
            .into_values()
            .flatten()
            .next()
            .map(|s| s.public)
            .ok_or_else(|| diagnostics.iter().map(|d| d.message.clone()).collect())
    }

    #[test]
    fn a_key_is_made_once_and_stays_private() {
        use std::os::unix::fs::PermissionsExt as _;
        for (ed25519, kind, bits) in [(false, "rsa", 2048), (true, "ed25519", 256)] {
            let dir = tempfile::tempdir().unwrap();
            let first = run(dir.path(), request(ed25519, "file:keys/s1.pem")).unwrap();
            assert_eq!((first.kind, first.bits), (kind, bits));
            let mode = std::fs::metadata(dir.path().join("keys/s1.pem")).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            assert_eq!(run(dir.path(), request(ed25519, "file:keys/s1.pem")).unwrap(), first, "found again");
            let read = KeyRequest { generate: false, ..request(ed25519, "file:keys/s1.pem") };
            assert_eq!(run(dir.path(), read).unwrap(), first, "read as any secret");
            let wrong = run(dir.path(), request(!ed25519, "file:keys/s1.pem")).unwrap_err();
            assert!(wrong.contains(&format!("it is a key for {kind}")), "{wrong}");
        }
    }

    /// Key and public half of RFC 8463, appendix A.2 (the seed as PKCS #8).
    #[test]
    fn the_key_of_the_standard_has_its_public_half() {
        let seed = STANDARD.decode("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=").unwrap();
        let mut der = vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
        der.extend(seed);
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der));
        assert_eq!(half(&pem).unwrap().base64, "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
    }

    #[test]
    fn an_old_key_says_what_comes_next() {
        let dir = tempfile::tempdir().unwrap();
        let days = |n: u64| Duration::from_secs(n * 86_400);
        let key = |name: &str, signs: bool, age: Duration| {
            let request = KeyRequest {
                node: name.into(),
                selector: name.into(),
                signs,
                generate: false,
                rotate: Some(days(90)),
                ..request(true, &format!("file:{name}"))
            };
            if !dir.path().join(name).exists() {
                std::fs::write(dir.path().join(name), make(&request).unwrap()).unwrap();
            }
            let file = std::fs::File::open(dir.path().join(name)).unwrap();
            file.set_modified(std::time::SystemTime::now() - age).unwrap();
            request
        };
        let said = |keys: &[KeyRequest]| {
            let mut found = Diagnostics::default();
            assert_eq!(
                public(dir.path(), &Topology::default(), keys, Change::GoesOn, &mut found).selectors.len(),
                keys.len()
            );
            found.iter().map(|d| format!("{} {}", d.code, d.message)).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(said(&[key("a", true, days(80))]), "");
        assert_eq!(
            said(&[key("a", true, days(93))]),
            "W1006 DKIM key a of acme.example is 3 days older than rotate allows"
        );
        let two = [key("a", true, days(93)), key("b", false, days(0))];
        assert_eq!(said(&two), "W1006 DKIM key b of acme.example is announced, and caches may not know it yet");
        assert_eq!(
            said(&[key("a", true, days(93)), key("b", false, days(1))]),
            "W1006 DKIM key b of acme.example can sign now"
        );
        assert_eq!(said(&[key("a", false, days(93)), key("b", true, days(2))]), "");
        assert_eq!(
            said(&[key("a", false, days(99)), key("b", true, days(8))]),
            "W1006 DKIM key a of acme.example signs no more"
        );
    }

    #[test]
    fn what_is_no_key_is_said() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("x"), "canary").unwrap();
        let read = KeyRequest { generate: false, ..request(false, "file:x") };
        let said = run(dir.path(), read).unwrap_err();
        assert!(said.contains("no private key in PEM") && !said.contains("canary"), "{said}");
        assert!(run(dir.path(), request(false, "env:KEY")).unwrap_err().contains("generate=#true makes a file"));
        let short = KeyRequest { bits: 1024, ..request(false, "file:y") };
        assert!(run(dir.path(), short).unwrap_err().contains("1024 bits is not made"));
    }
}
