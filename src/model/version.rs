//! Versions of products, as far as they can be compared.

use std::cmp::Ordering;
use std::fmt;

use super::topology::Node;

/// Compares as far as the limit is written: 2.3.19 is 2.3. Exchange SE comes after every year.
pub fn compare(has: &str, limit: &str) -> Ordering {
    let part = |p: &str| -> u64 {
        let digits: String = p.chars().take_while(char::is_ascii_digit).collect();
        if p.eq_ignore_ascii_case("se") { u64::MAX } else { digits.parse().unwrap_or(0) }
    };
    let mut has = has.split('.');
    for l in limit.split('.') {
        let order = part(has.next().unwrap_or("0")).cmp(&part(l));
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

/// The products that a platform has a field for.
pub const PRODUCTS: [&str; 11] =
    ["exchange", "postfix", "dovecot", "cyrus", "stalwart", "knot", "bind", "powerdns", "unbound", "rspamd", "nginx"];

/// Version of a product on a platform: its own field, or a `product` child.
pub fn of_platform<'t>(platform: &'t Node, product: &str) -> Option<&'t str> {
    if let Some(v) = platform.text(product) {
        return Some(v);
    }
    platform.children("product").find(|c| c.name() == product)?.text("version")
}

/// A release of Exchange on premises, as far as coexistence and support are decided by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchange {
    /// 2007, 2010, 2013, 2016, 2019, or [`Exchange::SE`].
    pub year: u16,
    /// `None` where the topology does not say, or says it in a form that is not read here (a build number).
    pub update: Option<Update>,
}

/// Service pack and rollup (2007, 2010) or cumulative update (2013 and later); zero is the first release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Update {
    pub service_pack: u16,
    pub rollup: u16,
    pub cumulative: u16,
}

impl Exchange {
    /// Subscription Edition, which has no year.
    pub const SE: u16 = u16::MAX;

    pub fn of_platform(platform: &Node) -> Option<Self> {
        let version = of_platform(platform, "exchange")?;
        let year = Self::year(version)?;
        let rest = version.split_once(' ').map(|(_, rest)| rest);
        let update = platform.text("update").or(rest).and_then(|u| Update::parse(u, year));
        Some(Self { year, update })
    }

    /// `2010`, `2010 SP3`, `SE`.
    pub fn year(text: &str) -> Option<u16> {
        let word = text.split(' ').next()?;
        if word.eq_ignore_ascii_case("se") {
            return Some(Self::SE);
        }
        word.parse().ok().filter(|y| (2000..2100).contains(y))
    }

    /// `None` where the update is not known.
    pub fn at_least(&self, update: Update) -> Option<bool> {
        self.update.map(|has| has >= update)
    }
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Exchange {}", year_name(self.year))?;
        self.update.map_or(Ok(()), |u| write!(f, " {u}"))
    }
}

/// `2016`, `SE`.
pub fn year_name(year: u16) -> String {
    if year == Exchange::SE { "SE".into() } else { year.to_string() }
}

impl Update {
    /// A service pack and a rollup of it.
    pub const fn sp(service_pack: u16, rollup: u16) -> Self {
        Self { service_pack, rollup, cumulative: 0 }
    }

    /// A cumulative update.
    pub const fn cu(cumulative: u16) -> Self {
        Self { service_pack: 0, rollup: 0, cumulative }
    }

    /// `sp3`, `SP3 RU11`, `cu21`, `cu14 su2`, `rtm`. Service pack 1 of 2013 is its CU4.
    pub fn parse(text: &str, year: u16) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let mut update = Self::default();
        let mut known = false;
        let mut rest = text.as_str();
        while let Some(start) = rest.find(|c: char| c.is_ascii_alphabetic()) {
            let word_end = rest[start..].find(|c: char| !c.is_ascii_alphabetic()).map_or(rest.len(), |i| start + i);
            let word = &rest[start..word_end];
            let tail = rest[word_end..].trim_start();
            let digits = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
            let number = tail[..digits].parse().ok();
            match (word, number) {
                ("rtm", _) => {}
                ("sp", Some(n)) => update.service_pack = n,
                ("ru", Some(n)) => update.rollup = n,
                ("cu", Some(n)) => update.cumulative = n,
                ("su" | "hu", Some(_)) => {}
                _ => return None,
            }
            known = true;
            rest = &tail[digits..];
        }
        if year == 2013 && update.service_pack == 1 {
            update = Self::cu(4.max(update.cumulative));
        }
        known.then_some(update)
    }
}

impl fmt::Display for Update {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.service_pack, self.rollup, self.cumulative) {
            (0, 0, 0) => f.write_str("RTM"),
            (0, 0, cu) => write!(f, "CU{cu}"),
            (sp, 0, _) => write!(f, "SP{sp}"),
            (sp, ru, _) => write!(f, "SP{sp} RU{ru}"),
        }
    }
}

/// Year and R2 of a Windows Server, or of a functional level: `Windows Server 2012 R2`, `windows-2012r2`, `2008`.
pub fn windows(text: &str) -> Option<(u16, bool)> {
    const YEARS: [u16; 8] = [2000, 2003, 2008, 2012, 2016, 2019, 2022, 2025];
    let text = text.to_ascii_lowercase();
    let year = YEARS.into_iter().find(|y| text.contains(&y.to_string()))?;
    Some((year, text.contains("r2")))
}

/// `2012 R2`.
pub fn windows_name((year, r2): (u16, bool)) -> String {
    format!("{year}{}", if r2 { " R2" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_far_as_the_limit() {
        assert_eq!(compare("2.3.19", "2.3"), Ordering::Equal);
        assert_eq!(compare("2.4", "2.3"), Ordering::Greater);
        assert_eq!(compare("2007", "2010"), Ordering::Less);
        assert_eq!(compare("SE", "2019"), Ordering::Greater);
        assert_eq!(compare("2.10", "2.9"), Ordering::Greater);
    }

    #[test]
    fn updates_of_exchange_are_read_and_ordered() {
        assert_eq!(Update::parse("sp3", 2010), Some(Update::sp(3, 0)));
        assert_eq!(Update::parse("SP3 RU11", 2010), Some(Update::sp(3, 11)));
        assert_eq!(Update::parse("SP3RU10", 2007), Some(Update::sp(3, 10)));
        assert_eq!(Update::parse("cu14 su2", 2019), Some(Update::cu(14)));
        assert_eq!(Update::parse("sp1", 2013), Some(Update::cu(4)));
        assert_eq!(Update::parse("rtm", 2016), Some(Update::default()));
        assert_eq!(Update::parse("15.1.2507.6", 2016), None, "a build number is not read");
        assert_eq!(Update::parse("spring", 2016), None);
        assert!(Update::sp(3, 11) > Update::sp(3, 2) && Update::sp(3, 0) > Update::sp(2, 9));
    }

    #[test]
    fn names_of_windows_are_read() {
        assert_eq!(windows("Windows Server 2012 R2"), Some((2012, true)));
        assert_eq!(windows("windows-2008"), Some((2008, false)));
        assert_eq!(windows("Debian 12"), None);
        assert!((2012, true) > (2012, false));
    }
}
