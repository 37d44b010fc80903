//! Puts a script together: variables, then the parts of the library that it needs, then what to do.

use zeroize::Zeroizing;

use crate::transport::quote::sh;

/// A part of the library in `sh/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Base,
    Look,
    Observe,
    Change,
    Armed,
    Lease,
    Zone,
    ZoneFile,
}

impl Part {
    fn text(self) -> &'static str {
        match self {
            Part::Base => include_str!("sh/base.sh"),
            Part::Look => include_str!("sh/look.sh"),
            Part::Observe => include_str!("sh/observe.sh"),
            Part::Change => concat!(
                include_str!("sh/path.sh"),
                include_str!("sh/package.sh"),
                include_str!("sh/account.sh"),
                include_str!("sh/service.sh"),
                include_str!("sh/setting.sh"),
                include_str!("sh/step.sh"),
            ),
            Part::Armed => include_str!("sh/armed.sh"),
            Part::Lease => include_str!("sh/lease.sh"),
            Part::Zone => include_str!("sh/zone.sh"),
            Part::ZoneFile => include_str!("sh/zone_file.sh"),
        }
    }
}

/// A script in the making.
pub struct Assembly {
    body: Zeroizing<String>,
}

impl Assembly {
    /// `room`: bytes that the contents will take; growing would leave unwiped copies behind.
    pub fn new(room: usize) -> Self {
        Self { body: Zeroizing::new(String::with_capacity(room + (96 << 10))) }
    }

    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        self.line(&format!("{name}={}", sh(value)))
    }

    pub fn part(&mut self, part: Part) -> &mut Self {
        self.line(part.text())
    }

    pub fn line(&mut self, text: &str) -> &mut Self {
        self.body.push_str(text);
        self.body.push('\n');
        self
    }

    pub fn done(self) -> Zeroizing<String> {
        self.body
    }
}
