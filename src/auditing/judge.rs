//! Whether what was found is what is wanted. Pure.

use std::cmp::Ordering;

use crate::model::audit::Source;
use crate::model::version::compare;

use super::wish::Wanted;

/// What a host said of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// It was looked for, and is not there.
    Absent,
    Is(String),
    /// The host could not tell, and why.
    Unknown(String),
}

impl Found {
    /// As people read it.
    pub fn shown(&self, source: Source) -> Option<String> {
        match self {
            Self::Absent => Some("absent".to_owned()),
            Self::Is(text) if source == Source::Service => Some(states(text).join(" ")),
            Self::Is(text) => Some(text.clone()),
            Self::Unknown(_) => None,
        }
    }
}

/// Words that a service's check may hold, one or several.
const STATES: [&str; 8] = ["present", "absent", "running", "stopped", "failed", "enabled", "disabled", "masked"];
/// What a file may be asked for beside whether it is there.
const ASPECTS: [&str; 4] = ["mode", "owner", "size", "sha256"];
/// Comparisons, the longer ones first.
const SIGNS: [&str; 6] = [">=", "<=", "!=", ">", "<", "="];

/// `/etc/x#mode` is the mode of `/etc/x`.
pub fn aspect(key: &str) -> (&str, Option<&str>) {
    match key.rsplit_once('#') {
        Some((path, aspect)) if ASPECTS.contains(&aspect) => (path, Some(aspect)),
        _ => (key, None),
    }
}

/// Whether it can be asked so.
pub fn form(source: Source, key: &str, wanted: &Wanted) -> Result<(), String> {
    let word = |more: &str| {
        let fine = |c: char| c.is_ascii_alphanumeric() || more.contains(c);
        key.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') && key.chars().all(fine) && !key.contains("..")
    };
    let bad = |what: &str| Err(format!("`{key}` is no {what}"));
    if key.contains(['\n', '\0']) {
        return bad("key of one line");
    }
    match source {
        Source::File if !key.starts_with('/') => return bad("absolute path"),
        Source::Package if !word("+._:-") => return bad("name of a package"),
        Source::Service if !word("@._:\\-") => return bad("name of a unit of systemd"),
        Source::Driver if !word("._-") => return bad("name of a module"),
        Source::Postconf | Source::Doveconf if !word("_./-") => return bad("name of a setting"),
        Source::Sysctl if !word("_./-") => return bad("name of a value of the kernel"),
        Source::Script if key.trim().is_empty() => return Err("there is nothing to run".to_owned()),
        _ => {}
    }
    let Wanted::Text(text) = wanted else {
        return match source {
            Source::File | Source::Package | Source::Service | Source::Driver => {
                Err("expect #true and #false are for settings; write present or absent".to_owned())
            }
            _ => Ok(()),
        };
    };
    match source {
        Source::Service => match text.split_whitespace().find(|w| !STATES.contains(w)) {
            Some(other) => Err(format!("`{other}` is no state of a service: {}", STATES.join(", "))),
            None if text.trim().is_empty() => Err("expect says nothing".to_owned()),
            None => Ok(()),
        },
        Source::File => match aspect(key).1 {
            None if !matches!(text.as_str(), "present" | "absent") => Err(format!(
                "a file is `present` or `absent`; for more write {}",
                ASPECTS.map(|a| format!("#{a}")).join(", ")
            )),
            Some("mode") if text != "absent" && u32::from_str_radix(text, 8).is_err() => {
                Err(format!("`{text}` is no mode: write 0640"))
            }
            Some("sha256")
                if text != "absent" && (text.len() != 64 || !text.chars().all(|c| c.is_ascii_hexdigit())) =>
            {
                Err("a SHA-256 has 64 hexadecimal digits".to_owned())
            }
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

/// What `systemctl show` said, in our words.
fn states(text: &str) -> Vec<&'static str> {
    let of =
        |name: &str| text.split_whitespace().find_map(|w| w.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default();
    let mut out = vec![match of("ActiveState") {
        "active" | "reloading" | "refreshing" => "running",
        "failed" => "failed",
        "activating" | "deactivating" => "changing",
        _ => "stopped",
    }];
    out.push(match of("UnitFileState") {
        "enabled" | "enabled-runtime" | "static" | "alias" | "indirect" | "generated" => "enabled",
        "masked" | "masked-runtime" => "masked",
        _ => "disabled",
    });
    out
}

/// `None`: the host could not tell.
pub fn holds(source: Source, key: &str, wanted: &Wanted, found: &Found) -> Option<bool> {
    let there = match found {
        Found::Unknown(_) => return None,
        Found::Absent => None,
        // A script says that something is not there by saying nothing.
        Found::Is(text) if text.is_empty() && source == Source::Script => None,
        Found::Is(text) => Some(text.as_str()),
    };
    let wanted = match wanted {
        Wanted::Switch(on) => {
            let word = there.unwrap_or_default().to_ascii_lowercase();
            let words = if *on { ["yes", "true", "on", "1"] } else { ["no", "false", "off", "0"] };
            return Some(words.contains(&word.as_str()));
        }
        Wanted::Text(text) => text.trim(),
    };
    Some(match (wanted, there) {
        ("absent", there) => there.is_none(),
        ("present", there) => there.is_some(),
        // Empty is a value of a setting, and what a setting that is not there does not have.
        (_, None) => false,
        (_, Some(text)) => match source {
            Source::Service => {
                let now = states(text);
                let failed = now.contains(&"failed");
                wanted.split_whitespace().all(|w| w == "present" || now.contains(&w) || w == "stopped" && failed)
            }
            Source::File if aspect(key).1 == Some("mode") => {
                let mode = |t: &str| u32::from_str_radix(t, 8).ok();
                mode(wanted).is_some() && mode(wanted) == mode(text)
            }
            Source::File if aspect(key).1 == Some("sha256") => wanted.eq_ignore_ascii_case(text),
            _ => compared(source, wanted, text),
        },
    })
}

/// A comparison where the text begins with its sign, else the same.
fn compared(source: Source, wanted: &str, found: &str) -> bool {
    let Some(sign) = SIGNS.into_iter().find(|s| wanted.starts_with(s)) else {
        return same(source, wanted, found);
    };
    let limit = wanted.strip_prefix(sign).unwrap_or_default().trim();
    if sign == "=" || sign == "!=" {
        return same(source, limit, found) == (sign == "=");
    }
    let order = match (found.trim().parse::<f64>(), limit.parse::<f64>()) {
        (Ok(a), Ok(b)) if !matches!(source, Source::Package | Source::Driver) => a.partial_cmp(&b),
        // What is no version at all is neither above nor below one.
        _ => bare(found).starts_with(|c: char| c.is_ascii_digit()).then(|| compare(bare(found), bare(limit))),
    };
    match order {
        None => false,
        Some(order) => match sign {
            ">=" => order != Ordering::Less,
            "<=" => order != Ordering::Greater,
            ">" => order == Ordering::Greater,
            _ => order == Ordering::Less,
        },
    }
}

/// Words in the same order; of packages and drivers, the version as far as it is written.
fn same(source: Source, wanted: &str, found: &str) -> bool {
    let versions = matches!(source, Source::Package | Source::Driver);
    let plain = !wanted.is_empty() && wanted.chars().all(|c| c.is_ascii_digit() || c == '.');
    wanted.split_whitespace().eq(found.split_whitespace())
        || versions
            && plain
            && bare(found).starts_with(|c: char| c.is_ascii_digit())
            && compare(bare(found), wanted) == Ordering::Equal
}

/// A version of a package without its epoch: 1:2.3.19 is 2.3.19.
fn bare(version: &str) -> &str {
    match version.trim().split_once(':') {
        Some((epoch, rest)) if !epoch.is_empty() && epoch.chars().all(|c| c.is_ascii_digit()) => rest,
        _ => version.trim(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(source: Source, key: &str, wanted: &str, found: &str) -> bool {
        let wanted = Wanted::Text(wanted.to_owned());
        assert_eq!(form(source, key, &wanted), Ok(()));
        holds(source, key, &wanted, &Found::Is(found.to_owned())).unwrap()
    }

    #[test]
    fn versions_are_compared_as_far_as_they_are_written() {
        let at = |wanted: &str, found: &str| judged(Source::Package, "dovecot-core", wanted, found);
        assert!(at(">=2.3.19", "1:2.3.19.1+dfsg1-2.1+deb12u1"));
        assert!(at("2.3", "1:2.3.19.1+dfsg1-2.1"));
        assert!(at("1:2.3.19.1+dfsg1-2.1", "1:2.3.19.1+dfsg1-2.1"));
        assert!(!at("2.4", "1:2.3.19.1+dfsg1-2.1"));
        assert!(!at(">2.3", "2.3.19") && !at("<2.3", "2.3.19") && at(">=2.3", "2.3.19"));
        assert!(!at("!=2.3", "2.3.19") && at("!=2.4", "2.3.19"));
        assert!(judged(Source::Driver, "storport", ">=6.1.7601", "6.1.7601.17514"));
        assert!(
            !judged(Source::Driver, "loop", ">=1", "present"),
            "a module without a version has none that is enough"
        );
    }

    #[test]
    fn settings_are_compared_by_words_and_numbers() {
        assert!(judged(Source::Sysctl, "net.ipv4.tcp_rmem", "4096 131072 6291456", "4096\t131072\t6291456"));
        assert!(
            judged(Source::Sysctl, "vm.swappiness", "<=10", "10")
                && !judged(Source::Sysctl, "vm.swappiness", "<10", "10")
        );
        assert!(judged(Source::Postconf, "queue_minfree", ">=1000000", "2000000"));
        assert!(!judged(Source::Postconf, "queue_minfree", ">=10", "9"), "numbers, not texts");
        assert!(judged(Source::Postconf, "relayhost", "", ""));
        let on = |text: &str| holds(Source::Doveconf, "ssl", &Wanted::Switch(true), &Found::Is(text.into())).unwrap();
        assert!(on("yes") && on("on") && !on("no") && !on("required"));
    }

    #[test]
    fn files_and_services_have_their_own_words() {
        assert!(
            judged(Source::File, "/etc/x#mode", "0640", "640") && !judged(Source::File, "/etc/x#mode", "0640", "644")
        );
        assert!(judged(Source::File, "/etc/x#owner", "root:adm", "root:adm"));
        assert!(
            judged(Source::File, "/etc/x", "present", "present")
                && !judged(Source::File, "/etc/x", "absent", "present")
        );
        let unit = "LoadState=loaded ActiveState=active UnitFileState=disabled";
        assert!(judged(Source::Service, "ssh.service", "running", unit));
        assert!(judged(Source::Service, "ssh.service", "running disabled", unit));
        assert!(!judged(Source::Service, "ssh.service", "running enabled", unit));
        assert!(judged(Source::Service, "x", "stopped", "ActiveState=failed UnitFileState=static"));
        assert_eq!(Found::Is(unit.into()).shown(Source::Service).as_deref(), Some("running disabled"));
    }

    #[test]
    fn what_is_not_there_is_only_as_wanted_where_it_shall_be_absent() {
        for (source, key) in
            [(Source::File, "/x"), (Source::Package, "x"), (Source::Service, "x"), (Source::Sysctl, "x")]
        {
            let at = |wanted: &str| holds(source, key, &Wanted::Text(wanted.into()), &Found::Absent);
            assert_eq!((at("absent"), at("present")), (Some(true), Some(false)));
        }
        let at = |wanted: &str, found: Found| holds(Source::Script, "x", &Wanted::Text(wanted.into()), &found);
        assert_eq!(at("absent", Found::Is(String::new())), Some(true));
        assert_eq!(at("", Found::Is(String::new())), Some(false));
        // Neither of them where it could not be asked.
        assert_eq!(at("absent", Found::Unknown("no".into())), None);
        assert_eq!(holds(Source::Postconf, "x", &Wanted::Switch(false), &Found::Absent), Some(false));
    }

    #[test]
    fn what_cannot_be_asked_so_is_refused() {
        let wrong = |source, key: &str, wanted: &str| form(source, key, &Wanted::Text(wanted.into())).unwrap_err();
        assert!(wrong(Source::File, "etc/x", "present").contains("absolute"));
        assert!(wrong(Source::File, "/etc/x", "0640").contains("#mode"));
        assert!(wrong(Source::File, "/etc/x#mode", "rw").contains("0640"));
        assert!(wrong(Source::File, "/etc/x#sha256", "abc").contains("64"));
        assert!(wrong(Source::Service, "ssh", "runing").contains("runing"));
        assert!(wrong(Source::Postconf, "-e", "x").contains("setting"));
        assert!(wrong(Source::Sysctl, "a/../../etc/shadow", "x").contains("kernel"));
        assert!(wrong(Source::Package, "-L", "present").contains("package"));
        assert!(wrong(Source::Script, " ", "x").contains("nothing"));
        assert!(form(Source::Package, "x", &Wanted::Switch(true)).is_err());
    }
}
