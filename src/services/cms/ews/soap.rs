//! Requests and answers: who asks, as whom, with which version of the schema; answers read as they come.
//!
//! SOAP 1.1 over HTTP (the pages of EWS; [MS-OXWSCDATA] for the headers RequestServerVersion, ServerVersionInfo, ExchangeImpersonation). Access is by Basic
//! authentication or an OAuth 2.0 bearer token; NTLM and Negotiate are not spoken.

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Client, Response, StatusCode, Url};

use super::codes;
use super::xml::{Event, Node, Scanner, escaped};
use super::{Class, Fault};
use crate::services::cms::config::{End, Profile};
use crate::services::cms::mailbox::Access;
use crate::services::cms::wire::http;

/// Octets of an answer that are held as a tree: a page of a listing is far below it.
const MOST: usize = 8 << 20;
/// Octets of an error page.
const ERROR: usize = 64 << 10;

const SOAP: &str = "http://schemas.xmlsoap.org/soap/envelope/";
const TYPES: &str = "http://schemas.microsoft.com/exchange/services/2006/types";
const MESSAGES: &str = "http://schemas.microsoft.com/exchange/services/2006/messages";

/// What schema a request speaks; a server refuses those that came after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    Exchange2007Sp1,
    Exchange2010Sp2,
    Exchange2013,
}

impl Version {
    fn as_str(self) -> &'static str {
        match self {
            Version::Exchange2007Sp1 => "Exchange2007_SP1",
            Version::Exchange2010Sp2 => "Exchange2010_SP2",
            Version::Exchange2013 => "Exchange2013",
        }
    }
}

/// A request that brought no answer.
#[derive(Debug)]
pub(super) struct Unanswered {
    pub fault: Fault,
    /// Whether it is sure that nothing was done.
    pub is_nothing: bool,
}

#[derive(Debug)]
pub(super) struct Soap {
    client: Client,
    url: Url,
    pub version: Version,
    /// Whether `version` is the administrator's word.
    fixed: bool,
    /// As whom the account acts.
    impersonated: Option<String>,
    /// Whose mailbox the account opens by its own rights, where it is another's.
    pub mailbox: Option<String>,
}

impl Soap {
    pub fn open(end: &End, access: &Access) -> Result<Self, Fault> {
        let url = Url::parse(end.url.as_deref().unwrap_or_default())
            .map_err(|e| Fault::new(Class::Local, format!("ews: {e}")))?;
        let login = access.master.as_ref().unwrap_or(&access.login);
        let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("text/xml; charset=utf-8"))]);
        // Leads the front ends of 2013 and later to the server that has the mailbox.
        if let Ok(anchor) = HeaderValue::from_str(&access.user) {
            headers.insert(HeaderName::from_static("x-anchormailbox"), anchor);
        }
        let is_2007 = end.profile == Profile::Exchange2007;
        Ok(Self {
            client: http::client(end, login, &access.password, headers, "ews")?,
            url,
            version: if is_2007 { Version::Exchange2007Sp1 } else { Version::Exchange2010Sp2 },
            fixed: is_2007,
            impersonated: access.master.is_some().then(|| access.login.clone()),
            mailbox: (access.master.is_none() && end.login.contains("{master}")).then(|| access.user.clone()),
        })
    }

    /// What stands before an operation.
    pub fn head(&self) -> String {
        let acts = self.impersonated.as_ref().map_or(String::new(), |who| {
            format!(
                "<t:ExchangeImpersonation><t:ConnectingSID><t:PrimarySmtpAddress>{}</t:PrimarySmtpAddress></t:ConnectingSID></t:ExchangeImpersonation>",
                escaped(who)
            )
        });
        format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><s:Envelope xmlns:s=\"{SOAP}\" xmlns:t=\"{TYPES}\" xmlns:m=\"{MESSAGES}\"><s:Header>\
             <t:RequestServerVersion Version=\"{}\"/>{acts}</s:Header><s:Body>",
            self.version.as_str()
        )
    }

    pub fn tail(&self) -> &'static str {
        "</s:Body></s:Envelope>"
    }

    /// Sends a whole envelope.
    pub async fn post(&self, body: reqwest::Body, length: u64) -> Result<Answer, Unanswered> {
        let request = self.client.post(self.url.clone()).header("Content-Length", length).body(body);
        let response = request
            .send()
            .await
            .map_err(|e| Unanswered { is_nothing: e.is_connect() || e.is_builder(), fault: unreachable(&e) })?;
        match response.status() {
            StatusCode::OK => Ok(Answer { response, scanner: Scanner::default(), held: 0 }),
            status => Err(refused(status, response).await),
        }
    }

    /// Asks an operation; its response messages, in the order of what was asked for.
    pub async fn ask(&self, operation: &str) -> Result<Vec<Node>, Fault> {
        let mut answer = self.begin(operation).await?;
        let mut messages = Vec::new();
        while let Some(growing) = answer.message().await? {
            messages.push(answer.whole(growing).await?);
        }
        Ok(messages)
    }

    pub async fn begin(&self, operation: &str) -> Result<Answer, Fault> {
        let text = format!("{}{operation}{}", self.head(), self.tail());
        let length = text.len() as u64;
        self.post(text.into(), length).await.map_err(|u| u.fault)
    }

    /// Asks an operation about one thing; its response message when it is a success.
    pub async fn one(&self, operation: &str) -> Result<Node, Fault> {
        let mut messages = self.ask(operation).await?;
        let Some(message) = messages.drain(..).next() else { return Err(silent()) };
        codes::refusal(&message).map_or(Ok(message), |(_, fault)| Err(fault))
    }

    /// Asks an operation whose answer has a form of its own.
    pub async fn whole(&self, operation: &str, answer: &str) -> Result<Node, Fault> {
        let mut read = self.begin(operation).await?;
        loop {
            match read.event().await? {
                Event::Start(name, attributes) if name == answer => {
                    return read.whole(Growing::of(name, attributes)).await;
                }
                Event::Start(name, attributes) if name == "Fault" => {
                    let told = read.whole(Growing::of(name, attributes)).await?;
                    return Err(soap_fault(&told).1);
                }
                Event::Over => return Err(silent()),
                _ => {}
            }
        }
    }

    /// Learns which schema the server speaks.
    pub async fn settle(&mut self, operation: &str) -> Result<Node, Fault> {
        let text = format!("{}{operation}{}", self.head(), self.tail());
        let length = text.len() as u64;
        let mut answer = match self.post(text.into(), length).await {
            Ok(answer) => answer,
            // Exchange 2007 does not know what came after it; it says so by a fault of SOAP.
            Err(unanswered) if !self.fixed && unanswered.fault.what.contains("ErrorInvalidServerVersion") => {
                (self.version, self.fixed) = (Version::Exchange2007Sp1, true);
                return self.one(operation).await;
            }
            Err(unanswered) => return Err(unanswered.fault),
        };
        let mut message = None;
        while let Some(growing) = answer
            .message_or_version(&mut |major| {
                if !self.fixed && major >= 15 {
                    self.version = Version::Exchange2013;
                }
            })
            .await?
        {
            message = Some(answer.whole(growing).await?);
        }
        let message = message.ok_or_else(silent)?;
        codes::refusal(&message).map_or(Ok(message), |(_, fault)| Err(fault))
    }
}

pub(super) fn silent() -> Fault {
    Fault::new(Class::Protocol, "ews: an answer that says nothing of what was asked")
}

/// What became of a request that was not answered with 200.
async fn refused(status: StatusCode, mut response: Response) -> Unanswered {
    let offers: Vec<String> = response
        .headers()
        .get_all(WWW_AUTHENTICATE)
        .iter()
        .filter_map(|v| v.to_str().ok()?.split_whitespace().next().map(str::to_lowercase))
        .collect();
    let mut held = Vec::new();
    while let Ok(Some(piece)) = response.chunk().await {
        held.extend_from_slice(&piece[..piece.len().min(ERROR - held.len())]);
        if held.len() >= ERROR {
            break;
        }
    }
    let mut answer = tree(&held);
    if let Some(told) = answer.as_mut().and_then(|node| node.find("Fault")) {
        let (code, fault) = soap_fault(told);
        return Unanswered { is_nothing: !codes::is_doubtful(&code), fault };
    }
    let class = match status {
        StatusCode::UNAUTHORIZED => Class::Login,
        StatusCode::FORBIDDEN => Class::Permission,
        StatusCode::PAYLOAD_TOO_LARGE => Class::TooLarge,
        StatusCode::TOO_MANY_REQUESTS => Class::Busy,
        _ if status.is_server_error() => Class::Busy,
        _ => Class::Protocol,
    };
    let hint = match class {
        Class::Login if !offers.is_empty() && !offers.iter().any(|o| o == "basic" || o == "bearer") => {
            "; it offers NTLM or Negotiate only, which are not spoken here: switch on Basic authentication of the EWS virtual directory for the time of the move"
        }
        _ if status.is_redirection() => "; it leads elsewhere: name that address as url",
        _ => "",
    };
    let fault = Fault::new(class, format!("ews: HTTP {status}{hint}"));
    let fault = match http::retry_after(&response) {
        Some(wait) => fault.after(wait.min(std::time::Duration::from_secs(86_400))),
        None => fault,
    };
    // A gateway answers with 5xx for a server that may be at work still.
    Unanswered { is_nothing: !status.is_server_error(), fault }
}

/// A fault of SOAP: the request as a whole was refused.
fn soap_fault(told: &Node) -> (String, Fault) {
    let code = told.find("ResponseCode").map_or("", |n| n.text.as_str());
    let code = match code {
        "" => told.value("faultcode").unwrap_or_default().rsplit(':').next().unwrap_or_default(),
        code => code,
    };
    let words = told.find("faultstring").map_or("", |n| n.text.as_str());
    (code.to_owned(), codes::fault(code, words, told))
}

/// A short text as a tree, when it is XML.
pub(super) fn tree(text: &[u8]) -> Option<Node> {
    let mut scanner = Scanner::default();
    scanner.feed(text);
    let mut growing: Option<Growing> = None;
    loop {
        match (scanner.next().ok()??, growing.as_mut()) {
            (Event::Start(name, attributes), None) => growing = Some(Growing::of(name, attributes)),
            (Event::Over, _) => return None,
            (event, Some(open)) => {
                if let Some(node) = open.take(event) {
                    return Some(node);
                }
            }
            _ => return None,
        }
    }
}

/// A tree of which a part has been read.
#[derive(Debug)]
pub(super) struct Growing(Vec<(Node, Vec<u8>)>);

impl Growing {
    fn of(name: String, attributes: Vec<(String, String)>) -> Self {
        Self(vec![(Node { name, attributes, ..Node::default() }, Vec::new())])
    }

    fn take(&mut self, event: Event) -> Option<Node> {
        match event {
            Event::Start(name, attributes) => self.0.push((Node { name, attributes, ..Node::default() }, Vec::new())),
            Event::Text(text) => {
                if let Some((_, held)) = self.0.last_mut() {
                    held.extend_from_slice(&text);
                }
            }
            Event::End => {
                let (mut node, text) = self.0.pop()?;
                node.text = String::from_utf8_lossy(&text).into_owned();
                match self.0.last_mut() {
                    Some((parent, _)) => parent.children.push(node),
                    None => return Some(node),
                }
            }
            Event::Over => {}
        }
        None
    }
}

/// What a message brought next.
pub(super) enum Part {
    /// `MimeContent` begins: its text is to be read by [`Answer::mime`].
    Mime,
    Whole(Node),
}

/// An answer, read as it comes.
#[derive(Debug)]
pub(super) struct Answer {
    response: Response,
    scanner: Scanner,
    /// Octets in trees.
    held: usize,
}

impl Answer {
    async fn event(&mut self) -> Result<Event, Fault> {
        loop {
            if let Some(event) = self.scanner.next()? {
                return Ok(event);
            }
            match self.response.chunk().await.map_err(|e| unreachable(&e))? {
                Some(piece) => self.scanner.feed(&piece),
                None => return Err(Fault::new(Class::Unreachable, "ews: the answer ends in its middle")),
            }
        }
    }

    /// The next response message begins; `None` after the last.
    pub async fn message(&mut self) -> Result<Option<Growing>, Fault> {
        self.message_or_version(&mut |_| {}).await
    }

    async fn message_or_version(&mut self, version: &mut (dyn FnMut(u32) + Send)) -> Result<Option<Growing>, Fault> {
        loop {
            match self.event().await? {
                Event::Start(name, attributes) => {
                    let attribute = |key: &str| attributes.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
                    if attribute("ResponseClass").is_some() {
                        return Ok(Some(Growing::of(name, attributes)));
                    }
                    if name == "ServerVersionInfo"
                        && let Some(major) = attribute("MajorVersion").and_then(|m| m.parse().ok())
                    {
                        version(major);
                    }
                    if name == "Fault" {
                        let told = self.whole(Growing::of(name, attributes)).await?;
                        return Err(soap_fault(&told).1);
                    }
                }
                Event::Over => return Ok(None),
                Event::Text(_) | Event::End => {}
            }
        }
    }

    /// Reads on: to the end of the message, or to a message's octets within it.
    pub async fn more(&mut self, growing: &mut Growing) -> Result<Part, Fault> {
        loop {
            let event = self.event().await?;
            self.held += match &event {
                Event::Start(name, attributes) => {
                    128 + name.len() + attributes.iter().map(|(k, v)| k.len() + v.len() + 48).sum::<usize>()
                }
                Event::Text(text) => text.len(),
                _ => 0,
            };
            if self.held > MOST {
                return Err(Fault::new(Class::Protocol, "ews: an answer without end"));
            }
            if matches!(&event, Event::Start(name, _) if name == "MimeContent") {
                return Ok(Part::Mime);
            }
            if let Some(node) = growing.take(event) {
                return Ok(Part::Whole(node));
            }
        }
    }

    /// The next piece of a message's octets, as base64; `None` at its end.
    pub async fn mime(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        match self.event().await? {
            Event::Text(text) => Ok(Some(text)),
            Event::End => Ok(None),
            _ => Err(Fault::new(Class::Protocol, "ews: elements within MimeContent")),
        }
    }

    /// The rest of a message, whose octets, if there are any, nobody wants.
    pub async fn whole(&mut self, mut growing: Growing) -> Result<Node, Fault> {
        loop {
            match self.more(&mut growing).await? {
                Part::Whole(node) => return Ok(node),
                Part::Mime => while self.mime().await?.is_some() {},
            }
        }
    }

    /// What was read is worked off: its memory is free.
    pub fn forget(&mut self) {
        self.held = 0;
    }
}

fn unreachable(e: &reqwest::Error) -> Fault {
    http::unreachable("ews", e)
}
