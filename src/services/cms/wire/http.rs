//! What ends that are asked over HTTP have in common: who asks, how long a refusal says to wait, what a failure of the way means.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response};
use zeroize::Zeroizing;

use super::{shown, tls_client};
use crate::services::cms::config::End;
use crate::services::cms::mailbox::{Class, Fault};

/// A client that logs in with each request, by Basic authentication (RFC 7617) as `login` or with the password as a bearer token
/// (RFC 6750), and says `headers` beside. `protocol` stands before what goes wrong.
pub(in crate::services::cms) fn client(
    end: &End,
    login: &str,
    password: &str,
    mut headers: HeaderMap,
    protocol: &str,
) -> Result<Client, Fault> {
    let mut word = Zeroizing::new(String::new());
    if end.token {
        word.push_str("Bearer ");
        word.push_str(password);
    } else {
        let pair = Zeroizing::new(format!("{login}:{password}"));
        word.push_str("Basic ");
        word.push_str(&crate::protocol::sasl::encode(pair.as_bytes()));
    }
    let mut value =
        HeaderValue::from_str(&word).map_err(|_| Fault::new(Class::Login, "the password cannot stand in a header"))?;
    value.set_sensitive(true);
    headers.insert(AUTHORIZATION, value);
    let builder = Client::builder()
        .connect_timeout(end.timeout)
        .read_timeout(end.timeout)
        .default_headers(headers)
        // A redirect would carry the password to another host.
        .redirect(reqwest::redirect::Policy::none())
        .tls_backend_preconfigured((*tls_client(end)?).clone());
    builder.build().map_err(|e| Fault::new(Class::Local, format!("{protocol}: {e}")))
}

/// How long a refusal asks to wait, where it says so in seconds (RFC 9110, section 10.2.3).
pub(in crate::services::cms) fn retry_after(response: &Response) -> Option<Duration> {
    let said = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    said.trim().parse().ok().map(Duration::from_secs)
}

/// A request that found no way, or whose answer broke off.
pub(in crate::services::cms) fn unreachable(protocol: &str, e: &reqwest::Error) -> Fault {
    let mut words = e.to_string();
    let mut source = std::error::Error::source(e);
    while let Some(inner) = source {
        words.push_str(&format!(": {inner}"));
        source = inner.source();
    }
    // A certificate that is not accepted does not become one by asking again.
    let class = if words.contains("certificate") { Class::Protocol } else { Class::Unreachable };
    Fault::new(class, format!("{protocol}: {}", shown(&words)))
}

/// For one step of a path in a URL (RFC 3986, section 2.1).
pub(in crate::services::cms) fn encoded(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b if b.is_ascii_alphanumeric() || b"-._~".contains(&b) => char::from(b).to_string(),
            b => format!("%{b:02X}"),
        })
        .collect()
}
