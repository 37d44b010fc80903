//! A crash on purpose, for tests of recovery: with `CUTOVER_CRASH_AT=N` in the environment the process dies, as by `kill -9`, right
//! before the N-th commit of its journal; with `N+` right after it, before anybody hears of the commit. Never set it otherwise.

/// Counts commits; dies at the wanted one.
#[derive(Debug, Default)]
pub(super) struct Crash {
    at: Option<(u64, bool)>,
    commits: u64,
}

impl Crash {
    pub(super) fn from_environment() -> Self {
        let at = std::env::var("CUTOVER_CRASH_AT").ok().and_then(|text| parse(&text));
        Self { at, commits: 0 }
    }

    pub(super) fn before_commit(&mut self) {
        self.commits += 1;
        self.die_if((self.commits, false));
    }

    pub(super) fn after_commit(&self) {
        self.die_if((self.commits, true));
    }

    fn die_if(&self, now: (u64, bool)) {
        if self.at == Some(now) {
            // No destructor runs, no buffer is flushed: what a killed process leaves behind.
            std::process::abort();
        }
    }
}

fn parse(text: &str) -> Option<(u64, bool)> {
    match text.strip_suffix('+') {
        Some(n) => Some((n.parse().ok()?, true)),
        None => Some((text.parse().ok()?, false)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_read() {
        assert_eq!(parse("3"), Some((3, false)));
        assert_eq!(parse("3+"), Some((3, true)));
        assert_eq!(parse("x"), None);
    }
}
