//! Validates JSON against the JSON Schemas that this repository publishes: the keywords of draft 2020-12 that they use, and a
//! failure for any other, so that nothing passes unseen.

use serde_json::Value;

/// What does not fit, each with its JSON pointer.
pub fn violations(schema: &Value, document: &Value) -> Vec<String> {
    let mut out = Vec::new();
    walk(schema, schema, document, "", &mut out);
    out
}

fn fits(root: &Value, schema: &Value, v: &Value) -> bool {
    let mut out = Vec::new();
    walk(root, schema, v, "", &mut out);
    out.is_empty()
}

fn walk(root: &Value, schema: &Value, v: &Value, at: &str, out: &mut Vec<String>) {
    let rules = match schema {
        Value::Bool(true) => return,
        Value::Object(rules) => rules,
        _ => return out.push(format!("{at}: nothing is allowed here")),
    };
    for (word, rule) in rules {
        let good = match word.as_str() {
            "$schema" | "$defs" | "title" | "description" | "format" | "default" => true,
            "$ref" => {
                let target = rule.as_str().and_then(|r| root.pointer(r.strip_prefix('#')?)).expect("a local reference");
                walk(root, target, v, at, out);
                true
            }
            "type" => match rule {
                Value::Array(types) => types.iter().any(|t| is(t, v)),
                one => is(one, v),
            },
            "const" => rule == v,
            "enum" => rule.as_array().expect("list").contains(v),
            "minimum" => v.as_f64().is_none_or(|n| n >= rule.as_f64().expect("number")),
            "maximum" => v.as_f64().is_none_or(|n| n <= rule.as_f64().expect("number")),
            "anyOf" => rule.as_array().expect("list").iter().any(|s| fits(root, s, v)),
            "oneOf" => rule.as_array().expect("list").iter().filter(|s| fits(root, s, v)).count() == 1,
            "required" => rule
                .as_array()
                .expect("list")
                .iter()
                .all(|k| v.get(k.as_str().expect("name")).is_some() || !v.is_object()),
            "properties" => {
                for (key, schema) in rule.as_object().expect("map") {
                    if let Some(v) = v.get(key) {
                        walk(root, schema, v, &format!("{at}/{key}"), out);
                    }
                }
                true
            }
            "additionalProperties" => {
                let named = rules.get("properties").and_then(Value::as_object);
                for (key, v) in v.as_object().into_iter().flatten() {
                    if named.is_none_or(|n| !n.contains_key(key)) {
                        walk(root, rule, v, &format!("{at}/{key}"), out);
                    }
                }
                true
            }
            "items" => {
                for (i, v) in v.as_array().into_iter().flatten().enumerate() {
                    walk(root, rule, v, &format!("{at}/{i}"), out);
                }
                true
            }
            other => panic!("the schema uses `{other}`, which this check does not know"),
        };
        if !good {
            out.push(format!("{at}: {word} {rule} is not met by {v}"));
        }
    }
}

fn is(ty: &Value, v: &Value) -> bool {
    match ty.as_str().expect("name of a type") {
        "object" => v.is_object(),
        "array" => v.is_array(),
        "string" => v.is_string(),
        "integer" => v.is_i64() || v.is_u64(),
        "number" => v.is_number(),
        "boolean" => v.is_boolean(),
        "null" => v.is_null(),
        other => panic!("no type {other}"),
    }
}

#[test]
fn what_does_not_fit_is_found() {
    let schema = serde_json::json!({"type": "object", "required": ["a"], "additionalProperties": false, "properties": {
        "a": {"$ref": "#/$defs/n"}, "b": {"type": ["string", "null"]}}, "$defs": {"n": {"type": "integer", "minimum": 0}}});
    let wrong = |text: &str| violations(&schema, &serde_json::from_str(text).unwrap()).len();
    assert_eq!(wrong(r#"{"a": 1, "b": null}"#), 0);
    for bad in [r#"{"b": "x"}"#, r#"{"a": -1}"#, r#"{"a": 1, "b": 2}"#, r#"{"a": 1, "c": 2}"#, "[]"] {
        assert_eq!(wrong(bad), 1, "{bad}");
    }
}
