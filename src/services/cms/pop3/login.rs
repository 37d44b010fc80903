//! Greeting, STLS, login.

use zeroize::Zeroizing;

use super::{LINE, Pop3, class_of};
use crate::protocol::sasl::{Credentials, Mechanism, Proof, encode};
use crate::services::cms::config::Tls;
use crate::services::cms::mailbox::{Class, Fault};

impl Pop3 {
    pub(super) async fn log_in(&mut self) -> Result<(), Fault> {
        if let Err(words) = self.answer().await? {
            return Err(self.refused("greeting", &words, class_of(&words, Class::Busy)));
        }
        self.ask_capabilities().await?;
        if self.end.tls == Tls::Starttls {
            if let Err(words) = self.ask("STLS").await? {
                return Err(self.refused("STLS", &words, Class::Protocol));
            }
            self.stream.secure(&self.end).await?;
            // Whatever was said before TLS may be somebody else's.
            self.ask_capabilities().await?;
        }
        let done =
            if self.end.authzid || self.end.token { self.authenticate().await? } else { self.user_and_pass().await? };
        if let Err(words) = done {
            let what = format!("login of {}", self.access.user);
            return Err(self.refused(&what, &words, class_of(&words, Class::Login)));
        }
        // It may offer more now.
        self.ask_capabilities().await
    }

    /// None, where the server does not know CAPA: then it is of 1996.
    async fn ask_capabilities(&mut self) -> Result<(), Fault> {
        self.capabilities.clear();
        if self.ask("CAPA").await?.is_err() {
            return Ok(());
        }
        loop {
            let line = self.stream.line(LINE).await?;
            if line == b"." {
                return Ok(());
            }
            let line = String::from_utf8_lossy(&line).to_ascii_uppercase();
            let mut words = line.split_ascii_whitespace();
            if let Some(word) = words.next().filter(|_| self.capabilities.len() < 200) {
                self.capabilities.insert(word.to_owned());
                if word == "SASL" {
                    self.capabilities.extend(words.map(|m| format!("SASL={m}")));
                }
            }
        }
    }

    async fn user_and_pass(&mut self) -> Result<Result<String, String>, Fault> {
        let (login, password) = (self.access.login.clone(), self.access.password.clone());
        if login.contains(char::is_control) || password.contains(['\r', '\n', '\0']) {
            return Err(Fault::new(Class::Login, format!("login of {}: control characters", self.access.user)));
        }
        // Some servers refuse the name itself; most say +OK to any.
        if let Err(words) = self.ask(&format!("USER {login}")).await? {
            return Ok(Err(words));
        }
        self.stream.write(b"PASS ").await?;
        self.stream.write(password.as_bytes()).await?;
        self.stream.write(b"\r\n").await?;
        self.stream.flush().await?;
        self.answer().await
    }

    async fn authenticate(&mut self) -> Result<Result<String, String>, Fault> {
        let refused = |e: &dyn std::fmt::Display| Fault::new(Class::Login, format!("login: {e}"));
        let (mechanism, credentials) = if self.end.token {
            let bearer = self.capabilities.contains("SASL=OAUTHBEARER");
            let proof = Proof::Token(self.access.password.clone());
            let mechanism = if bearer { Mechanism::OAuthBearer } else { Mechanism::XOAuth2 };
            (mechanism, Credentials { user: self.access.login.clone(), acts_as: None, proof })
        } else {
            let master = self.access.master.clone().unwrap_or_default();
            let made =
                Credentials::password(master.as_bytes(), self.access.login.as_bytes(), self.access.password.as_bytes());
            (Mechanism::Plain, made.map_err(|e| refused(&e))?)
        };
        let message = credentials.message(mechanism).ok_or_else(|| refused(&"the credentials do not fit"))?;
        // In two steps, because a token is longer than a command may be (RFC 5034 section 4).
        self.stream.write(format!("AUTH {}\r\n", mechanism.as_str()).as_bytes()).await?;
        self.stream.flush().await?;
        let mut sent = false;
        loop {
            let line = self.stream.line(LINE * 2).await?;
            let text = String::from_utf8_lossy(&line);
            if let Some(rest) = text.strip_prefix("+OK") {
                return Ok(Ok(rest.trim().to_owned()));
            } else if let Some(rest) = text.strip_prefix("-ERR") {
                return Ok(Err(crate::services::cms::wire::shown(rest.trim())));
            } else if !text.starts_with('+') {
                return Err(self.protocol("an answer to AUTH that is not of POP3"));
            }
            let answer = match std::mem::replace(&mut sent, true) {
                false => encode(&message),
                // An error, told as a challenge: it is answered, then comes -ERR (RFC 7628 section 3.2.3).
                true => Zeroizing::new(if mechanism == Mechanism::OAuthBearer { "AQ==".into() } else { String::new() }),
            };
            self.stream.write(answer.as_bytes()).await?;
            self.stream.write(b"\r\n").await?;
            self.stream.flush().await?;
        }
    }
}
