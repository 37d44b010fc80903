//! An organisation of Exchange over its servers: asked in one script call and one more a host, changed in one.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use zeroize::Zeroizing;

use crate::exchange::diff::Call;
use crate::exchange::far::{End, Gathered, Questions, Request, Untold, ended, told};
use crate::exchange::script::{self, Script as Constant};
use crate::model::host::{HostAccess, HostError};
use crate::transport::{Far, Link, Script, Transport};

/// Hosts that are asked at one time.
const TOGETHER: usize = 16;

/// Whose management shell speaks for the organisation, and the hosts that have something of their own to tell.
pub struct Organization<'a, T> {
    pub transport: &'a T,
    pub speaker: &'a HostAccess,
    /// By name without a domain, in lower case.
    pub hosts: &'a BTreeMap<String, HostAccess>,
    /// After this a server is not waited for any longer.
    pub limit: Duration,
}

impl<T: Transport> Organization<'_, T> {
    /// Asks all of it, side by side. Whoever does not answer is silent, and no more than that.
    pub async fn gather(&self, questions: &Questions) -> Gathered {
        let whole = std::iter::once((None, &questions.organization)).filter(|(_, r)| !r.asks.is_empty());
        let each = questions.hosts.iter().map(|(name, request)| (Some(name), request));
        let answers = stream::iter(whole.chain(each))
            .map(|(name, request)| async move { (request, self.ask(name, request).await) })
            .buffered(TOGETHER)
            .collect::<Vec<_>>()
            .await;
        let mut gathered = Gathered::default();
        for (request, answer) in answers {
            match answer {
                Ok(stdout) => gathered.take(request, &stdout),
                Err(why) => gathered.lost(request, &why),
            }
        }
        gathered
    }

    async fn ask(&self, host: Option<&String>, request: &Request) -> Result<String, String> {
        let access = match host {
            None => self.speaker,
            Some(name) => self.hosts.get(name).ok_or_else(|| format!("no server {name} is within reach"))?,
        };
        let input = Zeroizing::new(Constant::Observe.input(&request.told()));
        self.run(access, input).await.map_err(|e| e.to_string())
    }

    /// Makes these calls in order, up to the first that fails. An error means that none was sent.
    pub async fn act(
        &self,
        calls: &[Call],
        secret: impl FnMut(&str) -> Result<Zeroizing<Vec<u8>>, String>,
    ) -> Result<Vec<End>, Vec<Untold>> {
        if calls.is_empty() {
            return Ok(Vec::new());
        }
        let input = Constant::Act.input_of(&told(calls, secret)?);
        Ok(match self.run(self.speaker, input).await {
            Ok(stdout) => ended(calls, &stdout),
            Err(e) => calls.iter().map(|_| End::Unknown { why: e.to_string() }).collect(),
        })
    }

    async fn run(&self, access: &HostAccess, input: Zeroizing<String>) -> Result<String, HostError> {
        let script = Script {
            body: input,
            payload: None,
            link: Link::Kept,
            limit: self.limit,
            far: Far::Program(script::command().join(" ")),
        };
        let mut stdout = String::new();
        let exit = self
            .transport
            .exec(access, script, |line| {
                stdout.push_str(line);
                stdout.push('\n');
            })
            .await?;
        if exit.code != Some(0) {
            tracing::debug!(host = %access.name, code = ?exit.code, "the management shell ended: {}", exit.stderr);
        }
        Ok(stdout)
    }
}
