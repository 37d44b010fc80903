//! Sets of UIDs as commands and answers write them (RFC 9051 `sequence-set`): `1:4,7`.

use std::fmt;

/// Ranges, in the order in which they were given; both ends are within.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Set(Vec<(u32, u32)>);

impl Set {
    /// Neighbours that follow each other become ranges; the order stays.
    pub fn of(uids: impl IntoIterator<Item = u32>) -> Self {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for uid in uids {
            match ranges.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(uid) => *last = uid,
                _ => ranges.push((uid, uid)),
            }
        }
        Self(ranges)
    }

    /// `None` for what is no set of numbers. `*` is none: it means something only to who knows the folder.
    pub fn parse(text: &str) -> Option<Self> {
        let range = |part: &str| -> Option<(u32, u32)> {
            let (a, b) = part.split_once(':').unwrap_or((part, part));
            let (a, b) = (a.parse().ok()?, b.parse().ok()?);
            Some(if a <= b { (a, b) } else { (b, a) })
        };
        text.trim().split(',').map(range).collect::<Option<Vec<_>>>().map(Self)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many numbers, without making them: `1:4294967295` is a short text.
    pub fn len(&self) -> u64 {
        self.0.iter().map(|(a, b)| u64::from(b - a) + 1).sum()
    }

    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().flat_map(|(a, b)| *a..=*b)
    }

    pub fn extend(&mut self, other: &Set) {
        self.0.extend_from_slice(&other.0);
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (a, b)) in self.0.iter().enumerate() {
            let comma = if n > 0 { "," } else { "" };
            if a == b { write!(f, "{comma}{a}")? } else { write!(f, "{comma}{a}:{b}")? }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sets_as_servers_write_them() {
        assert_eq!(Set::of([1, 2, 3, 7, 5, 6]).to_string(), "1:3,7,5:6");
        assert_eq!(Set::parse("304,319:320").map(|s| s.iter().collect()), Some(vec![304, 319, 320]));
        assert_eq!(Set::parse("5:3").map(|s| s.len()), Some(3));
        assert_eq!(Set::parse("1:4294967295").map(|s| s.len()), Some(4_294_967_295));
        for bad in ["", "1:*", "x", "1,,2", "-1", "99999999999"] {
            assert_eq!(Set::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(uids in prop::collection::vec(1u32..2000, 1..200)) {
            let set = Set::of(uids.clone());
            let read = Set::parse(&set.to_string()).expect("a set");
            prop_assert_eq!(read.iter().collect::<Vec<_>>(), uids);
        }

        #[test]
        fn nothing_from_outside_panics(text in "[0-9:,* ]{0,40}") {
            let _ = Set::parse(&text).map(|s| (s.len(), s.iter().take(5).count()));
        }
    }
}
