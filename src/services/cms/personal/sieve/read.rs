//! Script to neutral form: commands and actions.

use std::ops::Range;

use super::tests_of::{Tests, tests};
use crate::protocol::sieve::{Argument, Command, Parsed, parse, requires};
use crate::services::cms::personal::away::Away;
use crate::services::cms::personal::rule::{Action, Rule};

/// Letters of a script that a report quotes.
const QUOTED: usize = 400;

/// What a script says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Neutral {
    pub rules: Vec<Rule>,
    pub away: Option<Away>,
    /// Where (`line 3`), and why with the script's words.
    pub left: Vec<(String, String)>,
    pub notes: Vec<String>,
}

pub(super) struct Reader<'t> {
    text: &'t str,
    /// `${..}` in texts stands for something.
    pub variables: bool,
    /// A flag was set by a rule before: a second `setflag` would mean something else.
    flagged: bool,
    pub found: Neutral,
}

/// Reads what `text` does.
pub fn read(text: &str) -> Result<Neutral, String> {
    let Parsed { commands, .. } = parse(text).map_err(|e| e.to_string())?;
    let variables = requires(&commands).contains(&"variables");
    let mut reader = Reader { text, variables, flagged: false, found: Neutral::default() };
    reader.all(&commands);
    Ok(reader.found)
}

/// What a command came to.
type Said<T> = Result<T, String>;

impl Reader<'_> {
    pub fn words(&self, span: &Range<usize>) -> String {
        let text = self.text.get(span.clone()).unwrap_or_default();
        let line: Vec<&str> = text.split_whitespace().collect();
        line.join(" ").chars().take(QUOTED).collect()
    }

    pub fn leave(&mut self, command: &Command, why: &str) {
        let what = format!("{why}: `{}`", self.words(&command.at.span));
        self.found.left.push((format!("line {}", command.at.line), what));
    }

    fn all(&mut self, commands: &[Command]) {
        let mut at = 0;
        while let Some(command) = commands.get(at) {
            let mut end = at + 1;
            if command.name == "if" {
                end += commands[end..].iter().take_while(|c| c.name == "elsif" || c.name == "else").count();
                self.chain(&commands[at..end], end == commands.len());
            } else if command.name == "vacation" {
                self.vacation(command, None, true);
            } else if command.name != "require" {
                // Plain actions up to the next test are one rule.
                let plain = |c: &&Command| !["if", "vacation", "require"].contains(&c.name.as_str());
                end = at + commands[at..].iter().take_while(plain).count();
                self.unconditional(&commands[at..end]);
            }
            at = end;
        }
    }

    fn unconditional(&mut self, commands: &[Command]) {
        let Some(first) = commands.first() else { return };
        match self.actions(commands) {
            Ok(actions) => self.rule(first, Tests::default(), actions),
            Err((at, why)) => self.leave(&commands[at], &why),
        }
    }

    fn chain(&mut self, chain: &[Command], last: bool) {
        let stops = |c: &Command| c.block.as_ref().is_some_and(|b| b.last().is_some_and(|l| l.name == "stop"));
        let before_stop = chain.len() < 2 || chain[..chain.len() - 1].iter().all(stops);
        for command in chain {
            let block = command.block.as_deref().unwrap_or_default();
            if let [vacation] = block
                && vacation.name == "vacation"
                && chain.len() == 1
            {
                let test = command.tests.first();
                match test.map(|t| t.name.as_str()) {
                    Some("true") => self.vacation(vacation, None, true),
                    Some("false") => self.vacation(vacation, None, false),
                    _ => self.vacation(vacation, test, true),
                }
                continue;
            }
            if !before_stop && !last {
                self.leave(command, "a choice between blocks that go on afterwards is no list of rules");
                continue;
            }
            let said = match command.name.as_str() {
                "else" => Ok(Tests::default()),
                _ => match command.tests.as_slice() {
                    [one] => tests(one, self.variables),
                    _ => Err("an `if` without one test".into()),
                },
            };
            let mut said = match said {
                Ok(said) => said,
                Err(why) => {
                    self.leave(command, &why);
                    continue;
                }
            };
            if said.never {
                said = self.switched_off(command);
            }
            match self.actions(block) {
                Ok(mut actions) => {
                    // Nothing comes after the chain: to stop is the same as to go on.
                    if chain.len() > 1 && actions.last() != Some(&Action::Stop) {
                        actions.push(Action::Stop);
                    }
                    self.rule(command, said, actions);
                }
                Err((_, why)) => self.leave(command, &why),
            }
        }
    }

    /// Roundcube keeps what a rule that is switched off tests in a comment behind `false`.
    fn switched_off(&self, command: &Command) -> Tests {
        let text = command.aside.iter().map(|l| l.trim()).collect::<Vec<_>>().join(" ");
        let known = parse(&format!("if {text} {{}}")).ok().filter(|_| !text.is_empty());
        let test = known.and_then(|p| p.commands.into_iter().next()?.tests.into_iter().next());
        let said = test.and_then(|t| tests(&t, self.variables).ok()).unwrap_or_default();
        Tests { never: true, ..said }
    }

    fn rule(&mut self, command: &Command, said: Tests, actions: Vec<Action>) {
        if actions.is_empty() {
            return;
        }
        let number = self.found.rules.len() + 1;
        let name = command.comments.iter().rev().find_map(|c| name(c)).unwrap_or_else(|| format!("rule {number}"));
        let Tests { any, conditions, never } = said;
        self.found.rules.push(Rule { name, active: !never, any, conditions, actions });
    }

    /// Actions of a block; what cannot be said by its place.
    fn actions(&mut self, block: &[Command]) -> Result<Vec<Action>, (usize, String)> {
        let mut found = Vec::new();
        let flagged = self.flagged;
        for (n, command) in block.iter().enumerate() {
            let stops = n + 2 == block.len() && block[n + 1].name == "stop";
            if let Err(why) = self.action(command, stops, &mut found) {
                self.flagged = flagged;
                return Err((n, why));
            }
        }
        Ok(found)
    }

    fn action(&mut self, command: &Command, stops: bool, found: &mut Vec<Action>) -> Said<()> {
        let mut given = Given::of(command)?;
        let text = |texts: Option<Vec<String>>| match texts.as_deref() {
            Some([one]) => Ok(one.clone()),
            _ => Err(format!("`{}` without its one text", command.name)),
        };
        let action = match command.name.as_str() {
            "fileinto" => {
                self.flags(&mut given, stops, found)?;
                let copy = given.take("copy");
                given.take("create");
                Action::File { folder: text(given.texts.pop())?, copy }
            }
            "redirect" => Action::Redirect { copy: given.take("copy"), to: text(given.texts.pop())? },
            "keep" => {
                self.flags(&mut given, stops, found)?;
                Action::Keep
            }
            "discard" => Action::Discard,
            "reject" | "ereject" => Action::Reject(text(given.texts.pop())?),
            "stop" => Action::Stop,
            "addflag" | "setflag" if given.texts.len() == 1 => {
                if command.name == "setflag" && std::mem::replace(&mut self.flagged, true) {
                    return Err("`setflag` after other flags takes those away, and the neutral form only adds".into());
                }
                self.flagged = true;
                let words = given.texts.pop().unwrap_or_default();
                Action::Flag(words.iter().flat_map(|w| w.split_whitespace()).map(str::to_owned).collect())
            }
            "if" => return Err("tests within a block of tests are no list of rules".into()),
            "vacation" => return Err("an answer to senders that depends on a test".into()),
            other => return Err(format!("`{other}` has nothing like it in the neutral form")),
        };
        given.empty(command)?;
        let holds = |text: &str| self.variables && text.contains("${");
        let dynamic = match &action {
            Action::File { folder, .. } => holds(folder),
            Action::Redirect { to, .. } => holds(to),
            Action::Reject(text) => holds(text),
            Action::Flag(flags) => flags.iter().any(|f| holds(f)),
            _ => false,
        };
        if dynamic {
            return Err("a text with variables".into());
        }
        found.push(action);
        Ok(())
    }

    /// `:flags` is of this one action: the same as a flag for all that follows only where nothing does.
    fn flags(&mut self, given: &mut Given, stops: bool, found: &mut Vec<Action>) -> Said<()> {
        let Some(flags) = given.flags.take() else { return Ok(()) };
        if !stops || self.flagged {
            return Err("`:flags` of one action, with others after it".into());
        }
        let flags: Vec<String> = flags.iter().flat_map(|w| w.split_whitespace()).map(str::to_owned).collect();
        found.push(Action::Flag(flags));
        Ok(())
    }
}

/// Arguments of an action.
struct Given {
    tags: Vec<String>,
    flags: Option<Vec<String>>,
    texts: Vec<Vec<String>>,
}

impl Given {
    fn of(command: &Command) -> Said<Self> {
        let mut given = Self { tags: Vec::new(), flags: None, texts: Vec::new() };
        let mut arguments = command.arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument {
                Argument::Tag(tag) if tag == "flags" => {
                    given.flags = arguments.next().and_then(Argument::texts).map(<[_]>::to_vec);
                }
                Argument::Tag(tag) => given.tags.push(tag.clone()),
                Argument::Number(_) => return Err(format!("`{}` with a number", command.name)),
                Argument::Text(_) | Argument::List(_) => given.texts.extend(argument.texts().map(<[_]>::to_vec)),
            }
        }
        Ok(given)
    }

    fn take(&mut self, tag: &str) -> bool {
        let before = self.tags.len();
        self.tags.retain(|t| t != tag);
        self.tags.len() < before
    }

    fn empty(&self, command: &Command) -> Said<()> {
        match (self.tags.first(), self.texts.is_empty()) {
            (None, true) => Ok(()),
            (Some(tag), _) => Err(format!("`{} :{tag}` has nothing like it in the neutral form", command.name)),
            (None, false) => Err(format!("`{}` with more than one text", command.name)),
        }
    }
}

/// What a maker of scripts says a rule is called: `rule:[NAME]` (Roundcube), `..|Rulename: NAME` (Open-Xchange), or the comment.
fn name(comment: &str) -> Option<String> {
    let comment = comment.trim_start_matches('#').trim();
    let of_roundcube = comment.strip_prefix("rule:[").and_then(|r| r.rsplit_once(']')).map(|(n, _)| n);
    let of_ox = comment.split_once("Rulename:").map(|(_, n)| n.trim());
    let name = of_roundcube.or(of_ox).unwrap_or(comment);
    let fits = !name.is_empty() && name.len() <= 120 && name.chars().any(char::is_alphanumeric);
    fits.then(|| name.to_owned())
}
