//! Greeting, STARTTLS, login, and what the server says it can do.

use zeroize::Zeroizing;

use super::{Part, Session};
use crate::protocol::imap::Status;
use crate::protocol::imap::answer::{Answer, Done, Space};
use crate::protocol::sasl::{Credentials, Mechanism, Proof, encode};
use crate::services::cms::config::{End, Tls};
use crate::services::cms::mailbox::{Access, Class, Fault};

impl Session {
    pub(super) async fn log_in(&mut self, end: &End, access: &Access) -> Result<(), Fault> {
        let mut known = match self.receive(None).await? {
            Answer::State(done) if matches!(done.status, Status::Ok | Status::PreAuth) => {
                if done.status == Status::PreAuth {
                    // It would be a mailbox that nobody named.
                    return Err(self.says("it logs in nobody by itself (PREAUTH)", Class::Protocol));
                }
                !self.capabilities.is_empty()
            }
            Answer::State(done) => return Err(self.fault(&done, "greeting", Class::Unreachable)),
            _ => return Err(self.says("its greeting is not of IMAP", Class::Protocol)),
        };
        if end.tls == Tls::Starttls {
            let done = self.ask(&[Part::Text("STARTTLS")], |_| {}).await?;
            if !done.is_ok() {
                return Err(self.fault(&done, "STARTTLS", Class::Protocol));
            }
            self.stream.secure(end).await?;
            // Whatever was said before TLS may be somebody else's.
            self.capabilities.clear();
            known = false;
        }
        if !known {
            self.ask_capabilities().await?;
        }
        let before = std::mem::take(&mut self.capabilities);
        let done = self.authenticate(end, access, &before).await?;
        if !done.is_ok() {
            // Servers that are short of something say so with a code; what else is refused here is the login.
            return Err(self.fault(&done, &format!("login of {}", access.user), Class::Login));
        }
        if self.capabilities.is_empty() {
            self.ask_capabilities().await?;
        }
        for word in self.dialect.distrusted {
            self.capabilities.remove(*word);
        }
        self.arrive(end, access).await
    }

    async fn ask_capabilities(&mut self) -> Result<(), Fault> {
        let done = self.ask(&[Part::Text("CAPABILITY")], |_| {}).await?;
        if done.is_ok() { Ok(()) } else { Err(self.fault(&done, "CAPABILITY", Class::Protocol)) }
    }

    async fn authenticate(
        &mut self,
        end: &End,
        access: &Access,
        can: &std::collections::BTreeSet<String>,
    ) -> Result<Done, Fault> {
        let refused = |e: &dyn std::fmt::Display| Fault::new(Class::Login, format!("login of {}: {e}", access.user));
        let offers = |m: Mechanism| can.contains(&format!("AUTH={}", m.as_str()));
        let (mechanism, credentials) = if end.token {
            let mechanism = if offers(Mechanism::OAuthBearer) { Mechanism::OAuthBearer } else { Mechanism::XOAuth2 };
            let proof = Proof::Token(access.password.clone());
            (mechanism, Credentials { user: access.login.clone(), acts_as: None, proof })
        } else {
            let (user, acts_as) = match &access.master {
                Some(master) if end.authzid => (master.as_str(), access.login.as_str()),
                _ => (access.login.as_str(), ""),
            };
            let made = Credentials::password(user.as_bytes(), acts_as.as_bytes(), access.password.as_bytes());
            (Mechanism::Plain, made.map_err(|e| refused(&e))?)
        };
        let plain = mechanism == Mechanism::Plain;
        if plain && !end.authzid && !offers(Mechanism::Plain) {
            if can.contains("LOGINDISABLED") {
                return Err(refused(&"the server takes no password on this connection (LOGINDISABLED); set tls"));
            }
            let tag = self
                .begin(&[
                    Part::Text("LOGIN "),
                    Part::String(access.login.as_bytes()),
                    Part::Text(" "),
                    Part::String(access.password.as_bytes()),
                ])
                .await?;
            self.stream.flush().await?;
            return self.finish(&tag, |_| {}).await;
        }
        let message = credentials.message(mechanism).ok_or_else(|| refused(&"the credentials do not fit"))?;
        let coded = encode(&message);
        let at_once = can.contains("SASL-IR");
        let tag = match at_once {
            true => {
                let line = Zeroizing::new(format!("AUTHENTICATE {} {}", mechanism.as_str(), *coded));
                self.send(&[Part::Text(&line)]).await?
            }
            false => {
                let tag = self.send(&[Part::Text(&format!("AUTHENTICATE {}", mechanism.as_str()))]).await?;
                if let Some(done) = self.wait_for_go(&tag).await? {
                    return Ok(done);
                }
                self.stream.write(coded.as_bytes()).await?;
                self.stream.write(b"\r\n").await?;
                self.stream.flush().await?;
                tag
            }
        };
        loop {
            match self.receive(None).await? {
                Answer::Tagged(of, done) if of == tag => return Ok(done),
                Answer::Continue(_) => {
                    // XOAUTH2 and OAUTHBEARER tell an error so, and want an answer before they say NO (RFC 7628, section 3.2.3).
                    self.stream.write(if mechanism == Mechanism::OAuthBearer { b"AQ==\r\n" } else { b"\r\n" }).await?;
                    self.stream.flush().await?;
                }
                _ => {}
            }
        }
    }

    /// Behind the login: switches on what helps, learns the namespaces, and sees that there is a mailbox (Exchange lets log in whom it
    /// then refuses everything: "authenticated but not connected").
    async fn arrive(&mut self, end: &End, access: &Access) -> Result<(), Fault> {
        if end.compress && self.can("COMPRESS=DEFLATE") {
            let done = self.ask(&[Part::Text("COMPRESS DEFLATE")], |_| {}).await?;
            if done.is_ok() {
                self.stream.compress()?;
            }
        }
        let identified = match self.can("ID") {
            true => {
                let line = format!("ID (\"name\" \"cutover-cms\" \"version\" \"{}\")", env!("CARGO_PKG_VERSION"));
                Some(self.begin(&[Part::Text(&line)]).await?)
            }
            false => None,
        };
        let enabled = match self.can("QRESYNC") && self.can("ENABLE") {
            true => Some(self.begin(&[Part::Text("ENABLE QRESYNC")]).await?),
            false => None,
        };
        let spaces = match self.can("NAMESPACE") {
            true => Some(self.begin(&[Part::Text("NAMESPACE")]).await?),
            false => None,
        };
        let root = self.begin(&[Part::Text("LIST \"\" \"\"")]).await?;
        let inbox = self.begin(&[Part::Text("STATUS INBOX (UIDVALIDITY)")]).await?;
        self.stream.flush().await?;
        let (mut qresync, mut delimiter) = (false, None);
        let mut found: Option<[Vec<Space>; 3]> = None;
        let mut hear = |answer: Answer| match answer {
            Answer::Enabled(words) => qresync |= words.iter().any(|w| w == "QRESYNC"),
            Answer::List(listed) => delimiter = listed.delimiter.or(delimiter),
            Answer::Namespace { personal, others, shared } => found = Some([personal, others, shared]),
            _ => {}
        };
        for tag in [identified, enabled, spaces].into_iter().flatten() {
            self.finish(&tag, &mut hear).await?;
        }
        let done = self.finish(&root, &mut hear).await?;
        let there = self.finish(&inbox, &mut hear).await?;
        self.qresync = qresync;
        for done in [&done, &there] {
            if !done.is_ok() {
                let what = format!("{} logs in and finds no mailbox", access.user);
                let fault = self.fault(done, &what, Class::Login);
                let class = if fault.class.passes() { fault.class } else { Class::Login };
                return Err(Fault { class, ..fault });
            }
        }
        if let Some([personal, owned, shared]) = found {
            if let Some(first) = personal.into_iter().next() {
                self.personal = first;
            }
            let all = owned.iter().cloned().chain(shared);
            self.foreign = all.filter(|s| !s.prefix.is_empty()).collect();
            self.owned = owned.into_iter().filter(|s| !s.prefix.is_empty()).collect();
        }
        self.personal.delimiter = self.personal.delimiter.or(delimiter);
        self.learn();
        Ok(())
    }

    /// What a target of these capabilities can do.
    fn learn(&mut self) {
        let free = self.can("LITERAL+") || self.can("LITERAL-") || self.can("IMAP4REV2");
        let whole = self.can("MULTIAPPEND");
        self.abilities.whole_batches = whole;
        self.abilities.batch = match whole || free && self.dialect.pipelines {
            true => self.dialect.batch,
            false => 1,
        };
        self.abilities.removes = self.can("UIDPLUS") || self.can("IMAP4REV2");
        let limit = self.capabilities.iter().find_map(|c| c.strip_prefix("APPENDLIMIT=")?.parse().ok());
        self.abilities.largest = limit;
    }

    pub(super) fn says(&self, what: &str, class: Class) -> Fault {
        Fault::new(class, format!("{}: {what}", self.stream.server()))
    }
}
