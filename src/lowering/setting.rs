//! Raw product settings of a server: `setting "postfix:smtpd_timeout" "30s"`. They win over what a pack says.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json, json};

use crate::model::topology::Value;
use crate::model::unit::format_duration;
use crate::model::{Diagnostic, Diagnostics, Span};

use super::survey::{Server, leaf};
use crate::model::suggest::did_you_mean;

/// The word before the colon for settings that are lowering's own, not a product's.
const FIREWALL: &str = "firewall";

#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    pub key: String,
    pub value: String,
    pub span: Span,
}

#[derive(Debug, Clone, Default)]
pub struct Settings {
    by_product: BTreeMap<String, Vec<Setting>>,
    /// `setting "firewall:enable" #true`
    pub firewall: Option<Span>,
}

/// Reads a server's settings. `known`: all products of all packs; `used`: those of this server's roles.
pub fn settings(
    server: &Server<'_>,
    known: &BTreeSet<&str>,
    used: &BTreeSet<&str>,
    diagnostics: &mut Diagnostics,
) -> Settings {
    let mut out = Settings::default();
    for node in server.node.children("setting") {
        let name = leaf(server.node, node);
        let Some((product, key)) = name.split_once(':') else {
            diagnostics.push(
                Diagnostic::error("E1015", format!("setting `{name}` names no product"))
                    .label(node.span, "PRODUCT: is missing")
                    .help(format!("write setting \"postfix:{name}\" ..")),
            );
            continue;
        };
        let Some(value) = node.value("value") else { continue };
        if product == FIREWALL {
            match (key, &value.value) {
                ("enable", Value::Bool(on)) => out.firewall = on.then_some(node.span),
                ("enable", _) => diagnostics.push(
                    Diagnostic::error("E1015", "firewall:enable is #true or #false").label(value.span, "not a bool"),
                ),
                _ => diagnostics.push(
                    Diagnostic::error("E1015", format!("no setting `{key}` of the firewall"))
                        .label(node.span, "unknown")
                        .help("known: firewall:enable"),
                ),
            }
            continue;
        }
        if !used.contains(product) {
            let all = known.iter().copied().chain([FIREWALL]);
            let d = if known.contains(product) {
                Diagnostic::error("E1015", format!("no role of server {} uses {product}", server.name))
                    .label(node.span, "would have no effect")
            } else {
                let d = Diagnostic::error("E1015", format!("no product `{product}`")).label(node.span, "unknown");
                match did_you_mean(product, all.clone()) {
                    Some(near) => d.help(format!("did you mean `{near}:{key}`?")),
                    None => d.help(format!("known: {}", all.collect::<Vec<_>>().join(", "))),
                }
            };
            diagnostics.push(d);
            continue;
        }
        let Some(value) = text(product, &value.value) else {
            diagnostics.push(
                Diagnostic::error("E1015", format!("setting `{name}` takes text, a number or a bool"))
                    .label(value.span, "cannot stand in a configuration file")
                    .help("secrets belong in a pack's template, where they stay references"),
            );
            continue;
        };
        let list = out.by_product.entry(product.to_owned()).or_default();
        list.push(Setting { key: key.to_owned(), value, span: node.span });
    }
    out
}

/// The value as the product writes it.
fn text(product: &str, value: &Value) -> Option<String> {
    Some(match value {
        Value::Text(t) => t.to_string(),
        Value::Int(i) => i.to_string(),
        Value::Bool(b) => {
            let (yes, no) = match product {
                "knot" => ("on", "off"),
                "rspamd" => ("true", "false"),
                _ => ("yes", "no"),
            };
            if *b { yes } else { no }.to_owned()
        }
        Value::Duration(d) => format_duration(*d),
        Value::Size(n) | Value::Rate(n) => n.to_string(),
        Value::Percent(p) => p.to_string(),
        Value::Secret(_) | Value::Ref(_) => return None,
    })
}

impl Settings {
    pub fn of(&self, product: &str) -> &[Setting] {
        self.by_product.get(product).map_or(&[], Vec::as_slice)
    }

    /// By product, empty for the others: `key`, `value`, and `text`, the product's own form of it.
    pub fn json(&self, products: &BTreeSet<&str>) -> Json {
        let list = |product: &str| -> Json {
            let all = self.of(product).iter();
            all.map(|s| json!({"key": s.key, "value": s.value, "text": written(product, s), "section": section(s)}))
                .collect()
        };
        products.iter().map(|p| ((*p).to_owned(), list(p))).collect::<Map<_, _>>().into()
    }
}

impl Settings {
    /// rspamd's overrides, one file a module: `rspamd:actions/reject` goes to `override.d/actions.conf`, those of a worker or of
    /// the options, which rspamd reads from `.inc` files, to theirs.
    pub fn rspamd_files(&self) -> Json {
        let mut files: BTreeMap<String, String> = BTreeMap::new();
        for s in self.of("rspamd") {
            let section = section(s);
            let inc = section.starts_with("worker-") || matches!(section, "options" | "logging" | "classifier-bayes");
            let file = format!("{section}.{}", if inc { "inc" } else { "conf" });
            files.entry(file).or_default().push_str(&format!("{}\n", written("rspamd", s)));
        }
        files.into_iter().map(|(file, text)| json!({"file": file, "text": text})).collect()
    }
}

fn section(setting: &Setting) -> &str {
    setting.key.split_once(['/', '.']).map_or("", |(s, _)| s)
}

/// `plugin/quota_rule` is `plugin { quota_rule = .. }` in Dovecot; `server.tcp-max-clients` stands under `server:` in Knot.
fn written(product: &str, setting: &Setting) -> String {
    let (key, value) = (&setting.key, &setting.value);
    match product {
        "dovecot" => {
            let mut steps: Vec<&str> = key.split('/').collect();
            let name = steps.pop().unwrap_or_default();
            let open: String = steps.iter().enumerate().map(|(i, s)| format!("{}{s} {{\n", "  ".repeat(i))).collect();
            let close: String = (0..steps.len()).rev().map(|i| format!("\n{}}}", "  ".repeat(i))).collect();
            format!("{open}{}{name} = {value}{close}", "  ".repeat(steps.len()))
        }
        "knot" => match key.split_once('.') {
            Some((section, item)) => format!("{section}:\n    {item}: {value}"),
            None => format!("{key}: {value}"),
        },
        "bind" => format!("{key} {value};"),
        "unbound" => format!("{key}: {value}"),
        "rspamd" => format!("{} = {value};", key.rsplit('/').next().unwrap_or(key)),
        _ => format!("{key} = {value}"),
    }
}

/// Replaces values of a `main.cf` (postconf(5)): the pack's own lines of a key, with their continuation lines, give way to the
/// setting at the end.
pub fn override_main_cf(rendered: &str, settings: &[Setting]) -> String {
    if settings.is_empty() {
        return rendered.to_owned();
    }
    let mut out = String::new();
    let mut dropping = false;
    for line in rendered.lines() {
        let continues = line.starts_with([' ', '\t']) && !line.trim().is_empty();
        if !continues {
            let key = line.split_once('=').map_or("", |(k, _)| k.trim());
            dropping = !line.starts_with('#') && settings.iter().any(|s| s.key == key);
        }
        if !dropping {
            out.push_str(line);
            out.push('\n');
        }
    }
    out.push_str("\n# Settings of the topology, which win over the pack's.\n");
    for s in settings {
        out.push_str(&format!("{} = {}\n", s.key, s.value));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SourceId;

    fn setting(key: &str, value: &str) -> Setting {
        Setting { key: key.into(), value: value.into(), span: Span { source: SourceId(0), offset: 0, len: 0 } }
    }

    #[test]
    fn settings_replace_logical_lines_of_main_cf() {
        let main = "# a = comment\na = 1\nlong =\n  x,\n\ty\nb = 2\n";
        let out = override_main_cf(main, &[setting("long", "z"), setting("new", "n")]);
        assert_eq!(
            out,
            "# a = comment\na = 1\nb = 2\n\n# Settings of the topology, which win over the pack's.\nlong = z\nnew = n\n"
        );
        assert_eq!(override_main_cf(main, &[]), main);
    }

    #[test]
    fn products_have_their_own_form() {
        assert_eq!(written("dovecot", &setting("mail_max", "5")), "mail_max = 5");
        assert_eq!(written("dovecot", &setting("plugin/quota_grace", "5%")), "plugin {\n  quota_grace = 5%\n}");
        assert_eq!(written("knot", &setting("server.tcp-workers", "4")), "server:\n    tcp-workers: 4");
        assert_eq!(written("rspamd", &setting("actions/reject", "12")), "reject = 12;");
    }
}
