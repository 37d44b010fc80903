//! How a word of a file becomes a typed value, and what to say when it does not.

use std::net::IpAddr;

use super::super::domain;
use super::super::spelling::{is_name, unseen};
use super::super::suggest::{either, nearest};
use super::{Draft, Type, Wrong, is_ident};
use crate::model::SecretRef;
use crate::model::counter;
use crate::model::topology::Value;
use crate::model::tree::Scalar;
use crate::model::unit::{self, Percent};

impl Type {
    /// Reads a scalar. `derived`: the text came out of a range or an interpolation, where numbers are texts too.
    pub(in crate::language) fn read(&self, scalar: &Scalar, unit: Option<&str>, derived: bool) -> Result<Draft, Wrong> {
        let text = |s: &str| Ok(Draft::Value(Value::Text(s.into())));
        // `(GiB)2` is `"2GiB"`.
        let joined;
        let scalar = match (unit, scalar) {
            (Some(u), Scalar::Int(n)) if matches!(self, Type::Duration | Type::Size | Type::Rate | Type::Percent) => {
                joined = Scalar::Text(format!("{n}{u}"));
                &joined
            }
            (Some(u), Scalar::Float(n)) if matches!(self, Type::Percent) => {
                joined = Scalar::Text(format!("{n}{u}"));
                &joined
            }
            _ => scalar,
        };
        match self {
            Type::Int => integer(scalar, derived).map(|i| Draft::Value(Value::Int(i))),
            Type::Number => match scalar {
                Scalar::Float(f) if f.is_finite() => text(&f.to_string()),
                Scalar::Text(t) if derived && t.parse::<f64>().is_ok_and(f64::is_finite) => match t.parse::<i64>() {
                    Ok(i) => Ok(Draft::Value(Value::Int(i))),
                    Err(_) => text(t),
                },
                _ => integer(scalar, derived).map(|i| Draft::Value(Value::Int(i))),
            },
            Type::Bool => match scalar {
                Scalar::Bool(b) => Ok(Draft::Value(Value::Bool(*b))),
                Scalar::Text(t) if derived && matches!(t.as_str(), "true" | "false") => {
                    Ok(Draft::Value(Value::Bool(t == "true")))
                }
                Scalar::Text(t) => Err(wrong(match t.as_str() {
                    "true" | "yes" | "on" => Some("write #true".into()),
                    "false" | "no" | "off" => Some("write #false".into()),
                    _ => Some("write #true or #false".into()),
                })),
                Scalar::Int(n @ (0 | 1)) => Err(wrong(Some(format!("write #{}", *n == 1)))),
                _ => Err(wrong(Some("write #true or #false".into()))),
            },
            Type::Any => match scalar {
                Scalar::Text(t) | Scalar::Raw(t) => text(t),
                Scalar::Int(_) => integer(scalar, false).map(|i| Draft::Value(Value::Int(i))),
                Scalar::Float(f) => text(&f.to_string()),
                Scalar::Bool(b) => Ok(Draft::Value(Value::Bool(*b))),
                Scalar::Null => Err(wrong(Some("leave the field out instead".into()))),
            },
            _ => match scalar {
                Scalar::Text(t) | Scalar::Raw(t) => self.read_text(t),
                Scalar::Int(_) | Scalar::Float(_) => Err(self.number_help(scalar)),
                Scalar::Bool(b) => Err(wrong(
                    matches!(self, Type::String | Type::Text).then(|| format!("write \"{b}\" if it is a text")),
                )),
                Scalar::Null => Err(wrong(Some("leave the field out instead".into()))),
            },
        }
    }

    fn number_help(&self, scalar: &Scalar) -> Wrong {
        let n = match scalar {
            Scalar::Int(i) => i.to_string(),
            Scalar::Float(f) => f.to_string(),
            _ => String::new(),
        };
        wrong(match self {
            Type::Percent => Some(format!("the unit is missing: write \"{n}%\"")),
            Type::Duration => Some(format!("the unit is missing: write \"{n}s\", \"{n}m\", \"{n}h\" or \"{n}d\"")),
            Type::Size => Some(format!("the unit is missing: write \"{n}MiB\" or \"{n}GiB\"")),
            Type::Rate => Some(format!("the unit is missing: write \"{n}Mbit/s\"")),
            Type::Ref(_) | Type::Select(_) => Some(format!("write \"{n}\" if that is the name")),
            Type::String | Type::Text => Some(format!("a text that looks like a number stands in quotes: \"{n}\"")),
            _ => None,
        })
    }

    /// An escape can put into a value what may not stand in the file: `\\u{202e}`. Prose may hold marks, nothing may hold controls.
    fn hidden(&self, t: &str) -> Option<Wrong> {
        let control = t.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t' | '\r'));
        let prose = matches!(self, Type::Text | Type::Secret);
        let c = control.or_else(|| if prose { None } else { unseen(t).map(|(_, c)| c) })?;
        Some(Wrong {
            code: "E0015",
            help: Some(format!("it holds the character U+{:04X}, which is not seen; remove it", c as u32)),
        })
    }

    fn read_text(&self, t: &str) -> Result<Draft, Wrong> {
        let ok = |b: bool, help: &str| {
            if b {
                Ok(Draft::Value(Value::Text(t.into())))
            } else {
                Err(wrong((!help.is_empty()).then(|| help.to_owned())))
            }
        };
        if let Some(wrong) = self.hidden(t) {
            return Err(wrong);
        }
        match self {
            Type::Name | Type::Hostname if !is_name(t) && (t.contains('[') || t.contains("..")) => {
                ok(false, "a range is written [1:9], [01:62] or [red,dub]")
            }
            Type::Hostname if t.contains('.') && domain::wrong(t).is_none() => {
                ok(false, &format!("the name is the first label; the whole stands in fqdn={t}"))
            }
            Type::Name => ok(is_name(t), "a name holds letters, digits, `-` and `_`, in any script"),
            Type::Ident => ok(is_ident(t), "it holds a to z, 0 to 9 and `_`, and starts with a letter"),
            Type::Hostname => {
                ok(domain::is_label(t), "a host name holds a to z, 0 to 9 and `-`, at most 63 of them (RFC 1123)")
            }
            Type::Fqdn => match domain::wrong(t) {
                None => ok(true, ""),
                Some(why) => ok(false, &why),
            },
            Type::Host => match domain::wrong(t) {
                Some(_) if domain::is_label(t) || t.parse::<IpAddr>().is_ok() => ok(true, ""),
                Some(why) => ok(false, &why),
                None => ok(true, ""),
            },
            Type::Counter if counter::find(t).is_some() => ok(true, ""),
            Type::Counter => Err(Wrong { code: "E0202", help: Some(counter_help(t)) }),
            Type::Ip => ok(t.parse::<IpAddr>().is_ok(), "as in \"192.0.2.10\" or \"2001:db8::10\""),
            Type::Cidr => match t.parse::<ipnet::IpNet>() {
                Ok(n) if n.addr() == n.network() => ok(true, ""),
                Ok(n) => ok(false, &format!("the address has bits behind the prefix; write \"{}\"", n.trunc())),
                Err(_) => ok(false, "as in \"192.0.2.0/24\" or \"2001:db8::/64\""),
            },
            Type::Email => ok(is_email(t), "as in ann@acme.example"),
            Type::Url => ok(is_url(t), "as in \"https://mail.acme.example/ews\""),
            Type::Path => ok(!t.is_empty() && !t.contains('\0'), ""),
            Type::Duration => match unit::parse_duration(t) {
                Some(d) => Ok(Draft::Value(Value::Duration(d))),
                None => ok(false, &unit_help(t, "units are ms s m h d w, as in \"90s\"", &["s", "m", "h", "d"])),
            },
            Type::Size => match unit::parse_size(t).or_else(|| decimal_size(t)) {
                Some(n) => Ok(Draft::Value(Value::Size(n))),
                None => {
                    ok(false, &unit_help(t, "units are B KiB MiB GiB TiB KB MB GB TB, as in \"2GiB\"", &["MiB", "GiB"]))
                }
            },
            Type::Rate => match unit::parse_rate(t).or_else(|| byte_rate(t)) {
                Some(n) => Ok(Draft::Value(Value::Rate(n))),
                None => ok(false, "as in \"200Mbit/s\" or \"40MiB/s\""),
            },
            Type::Percent => match Percent::parse(t) {
                Some(p) if Percent::parse("100%").is_some_and(|most| p > most) => {
                    ok(false, "a percent is 100% at most")
                }
                Some(p) => Ok(Draft::Value(Value::Percent(p))),
                None => ok(false, &unit_help(t, "as in \"99.9%\"", &["%"])),
            },
            Type::Offset => {
                let body = t.strip_prefix(['+', '-']);
                ok(body.and_then(unit::parse_duration).is_some(), "a sign and a duration, as in \"-14d\" or \"+1h\"")
            }
            Type::Date => ok(t.len() == 10 && t.parse::<jiff::civil::Date>().is_ok(), "as in \"2026-03-07\""),
            Type::DateTime => ok(is_datetime(t), "as in \"2026-03-07T22:00\", in the timezone of the organization"),
            Type::Time => ok(t.contains(':') && t.parse::<jiff::civil::Time>().is_ok(), "as in \"02:00\""),
            Type::Type => ok(
                Type::parse(t).is_some_and(|t| !matches!(t, Type::Type)),
                "as in int, duration, \"ref(site)\" or \"enum(a|b)\"",
            ),
            Type::Enum(list) if list.iter().any(|w| w == t) => ok(true, ""),
            Type::Enum(list) => Err(Wrong {
                code: "E0202",
                help: Some(match nearest(t, list.iter().map(String::as_str)) {
                    Some(n) => format!("did you mean `{n}`?"),
                    None => format!("it is {}", either(list)),
                }),
            }),
            Type::Open(_) => ok(is_name(t), "a role is a word, as in imap"),
            Type::Ref(_) | Type::Select(_) => {
                if t.contains("{{") || t.contains("${") {
                    Err(wrong(Some("a variable is written $name or \"${name}\"".into())))
                } else if t.is_empty() || t.contains(char::is_whitespace) {
                    Err(wrong(Some("a name has no spaces; several names are several values: a b".into())))
                } else {
                    Ok(Draft::Name(t.into()))
                }
            }
            Type::Secret => match t.split_once(':') {
                Some(("env" | "file" | "age" | "cmd", rest)) if !rest.is_empty() => {
                    Ok(Draft::Value(Value::Secret(SecretRef(t.to_owned()))))
                }
                Some(("vault", rest)) if rest.split_once('#').is_some_and(|(p, k)| !p.is_empty() && !k.is_empty()) => {
                    Ok(Draft::Value(Value::Secret(SecretRef(t.to_owned()))))
                }
                _ => Err(Wrong { code: "E0701", help: None }),
            },
            _ => ok(true, ""),
        }
    }
}

fn wrong(help: Option<String>) -> Wrong {
    Wrong { code: "E0201", help }
}

fn unit_help(t: &str, general: &str, units: &[&str]) -> String {
    if !t.is_empty() && t.parse::<f64>().is_ok() {
        let list: Vec<String> = units.iter().map(|u| format!("\"{t}{u}\"")).collect();
        format!("the unit is missing: write {}", either(&list))
    } else {
        general.to_owned()
    }
}

fn counter_help(t: &str) -> String {
    let own = "a counter of your own is written custom:NAME";
    let folded = t.to_ascii_lowercase().replace([' ', '_'], "-");
    match nearest(t, counter::words()).or_else(|| nearest(&folded, counter::words())) {
        Some(n) => format!("did you mean `{n}`? {own}"),
        None => format!("`cutover docs rule` lists those that are known; {own}"),
    }
}

fn integer(scalar: &Scalar, derived: bool) -> Result<i64, Wrong> {
    match scalar {
        Scalar::Int(i) => i64::try_from(*i).map_err(|_| wrong(Some("the number is too large".into()))),
        Scalar::Text(t) if derived => t.parse().map_err(|_| wrong(Some("a number is written in digits 0 to 9".into()))),
        Scalar::Text(t) if t.parse::<i64>().is_ok() => Err(wrong(Some(format!("numbers stand without quotes: {t}")))),
        Scalar::Float(f) => Err(wrong(Some(format!("it has no fraction: write {}", f.trunc())))),
        _ => Err(wrong(Some("a number is written in digits 0 to 9, without quotes".into()))),
    }
}

/// `"1.8GiB"`: exact where the unit divides.
fn decimal_size(t: &str) -> Option<u64> {
    let digits = t.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = t.split_at(digits);
    let (whole, part) = number.split_once('.')?;
    let one = unit::parse_size(&format!("1{unit}"))?;
    let scale = 10u64.checked_pow(u32::try_from(part.len()).ok().filter(|n| (1..=9).contains(n))?)?;
    let whole: u64 = whole.parse().ok()?;
    let part: u64 = part.parse().ok()?;
    whole.checked_mul(one)?.checked_add(u64::try_from(u128::from(part) * u128::from(one) / u128::from(scale)).ok()?)
}

/// `"40MiB/s"` in bits per second.
fn byte_rate(t: &str) -> Option<u64> {
    unit::parse_size(t.strip_suffix("/s")?)?.checked_mul(8)
}

fn is_email(t: &str) -> bool {
    t.rsplit_once('@').is_some_and(|(local, domain)| {
        (1..=64).contains(&local.len())
            && domain::wrong(domain).is_none()
            && !local.contains(|c: char| c.is_whitespace() || c.is_control() || c == '@')
    })
}

fn is_url(t: &str) -> bool {
    t.split_once("://").is_some_and(|(scheme, rest)| {
        scheme.starts_with(|c: char| c.is_ascii_lowercase())
            && scheme.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '+' | '-' | '.'))
            && !rest.is_empty()
            && !t.contains(|c: char| c.is_whitespace() || c.is_control())
    })
}

fn is_datetime(t: &str) -> bool {
    t.contains('T')
        && t.contains(':')
        && t.parse::<jiff::civil::DateTime>().is_ok()
        && !t.ends_with('Z')
        && !t.contains(['+', '['])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(ty: &str, t: &str) -> bool {
        Type::parse(ty).expect(ty).read(&Scalar::Text(t.into()), None, false).is_ok()
    }

    #[test]
    fn texts_are_checked() {
        let good = [
            ("ip", "2001:db8::1"),
            ("cidr", "10.0.0.0/8"),
            ("fqdn", "*.acme.example"),
            ("fqdn", "bücher.example"),
            ("host", "old"),
            ("host", "2001:db8::1"),
            ("host", "old.acme.example"),
            ("counter", "submission-queue"),
            ("counter", "custom:spool"),
            ("email", "a+b@acme.example"),
            ("url", "dns://10.0.0.1"),
            ("duration", "1h30m"),
            ("size", "1.8GiB"),
            ("rate", "40MiB/s"),
            ("percent", "99.99%"),
            ("offset", "-14d"),
            ("date", "2026-03-07"),
            ("datetime", "2026-03-07T22:00"),
            ("time", "02:00"),
            ("name", "تهران"),
            ("hostname", "mbx-01a"),
            ("type", "ref(site)"),
            ("secret", "vault:a/b#c"),
            ("enum(a|b)", "b"),
        ];
        for (ty, t) in good {
            assert!(read(ty, t), "{ty} {t}");
        }
        let bad = [
            ("ip", "10.0.0.256"),
            ("cidr", "10.0.0.1/8"),
            ("cidr", "10.0.0.1"),
            ("fqdn", "acme"),
            ("fqdn", "10.0.0.1"),
            ("fqdn", "a..b"),
            ("host", "a b"),
            ("host", "https://old.acme.example"),
            ("counter", "submision-queue"),
            ("fqdn", "acme.example."),
            ("email", "acme.example"),
            ("url", "mail.acme.example"),
            ("duration", "90"),
            ("size", "2G"),
            ("percent", "99"),
            ("offset", "14d"),
            ("date", "2026-02-30"),
            ("datetime", "2026-03-07"),
            ("datetime", "2026-03-07T22:00Z"),
            ("time", "25:00"),
            ("name", "a.b"),
            ("name", "a b"),
            ("hostname", "a_b"),
            ("type", "number()"),
            ("secret", "hunter2"),
            ("secret", "vault:a"),
            ("enum(a|b)", "c"),
            ("int", "4"),
            ("bool", "true"),
        ];
        for (ty, t) in bad {
            assert!(!read(ty, t), "{ty} {t}");
        }
    }

    #[test]
    fn units_may_be_annotations() {
        let size = Type::Size.read(&Scalar::Int(2), Some("GiB"), false);
        assert_eq!(size, Ok(Draft::Value(Value::Size(2 << 30))));
        assert_eq!(
            Type::Rate.read(&Scalar::Text("1MiB/s".into()), None, false),
            Ok(Draft::Value(Value::Rate(8 << 20)))
        );
    }
}
