//! Surveys as mail: letters with a form, and answers out of files: replies (mbox, EML) or a table (CSV).

use std::collections::BTreeMap;

use jiff::Timestamp;
use mail_parser::MessageParser;
use mail_parser::mailbox::mbox::MessageIterator;
use serde::{Deserialize, Serialize};

use super::message::Message;
use crate::cli::failure::Failure;
use crate::cli::lines::LinesFile;
use crate::cli::project::Project;
use crate::journal::StateDir;
use crate::model::topology::Node;
use crate::people::{ADDRESS_HEADERS, plain_header};
use crate::process::notice::{self, Notice};
use crate::process::survey::{Answers, Survey, Tally, mark};

/// What one person has answered, and where it stood.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Given {
    /// Of the letter that it answers: of other questions it is none.
    pub letter: String,
    pub survey: String,
    pub who: String,
    pub answers: Answers,
    /// RFC 3339: when it was taken in.
    pub at: String,
    pub file: String,
}

pub fn file(state: &StateDir) -> LinesFile<Given> {
    LinesFile::of(state, "surveys.jsonl")
}

/// What was answered so far: of each person the last.
pub fn tally(survey: &Survey, state: &StateDir) -> Result<Tally, Failure> {
    let all = file(state).read()?.into_iter().filter(|g| g.survey == survey.name && g.letter == survey.id(&g.who));
    let given: BTreeMap<String, Answers> = all.map(|g| (g.who, g.answers)).collect();
    Ok(survey.tally(&given))
}

/// The letters of a survey with the notices that the journal knows them by.
pub fn letters(project: &Project, node: &Node, survey: &Survey, now: Timestamp) -> Vec<(Notice, Message)> {
    let topology = &project.topology;
    let organization = topology.organization();
    let shown = organization.map_or("", |o| o.text("display").unwrap_or(o.id.name.as_str()));
    let domain = organization.and_then(|o| o.text("domain")).unwrap_or("invalid");
    let language = organization.and_then(|o| o.text("locale")).unwrap_or("en").to_owned();
    let sender = notice::sender(topology, node);
    let (subject, body) = survey.letter(shown, &language);
    let one = |(to, cohort): (&String, &String)| {
        let id = survey.id(to);
        let notice = Notice {
            communication: format!("survey {}", survey.name),
            cohort: cohort.clone(),
            recipient: to.clone(),
            offset: String::new(),
            at: now,
            until: now,
            channel: "email".to_owned(),
            template: String::new(),
            language: language.clone(),
            usual: language.clone(),
            sender: sender.clone(),
            begins: now,
            ends: now,
            id: id.clone(),
        };
        let message = Message {
            from: sender.clone(),
            to: to.clone(),
            subject: subject.clone(),
            body: body.clone(),
            language: language.clone(),
            id: format!("{id}@{domain}"),
            date: now,
        };
        (notice, message)
    };
    survey.asked.iter().map(one).collect()
}

/// Answers in a file, and what of it is none.
#[derive(Debug, Default)]
pub struct Heard {
    pub answers: Vec<(String, Answers)>,
    pub passed_over: Vec<String>,
}

/// Reads a file of replies or a table.
pub fn heard(survey: &Survey, name: &str, bytes: &[u8]) -> Result<Heard, Failure> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut out = Heard::default();
    if bytes.starts_with(b"From ") {
        for (n, message) in (1..).zip(MessageIterator::new(bytes)) {
            match message {
                Ok(message) => reply(survey, &format!("{name}, message {n}"), message.contents(), &mut out),
                Err(e) => out.passed_over.push(format!("{name}, message {n}: {e:?}")),
            }
        }
    } else if name.to_ascii_lowercase().ends_with(".csv") {
        table(survey, name, bytes, &mut out)?;
    } else {
        reply(survey, name, bytes, &mut out);
    }
    Ok(out)
}

fn reply(survey: &Survey, place: &str, octets: &[u8], out: &mut Heard) {
    let mut none = |why: String| out.passed_over.push(format!("{place}: {why}"));
    let Some(message) = MessageParser::default().parse(octets) else { return none("it is no message".to_owned()) };
    let from = message.from().and_then(|f| f.first()).and_then(|a| a.address()).map(str::to_lowercase);
    let Some(from) = from else { return none("it says not whom it is from".to_owned()) };
    // What a machine answers (RFC 3834) says nothing of the person.
    let robot = message.header_raw("Auto-Submitted").is_some_and(|v| !v.trim().eq_ignore_ascii_case("no"));
    if robot {
        return none(format!("{from} was answered for by a machine"));
    }
    if !survey.asked.contains_key(&from) {
        return none(format!("{from} was not asked"));
    }
    match message.body_text(0).and_then(|text| survey.read(&text)) {
        Some(answers) => out.answers.push((from, answers)),
        None => none(format!("{from} gives no answer to any question")),
    }
}

/// A table: a column with the address, and one for each question by its number.
fn table(survey: &Survey, name: &str, bytes: &[u8], out: &mut Heard) -> Result<(), Failure> {
    let failed = |e: String| Failure::new(format!("{name}: {e}; nothing was taken in"));
    let first = bytes.split(|b| *b == b'\n').next().unwrap_or_default();
    let delimiter = if first.contains(&b';') && !first.contains(&b',') { b';' } else { b',' };
    let mut reader =
        csv::ReaderBuilder::new().delimiter(delimiter).trim(csv::Trim::All).flexible(true).from_reader(bytes);
    let header = reader.headers().cloned().map_err(|e| failed(e.to_string()))?;
    let place = |wanted: &str| header.iter().position(|h| plain_header(h) == wanted);
    let Some(who) = ADDRESS_HEADERS.into_iter().find_map(place) else {
        return Err(failed("no column is called mail".to_owned())
            .help("the first line names the columns: mail, then the numbers of the questions, as in mail,1,2"));
    };
    let columns: Vec<Option<usize>> =
        (1..=survey.questions.len()).map(|n| place(&n.to_string()).or_else(|| place(&format!("q{n}")))).collect();
    if columns.iter().all(Option::is_none) {
        return Err(failed("no column has the number of a question".to_owned()).help("write mail,1,2"));
    }
    for (n, row) in (2..).zip(reader.records()) {
        let row = row.map_err(|e| failed(e.to_string()))?;
        let from = row.get(who).unwrap_or_default().to_lowercase();
        let answers: Answers = columns.iter().map(|c| row.get((*c)?).and_then(mark)).collect();
        let wrong = match (survey.asked.contains_key(&from), answers.iter().any(Option::is_some)) {
            (false, _) => Some("was not asked"),
            (true, false) => Some("gives no answer to any question"),
            (true, true) => None,
        };
        match wrong {
            Some(why) => out.passed_over.push(format!("{name}, line {n}: {from} {why}")),
            None => out.answers.push((from, answers)),
        }
    }
    Ok(())
}
