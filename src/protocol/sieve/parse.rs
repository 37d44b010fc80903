//! The reader: RFC 5228, section 8.

use std::fmt;
use std::ops::Range;

use super::{Argument, At, Command, DEEPEST, LARGEST, Test};

/// Why a script cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SieveError {
    pub line: u32,
    pub what: String,
    /// What to do.
    pub help: &'static str,
}

impl fmt::Display for SieveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}; {}", self.line, self.what, self.help)
    }
}

impl std::error::Error for SieveError {}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parsed {
    pub commands: Vec<Command>,
    /// Names of folders, with their place in the text (quotes included).
    pub folders: Vec<(Range<usize>, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Tag(String),
    Number(u64),
    Text(String),
    Mark(u8),
    End,
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    line: u32,
    depth: u32,
    next: Token,
    /// Of `next`.
    span: Range<usize>,
    /// End of what was taken last.
    end: usize,
    comments: Vec<String>,
    folders: Vec<(Range<usize>, String)>,
}

/// Reads a whole script.
pub fn parse(text: &str) -> Result<Parsed, SieveError> {
    let fail = |what: String, help| SieveError { line: 1, what, help };
    if text.len() > LARGEST {
        return Err(fail(format!("the script has {} octets", text.len()), "split it: at most 1 MiB is read"));
    }
    let bare = text.strip_prefix('\u{feff}').map_or(0, |_| 3);
    let mut reader = Reader {
        text,
        at: bare,
        line: 1,
        depth: 0,
        next: Token::End,
        span: 0..0,
        end: 0,
        comments: Vec::new(),
        folders: Vec::new(),
    };
    reader.take()?;
    let commands = reader.commands(false)?;
    Ok(Parsed { commands, folders: reader.folders })
}

impl Reader<'_> {
    fn fail<T>(&self, what: impl Into<String>, help: &'static str) -> Result<T, SieveError> {
        Err(SieveError { line: self.line, what: what.into(), help })
    }

    fn byte(&self, n: usize) -> u8 {
        self.text.as_bytes().get(self.at + n).copied().unwrap_or(0)
    }

    /// Gives the next token and reads the one behind it.
    fn take(&mut self) -> Result<Token, SieveError> {
        self.end = self.span.end;
        self.blank()?;
        let begin = self.at;
        let next = self.token()?;
        self.span = begin..self.at;
        Ok(std::mem::replace(&mut self.next, next))
    }

    /// White space and comments.
    fn blank(&mut self) -> Result<(), SieveError> {
        loop {
            match self.byte(0) {
                b' ' | b'\t' | b'\r' => self.at += 1,
                b'\n' => {
                    self.line += 1;
                    self.at += 1;
                }
                b'#' => {
                    let rest = &self.text[self.at + 1..];
                    let line = rest.split('\n').next().unwrap_or_default();
                    self.comments.push(line.trim_end_matches('\r').to_owned());
                    self.at += 1 + line.len();
                }
                b'/' if self.byte(1) == b'*' => {
                    let Some((inner, _)) = self.text[self.at + 2..].split_once("*/") else {
                        return self.fail("a comment has no end", "close it with */");
                    };
                    self.comments.extend(inner.lines().map(str::to_owned));
                    self.line += inner.matches('\n').count() as u32;
                    self.at += 4 + inner.len();
                }
                _ => return Ok(()),
            }
        }
    }

    fn word(&mut self) -> String {
        let rest = &self.text.as_bytes()[self.at..];
        let n = rest.iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
        self.at += n;
        self.text[self.at - n..self.at].to_ascii_lowercase()
    }

    fn token(&mut self) -> Result<Token, SieveError> {
        if self.at >= self.text.len() {
            return Ok(Token::End);
        }
        match self.byte(0) {
            mark @ (b';' | b',' | b'(' | b')' | b'[' | b']' | b'{' | b'}') => {
                self.at += 1;
                Ok(Token::Mark(mark))
            }
            b'"' => self.quoted(),
            b':' => {
                self.at += 1;
                let tag = self.word();
                match tag.is_empty() {
                    true => self.fail("a colon without a name", "write a tag as :contains"),
                    false => Ok(Token::Tag(tag)),
                }
            }
            b'0'..=b'9' => self.number(),
            b if b.is_ascii_alphabetic() || b == b'_' => {
                let word = self.word();
                match word == "text" && self.byte(0) == b':' {
                    true => self.lines(),
                    false => Ok(Token::Word(word)),
                }
            }
            _ => {
                let c = self.text[self.at..].chars().next().unwrap_or(' ');
                self.fail(format!("`{}` has no place here", c.escape_default()), "quote texts, and end commands with ;")
            }
        }
    }

    fn number(&mut self) -> Result<Token, SieveError> {
        let word = self.word();
        let digits = word.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit = match &word[digits.len()..] {
            "" => Some(1),
            "k" => Some(1 << 10),
            "m" => Some(1 << 20),
            "g" => Some(1u64 << 30),
            _ => None,
        };
        match unit.and_then(|u| digits.parse::<u64>().ok()?.checked_mul(u)) {
            Some(number) => Ok(Token::Number(number)),
            None => self.fail(format!("`{word}` is no number"), "write digits, with K, M or G behind them"),
        }
    }

    fn quoted(&mut self) -> Result<Token, SieveError> {
        let begin = self.line;
        let mut found = String::new();
        self.at += 1;
        let mut chars = self.text[self.at..].char_indices();
        while let Some((n, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += n + 1;
                    return Ok(Token::Text(found.replace("\r\n", "\n")));
                }
                '\\' => match chars.next() {
                    Some((_, c)) => {
                        self.line += u32::from(c == '\n');
                        found.push(c);
                    }
                    None => break,
                },
                '\0' => return self.fail("a text holds NUL", "take it out"),
                c => {
                    self.line += u32::from(c == '\n');
                    found.push(c);
                }
            }
        }
        self.line = begin;
        self.fail("a text has no end", "close it with \"")
    }

    /// `text:` to a line that is a dot.
    fn lines(&mut self) -> Result<Token, SieveError> {
        let begin = self.line;
        self.at += 1;
        let Some((first, _)) = self.text[self.at..].split_once('\n') else {
            return self.fail("text: has no lines", "end it with a line that is one dot");
        };
        let rest = first.trim();
        if !rest.is_empty() && !rest.starts_with('#') {
            return self.fail("something stands behind text:", "begin the text on the next line");
        }
        self.at += first.len() + 1;
        self.line += 1;
        let mut found = String::new();
        while self.at < self.text.len() {
            let line = self.text[self.at..].split('\n').next().unwrap_or_default();
            let ended = self.at + line.len() < self.text.len();
            self.at += line.len() + usize::from(ended);
            self.line += u32::from(ended);
            let bare = line.strip_suffix('\r').unwrap_or(line);
            if bare == "." {
                return Ok(Token::Text(found));
            }
            if bare.contains('\0') {
                return self.fail("a text holds NUL", "take it out");
            }
            found.push_str(bare.strip_prefix('.').filter(|b| b.starts_with('.')).unwrap_or(bare));
            found.push('\n');
        }
        self.line = begin;
        self.fail("text: has no end", "end it with a line that is one dot")
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, SieveError>) -> Result<T, SieveError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return self.fail("blocks and tests are too deep within each other", "at most 32 are read");
        }
        let done = read(self);
        self.depth -= 1;
        done
    }

    fn commands(&mut self, inner: bool) -> Result<Vec<Command>, SieveError> {
        let mut found = Vec::new();
        loop {
            match &self.next {
                Token::End if !inner => return Ok(found),
                Token::End => return self.fail("a block has no end", "close it with }"),
                Token::Mark(b'}') if inner => {
                    self.take()?;
                    return Ok(found);
                }
                // Empty commands stand in scripts of some makers.
                Token::Mark(b';') => drop(self.take()?),
                Token::Word(_) => found.push(self.command()?),
                _ => return self.fail("a command is missing", "begin it with its name"),
            }
        }
    }

    fn command(&mut self) -> Result<Command, SieveError> {
        let comments = std::mem::take(&mut self.comments);
        let (line, begin) = (self.line, self.span.start);
        let Token::Word(name) = self.take()? else {
            return self.fail("a command is missing", "begin it with its name");
        };
        let (arguments, spans) = self.arguments()?;
        let tests = self.tests()?;
        if name == "fileinto"
            && let Some((span, Argument::Text(folder))) = spans.last().zip(arguments.last())
        {
            self.folders.push((span.clone(), folder.clone()));
        }
        let mut command =
            Command { at: At { line, span: 0..0 }, comments, name, arguments, tests, ..Command::default() };
        match self.next {
            Token::Mark(b';') => drop(self.take()?),
            Token::Mark(b'{') => {
                command.aside = std::mem::take(&mut self.comments);
                self.take()?;
                command.block = Some(self.deeper(|r| r.commands(true))?);
            }
            _ => {
                return self
                    .fail(format!("`{}` has no end", command.name), "end the command with ; or give it a block");
            }
        }
        command.at.span = begin..self.end;
        Ok(command)
    }

    fn arguments(&mut self) -> Result<(Vec<Argument>, Vec<Range<usize>>), SieveError> {
        let (mut found, mut spans) = (Vec::new(), Vec::new());
        loop {
            let span = self.span.clone();
            match &self.next {
                Token::Tag(_) | Token::Number(_) | Token::Text(_) => {
                    found.push(match self.take()? {
                        Token::Tag(tag) => Argument::Tag(tag),
                        Token::Number(number) => Argument::Number(number),
                        Token::Text(text) => Argument::Text(text),
                        _ => continue,
                    });
                    spans.push(span);
                }
                Token::Mark(b'[') => {
                    self.take()?;
                    found.push(Argument::List(self.list()?));
                    spans.push(span);
                }
                _ => return Ok((found, spans)),
            }
        }
    }

    fn list(&mut self) -> Result<Vec<String>, SieveError> {
        let mut list = Vec::new();
        if self.next == Token::Mark(b']') {
            self.take()?;
            return Ok(list);
        }
        loop {
            match self.take()? {
                Token::Text(text) => list.push(text),
                _ => return self.fail("a list holds something else than texts", "write [\"a\", \"b\"]"),
            }
            match self.take()? {
                Token::Mark(b',') => {}
                Token::Mark(b']') => return Ok(list),
                _ => return self.fail("a list has no end", "close it with ]"),
            }
        }
    }

    fn tests(&mut self) -> Result<Vec<Test>, SieveError> {
        match self.next {
            Token::Word(_) => Ok(vec![self.deeper(Self::test)?]),
            Token::Mark(b'(') => {
                self.take()?;
                let mut tests = Vec::new();
                loop {
                    tests.push(self.deeper(Self::test)?);
                    match self.take()? {
                        Token::Mark(b',') => {}
                        Token::Mark(b')') => return Ok(tests),
                        _ => return self.fail("a list of tests has no end", "close it with )"),
                    }
                }
            }
            _ => Ok(Vec::new()),
        }
    }

    fn test(&mut self) -> Result<Test, SieveError> {
        let (line, begin) = (self.line, self.span.start);
        let Token::Word(name) = self.take()? else { return self.fail("a test is missing", "begin it with its name") };
        let (arguments, _) = self.arguments()?;
        let tests = self.tests()?;
        Ok(Test { at: At { line, span: begin..self.end }, name, arguments, tests })
    }
}
