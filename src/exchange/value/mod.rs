//! Values of Exchange in one form, whatever shape they come in: live objects of the shell, deserialised ones, signed ones (since
//! November 2023), and the several forms of nothing.
//!
//! `10 GB (10,737,418,240 bytes)`, `{"IsUnlimited":false,"Value":"10 GB (..)"}` and a wish for `10GB` are the same value here. What
//! cannot be read is an error with its text, never "nothing".

mod quantity;
mod reference;
mod word;

use std::fmt;

use serde_json::Value as Json;

use super::dialect::{Property, Shape};
pub use reference::Reference;
pub use word::Word;

/// A value, comparable.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Null, the empty text, the empty list: the product makes no difference, and gives one back for the other.
    Nothing,
    Unlimited,
    Bool(bool),
    Int(i64),
    Bytes(u64),
    /// In ticks of 100 ns.
    Timespan(i64),
    Word(Word),
    Reference(Reference),
    List(Vec<Value>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Nothing => f.write_str("nothing"),
            Value::Unlimited => f.write_str("unlimited"),
            Value::Bool(b) => write!(f, "{b}"),
            Value::Int(i) => write!(f, "{i}"),
            Value::Bytes(b) => write!(f, "{b} bytes"),
            Value::Timespan(ticks) => f.write_str(&quantity::timespan_text(*ticks)),
            Value::Word(w) => write!(f, "{w}"),
            Value::Reference(r) => write!(f, "{r}"),
            Value::List(list) => {
                let texts: Vec<String> = list.iter().map(Value::to_string).collect();
                write!(f, "[{}]", texts.join(", "))
            }
        }
    }
}

/// Text that is no value of its property.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {shape}")]
pub struct Unreadable {
    pub shape: &'static str,
    pub text: String,
}

/// What was returned for a property.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    Value(Value),
    /// Not returned, or returned in a way that says nothing.
    Unseen,
}

/// Reads what `get` returned. `json` is `None` where the object has no such property.
pub fn seen(property: &Property, json: Option<&Json>) -> Result<Seen, Unreadable> {
    let Some(json) = json.filter(|_| !property.unread) else { return Ok(Seen::Unseen) };
    let value = word_of_numbers(property, json)?;
    if property.blind && value == Value::Nothing { Ok(Seen::Unseen) } else { Ok(Seen::Value(value)) }
}

/// A word of a set that came as its number has lost what it was on the way: no answer, and no difference either.
fn word_of_numbers(property: &Property, json: &Json) -> Result<Value, Unreadable> {
    let number =
        |j: &&Json| matches!(plain(j), Plain::Int(_)) || plain(j).text().is_some_and(|t| t.parse::<i64>().is_ok());
    if matches!(property.shape, Shape::Enum | Shape::Flags)
        && let Some(number) = elements(json).into_iter().find(number)
    {
        return Err(odd(property.shape, number));
    }
    read(property, json)
}

/// Reads the value that a property has for one server, where it is returned as pairs of a server and a value.
pub fn seen_for(property: &Property, json: Option<&Json>, server: &str) -> Result<Seen, Unreadable> {
    let Some(json) = json else { return Ok(Seen::Unseen) };
    let wanted = Reference::text(server);
    for pair in elements(json) {
        let (of, value) = pair_of(pair)?;
        if of.same(&wanted) {
            return word_of_numbers(property, &value).map(Seen::Value);
        }
    }
    Ok(Seen::Unseen)
}

/// The servers of a property that is returned as pairs.
pub fn pairs(json: &Json) -> Result<Vec<Reference>, Unreadable> {
    elements(json).into_iter().map(|p| pair_of(p).map(|(server, _)| server)).collect()
}

/// Reads a wish or an answer.
pub fn read(property: &Property, json: &Json) -> Result<Value, Unreadable> {
    if property.shape == Shape::Flags {
        let mut words: Vec<Value> = Vec::new();
        for element in elements(json) {
            let text = plain(element).text().ok_or_else(|| odd(property.shape, element))?;
            for word in text.split(',').map(str::trim).filter(|w| !w.is_empty() && !w.eq_ignore_ascii_case("none")) {
                let value = Value::Word(Word::folded(word));
                if !property.ignore.iter().any(|i| i.eq_ignore_ascii_case(word)) && !words.contains(&value) {
                    words.push(value);
                }
            }
        }
        return Ok(if words.is_empty() { Value::Nothing } else { Value::List(words) });
    }
    let mut list = Vec::new();
    for element in elements(json) {
        match one(property.shape, element)? {
            Value::Nothing => {}
            value => list.push(value),
        }
    }
    match (property.list, list.len()) {
        (_, 0) => Ok(Value::Nothing),
        (true, _) => Ok(Value::List(list)),
        (false, 1) => Ok(list.remove(0)),
        (false, _) => Err(odd(property.shape, json)),
    }
}

/// Whether the wish is met. Lists are compared with how often each element is there, and in order only where order counts.
pub fn same(property: &Property, wish: &Value, seen: &Value) -> bool {
    match (wish, seen) {
        (Value::List(a), Value::List(b)) if property.ordered => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b))
        }
        (Value::List(a), Value::List(b)) => a.len() == b.len() && lacks(a, b).is_empty(),
        (a, b) => alike(a, b),
    }
}

fn alike(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Reference(a), Value::Reference(b)) => a.same(b),
        (a, b) => a == b,
    }
}

/// Elements of the first list that the second has not, each as often as it is missing.
pub fn lacks<'a>(wish: &'a [Value], seen: &[Value]) -> Vec<&'a Value> {
    let mut rest: Vec<&Value> = seen.iter().collect();
    let missing = |w: &&Value| match rest.iter().position(|s| alike(w, s)) {
        Some(at) => {
            rest.swap_remove(at);
            false
        }
        None => true,
    };
    wish.iter().filter(missing).collect()
}

/// A value as a parameter takes it.
pub fn passed(property: &Property, value: &Value) -> Json {
    match value {
        // Flags are one text to the product.
        Value::List(words) if property.shape == Shape::Flags => {
            words.iter().map(Value::to_string).collect::<Vec<_>>().join(", ").into()
        }
        Value::Nothing => Json::Null,
        Value::Unlimited => "Unlimited".into(),
        Value::Bool(b) => (*b).into(),
        Value::Int(i) => (*i).into(),
        // A number without a unit is octets to every size that the product reads; as text it is never rounded.
        Value::Bytes(b) => b.to_string().into(),
        Value::Timespan(ticks) => quantity::timespan_text(*ticks).into(),
        Value::Word(w) => w.to_string().into(),
        Value::Reference(r) => r.to_string().into(),
        Value::List(list) => list.iter().map(|v| passed(property, v)).collect(),
    }
}

fn one(shape: Shape, json: &Json) -> Result<Value, Unreadable> {
    let bad = || odd(shape, json);
    if matches!(shape, Shape::Reference) {
        return Reference::read(json).map(|r| r.map_or(Value::Nothing, Value::Reference)).ok_or_else(bad);
    }
    let plain = plain(json);
    if matches!(plain, Plain::Nothing) {
        return Ok(Value::Nothing);
    }
    let unlimited = matches!(&plain, Plain::Text(t) if t.trim().eq_ignore_ascii_case("unlimited"));
    match shape {
        Shape::IntOrUnlimited | Shape::BytesOrUnlimited | Shape::TimespanOrUnlimited if unlimited => {
            return Ok(Value::Unlimited);
        }
        Shape::Bool | Shape::Switch => plain.bool().map(Value::Bool),
        Shape::Int | Shape::IntOrUnlimited => plain.int().map(Value::Int),
        Shape::Bytes | Shape::BytesOrUnlimited => match &plain {
            Plain::Int(i) => u64::try_from(*i).ok().map(Value::Bytes),
            other => other.text().and_then(|t| quantity::bytes(&t)).map(Value::Bytes),
        },
        Shape::Timespan | Shape::TimespanOrUnlimited => match &plain {
            Plain::Ticks(ticks) => Some(Value::Timespan(*ticks)),
            other => other.text().and_then(|t| quantity::timespan(&t)).map(Value::Timespan),
        },
        shape => plain.text().and_then(|t| word::read(shape, &t)).map(Value::Word),
    }
    .ok_or_else(bad)
}

fn odd(shape: Shape, json: &Json) -> Unreadable {
    let text = json.as_str().map_or_else(|| json.to_string(), str::to_owned);
    Unreadable { shape: shape.word(), text: text.chars().take(200).collect() }
}

/// A scalar without the wrapping of the shell.
#[derive(Debug, PartialEq)]
enum Plain {
    Nothing,
    Bool(bool),
    Int(i64),
    Ticks(i64),
    Text(String),
    /// An object that says nothing known.
    Strange,
}

impl Plain {
    fn text(&self) -> Option<String> {
        match self {
            Plain::Text(t) => Some(t.clone()),
            Plain::Int(i) => Some(i.to_string()),
            Plain::Bool(b) => Some(if *b { "True" } else { "False" }.to_owned()),
            Plain::Nothing => Some(String::new()),
            Plain::Ticks(_) | Plain::Strange => None,
        }
    }

    fn bool(&self) -> Option<bool> {
        match self {
            Plain::Bool(b) => Some(*b),
            // A switch that was serialised is a text.
            Plain::Text(t) if t.eq_ignore_ascii_case("true") => Some(true),
            Plain::Text(t) if t.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        }
    }

    fn int(&self) -> Option<i64> {
        match self {
            Plain::Int(i) => Some(*i),
            Plain::Text(t) => t.trim().parse().ok(),
            _ => None,
        }
    }
}

/// What was returned as one text: the words of a list behind each other. `None` where nothing of it is a text.
pub fn text(json: &Json) -> Option<String> {
    let texts: Option<Vec<String>> = elements(json).into_iter().map(|e| plain(e).text()).collect();
    texts.map(|t| t.join(", ")).filter(|t| !t.is_empty())
}

/// The elements of a list, or the one element that was returned in the place of a list with one.
pub(super) fn elements(json: &Json) -> Vec<&Json> {
    match json {
        Json::Array(list) => list.iter().collect(),
        // What ConvertTo-Json of PowerShell 5.1 makes of a list inside an object that the shell has wrapped.
        Json::Object(o) if o.len() == 2 && o.contains_key("Count") => match o.get("value") {
            Some(Json::Array(list)) => list.iter().collect(),
            _ => vec![json],
        },
        other => vec![other],
    }
}

fn plain(json: &Json) -> Plain {
    match json {
        Json::Null => Plain::Nothing,
        Json::Bool(b) => Plain::Bool(*b),
        Json::Number(n) => match n.as_i64() {
            Some(i) => Plain::Int(i),
            // 1.0 is a whole number that went through a double.
            None => n
                .as_f64()
                .filter(|f| f.fract() == 0.0 && f.abs() < 9e15)
                .map_or(Plain::Strange, |f| Plain::Int(f as i64)),
        },
        Json::String(t) if t.is_empty() => Plain::Nothing,
        Json::String(t) => Plain::Text(t.clone()),
        Json::Array(_) => Plain::Strange,
        Json::Object(o) if o.is_empty() => Plain::Nothing,
        Json::Object(o) => {
            if let Some(unlimited) = o.get("IsUnlimited") {
                return match plain(unlimited).bool() {
                    Some(true) => Plain::Text("Unlimited".to_owned()),
                    Some(false) => o.get("Value").map_or(Plain::Strange, plain),
                    None => Plain::Strange,
                };
            }
            if let Some(ticks) = o.get("Ticks") {
                return plain(ticks).int().map_or(Plain::Strange, Plain::Ticks);
            }
            // An object that went through the wire has the text that it had, or only the name of its type.
            let text = o.get("$text").and_then(Json::as_str).unwrap_or_default();
            let named = o.get("$type").and_then(Json::as_str).unwrap_or_default();
            if !text.is_empty() && text != named && !text.starts_with("Deserialized.") {
                return Plain::Text(text.to_owned());
            }
            const TELLING: [&str; 8] = [
                "AbsoluteUri",
                "OriginalString",
                "IPAddressToString",
                "ProxyAddressString",
                "AddressString",
                "Value",
                "Name",
                "Domain",
            ];
            TELLING.iter().find_map(|k| o.get(*k)).map_or(Plain::Strange, plain)
        }
    }
}

/// `[MBX-1, 7.00:00:00]` as text, or as an object with a key and a value.
pub(super) fn pair_of(json: &Json) -> Result<(Reference, Json), Unreadable> {
    let bad = || Unreadable { shape: "pair of a server and a value", text: json.to_string() };
    if let Some((key, value)) = json.get("Key").zip(json.get("Value")) {
        let server = Reference::read(key).flatten().ok_or_else(bad)?;
        return Ok((server, value.clone()));
    }
    let text = plain(json).text().ok_or_else(bad)?;
    let inner = text.trim().strip_prefix('[').and_then(|t| t.strip_suffix(']')).ok_or_else(bad)?;
    // The server may be a distinguished name with commas; the value has none.
    let (server, value) = inner.rsplit_once(',').ok_or_else(bad)?;
    Ok((Reference::text(server.trim()), Json::String(value.trim().to_owned())))
}
