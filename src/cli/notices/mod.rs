//! Notices at the command line: rendered, written out, sent through the topology's own mail server, never twice.

pub mod message;
mod post;
pub mod sending;
pub mod survey;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use self::message::{Message, isolated, parts};
pub use self::post::Post;
use super::calendar::moment;
use super::context::Context;
use super::failure::Failure;
use super::lines::LinesFile;
use super::project::Project;
use crate::journal::StateDir;
use crate::lowering::template::{Data, Engine};
use crate::model::SourceId;
use crate::model::diagnostic::Diagnostics;
use crate::model::source::Sources;
use crate::model::topology::Topology;
use crate::people::Chosen;
use crate::process::calendar::Calendar;
use crate::process::notice::{self, Notice, Notices, Past, Standing};

/// What became of a notice, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub id: String,
    pub communication: String,
    pub cohort: String,
    pub recipient: String,
    /// RFC 3339.
    pub at: String,
    pub past: Past,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

pub fn file(state: &StateDir) -> LinesFile<Entry> {
    LinesFile::of(state, "notices.jsonl")
}

/// Everything that the notices of a topology are made of.
pub struct Course {
    root: PathBuf,
    organization: String,
    domain: String,
    pub calendar: Calendar,
    pub notices: Notices,
    pub journal: LinesFile<Entry>,
}

/// What was sent before, and the time that it is.
pub struct Now {
    pub past: BTreeMap<String, Past>,
    pub at: Timestamp,
}

impl Course {
    pub fn of(project: &Project, state: &StateDir) -> Result<Self, Failure> {
        Self::with(&project.root, &project.topology, &project.made.people, state)
    }

    /// `people`: those of each cohort. Templates stand below `root`.
    pub fn with(
        root: &Path,
        topology: &Topology,
        people: &BTreeMap<String, Chosen>,
        state: &StateDir,
    ) -> Result<Self, Failure> {
        let calendar =
            Calendar::of(topology).map_err(|e| Failure::new(e).help("write an IANA name such as Europe/Dublin"))?;
        let notices = notice::notices(topology, &calendar, people);
        let organization = topology.organization();
        let shown = organization.map_or("", |o| o.text("display").unwrap_or(o.id.name.as_str()));
        Ok(Self {
            root: root.to_owned(),
            organization: shown.to_owned(),
            domain: organization.and_then(|o| o.text("domain")).unwrap_or("invalid").to_owned(),
            calendar,
            notices,
            journal: file(state),
        })
    }

    pub fn now(&self) -> Result<Now, Failure> {
        let past = self.journal.read()?.into_iter().map(|e| (e.id, e.past)).collect();
        Ok(Now { past, at: Timestamp::now() })
    }

    pub fn standings(&self, now: &Now) -> Vec<(&Notice, Standing)> {
        self.notices.all.iter().zip(notice::standings(&self.notices.all, &now.past, now.at)).collect()
    }
}

/// What keeps messages from being made.
pub enum Wrong {
    /// Mistakes in templates, with their places.
    Templates(Box<(Sources, Diagnostics)>),
    Other {
        what: String,
        help: &'static str,
    },
}

impl Wrong {
    /// For a command: mistakes are shown where they stand.
    pub fn failure(self, context: &Context) -> Failure {
        match self {
            Wrong::Templates(of) => match super::project::accept(context, &of.0, &of.1) {
                Err(shown) => shown,
                Ok(()) => Failure::shown(),
            },
            Wrong::Other { what, help } => Failure::new(what).help(help),
        }
    }

    /// In one line.
    pub fn told(&self) -> String {
        match self {
            Wrong::Templates(of) => {
                let of = of.1.iter().next();
                of.map_or_else(|| "a template is wrong".to_owned(), |d| format!("a template is wrong: {}", d.message))
            }
            Wrong::Other { what, help } => format!("{what}: {help}"),
        }
    }
}

/// Templates that were read and compiled, by the name of their file.
struct Templates {
    sources: Sources,
    files: BTreeMap<String, SourceId>,
    /// Template and language of the reader, with the file that was taken and the language that it is in.
    taken: BTreeMap<(String, String), (SourceId, String)>,
}

/// Languages to look for, the best first: that of the reader, also without its region, then that of the organisation.
fn languages(notice: &Notice) -> impl Iterator<Item = &str> {
    let own = notice.language.as_str();
    let wide = own.split_once('-').map(|(primary, _)| primary);
    [own].into_iter().chain(wide).chain([notice.usual.as_str()])
}

/// `notices/invite.hbs` in Persian is `notices/invite.fa.hbs`, where there is one.
fn variant(template: &str, language: &str) -> String {
    match template.rsplit_once('.') {
        Some((stem, end)) => format!("{stem}.{language}.{end}"),
        None => format!("{template}.{language}"),
    }
}

impl Templates {
    fn read(course: &Course, wanted: &[&Notice]) -> Result<Self, Wrong> {
        let mut all = Self { sources: Sources::default(), files: BTreeMap::new(), taken: BTreeMap::new() };
        for n in wanted {
            let key = (n.template.clone(), n.language.clone());
            if all.taken.contains_key(&key) {
                continue;
            }
            let own = languages(n).map(|l| (variant(&n.template, l), l)).find(|(f, _)| course.root.join(f).is_file());
            let (name, language) = own.unwrap_or_else(|| (n.template.clone(), &n.usual));
            let id = match all.files.get(&name) {
                Some(id) => *id,
                None => all.file(course, n, &name)?,
            };
            all.taken.insert(key, (id, language.to_owned()));
        }
        Ok(all)
    }

    fn file(&mut self, course: &Course, notice: &Notice, name: &str) -> Result<SourceId, Wrong> {
        let text = std::fs::read_to_string(course.root.join(name)).map_err(|e| Wrong::Other {
            what: format!("template {name} of communication {} cannot be read: {e}", notice.communication),
            help: "templates stand beside the topology; the first line is `Subject: ...`, then comes an empty one",
        })?;
        let id = self.sources.add(name.to_owned(), text);
        self.files.insert(name.to_owned(), id);
        Ok(id)
    }
}

/// The messages of these notices. All faults of their templates are told in one run.
pub fn messages(course: &Course, at: Timestamp, wanted: &[&Notice]) -> Result<Vec<Message>, Wrong> {
    let templates = Templates::read(course, wanted)?;
    let mut found = Diagnostics::default();
    let mut out = Vec::new();
    {
        let mut engine = Engine::new(&templates.sources);
        templates.files.values().for_each(|id| engine.add_file(*id, &mut found));
        for n in wanted {
            let Some((id, language)) = templates.taken.get(&(n.template.clone(), n.language.clone())) else { continue };
            let value = |text: &str| serde_json::Value::String(isolated(text, language));
            let data = [
                ("address", value(&n.recipient)),
                ("name", value(n.recipient.split('@').next().unwrap_or_default())),
                ("cohort", value(&n.cohort)),
                ("organization", value(&course.organization)),
                ("domain", value(&course.domain)),
                ("begins", value(&moment(n.begins, &course.calendar.zone))),
                ("ends", value(&moment(n.ends, &course.calendar.zone))),
                ("sender", value(&n.sender.1)),
            ];
            let data = Data::new(data.into_iter().map(|(k, v)| (k.to_owned(), v)).collect());
            match engine.file(*id, &data) {
                Some(Ok(text)) => {
                    let Some((subject, body)) = parts(&text) else {
                        return Err(Wrong::Other {
                            what: format!("template {} has no subject", templates.sources.get(*id).name),
                            help: "its first line is `Subject: ...`, then comes an empty one",
                        });
                    };
                    out.push(Message {
                        from: n.sender.clone(),
                        to: n.recipient.clone(),
                        subject,
                        body,
                        language: language.clone(),
                        id: format!("{}@{}", n.id, course.domain),
                        date: at,
                    });
                }
                Some(Err(wrong)) => found.push(wrong),
                None => {}
            }
            if found.has_errors() && out.is_empty() && found.iter().count() > 20 {
                break;
            }
        }
    }
    match found.has_errors() {
        true => Err(Wrong::Templates(Box::new((templates.sources, found)))),
        false => Ok(out),
    }
}
