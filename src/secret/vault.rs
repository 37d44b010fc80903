//! `vault:PATH#KEY`: HashiCorp Vault, key-value engine version 2.
//!
//! API: https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2#read-secret-version
//! (`GET /v1/MOUNT/data/PATH`, header `X-Vault-Token`, value at `data.data.KEY`).

use reqwest::header::{HeaderMap, HeaderValue};
use zeroize::Zeroizing;

use super::{SecretError, Settings, Vault};
use crate::model::attr::SecretRef;

/// Where a reference points.
#[derive(Debug, PartialEq)]
pub struct Place<'a> {
    pub vault: &'a Vault,
    pub path: &'a str,
    pub key: &'a str,
}

/// Finds the vault of a reference: the only one, or the one whose name the path begins with.
pub fn locate<'a>(reference: &SecretRef, rest: &'a str, vaults: &'a [Vault]) -> Result<Place<'a>, SecretError> {
    let Some((path, key)) = rest.split_once('#').filter(|(p, k)| !p.is_empty() && !k.is_empty()) else {
        return Err(SecretError::new(reference, "has no `#KEY` after the path").help("write vault:PATH#KEY"));
    };
    match vaults {
        [] => Err(SecretError::new(reference, "the topology names no vault to read it from")
            .help("add: vault main url=\"https://vault.example:8200\" token=(secret)\"env:VAULT_TOKEN\"")),
        [vault] => Ok(Place { vault, path, key }),
        several => {
            let found = path.split_once('/').and_then(|(name, path)| {
                several.iter().find(|v| v.name == name).map(|vault| Place { vault, path, key })
            });
            let names = several.iter().map(|v| v.name.as_str()).collect::<Vec<_>>().join(", ");
            found.ok_or_else(|| {
                SecretError::new(reference, format!("does not say which vault: {names}"))
                    .help("write vault:NAME/PATH#KEY")
            })
        }
    }
}

/// Asks the vault. Errors give the status, never a body: a body may hold other values.
pub async fn read(
    reference: &SecretRef,
    place: &Place<'_>,
    token: &[u8],
    settings: &Settings,
) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let fail = |message: String| SecretError::new(reference, message);
    let mut token = HeaderValue::from_bytes(token).map_err(|_| fail("the vault's token holds line breaks".into()))?;
    token.set_sensitive(true);
    let mut builder = reqwest::Client::builder()
        .timeout(settings.limit)
        .default_headers(HeaderMap::from_iter([(reqwest::header::HeaderName::from_static("x-vault-token"), token)]))
        // A redirect would carry the token to another host.
        .redirect(reqwest::redirect::Policy::none());
    if let Some(ca) = &place.vault.ca {
        let path = settings.root.join(ca);
        let pem =
            tokio::fs::read(&path).await.map_err(|e| fail(format!("the ca {} cannot be read: {e}", path.display())))?;
        let certs = reqwest::Certificate::from_pem_bundle(&pem)
            .map_err(|_| fail(format!("{} holds no PEM certificate", path.display())))?;
        builder = builder.tls_certs_merge(certs);
    }
    let client = builder.build().map_err(|e| fail(format!("no HTTP client: {e}")))?;
    let Vault { url, mount, name, .. } = place.vault;
    let address = format!("{}/v1/{}/data/{}", url.trim_end_matches('/'), mount.trim_matches('/'), place.path);
    let answer = client.get(&address).send().await.map_err(|e| {
        let why = if e.is_timeout() {
            format!("did not answer within {} s", settings.limit.as_secs())
        } else {
            let cause = std::iter::successors(std::error::Error::source(&e), |e| e.source()).last();
            format!("cannot be asked: {}", cause.map_or_else(|| e.to_string(), ToString::to_string))
        };
        fail(format!("vault {name} at {url} {why}"))
    })?;
    let status = answer.status();
    if !status.is_success() {
        let help = match status.as_u16() {
            403 => "the token is refused or its policy does not allow this path",
            404 => "nothing is stored at this path (is the mount right? is it KV version 2?)",
            503 => "the vault is sealed or in maintenance",
            300..400 => "the vault redirects; give the address of the active node in `url`",
            _ => "see the vault's own log",
        };
        return Err(fail(format!("vault {name} answered {status} for {address}")).help(help));
    }
    let body =
        Zeroizing::new(answer.bytes().await.map_err(|_| fail(format!("vault {name} broke off its answer")))?.to_vec());
    let json: serde_json::Value =
        serde_json::from_slice(&body).map_err(|_| fail(format!("vault {name} did not answer with JSON")))?;
    match json.pointer("/data/data").and_then(|d| d.get(place.key)) {
        Some(serde_json::Value::String(value)) if !value.is_empty() => Ok(Zeroizing::new(value.clone().into_bytes())),
        Some(_) => Err(fail(format!("the key {} is not a text, or it is empty", place.key))),
        None => Err(fail(format!("there is no key {} at {}", place.key, place.path))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Resolve, Resolver};
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    fn vault(name: &str, url: &str) -> Vault {
        Vault {
            name: name.into(),
            url: url.into(),
            mount: "secret".into(),
            token: SecretRef("cmd:echo tok-123".into()),
            ca: None,
        }
    }

    /// A server that speaks just enough of the documented API, and refuses another token or path.
    async fn serve(answers: usize) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        tokio::spawn(async move {
            for _ in 0..answers {
                let (mut socket, _) = listener.accept().await.expect("accept");
                let mut request = Vec::new();
                while !request.windows(4).any(|w| w == b"\r\n\r\n") {
                    socket.read_buf(&mut request).await.expect("read");
                }
                let request = String::from_utf8_lossy(&request).to_lowercase();
                let (status, body) = if !request.contains("x-vault-token: tok-123") {
                    ("403 Forbidden", "{\"errors\":[\"permission denied\"]}")
                } else if request.starts_with("get /v1/secret/data/mail/ann ") {
                    ("200 OK", "{\"data\":{\"data\":{\"password\":\"v-canary\",\"n\":1},\"metadata\":{\"version\":3}}}")
                } else {
                    ("404 Not Found", "{\"errors\":[]}")
                };
                let answer =
                    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
                socket.write_all(answer.as_bytes()).await.expect("write");
            }
        });
        format!("http://{address}")
    }

    #[tokio::test]
    async fn reads_a_key_and_names_what_is_missing() {
        let url = serve(3).await;
        let mut settings = Settings::new(".");
        settings.vaults = vec![vault("main", &url)];
        let resolver = Resolver::new(settings);
        let value = resolver.bytes(&SecretRef("vault:mail/ann#password".into())).await.expect("value");
        assert_eq!(value.as_slice(), b"v-canary");
        let key = resolver.bytes(&SecretRef("vault:mail/ann#pin".into())).await.expect_err("no key");
        assert!(key.message.contains("no key pin") && !key.message.contains("canary"), "{key}");
        let path = resolver.bytes(&SecretRef("vault:mail/bob#password".into())).await.expect_err("no path");
        assert!(path.message.contains("404"), "{path}");
    }

    #[test]
    fn several_vaults_are_told_apart_by_name() {
        let vaults = [vault("a", "http://a"), vault("b", "http://b")];
        let r = SecretRef("vault:b/mail/ann#pw".into());
        let place = locate(&r, "b/mail/ann#pw", &vaults).expect("place");
        assert_eq!((place.vault.name.as_str(), place.path, place.key), ("b", "mail/ann", "pw"));
        assert!(locate(&r, "mail/ann#pw", &vaults).is_err());
        assert!(locate(&r, "mail/ann", &vaults[..1]).is_err());
        assert!(locate(&r, "mail/ann#pw", &[]).is_err());
    }
}
