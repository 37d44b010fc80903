//! Neutral form to script.

use std::collections::BTreeSet;

use crate::protocol::sieve::{Argument, Command, Test as SieveTest, write, write_test};
use crate::services::cms::personal::away::{Away, Outside};
use crate::services::cms::personal::rule::{Action, Condition, How, Part, Place, Rule, Test};

/// A script, and what it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    pub text: String,
    pub requires: Vec<&'static str>,
    /// What Sieve does not say.
    pub left: Vec<String>,
}

#[derive(Default)]
struct Writer {
    needs: BTreeSet<&'static str>,
}

/// The out-of-office first, then rules in their order, in the form of Roundcube's editor.
pub fn script(rules: &[Rule], away: Option<&Away>) -> Written {
    let mut writer = Writer::default();
    let mut commands = Vec::new();
    let mut left = Vec::new();
    if let Some(away) = away {
        match &away.outside {
            Outside::Same => {}
            Outside::Nobody => left.push("senders outside are to get no answer; Sieve answers all".to_owned()),
            Outside::Known(_) => {
                left.push("senders outside who are no contacts are to get no answer; Sieve answers all".to_owned());
            }
            Outside::Text(text) => left.push(format!("senders outside are to get another text: `{text}`")),
        }
        commands.push(writer.away(away));
    }
    commands.extend(rules.iter().map(|rule| writer.rule(rule)));
    let requires: Vec<&'static str> = writer.needs.into_iter().collect();
    if !requires.is_empty() {
        let list = Argument::List(requires.iter().map(|r| (*r).to_owned()).collect());
        let mut first = plain("require");
        first.arguments.push(list);
        commands.insert(0, first);
    }
    Written { text: write(&commands), requires, left }
}

fn plain(name: &str) -> Command {
    Command { name: name.into(), ..Command::default() }
}

fn tag(name: &str) -> Argument {
    Argument::Tag(name.into())
}

fn text(value: &str) -> Argument {
    Argument::Text(value.into())
}

fn texts(list: &[String]) -> Argument {
    match list {
        [one] => Argument::Text(one.clone()),
        many => Argument::List(many.to_vec()),
    }
}

impl Writer {
    fn away(&mut self, away: &Away) -> Command {
        self.needs.insert("vacation");
        let mut command = plain("vacation");
        let mut add = |name: &str, value: Argument| command.arguments.extend([tag(name), value]);
        if let Some(days) = away.days {
            add("days", Argument::Number(days.max(1)));
        }
        if !away.addresses.is_empty() {
            add("addresses", Argument::List(away.addresses.clone()));
        }
        if let Some(subject) = &away.subject {
            add("subject", text(subject));
        }
        command.arguments.push(text(&away.text));
        let bounds = [("ge", away.from), ("lt", away.until)];
        let mut tests: Vec<SieveTest> = Vec::new();
        for (operator, at) in bounds.into_iter().filter_map(|(o, at)| Some((o, at?))) {
            self.needs.extend(["date", "relational"]);
            let at = at.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string();
            let arguments = [tag("zone"), text("+0000"), tag("value"), text(operator), text("iso8601"), text(&at)];
            tests.push(SieveTest { name: "currentdate".into(), arguments: arguments.into(), ..SieveTest::default() });
        }
        if away.active && tests.is_empty() {
            return command;
        }
        let mut outer = plain("if");
        let mut test = match tests.len() {
            0 => named("true", Vec::new()),
            1 => tests.remove(0),
            _ => named("allof", tests),
        };
        if !away.active {
            outer.aside.push(format!(" {}", write_test(&test)));
            test = named("false", Vec::new());
        }
        outer.tests.push(test);
        outer.block = Some(vec![command]);
        outer
    }

    fn rule(&mut self, rule: &Rule) -> Command {
        let name: String = rule.name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let mut command = plain("if");
        command.comments.push(format!(" rule:[{name}]"));
        let mut tests: Vec<SieveTest> = rule.conditions.iter().map(|c| self.condition(c)).collect();
        let mut test = match tests.len() {
            0 => named("true", Vec::new()),
            1 => tests.remove(0),
            _ => named(if rule.any { "anyof" } else { "allof" }, tests),
        };
        if !rule.active {
            command.aside.push(format!(" {}", write_test(&test).replace('\n', " ")));
            test = named("false", Vec::new());
        }
        command.tests.push(test);
        command.block = Some(rule.actions.iter().map(|a| self.action(a)).collect());
        command
    }

    fn condition(&mut self, condition: &Condition) -> SieveTest {
        let test = match &condition.test {
            Test::Larger(octets) => size("over", *octets),
            Test::Smaller(octets) => size("under", *octets),
            Test::Exists(names) => leaf("exists", vec![texts(names)]),
            Test::Text { places, how, words } => self.text_test(places, *how, words),
        };
        if condition.not { named("not", vec![test]) } else { test }
    }

    /// Places of one kind are one test.
    fn text_test(&mut self, places: &[Place], how: How, words: &[String]) -> SieveTest {
        let how = match how {
            How::Contains => "contains",
            How::Is => "is",
            How::Matches => "matches",
        };
        type Kind = (&'static str, Option<&'static str>);
        let mut groups: Vec<(Kind, Vec<String>)> = Vec::new();
        for place in places {
            let (kind, name) = match place {
                Place::Header(name) => (("header", None), Some(name)),
                Place::Address(name, part) => (("address", of_part(*part)), Some(name)),
                Place::Envelope(name, part) => (("envelope", of_part(*part)), Some(name)),
                Place::Body => (("body", Some("text")), None),
            };
            match groups.iter_mut().find(|(k, _)| *k == kind) {
                Some((_, names)) => names.extend(name.cloned()),
                None => groups.push((kind, name.cloned().into_iter().collect())),
            }
        }
        let mut tests: Vec<SieveTest> = Vec::new();
        for ((name, part), names) in groups {
            match name {
                "envelope" => drop(self.needs.insert("envelope")),
                "body" => drop(self.needs.insert("body")),
                _ => {}
            }
            let mut arguments: Vec<Argument> = part.map(tag).into_iter().collect();
            arguments.push(tag(how));
            if !names.is_empty() {
                arguments.push(texts(&names));
            }
            arguments.push(texts(words));
            tests.push(leaf(name, arguments));
        }
        match tests.len() {
            1 => tests.remove(0),
            _ => named("anyof", tests),
        }
    }

    fn action(&mut self, action: &Action) -> Command {
        let mut command = plain("keep");
        let mut is = |name: &str, arguments: Vec<Argument>| {
            command.name = name.into();
            command.arguments = arguments;
        };
        let copied = |needs: &mut BTreeSet<&'static str>, copy: bool, last: Argument| {
            if copy {
                needs.insert("copy");
                return vec![tag("copy"), last];
            }
            vec![last]
        };
        match action {
            Action::File { folder, copy } => {
                self.needs.insert("fileinto");
                is("fileinto", copied(&mut self.needs, *copy, text(folder)));
            }
            Action::Redirect { to, copy } => is("redirect", copied(&mut self.needs, *copy, text(to))),
            Action::Keep => {}
            Action::Discard => is("discard", Vec::new()),
            Action::Reject(why) => {
                self.needs.insert("reject");
                is("reject", vec![text(why)]);
            }
            Action::Flag(flags) => {
                self.needs.insert("imap4flags");
                is("addflag", vec![texts(flags)]);
            }
            Action::Stop => is("stop", Vec::new()),
        }
        command
    }
}

fn of_part(part: Part) -> Option<&'static str> {
    match part {
        Part::All => Some("all"),
        Part::Local => Some("localpart"),
        Part::Domain => Some("domain"),
    }
}

fn leaf(name: &str, arguments: Vec<Argument>) -> SieveTest {
    SieveTest { name: name.into(), arguments, ..SieveTest::default() }
}

fn named(name: &str, tests: Vec<SieveTest>) -> SieveTest {
    SieveTest { name: name.into(), tests, ..SieveTest::default() }
}

fn size(side: &str, octets: u64) -> SieveTest {
    leaf("size", vec![tag(side), Argument::Number(octets)])
}
