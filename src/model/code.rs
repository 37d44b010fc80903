//! What a code of a diagnostic means. Each floor keeps a table of its own codes; the page docs/errors.md and `cutover explain CODE`
//! are made of them, and a test runs every example.

/// One code, for people who met it.
#[derive(Debug, Clone, Copy)]
pub struct Code {
    /// `E0301`: an error, `W1001`: a warning.
    pub code: &'static str,
    pub title: &'static str,
    /// What it means, and why it is a mistake.
    pub means: &'static str,
    /// What to do about it.
    pub mend: &'static str,
    pub example: Example,
}

/// Input that brings the code about, and no other.
#[derive(Debug, Clone, Copy)]
pub enum Example {
    /// A whole `topology.kdl`.
    Text(&'static str),
    /// Files by name, `topology.kdl` the first.
    Files(&'static [(&'static str, &'static str)]),
    /// Too large or too odd to be shown: said in words, made by the function.
    Made(&'static str, fn() -> Vec<u8>),
    /// No file can bring it about; says what does.
    Elsewhere(&'static str),
}

/// Codes on one subject.
#[derive(Debug, Clone, Copy)]
pub struct Chapter {
    pub title: &'static str,
    pub codes: &'static [Code],
}

pub const fn code(
    code: &'static str,
    title: &'static str,
    means: &'static str,
    mend: &'static str,
    example: Example,
) -> Code {
    Code { code, title, means, mend, example }
}
