//! Runbooks: Markdown that people read and whose commands are carried out. Reading only: hosts, questions and records are the caller's.
//!
//! A heading below the title and an item of a numbered list that stands outside of other lists begin a step. A fenced block of `sh` is a command
//! on hosts and ends its step; `sh limit=30m` gives it more time. Fenced blocks of anything else, and what is quoted, are text for people.

use std::ops::Range;
use std::time::Duration;

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Parser, Tag, TagEnd};

use crate::model::unit::parse_duration;

/// How long a command may take where its block does not say.
pub const LIMIT: Duration = Duration::from_secs(600);

#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Runbook {
    pub title: String,
    pub steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Step {
    /// The heading over it; empty where there is none.
    pub title: String,
    /// What a person reads, as Markdown.
    pub text: String,
    /// What is carried out on hosts; without one the step is a person's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Block>,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Block {
    pub shell: String,
    /// Seconds that it may take on one host.
    #[serde(serialize_with = "seconds")]
    pub limit: Duration,
}

fn seconds<S: serde::Serializer>(limit: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(limit.as_secs())
}

impl Step {
    /// Its name in one line: the heading, else the first line of its text.
    pub fn name(&self) -> &str {
        let first = || self.text.lines().next().unwrap_or_default();
        let command = || self.command.as_ref().and_then(|b| b.shell.lines().next()).unwrap_or_default();
        [self.title.as_str(), first(), command()].into_iter().find(|t| !t.is_empty()).unwrap_or_default()
    }
}

impl Runbook {
    pub fn commands(&self) -> usize {
        self.steps.iter().filter(|s| s.command.is_some()).count()
    }

    /// Reads Markdown, and after it the steps that the topology itself names. All faults at once, each with its line.
    pub fn read(markdown: &str, further: &[&str]) -> Result<Self, Vec<String>> {
        let mut reading = Reading::of(markdown);
        for (event, range) in Parser::new(markdown).into_offset_iter() {
            reading.take(event, range);
        }
        reading.close(markdown.len(), true, None);
        let mut book = reading.book;
        book.steps.extend(further.iter().map(|text| Step { text: (*text).to_owned(), ..Step::default() }));
        if reading.faults.is_empty() { Ok(book) } else { Err(reading.faults) }
    }
}

/// Steps are cut out of the source between headings, items and commands, so that nothing that somebody wrote is lost on the way.
struct Reading<'m> {
    markdown: &'m str,
    book: Runbook,
    /// Up to here the source is in a step.
    from: usize,
    /// The headings that stand over what is read, with their levels.
    over: Vec<(HeadingLevel, String)>,
    /// The last heading has no step yet.
    bare: bool,
    /// The text of a heading that is being read.
    heading: Option<(HeadingLevel, String)>,
    /// For each open list, whether it is numbered.
    lists: Vec<bool>,
    quotes: usize,
    block: Option<(String, String)>,
    faults: Vec<String>,
}

impl<'m> Reading<'m> {
    fn of(markdown: &'m str) -> Self {
        let (book, over, lists, faults) = (Runbook::default(), Vec::new(), Vec::new(), Vec::new());
        Self { markdown, book, from: 0, over, bare: false, heading: None, lists, quotes: 0, block: None, faults }
    }

    fn take(&mut self, event: Event, range: Range<usize>) {
        match event {
            Event::Start(Tag::Heading { level, .. }) if self.lists.is_empty() && self.quotes == 0 => {
                let deeper = self.over.last().is_some_and(|(above, _)| *above < level);
                self.close(range.start, !deeper, None);
                self.heading = Some((level, String::new()));
            }
            Event::End(TagEnd::Heading(_)) => self.headed(range.end),
            Event::Text(t) | Event::Code(t) | Event::InlineHtml(t) if self.heading.is_some() => {
                if let Some((_, text)) = &mut self.heading {
                    text.push_str(&t);
                }
            }
            Event::Start(Tag::List(first)) => self.lists.push(first.is_some()),
            Event::End(TagEnd::List(_)) => {
                self.lists.pop();
                // What stands below a list is no part of its last item.
                if self.lists.is_empty() && self.quotes == 0 {
                    self.close(range.end, false, None);
                }
            }
            Event::Start(Tag::Item) if self.lists == [true] && self.quotes == 0 => self.close(range.start, false, None),
            Event::Start(Tag::BlockQuote(_)) => self.quotes += 1,
            Event::End(TagEnd::BlockQuote(_)) => self.quotes = self.quotes.saturating_sub(1),
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info)))
                if self.quotes == 0 && info.split_whitespace().next() == Some("sh") =>
            {
                self.block = Some((info.to_string(), String::new()));
            }
            Event::Text(t) if self.block.is_some() => {
                if let Some((_, shell)) = &mut self.block {
                    shell.push_str(&t);
                }
            }
            Event::End(TagEnd::CodeBlock) if self.block.is_some() => self.command(&range),
            _ => {}
        }
    }

    fn headed(&mut self, end: usize) {
        let Some((level, text)) = self.heading.take() else { return };
        if level == HeadingLevel::H1 && self.book.title.is_empty() && self.book.steps.is_empty() && self.over.is_empty()
        {
            self.book.title = text;
        } else {
            self.over.retain(|(above, _)| *above < level);
            self.over.push((level, text));
            self.bare = true;
        }
        self.from = end;
    }

    fn command(&mut self, range: &Range<usize>) {
        let Some((info, shell)) = self.block.take() else { return };
        let line = self.markdown[..range.start].matches('\n').count() + 1;
        let mut limit = LIMIT;
        for word in info.split_whitespace().skip(1) {
            match word.split_once('=').map(|(k, v)| (k, parse_duration(v))) {
                Some(("limit", Some(time))) if !time.is_zero() => limit = time,
                Some(("limit", _)) => self.faults.push(format!("line {line}: `{word}`: write a time as limit=30m")),
                _ => self.faults.push(format!("line {line}: `{word}` is not known after `sh`; there is limit=TIME")),
            }
        }
        if shell.trim().is_empty() {
            self.faults.push(format!("line {line}: a command without a word"));
        }
        let source = &self.markdown[range.clone()];
        let last = source.trim_end().lines().skip(1).last().unwrap_or_default().trim();
        if last.len() < 3 || !(last.bytes().all(|b| b == b'`') || last.bytes().all(|b| b == b'~')) {
            // All that is below would run.
            self.faults.push(format!("line {line}: the block of this command is not closed"));
        }
        self.close(range.start, false, Some(Block { shell, limit }));
        self.from = range.end;
    }

    /// Ends the step that is open at this place, if it says anything. A heading with nothing below it is a step too, where `bare` counts.
    fn close(&mut self, at: usize, bare: bool, command: Option<Block>) {
        let from = self.from.min(at);
        let text = self.markdown[from..at].trim();
        self.from = at.max(self.from);
        if text.is_empty() && command.is_none() && !(bare && self.bare) {
            return;
        }
        let title = self.over.iter().map(|(_, t)| t.as_str()).collect::<Vec<_>>().join(" / ");
        self.book.steps.push(Step { title, text: text.to_owned(), command });
        self.bare = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Runbook {
        Runbook::read(text, &[]).expect("a runbook")
    }

    #[test]
    fn headings_numbers_and_commands_are_steps() {
        let book = read(
            "# A queue grows\n\nRead this first.\n\n## Look\n\nWhich hop `waits`?\n\n```sh\npostqueue -p\n```\n\n\
             ## Mend\n\n1. Call them:\n   - by day the desk\n   - by night **on call**\n2. Start it\n\n   ```sh limit=2m\n   systemctl start x\n   ```\n\n\
             ```text\nan answer\n```\n",
        );
        assert_eq!(book.title, "A queue grows");
        let all: Vec<(&str, &str, Option<&str>)> = book
            .steps
            .iter()
            .map(|s| (s.title.as_str(), s.text.as_str(), s.command.as_ref().map(|c| c.shell.as_str())))
            .collect();
        assert_eq!(all[0], ("", "Read this first.", None));
        assert_eq!(all[1], ("Look", "Which hop `waits`?", Some("postqueue -p\n")));
        assert_eq!(all[2].1, "1. Call them:\n   - by day the desk\n   - by night **on call**");
        assert_eq!((all[2].0, all[3].1, all[3].2), ("Mend", "2. Start it", Some("systemctl start x\n")));
        assert_eq!(all[4].1, "```text\nan answer\n```");
        assert_eq!((all.len(), book.commands()), (5, 2));
        assert_eq!(book.steps[3].command.as_ref().expect("one").limit, Duration::from_secs(120));
    }

    #[test]
    fn words_without_form_are_one_step_of_a_person() {
        let book = read("Call the desk,\nthen wait.\n");
        assert_eq!((book.steps.len(), book.steps[0].text.as_str()), (1, "Call the desk,\nthen wait."));
        assert_eq!(Runbook::read("", &["one", "two"]).expect("steps").steps.len(), 2);
        assert_eq!(read("").steps, Vec::new());
    }

    #[test]
    fn all_faults_are_told_with_their_lines() {
        let faults =
            Runbook::read("# x\n\n```sh limit=soon\ntrue\n```\n\n```sh on=mail-1\n```\n", &[]).expect_err("faults");
        assert_eq!(faults.len(), 3, "{faults:?}");
        assert!(
            faults[0].starts_with("line 3: ") && faults[1].starts_with("line 7: ") && faults[2].starts_with("line 7: ")
        );
    }

    #[test]
    fn sections_quotes_and_links_stay_what_they_are() {
        let book = read(
            "# t\n\n## A\n\n### B\n\n1. Open [the console](https://x.example)\n2. Go\n\nAfter it.\n\n## Nothing below\n\n> Never do\n>\n> ```sh\n> rm x\n> ```\n\n## Last\n",
        );
        let all: Vec<(&str, &str)> = book.steps.iter().map(|s| (s.title.as_str(), s.text.as_str())).collect();
        assert_eq!(all[0], ("A / B", "1. Open [the console](https://x.example)"));
        assert_eq!((all[1], all[2]), (("A / B", "2. Go"), ("A / B", "After it.")));
        assert!(all[3].0 == "Nothing below" && all[3].1.contains("rm x"), "{all:?}");
        assert_eq!((all[4], all.len(), book.commands()), (("Last", ""), 5, 0));
    }

    #[test]
    fn a_block_that_nobody_closed_would_take_in_all_below() {
        for text in ["```sh\ntrue\n\n## Next\n", "1. x\n\n   ```sh\n   true\n\n## Next\n"] {
            let faults = Runbook::read(text, &[]).expect_err("not closed");
            assert!(faults.iter().any(|f| f.contains("is not closed")), "{faults:?}");
        }
        assert_eq!(read("~~~~sh\ntrue\n~~~~\n").commands(), 1);
    }

    proptest::proptest! {
        /// Nothing that a person writes is lost, and no text makes it panic.
        #[test]
        fn no_word_is_lost(text in "([#`\\-1. a-zäß\n>]|```sh\n|```\n|## |\n1\\. |\n- |\n> ){0,60}") {
            if let Ok(book) = Runbook::read(&text, &[]) {
                let mut kept = format!("{} sh", book.title);
                for s in &book.steps {
                    kept.push_str(&format!(" {} {} {}", s.title, s.text, s.command.as_ref().map_or("", |c| &c.shell)));
                }
                for word in text.split(|c: char| !c.is_alphabetic()).filter(|w| !w.is_empty()) {
                    proptest::prop_assert!(kept.contains(word), "{word:?} of {text:?} is not in {kept:?}");
                }
            }
        }
    }
}
