//! Script to neutral form: tests.

use crate::protocol::sieve::{Argument, Test as SieveTest, write_test};
use crate::services::cms::personal::rule::{Condition, How, Part, Place, Test};

/// The conditions of a rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tests {
    pub any: bool,
    pub conditions: Vec<Condition>,
    /// It is switched off.
    pub never: bool,
}

impl Tests {
    fn one(condition: Condition) -> Self {
        Self { conditions: vec![condition], ..Self::default() }
    }

    /// Holds always.
    fn always(&self) -> bool {
        self.conditions.is_empty() && !self.never
    }
}

/// What a test asks, or why it cannot be said.
pub fn tests(test: &SieveTest, variables: bool) -> Result<Tests, String> {
    match test.name.as_str() {
        "true" => Ok(Tests::default()),
        "false" => Ok(Tests { never: true, ..Tests::default() }),
        "not" => {
            let [inner] = test.tests.as_slice() else { return Err(unknown(test)) };
            let mut said = tests(inner, variables)?;
            if said.conditions.is_empty() {
                return Ok(Tests { never: !said.never, ..Tests::default() });
            }
            // Not one of them: all of them not (De Morgan).
            said.conditions.iter_mut().for_each(|c| c.not = !c.not);
            said.any = !said.any && said.conditions.len() > 1;
            Ok(said)
        }
        "allof" | "anyof" => list(test, test.name == "anyof", variables),
        _ => leaf(test, variables).map(|test| Tests::one(Condition { not: false, test })),
    }
}

fn list(test: &SieveTest, any: bool, variables: bool) -> Result<Tests, String> {
    let mut all = Tests { any, ..Tests::default() };
    let mut never = 0;
    for inner in &test.tests {
        let said = tests(inner, variables)?;
        match (said.never, said.always()) {
            (true, _) if any => never += 1,
            (true, _) => return Ok(Tests { never: true, ..Tests::default() }),
            (_, true) if any => return Ok(Tests::default()),
            (_, true) => {}
            _ if said.conditions.len() == 1 || said.any == any => all.conditions.extend(said.conditions),
            _ => match merged(&said) {
                Some(one) => all.conditions.push(one),
                None => return Err("tests of `allof` and `anyof` within each other".into()),
            },
        }
    }
    all.never = any && never > 0 && never == test.tests.len();
    all.any = any && all.conditions.len() > 1;
    Ok(all)
}

/// One of several tests of the same kind is one test with more words, or in more places.
fn merged(said: &Tests) -> Option<Condition> {
    let mut all = said.conditions.iter();
    let first = all.next().filter(|f| said.any && !f.not)?;
    let Test::Text { mut places, how, mut words } = first.test.clone() else { return None };
    for next in all {
        let Test::Text { places: p, how: h, words: w } = &next.test else { return None };
        match (next.not || *h != how, *p == places, *w == words) {
            (true, ..) => return None,
            (_, true, _) => words.extend(w.iter().cloned()),
            (_, _, true) => places.extend(p.iter().cloned()),
            _ => return None,
        }
    }
    Some(Condition { not: false, test: Test::Text { places, how, words } })
}

fn unknown(test: &SieveTest) -> String {
    format!("the test `{}` has nothing like it in the neutral form", write_test(test).replace('\n', " "))
}

fn leaf(test: &SieveTest, variables: bool) -> Result<Test, String> {
    let (mut how, mut part, mut over) = (How::Is, Part::All, None);
    let (mut texts, mut number) = (Vec::new(), None);
    let mut arguments = test.arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument {
            Argument::Tag(tag) => match tag.as_str() {
                "contains" => how = How::Contains,
                "is" => how = How::Is,
                "matches" => how = How::Matches,
                "all" => part = Part::All,
                "localpart" => part = Part::Local,
                "domain" => part = Part::Domain,
                "over" => over = Some(true),
                "under" => over = Some(false),
                "text" if test.name == "body" => {}
                "comparator" => {
                    let name = arguments.next().and_then(Argument::texts).and_then(<[_]>::first);
                    if !name.is_some_and(|n| n == "i;ascii-casemap" || n == "i;unicode-casemap") {
                        return Err(unknown(test));
                    }
                }
                _ => return Err(unknown(test)),
            },
            Argument::Number(n) => number = Some(*n),
            Argument::Text(_) | Argument::List(_) => texts.extend(argument.texts().map(<[String]>::to_vec)),
        }
    }
    if variables && texts.iter().flatten().any(|t| t.contains("${")) {
        return Err("a text with variables".into());
    }
    let mut texts = texts.into_iter();
    let (first, second) = (texts.next(), texts.next());
    let lower = |names: Vec<String>| names.into_iter().map(|n| n.to_ascii_lowercase());
    let found = match (test.name.as_str(), first, second) {
        ("size", None, None) => match (over, number) {
            (Some(true), Some(n)) => Test::Larger(n),
            (Some(false), Some(n)) => Test::Smaller(n),
            _ => return Err(unknown(test)),
        },
        ("exists", Some(names), None) => Test::Exists(lower(names).collect()),
        ("header", Some(names), Some(words)) => {
            Test::Text { places: lower(names).map(Place::Header).collect(), how, words }
        }
        ("address", Some(names), Some(words)) => {
            Test::Text { places: lower(names).map(|n| Place::Address(n, part)).collect(), how, words }
        }
        ("envelope", Some(names), Some(words)) => {
            Test::Text { places: lower(names).map(|n| Place::Envelope(n, part)).collect(), how, words }
        }
        ("body", Some(words), None) => Test::Text { places: vec![Place::Body], how, words },
        _ => return Err(unknown(test)),
    };
    let extra = texts.next().is_some() || (number.is_some() && test.name != "size");
    if extra { Err(unknown(test)) } else { Ok(found) }
}
