//! What was answered: objects by kind, warnings, and of whom there is no answer. What could not be asked is never "not there".

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json};

use super::failure::Failure;
use super::questions::{Ask, Request};
use crate::exchange::dialect::Dialect;
use crate::exchange::diff::{self, ASKED, Fault, Lost, Outcome, Returned, Trouble, Wish};
use crate::exchange::script::{self, NoAnswer};
use crate::exchange::version::Release;

/// A kind of objects that could not be asked for: all of them, or those of one host or object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    pub kind: String,
    pub of: Option<String>,
    pub why: String,
    pub help: Option<&'static str>,
}

/// All answers together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Gathered {
    pub returned: Returned,
    pub silent: Vec<Silence>,
    /// What the product warned of, with the cmdlet.
    pub warnings: BTreeSet<(String, String)>,
    /// Something answered that says of itself that it is a simulation: nothing of this is evidence of a real server.
    pub simulated: bool,
}

impl Gathered {
    /// Takes in the output of `observe.ps1` for a request.
    pub fn take(&mut self, request: &Request, stdout: &str) {
        match script::answer(stdout) {
            Ok(json) => self.document(request, &json),
            Err(e @ (NoAnswer::Missing | NoAnswer::Torn | NoAnswer::NotJson(_))) => self.lost(request, &e.to_string()),
        }
    }

    /// Nothing of a request is known: the server was not reached, or what it said is no answer.
    pub fn lost(&mut self, request: &Request, why: &str) {
        request.asks.iter().for_each(|ask| self.silence(ask, why.to_owned(), None));
    }

    fn silence(&mut self, ask: &Ask, why: String, help: Option<&'static str>) {
        let of = ask.of().map(str::to_owned);
        self.silent.extend(ask.kinds.iter().map(|kind| Silence {
            kind: kind.clone(),
            of: of.clone(),
            why: why.clone(),
            help,
        }));
    }

    fn document(&mut self, request: &Request, json: &Json) {
        self.simulated |= json.get("simulation").and_then(Json::as_bool) == Some(true);
        if let Some(failed) = json.get("failed") {
            let Some(failure) = Failure::read(failed) else { return self.lost(request, "its error cannot be read") };
            let help = failure.help();
            request.asks.iter().for_each(|ask| self.silence(ask, failure.to_string(), help));
            return;
        }
        let Some(answers) = json.get("answers").and_then(Json::as_array) else {
            return self.lost(request, "its answer has no answers");
        };
        let mut by: BTreeMap<&str, Vec<&Json>> = BTreeMap::new();
        for answer in answers {
            by.entry(answer.get("kind").and_then(Json::as_str).unwrap_or_default()).or_default().push(answer);
        }
        for (n, ask) in request.asks.iter().enumerate() {
            match by.get(n.to_string().as_str()).map(Vec::as_slice) {
                Some([answer]) => self.answer(ask, answer),
                Some(_) => self.silence(ask, format!("{} is answered twice", ask.cmdlet), None),
                None => self.silence(ask, format!("{} is not answered", ask.cmdlet), None),
            }
        }
    }

    fn answer(&mut self, ask: &Ask, answer: &Json) {
        let list = |name: &str| answer.get(name).and_then(Json::as_array);
        let (Some(objects), Some(warnings), Some(errors)) = (list("objects"), list("warnings"), list("errors")) else {
            return self.silence(ask, format!("the answer of {} cannot be read", ask.cmdlet), None);
        };
        for warning in warnings.iter().filter_map(Json::as_str).filter(|w| !w.trim().is_empty()) {
            self.warnings.insert((ask.cmdlet.clone(), warning.to_owned()));
        }
        for error in errors {
            let Some(failure) = Failure::read(error) else {
                return self.silence(ask, format!("an error of {} cannot be read", ask.cmdlet), None);
            };
            // What is asked of an object that is not there has no objects. A list knows no such thing.
            if failure.absent && ask.of().is_some() && objects.is_empty() {
                continue;
            }
            return self.silence(ask, format!("{}: {failure}", ask.cmdlet), failure.help());
        }
        let mut whole = Vec::with_capacity(objects.len());
        for object in objects {
            let Some(object) = object.as_object() else {
                return self.silence(ask, format!("an object of {} cannot be read", ask.cmdlet), None);
            };
            let mut object: Map<String, Json> = object.clone();
            if let Some(of) = ask.of() {
                object.insert(ASKED.to_owned(), of.into());
            }
            whole.push(Json::Object(object));
        }
        for kind in &ask.kinds {
            self.returned.entry(kind.clone()).or_default().extend(whole.iter().cloned());
        }
    }

    /// Wishes against what was gathered. A wish of what could not be asked for is a fault with the reason; the others are held against
    /// what is there.
    pub fn diff(&self, dialect: &Dialect, release: Release, wishes: &[Wish]) -> Outcome {
        let (known, silent) = self.known(dialect, wishes);
        let trouble = |s: &Silence| Trouble::Silent { why: s.why.clone(), help: s.help };
        let faults: Vec<Fault> = silent.into_iter().map(|(wish, s)| Fault::of(wish, trouble(s))).collect();
        let mut outcome = diff::diff(dialect, release, &known, &self.returned);
        outcome.faults.extend(faults);
        outcome
    }

    /// Wishes that take these back, from what was gathered before they were carried out. Held against what is there then, they become the
    /// calls of an undo like any other wishes. What could not be asked for is lost to the way back, and not taken for absent.
    pub fn back(&self, dialect: &Dialect, release: Release, wishes: &[Wish]) -> (Vec<Wish>, Vec<Lost>) {
        let (known, silent) = self.known(dialect, wishes);
        let (undo, mut lost) = diff::back(dialect, release, &known, &self.returned);
        let why = |s: &Silence| format!("what was there could not be asked for: {}", s.why);
        lost.extend(silent.into_iter().map(|(wish, s)| Lost::of(wish, &why(s))));
        (undo, lost)
    }

    /// Wishes of what was asked for, and the others with what stands in the way.
    fn known<'w>(&self, dialect: &Dialect, wishes: &'w [Wish]) -> (Vec<Wish>, Vec<(&'w Wish, &Silence)>) {
        let mut known = Vec::with_capacity(wishes.len());
        let mut silent = Vec::new();
        for wish in wishes {
            match self.silent.iter().find(|s| concerns(dialect, s, wish)) {
                Some(silence) => silent.push((wish, silence)),
                None => known.push(wish.clone()),
            }
        }
        (known, silent)
    }
}

fn concerns(dialect: &Dialect, silence: &Silence, wish: &Wish) -> bool {
    if silence.kind != wish.kind {
        return false;
    }
    let Some(of) = &silence.of else { return true };
    let Some(object) = dialect.objects.get(&wish.kind) else { return false };
    let Some((parameter, parent)) = &object.ask else { return true };
    let word = object.key.iter().position(|k| k == parameter).and_then(|at| wish.key.get(at));
    match parent.value.as_str() {
        "server" => word.is_none_or(|w| diff::host_of(w) == diff::host_of(of)),
        _ => word.is_none_or(|w| w.to_lowercase() == of.to_lowercase()),
    }
}
