//! What the lab says while it works; the command line shows it, tests drop it.

/// One thing said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note<'a> {
    /// A line worth keeping: a stage begins or ends.
    Step(&'a str),
    /// A sign of life within a stage; the next one may overwrite it.
    Detail(&'a str),
}

/// Where notes go. Called from several threads.
#[derive(Clone, Copy)]
pub struct Progress<'a>(&'a (dyn Fn(Note<'_>) + Sync));

impl<'a> Progress<'a> {
    pub fn new(to: &'a (dyn Fn(Note<'_>) + Sync)) -> Self {
        Self(to)
    }

    /// Says nothing.
    pub fn silent() -> Progress<'static> {
        Progress(&|_| {})
    }

    pub(crate) fn step(self, text: &str) {
        (self.0)(Note::Step(text));
    }

    pub(crate) fn detail(self, text: &str) {
        (self.0)(Note::Detail(text));
    }
}
