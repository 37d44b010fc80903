//! Requests to a WebDAV server: who asks, what an answer that is no success means.

use std::time::Duration;

use reqwest::header::{ETAG, HeaderMap, LOCATION};
use reqwest::{Client, Method, Response, StatusCode, Url};

use super::xml;
use crate::services::cms::config::End;
use crate::services::cms::mailbox::{Access, Class, Fault};
use crate::services::cms::wire::http::{self, encoded};
use crate::services::cms::wire::shown;

/// Octets of one answer: a batch of contacts with photographs, or the names of a hundred thousand of them.
const MOST: usize = 32 << 20;
/// Ways that lead on to another place of the same server.
const HOPS: usize = 4;

#[derive(Debug)]
pub(super) struct Http {
    client: Client,
    pub(super) base: Url,
}

/// An answer, whatever it says.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) etag: Option<String>,
    pub(super) body: String,
    after: Option<Duration>,
}

impl Http {
    pub(super) fn open(end: &End, access: &Access) -> Result<Self, Fault> {
        let base = Url::parse(&filled(end.url.as_deref().unwrap_or_default(), access))
            .map_err(|e| Fault::new(Class::Local, format!("carddav: {e}")))?;
        let login = access.master.as_deref().unwrap_or(&access.login);
        let client = http::client(end, login, &access.password, HeaderMap::new(), "carddav")?;
        Ok(Self { client, base })
    }

    /// An address of an answer. Only of the server that was named: it gets the password.
    pub(super) fn resolved(&self, at: &Url, href: &str) -> Result<Url, Fault> {
        let broken = |what: String| Fault::new(Class::Protocol, format!("carddav: {what}"));
        let url = at.join(href).map_err(|e| broken(format!("`{}`: {e}", shown(href))))?;
        let place = |u: &Url| (u.scheme().to_owned(), u.host_str().map(str::to_owned), u.port_or_known_default());
        if place(&url) != place(&self.base) {
            return Err(broken(format!("the server leads to another one, {}; name it as url", shown(url.as_str()))));
        }
        Ok(url)
    }

    pub(super) async fn ask(
        &self,
        method: &str,
        url: &Url,
        headers: &[(&'static str, &str)],
        body: Option<String>,
    ) -> Result<Answer, Fault> {
        let method = Method::from_bytes(method.as_bytes()).map_err(|e| Fault::new(Class::Local, e.to_string()))?;
        let mut url = url.clone();
        for _ in 0..HOPS {
            let mut request = self.client.request(method.clone(), url.clone());
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            if let Some(body) = &body {
                request = request.body(body.clone());
            }
            let response = request.send().await.map_err(|e| unreachable(&e))?;
            if response.status().is_redirection()
                && let Some(to) = response.headers().get(LOCATION).and_then(|v| v.to_str().ok())
            {
                url = self.resolved(&url, to)?;
                continue;
            }
            return answer(response).await;
        }
        Err(Fault::new(Class::Protocol, "carddav: the server leads from one address to the next"))
    }

    /// A PROPFIND or REPORT: its resources.
    pub(super) async fn resources(
        &self,
        method: &str,
        url: &Url,
        depth: &str,
        body: String,
    ) -> Result<Vec<xml::Resource>, Fault> {
        let headers = [("Depth", depth), ("Content-Type", "application/xml; charset=utf-8")];
        let answer = self.ask(method, url, &headers, Some(body)).await?;
        if answer.status != StatusCode::MULTI_STATUS {
            return Err(answer.fault(&format!("{method} {}", url.path())));
        }
        xml::multistatus(&answer.body)
            .map_err(|e| Fault::new(Class::Protocol, format!("carddav: {method} {}: {}", url.path(), shown(&e))))
    }
}

async fn answer(mut response: Response) -> Result<Answer, Fault> {
    let status = response.status();
    let etag = response.headers().get(ETAG).and_then(|v| v.to_str().ok()).map(|v| v.trim().to_owned());
    let after = http::retry_after(&response);
    let mut held = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|e| unreachable(&e))? {
        if held.len() + piece.len() > MOST {
            return Err(Fault::new(Class::TooLarge, format!("carddav: an answer of more than {} MiB", MOST >> 20)));
        }
        held.extend_from_slice(&piece);
    }
    let body = String::from_utf8(held).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned());
    Ok(Answer { status, etag, body, after })
}

impl Answer {
    /// What a refusal means.
    pub(super) fn fault(&self, doing: &str) -> Fault {
        let class = match self.status {
            StatusCode::UNAUTHORIZED => Class::Login,
            StatusCode::FORBIDDEN | StatusCode::METHOD_NOT_ALLOWED => Class::Permission,
            StatusCode::PAYLOAD_TOO_LARGE => Class::TooLarge,
            StatusCode::INSUFFICIENT_STORAGE => Class::Quota,
            StatusCode::NOT_FOUND | StatusCode::GONE => Class::Vanished,
            StatusCode::BAD_REQUEST | StatusCode::UNSUPPORTED_MEDIA_TYPE | StatusCode::UNPROCESSABLE_ENTITY => {
                Class::Malformed
            }
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::LOCKED
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::CONFLICT
            | StatusCode::PRECONDITION_FAILED => Class::Busy,
            status if status.is_server_error() => Class::Busy,
            _ => Class::Protocol,
        };
        let words = xml::condition(&self.body).unwrap_or_else(|| {
            let first = self.body.trim().lines().next().unwrap_or_default();
            if first.starts_with('<') { String::new() } else { shown(first) }
        });
        let text = format!("carddav: {doing}: HTTP {}: {words}", self.status);
        let fault = Fault::new(class, text.trim_end_matches([':', ' ']).to_owned());
        match self.after {
            Some(after) => fault.after(after),
            None => fault,
        }
    }
}

/// Parts of a login in an address.
pub(super) fn filled(form: &str, access: &Access) -> String {
    let (name, domain) = access.user.split_once('@').unwrap_or((&access.user, ""));
    form.replace("{user}", &encoded(&access.user))
        .replace("{name}", &encoded(name))
        .replace("{domain}", &encoded(domain))
}

fn unreachable(e: &reqwest::Error) -> Fault {
    http::unreachable("carddav", e)
}
