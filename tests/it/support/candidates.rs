//! Other values that may stand where one stands in a topology.

use std::collections::BTreeMap;

use cutover::language::schema::FieldDef;
use cutover::language::types::Type;
use cutover::model::tree::Scalar;

/// Other values of a field's type, likely ones first. What cannot stand there is found out by trying.
pub fn candidates(f: &FieldDef, scalar: &Scalar, names: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let now = match scalar {
        Scalar::Text(t) | Scalar::Raw(t) => t.clone(),
        Scalar::Int(i) => i.to_string(),
        Scalar::Bool(b) => b.to_string(),
        _ => String::new(),
    };
    let quoted = |list: &[&str]| list.iter().map(|t| format!("\"{t}\"")).collect::<Vec<_>>();
    let mut out = match &f.ty {
        Type::Int | Type::Number => ["1", "2", "3", "99", "5000", "0"].map(str::to_owned).to_vec(),
        Type::Bool => vec!["#true".into(), "#false".into()],
        Type::Enum(words) | Type::Open(words) => words.iter().map(|w| format!("\"{w}\"")).collect(),
        Type::Ref(kinds) | Type::Select(kinds) => {
            let named =
                kinds.iter().flat_map(|k| names.get(k).into_iter().flatten().map(move |n| format!("\"{k}:{n}\"")));
            let all: Vec<String> = named.collect();
            all.iter().rev().take(3).chain(all.iter().take(4)).cloned().collect()
        }
        Type::Ip => quoted(&["192.0.2.77", "2001:db8:7::77", "169.254.1.1"]),
        Type::Cidr => quoted(&["198.51.100.0/24", "192.0.2.0/25", "2001:db8:9::/64"]),
        Type::Fqdn => quoted(&["other.acme.example", "elsewhere.example"]),
        Type::Email => quoted(&["zed@acme.example", "zed@elsewhere.example"]),
        Type::Url => quoted(&["https://elsewhere.example:444/x", "http://elsewhere.example", "dns://192.0.2.99"]),
        Type::Duration => quoted(&["1s", "7m", "100d", "400d", "0s"]),
        Type::Offset => quoted(&["+9d", "-1m"]),
        Type::Size => quoted(&["3MiB", "900TiB"]),
        Type::Rate => quoted(&["1kbit/s", "900Gbit/s"]),
        Type::Percent => quoted(&["1%", "100%", "99.999%"]),
        Type::Date => quoted(&["2001-01-01", "2099-01-01"]),
        Type::DateTime => quoted(&["2001-01-01T01:00", "2099-01-01T13:00"]),
        Type::Time => quoted(&["01:01", "13:00"]),
        Type::Secret => quoted(&["env:OTHER", "file:other"]),
        Type::Counter => quoted(&["processor-load", "heartbeat"]),
        Type::Type => quoted(&["int", "string"]),
        _ => vec![
            format!("\"{now}x\""),
            "\"2.4\"".into(),
            "\"2019\"".into(),
            "\"other\"".into(),
            "\"1GiB\"".into(),
            "3".into(),
            "#false".into(),
            "1".into(),
        ],
    };
    out.retain(|c| c.trim_matches(['"', '#']) != now);
    out
}
