//! A service that holds zones, asked over HTTP: its answers, its patience, and its refusals as people read them. No answer is never
//! taken for "not there", and a key never stands in a text.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};

use crate::model::dns::SetChange;
use crate::model::host::{HostAccess, HostError, HostErrorKind, ZoneService};
use crate::transport::SecretReader;
use crate::transport::refusal::error;

/// For one answer: a service writes many changes to its disk before it answers.
const PATIENCE: Duration = Duration::from_secs(60);
/// Times that a question is put to a service which says that it is asked too often.
const TRIES: u32 = 6;
/// The longest pause between them.
const PAUSE: Duration = Duration::from_secs(30);
/// Octets of a service's own words that are shown.
const WORDS: usize = 400;

pub struct Http<'a> {
    client: reqwest::Client,
    pub lane: &'a HostAccess,
    pub service: &'a ZoneService,
}

/// What a service answered.
#[derive(Debug)]
pub struct Said {
    pub status: StatusCode,
    pub body: Vec<u8>,
    /// Seconds, where it says so.
    pub retry_after: Option<u64>,
}

/// A question before it is put; once more for each try.
pub struct Question {
    pub method: Method,
    pub url: String,
    pub headers: HeaderMap,
    pub body: Option<Vec<u8>>,
}

impl Question {
    pub fn get(url: String) -> Self {
        Self { method: Method::GET, url, headers: HeaderMap::new(), body: None }
    }

    pub fn with(method: Method, url: String, body: Vec<u8>) -> Self {
        Self { method, url, headers: HeaderMap::new(), body: Some(body) }
    }
}

impl<'a> Http<'a> {
    /// `headers` go with every question.
    pub async fn open(
        lane: &'a HostAccess,
        service: &'a ZoneService,
        headers: HeaderMap,
        secrets: &dyn SecretReader,
    ) -> Result<Self, HostError> {
        let bad = |m: String| error(lane, HostErrorKind::Secret, m, None);
        let mut builder = reqwest::Client::builder()
            .connect_timeout(lane.timeout())
            .timeout(PATIENCE)
            .user_agent(concat!("cutover/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            // A redirect would carry the key to another host.
            .redirect(reqwest::redirect::Policy::none());
        if let Some(ca) = &service.ca {
            let pem = secrets.read(ca).await.map_err(bad)?;
            let certs = reqwest::Certificate::from_pem_bundle(&pem)
                .map_err(|_| bad(format!("ca {ca}: it holds no certificate in PEM")))?;
            builder = builder.tls_certs_merge(certs);
        }
        let client = builder.build().map_err(|e| bad(format!("no HTTP client: {e}")))?;
        Ok(Self { client, lane, service })
    }

    /// The answer, whatever it says. While the service says that it is asked too often (`slow`), the question is put again.
    pub async fn ask(
        &self,
        question: impl Fn() -> Result<Question, HostError>,
        slow: impl Fn(&Said) -> bool,
    ) -> Result<Said, HostError> {
        let mut pause = Duration::from_secs(1);
        for n in 1.. {
            let said = self.once(question()?).await?;
            if n >= TRIES || !slow(&said) {
                return Ok(said);
            }
            tokio::time::sleep(said.retry_after.map_or(pause, Duration::from_secs).min(PAUSE)).await;
            pause *= 2;
        }
        Err(self.error(HostErrorKind::Timeout, "is asked too often".into(), None))
    }

    async fn once(&self, question: Question) -> Result<Said, HostError> {
        let Question { method, url, headers, body } = question;
        let mut request = self.client.request(method, &url).headers(headers);
        if let Some(body) = body {
            request = request.body(body);
        }
        let answer = request.send().await.map_err(|e| self.unsaid(&e))?;
        let status = answer.status();
        let after = answer.headers().get(reqwest::header::RETRY_AFTER);
        let retry_after = after.and_then(|v| v.to_str().ok()).and_then(|v| v.trim().parse().ok());
        let body = answer.bytes().await.map_err(|e| self.unsaid(&e))?.to_vec();
        Ok(Said { status, body, retry_after })
    }

    /// `PowerDNS at http://192.0.2.53:8081 …`.
    pub fn error(&self, kind: HostErrorKind, what: String, help: Option<&str>) -> HostError {
        let message = format!("{} at {} {what}", self.service.kind.product(), self.service.url);
        error(self.lane, kind, message, help.map(str::to_owned))
    }

    /// No answer: why, told apart as far as it can be.
    fn unsaid(&self, e: &reqwest::Error) -> HostError {
        let causes: Vec<String> =
            std::iter::successors(std::error::Error::source(e), |e| e.source()).map(ToString::to_string).collect();
        let last = causes.last().cloned().unwrap_or_else(|| "no answer".into());
        let all = causes.join(": ").to_ascii_lowercase();
        if ["certificate", "tls", "handshake", "corrupt message"].iter().any(|w| all.contains(w)) {
            let help =
                "name the authority of its certificate with ca=, or mend the certificate or the name in endpoint=";
            return self.error(HostErrorKind::HostKey, format!("does not prove who it is (TLS): {last}"), Some(help));
        }
        if e.is_connect() {
            return self.error(HostErrorKind::Unreachable, format!("cannot be reached: {last}"), None);
        }
        if e.is_timeout() {
            return self.error(HostErrorKind::Timeout, format!("did not answer within {} s", PATIENCE.as_secs()), None);
        }
        self.error(HostErrorKind::Lost, format!("broke off its answer: {last}"), None)
    }
}

/// A header that is never shown. The value is a secret: what is wrong with it is said without it.
pub fn key_header(
    lane: &HostAccess,
    name: &'static str,
    value: &[u8],
    what: &dyn std::fmt::Display,
) -> Result<HeaderMap, HostError> {
    let mut value = HeaderValue::from_bytes(value)
        .map_err(|_| error(lane, HostErrorKind::Secret, format!("secret {what}: it holds line breaks"), None))?;
    value.set_sensitive(true);
    Ok(HeaderMap::from_iter([(HeaderName::from_static(name), value)]))
}

/// What a service says in its own words, cut and on one line.
pub fn words(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(WORDS) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

/// About how many octets a change takes when it is written as JSON or XML.
pub fn size(change: &SetChange) -> usize {
    let of = |set: &crate::model::dns::RecordSet| 160 + set.data.iter().map(|d| d.len() * 2 + 90).sum::<usize>();
    change.key().map_or(0, |k| k.name.len() * 2)
        + change.before.as_ref().map_or(0, of)
        + change.after.as_ref().map_or(0, of)
}
