//! Colours, symbols, and foreign text made fit to be shown.

use anstyle::{AnsiColor, Style};

use crate::model::step::Action;

/// Whether text carries escape codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Paint {
    #[default]
    Plain,
    Colour,
}

impl Paint {
    pub fn when(colour: bool) -> Self {
        if colour { Paint::Colour } else { Paint::Plain }
    }

    pub fn with(self, style: Style, text: &str) -> String {
        match self {
            Paint::Plain => text.to_owned(),
            Paint::Colour => format!("{style}{text}{style:#}"),
        }
    }

    pub fn bold(self, text: &str) -> String {
        self.with(Style::new().bold(), text)
    }

    pub fn dim(self, text: &str) -> String {
        self.with(Style::new().dimmed(), text)
    }

    pub fn red(self, text: &str) -> String {
        self.with(colour(AnsiColor::Red).bold(), text)
    }

    pub fn yellow(self, text: &str) -> String {
        self.with(colour(AnsiColor::Yellow), text)
    }

    pub fn green(self, text: &str) -> String {
        self.with(colour(AnsiColor::Green), text)
    }

    pub fn action(self, action: Action, text: &str) -> String {
        self.with(action_style(action), text)
    }

    /// A line of a unified diff by its first character.
    pub fn diff_line(self, line: &str) -> String {
        match line.as_bytes().first() {
            Some(b'+') => self.with(colour(AnsiColor::Green), line),
            Some(b'-') => self.with(colour(AnsiColor::Red), line),
            Some(b'@') => self.with(colour(AnsiColor::Cyan), line),
            _ => line.to_owned(),
        }
    }
}

pub(super) fn colour(c: AnsiColor) -> Style {
    Style::new().fg_color(Some(c.into()))
}

fn action_style(action: Action) -> Style {
    match action {
        Action::Create => colour(AnsiColor::Green),
        Action::Update | Action::Restore => colour(AnsiColor::Yellow),
        Action::Replace => colour(AnsiColor::Magenta),
        Action::Delete => colour(AnsiColor::Red),
        Action::Run | Action::Reload | Action::Restart | Action::Wait | Action::Move => colour(AnsiColor::Cyan),
    }
}

/// One sign per action; the first column of a step.
pub fn symbol(action: Action) -> &'static str {
    match action {
        Action::Create => "+",
        Action::Update => "~",
        Action::Replace => "±",
        Action::Delete => "-",
        Action::Run => ">",
        Action::Reload | Action::Restart => "*",
        Action::Restore => "<",
        Action::Wait => "…",
        Action::Move => "→",
    }
}

/// Text from hosts and files without control characters (an escape code in a file must not reach the terminal), tabs and line
/// ends kept. Characters that turn the direction of text are shown by number too.
pub fn visible(text: &str) -> std::borrow::Cow<'_, str> {
    if !text.chars().any(hidden) {
        return text.into();
    }
    text.chars()
        .fold(String::with_capacity(text.len() + 8), |mut out, c| {
            if hidden(c) {
                out.extend(c.escape_default());
            } else {
                out.push(c);
            }
            out
        })
        .into()
}

/// The same on one line.
pub fn one_line(text: &str) -> String {
    visible(text).replace('\n', "⏎").replace('\t', " ")
}

fn hidden(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// `1 step`, `2 steps`.
pub fn counted(n: usize, one: &str) -> String {
    if n == 1 {
        return format!("1 {one}");
    }
    let many = match one.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{one}s"),
    };
    format!("{n} {many}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_codes_of_files_are_shown_not_sent() {
        assert_eq!(visible("a\x1b[31mb\u{202e}c\td\r\n"), "a\\u{1b}[31mb\\u{202e}c\td\\r\n");
        assert!(matches!(visible("plain ü\n"), std::borrow::Cow::Borrowed(_)));
        assert_eq!(one_line("a\nb"), "a⏎b");
    }

    #[test]
    fn numbers_and_nouns() {
        assert_eq!(counted(1, "step"), "1 step");
        assert_eq!(counted(0, "step"), "0 steps");
        assert_eq!(counted(3, "directory"), "3 directories");
    }
}
