//! Requests: who asks, how an answer that is no success is understood.

use reqwest::header::HeaderMap;
use reqwest::{Client, Response, StatusCode, Url};
use serde_json::{Value, json};

use crate::services::cms::config::End;
use crate::services::cms::mailbox::{Access, Class, Fault};
use crate::services::cms::wire::http::{self, encoded};
use crate::services::cms::wire::shown;

/// Octets of one JSON answer.
const MOST: usize = 64 << 20;
pub(super) const MAIL: &str = "urn:ietf:params:jmap:mail";
const CORE: &str = "urn:ietf:params:jmap:core";

#[derive(Debug)]
pub(super) struct Http {
    client: Client,
    pub(super) account: String,
    api: Url,
    upload: String,
    download: String,
    base: Url,
    pub(super) largest: Option<u64>,
    /// Objects of one get or set.
    pub(super) objects: usize,
}

impl Http {
    /// Reads the session resource (RFC 8620 section 2).
    pub(super) async fn open(end: &End, access: &Access) -> Result<Self, Fault> {
        let base = Url::parse(end.url.as_deref().unwrap_or_default())
            .map_err(|e| Fault::new(Class::Local, format!("jmap: {e}")))?;
        let client = http::client(end, &access.login, &access.password, HeaderMap::new(), "jmap")?;
        let mut http = Self {
            client,
            account: String::new(),
            api: base.clone(),
            upload: String::new(),
            download: String::new(),
            base: base.clone(),
            largest: None,
            objects: 100,
        };
        let session = http.json(http.client.get(base)).await?;
        let missing = |what: &str| {
            Fault::new(Class::Login, format!("jmap: the session names no {what}: the login has no mailbox"))
        };
        http.account = session["primaryAccounts"][MAIL].as_str().ok_or_else(|| missing("account of mail"))?.to_owned();
        let text = |key: &str| session[key].as_str().map(str::to_owned).ok_or_else(|| missing(key));
        http.api = http.resolved(&text("apiUrl")?)?;
        (http.upload, http.download) = (text("uploadUrl")?, text("downloadUrl")?);
        let core = &session["capabilities"][CORE];
        http.largest = core["maxSizeUpload"].as_u64();
        let objects = [&core["maxObjectsInGet"], &core["maxObjectsInSet"]]
            .into_iter()
            .filter_map(Value::as_u64)
            .min()
            .unwrap_or(100);
        http.objects = objects.clamp(1, 256) as usize;
        Ok(http)
    }

    /// An address of the session, relative to it or whole. Only of the host that was named: it gets the password.
    fn resolved(&self, address: &str) -> Result<Url, Fault> {
        let url = self
            .base
            .join(address)
            .map_err(|e| Fault::new(Class::Protocol, format!("jmap: `{}`: {e}", shown(address))))?;
        if (url.scheme(), url.host_str(), url.port_or_known_default())
            != (self.base.scheme(), self.base.host_str(), self.base.port_or_known_default())
        {
            let what = format!("jmap: the session leads to another server, {}; name it as url", shown(url.as_str()));
            return Err(Fault::new(Class::Protocol, what));
        }
        Ok(url)
    }

    async fn json(&self, request: reqwest::RequestBuilder) -> Result<Value, Fault> {
        let mut response = self.send(request).await?;
        let mut held = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|e| unreachable(&e))? {
            if held.len() + piece.len() > MOST {
                return Err(Fault::new(Class::Protocol, "jmap: an answer without end"));
            }
            held.extend_from_slice(&piece);
        }
        serde_json::from_slice(&held)
            .map_err(|e| Fault::new(Class::Protocol, format!("jmap: an answer that is no JSON: {e}")))
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Response, Fault> {
        let response = request.send().await.map_err(|e| unreachable(&e))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let class = match status {
            StatusCode::UNAUTHORIZED => Class::Login,
            StatusCode::FORBIDDEN => Class::Permission,
            StatusCode::PAYLOAD_TOO_LARGE => Class::TooLarge,
            StatusCode::TOO_MANY_REQUESTS => Class::Busy,
            StatusCode::NOT_FOUND => Class::Vanished,
            _ if status.is_server_error() => Class::Busy,
            _ => Class::Protocol,
        };
        let after = http::retry_after(&response);
        let words = response.text().await.unwrap_or_default();
        let fault = Fault::new(class, format!("jmap: HTTP {status}: {}", shown(words.trim())));
        Err(match after {
            Some(wait) => fault.after(wait),
            None => fault,
        })
    }

    /// Calls methods; each answer in turn. An error of one is a fault of all: what came before it is asked anew.
    pub(super) async fn call(&self, calls: &[(&str, Value)]) -> Result<Vec<Value>, Fault> {
        let calls: Vec<Value> =
            calls.iter().enumerate().map(|(n, (name, words))| json!([name, words, n.to_string()])).collect();
        let request = json!({ "using": [CORE, MAIL], "methodCalls": calls });
        let mut answer = self.json(self.client.post(self.api.clone()).json(&request)).await?;
        let answers = answer["methodResponses"].as_array_mut().map(std::mem::take).unwrap_or_default();
        let mut found: Vec<Value> = Vec::with_capacity(calls.len());
        for mut one in answers {
            let about = one[2].as_str().and_then(|n| n.parse::<usize>().ok());
            if one[0] == "error" {
                return Err(error(&one[1]));
            }
            // A method may answer twice (Email/set of an import that moves); the first is the one asked for.
            if about == Some(found.len()) {
                found.push(one[1].take());
            }
        }
        if found.len() == calls.len() {
            Ok(found)
        } else {
            Err(Fault::new(Class::Protocol, "jmap: methods without answer"))
        }
    }

    pub(super) async fn one(&self, name: &str, words: Value) -> Result<Value, Fault> {
        let mut answers = self.call(&[(name, words)]).await?;
        Ok(answers.swap_remove(0))
    }

    /// Section 6.1.
    pub(super) async fn upload(&self, body: reqwest::Body, length: u64) -> Result<String, Fault> {
        let url = self.resolved(&self.upload.replace("{accountId}", &encoded(&self.account)))?;
        let request =
            self.client.post(url).header("Content-Type", "message/rfc822").header("Content-Length", length).body(body);
        let answer = self.json(request).await?;
        let blob = answer["blobId"].as_str().map(str::to_owned);
        blob.ok_or_else(|| Fault::new(Class::Protocol, "jmap: an upload without blobId"))
    }

    /// Section 6.2.
    pub(super) async fn download(&self, blob: &str) -> Result<Response, Fault> {
        let filled = self
            .download
            .replace("{accountId}", &encoded(&self.account))
            .replace("{blobId}", &encoded(blob))
            .replace("{type}", "message%2Frfc822")
            .replace("{name}", "message.eml");
        let url = self.resolved(&filled)?;
        self.send(self.client.get(url)).await
    }
}

pub(super) fn unreachable(e: &reqwest::Error) -> Fault {
    http::unreachable("jmap", e)
}

/// An error of a method or of one object (RFC 8620 sections 3.6.2 and 5.3). What may pass is never taken for a message's own fault.
pub(super) fn error(told: &Value) -> Fault {
    let kind = told["type"].as_str().unwrap_or("error without type");
    let class = match kind {
        // Cyrus calls a name that it does not bear (a backslash) a failure of the server; asking again does not help.
        "serverFail" if told["description"].as_str().is_some_and(|d| d.contains("Invalid mailbox name")) => {
            Class::Unsupported
        }
        "serverUnavailable" | "serverFail" | "serverPartialFail" | "rateLimit" | "stateMismatch" => Class::Busy,
        "overQuota" | "maxQuotaReached" => Class::Quota,
        "tooLarge" => Class::TooLarge,
        "invalidEmail" | "blobNotFound" => Class::Malformed,
        "forbidden" | "accountReadOnly" | "forbiddenFrom" => Class::Permission,
        "notFound" => Class::Vanished,
        "accountNotFound" | "accountNotSupportedByMethod" => Class::Login,
        _ => Class::Protocol,
    };
    Fault::new(class, format!("jmap: {kind}: {}", shown(told["description"].as_str().unwrap_or(""))))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that is unavailable for a moment says nothing about a message: it is asked again.
    #[test]
    fn failure_11_a_transient_error_is_no_messages_fault() {
        for kind in ["serverUnavailable", "serverFail", "serverPartialFail", "rateLimit"] {
            let fault = error(&json!({ "type": kind }));
            assert!(fault.class.passes() && !fault.class.of_message(), "{fault}");
        }
        assert!(error(&json!({ "type": "invalidEmail" })).class.of_message());
        assert!(!error(&json!({ "type": "neverHeardOf" })).class.of_message());
        assert_eq!(encoded("a/b c"), "a%2Fb%20c");
    }
}
