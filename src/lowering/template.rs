//! Templates of packs: handlebars in strict mode, without escaping. The only file that names handlebars.
//!
//! Helpers beside the built-in ones (`if unless and or` refuse unknown variables, as the rest of strict mode does):
//!
//! | helper | gives |
//! |---|---|
//! | `{{join list ", "}}` | the texts of a list with a separator; `{{join list ", " "address"}}` takes a field of each |
//! | `{{password_hash secret salt}}` | the secret as a SHA512-CRYPT hash, made at apply; one that the old side had stays as it is |
//! | `{{quote value}}` | a text, a number or a list of texts as TOML and JSON write it: in double quotes, with escapes |
//! | `{{duration seconds}}` | seconds as `90s`, `15m`, `4h`, `2d`, exactly |
//!
//! A secret stands in the data as a marker; after rendering, [`segments`] cuts the text at the markers, so that the value itself
//! never passes through here.

use std::collections::{BTreeMap, BTreeSet};

use handlebars::{
    Context, Handlebars, Helper, HelperDef, HelperResult, Output, RenderContext, RenderError, RenderErrorReason,
    Renderable, ScopedJson, TemplateError, TemplateErrorReason,
};
use serde_json::{Map, Value as Json};

use crate::model::{Diagnostic, Diagnostics, SecretRef, Segment, SourceId, Sources, Span, Spanned};

use crate::model::suggest::did_you_mean;

// Private-use characters (Unicode 23.5): no mail configuration has a meaning for them.
const OPEN: char = '\u{E000}';
const CLOSE: char = '\u{E001}';
const PART: char = '\u{E002}';

/// How a secret stands in template data.
pub fn secret_marker(secret: &SecretRef) -> String {
    format!("{OPEN}secret{PART}{}{CLOSE}", secret.0)
}

fn hash_marker(secret: &str, salt: &str) -> String {
    format!("{OPEN}hash{PART}{secret}{PART}{salt}{CLOSE}")
}

/// True when rendered text holds a secret.
pub fn has_secret(text: &str) -> bool {
    text.contains(OPEN)
}

/// Cuts rendered text at its secrets.
pub fn segments(rendered: &str) -> Vec<Segment> {
    let mut out = Vec::new();
    let mut rest = rendered;
    while let Some((before, tail)) = rest.split_once(OPEN) {
        let Some((marker, after)) = tail.split_once(CLOSE) else { break };
        if !before.is_empty() {
            out.push(Segment::Text(before.to_owned()));
        }
        let parts: Vec<&str> = marker.split(PART).collect();
        match parts.as_slice() {
            ["secret", name] => out.push(Segment::Secret(SecretRef((*name).to_owned()))),
            ["hash", name, salt] => {
                out.push(Segment::PasswordHash { secret: SecretRef((*name).to_owned()), salt: (*salt).to_owned() })
            }
            _ => {}
        }
        rest = after;
    }
    if !rest.is_empty() || out.is_empty() {
        out.push(Segment::Text(rest.to_owned()));
    }
    out
}

/// The data of one server, in the form that the engine renders from.
pub struct Data(Context);

impl Data {
    pub fn new(data: Map<String, Json>) -> Self {
        let mut context = Context::null();
        *context.data_mut() = Json::Object(data);
        Self(context)
    }

    /// Puts these in the place of those of the same names.
    pub fn replace(&mut self, data: Map<String, Json>) {
        if let Json::Object(map) = self.0.data_mut() {
            map.extend(data);
        }
    }

    pub fn json(&self) -> &Json {
        self.0.data()
    }

    /// Puts the element of an `each` in place as `item`; the rest stays, so that 10,000 accounts cost no copies.
    pub fn set_item(&mut self, item: Json) {
        if let Json::Object(map) = self.0.data_mut() {
            map.insert("item".to_owned(), item);
        }
    }

    pub fn clear_item(&mut self) {
        if let Json::Object(map) = self.0.data_mut() {
            map.remove("item");
        }
    }
}

/// The value at a dotted path, as `when=` and `each=` name it. What lies below something that is not there (`pair.dsync` without
/// a pair) is not there either, and no mistake.
pub fn lookup<'a>(data: &'a Json, path: &str) -> Option<&'a Json> {
    path.split('.').try_fold(data, |at, step| if at.is_null() { Some(at) } else { at.get(step) })
}

/// Truth as templates have it: not false, null, 0, empty text, empty list.
pub fn truthy(value: &Json) -> bool {
    match value {
        Json::Null => false,
        Json::Bool(b) => *b,
        Json::Number(n) => n.as_f64() != Some(0.0),
        Json::String(s) => !s.is_empty(),
        Json::Array(a) => !a.is_empty(),
        Json::Object(_) => true,
    }
}

/// Help for a path that does not exist: the nearest known name beside it.
pub fn help_for(data: &Json, path: &str) -> Option<String> {
    let mut at = data;
    let mut done = Vec::new();
    for step in path.split('.') {
        match at.get(step) {
            Some(next) => {
                done.push(step);
                at = next;
            }
            None => {
                let known: Vec<&str> = at.as_object()?.keys().map(String::as_str).collect();
                let prefix = if done.is_empty() { String::new() } else { format!("{}.", done.join(".")) };
                return Some(match did_you_mean(step, known.iter().copied()) {
                    Some(near) => format!("did you mean `{prefix}{near}`?"),
                    None => format!("known here: {}", known.join(", ")),
                });
            }
        }
    }
    None
}

/// All templates of all packs, compiled once.
pub struct Engine<'s> {
    registry: Handlebars<'static>,
    sources: &'s Sources,
    broken: BTreeSet<SourceId>,
    inline: BTreeMap<String, bool>,
}

impl<'s> Engine<'s> {
    pub fn new(sources: &'s Sources) -> Self {
        let mut registry = Handlebars::new();
        registry.set_strict_mode(true);
        registry.register_escape_fn(handlebars::no_escape);
        registry.register_helper("if", Box::new(Condition { wanted: true }));
        registry.register_helper("unless", Box::new(Condition { wanted: false }));
        registry.register_helper("and", Box::new(Combine { all: true }));
        registry.register_helper("or", Box::new(Combine { all: false }));
        registry.register_helper("join", Box::new(Join));
        registry.register_helper("password_hash", Box::new(PasswordHash));
        registry.register_helper("quote", Box::new(Quote));
        registry.register_helper("duration", Box::new(DurationText));
        Self { registry, sources, broken: BTreeSet::new(), inline: BTreeMap::new() }
    }

    /// Compiles a template file.
    pub fn add_file(&mut self, id: SourceId, diagnostics: &mut Diagnostics) {
        let file = self.sources.get(id);
        if let Err(e) = self.registry.register_template_string(&file_key(id), &*file.text) {
            diagnostics.push(syntax_error(&e, self.spot(id, e.pos())));
            self.broken.insert(id);
        }
    }

    /// Renders a template file; `None` when it is broken, which has been reported.
    pub fn file(&self, id: SourceId, data: &Data) -> Option<Result<String, Diagnostic>> {
        if self.broken.contains(&id) {
            return None;
        }
        Some(self.registry.render_with_context(&file_key(id), &data.0).map_err(|e| {
            let at = e.line_no.zip(e.column_no);
            let span = missing(&e).and_then(|path| self.find(id, path, e.line_no)).unwrap_or_else(|| self.spot(id, at));
            render_error(&e, span, data)
        }))
    }

    /// Renders a string of a pack.
    pub fn text(&mut self, text: &Spanned<String>, data: &Data) -> Result<String, Diagnostic> {
        if !text.value.contains("{{") {
            return Ok(text.value.clone());
        }
        let key = format!("inline:{}", text.value);
        if !self.inline.contains_key(&text.value) {
            let compiled = self.registry.register_template_string(&key, &text.value);
            self.inline.insert(text.value.clone(), compiled.is_ok());
            if let Err(e) = compiled {
                return Err(syntax_error(&e, text.span));
            }
        }
        self.registry.render_with_context(&key, &data.0).map_err(|e| render_error(&e, text.span, data))
    }

    /// The span of a tag that starts at line and column (both from 1).
    fn spot(&self, id: SourceId, at: Option<(usize, usize)>) -> Span {
        let text = &self.sources.get(id).text;
        let (line, column) = at.unwrap_or((1, 1));
        let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
        let rest = text.get(start..).unwrap_or_default();
        let within = rest.char_indices().nth(column.saturating_sub(1)).map_or(0, |(i, _)| i);
        let mut offset = (start + within).min(text.len());
        if text.get(offset..).unwrap_or_default().trim().is_empty() {
            // The end of the file shows nothing: its last line does.
            let end = text.trim_end().len();
            offset = text[..end].rfind('\n').map_or(0, |i| i + 1);
        }
        let line_rest = text.get(offset..).unwrap_or_default().lines().next().unwrap_or_default();
        let len = line_rest.find("}}").map_or(line_rest.len(), |i| i + 2);
        Span { source: id, offset, len }
    }

    /// Where a path is written in a file, at the reported line or after it.
    fn find(&self, id: SourceId, path: &str, line: Option<usize>) -> Option<Span> {
        let text = &self.sources.get(id).text;
        let from: usize = text.split_inclusive('\n').take(line.unwrap_or(1).saturating_sub(1)).map(str::len).sum();
        let word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '@');
        let whole = |i: &usize| {
            let before = text[..*i].chars().next_back();
            let after = text[i + path.len()..].chars().next();
            !before.is_some_and(word) && !after.is_some_and(word)
        };
        let all: Vec<usize> = text.match_indices(path).map(|(i, _)| i).filter(whole).collect();
        let offset = all.iter().find(|i| **i >= from).or(all.first())?;
        Some(Span { source: id, offset: *offset, len: path.len() })
    }
}

fn file_key(id: SourceId) -> String {
    format!("file:{}", id.0)
}

fn missing(e: &RenderError) -> Option<&str> {
    match e.reason() {
        RenderErrorReason::MissingVariable(Some(path)) => Some(path),
        _ => None,
    }
}

fn render_error(e: &RenderError, span: Span, data: &Data) -> Diagnostic {
    match missing(e) {
        Some(path) => {
            let d = Diagnostic::error("E1005", format!("no variable `{path}` in this template")).label(span, "unknown");
            match help_for(data.json(), path) {
                Some(help) => d.help(help),
                None => d,
            }
        }
        None => Diagnostic::error("E1006", format!("the template fails: {}", e.reason())).label(span, "here"),
    }
}

fn syntax_error(e: &TemplateError, span: Span) -> Diagnostic {
    match e.reason() {
        // The parser lists all that its grammar knows; people need the place.
        TemplateErrorReason::InvalidSyntax(_) => Diagnostic::error("E1007", "not a handlebars template")
            .label(span, "broken here, or a block before it is never closed"),
        reason => Diagnostic::error("E1007", format!("not a handlebars template: {reason}")).label(span, "here"),
    }
}

fn strict<'a>(h: &'a Helper<'_>, index: usize, name: &'static str) -> Result<&'a Json, RenderError> {
    let param = h.param(index).ok_or(RenderErrorReason::ParamNotFoundForIndex(name, index))?;
    if param.is_value_missing() {
        return Err(RenderErrorReason::MissingVariable(param.relative_path().cloned()).into());
    }
    Ok(param.value())
}

/// `if` and `unless` that refuse an unknown variable; handlebars' own take it for false.
struct Condition {
    wanted: bool,
}

impl HelperDef for Condition {
    fn call<'reg: 'rc, 'rc>(
        &self,
        h: &Helper<'rc>,
        r: &'reg Handlebars<'reg>,
        ctx: &'rc Context,
        rc: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let holds = truthy(strict(h, 0, "if")?) == self.wanted;
        match if holds { h.template() } else { h.inverse() } {
            Some(t) => t.render(r, ctx, rc, out),
            None => Ok(()),
        }
    }
}

struct Combine {
    all: bool,
}

impl HelperDef for Combine {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        h: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        let mut values = Vec::new();
        for i in 0..h.params().len() {
            values.push(truthy(strict(h, i, "and, or")?));
        }
        let result = if self.all { values.iter().all(|v| *v) } else { values.iter().any(|v| *v) };
        Ok(ScopedJson::Derived(Json::Bool(result)))
    }
}

struct Join;

impl HelperDef for Join {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        h: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        let list = strict(h, 0, "join")?.as_array().ok_or(RenderErrorReason::InvalidParamType("list"))?;
        let separator = strict(h, 1, "join")?.as_str().unwrap_or(" ");
        let field = h.param(2).and_then(|p| p.value().as_str());
        let mut texts = Vec::new();
        for element in list {
            let value = match field {
                None => element,
                Some(f) => element.get(f).ok_or_else(|| RenderErrorReason::MissingVariable(Some(f.to_owned())))?,
            };
            texts.push(match value {
                Json::String(s) => s.clone(),
                other => other.to_string(),
            });
        }
        Ok(ScopedJson::Derived(Json::String(texts.join(separator))))
    }
}

struct PasswordHash;

impl HelperDef for PasswordHash {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        h: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        let marker = strict(h, 0, "password_hash")?.as_str().unwrap_or_default();
        let salt = strict(h, 1, "password_hash")?.as_str().unwrap_or_default();
        match segments(marker).as_slice() {
            // A hash already.
            [Segment::Secret(s)] if s.parts().0 == "imported-hash" => {
                Ok(ScopedJson::Derived(Json::String(marker.to_owned())))
            }
            [Segment::Secret(s)] => Ok(ScopedJson::Derived(Json::String(hash_marker(&s.0, salt)))),
            _ => Err(RenderErrorReason::InvalidParamType("secret").into()),
        }
    }
}

/// TOML's basic strings have the escapes of JSON's (TOML 1.0, string), and its arrays their form.
struct Quote;

impl HelperDef for Quote {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        h: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        // DEL stands in JSON as it is, in TOML never.
        let text = strict(h, 0, "quote")?.to_string().replace('\u{7f}', "\\u007f");
        Ok(ScopedJson::Derived(Json::String(text)))
    }
}

struct DurationText;

impl HelperDef for DurationText {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        h: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        let seconds = strict(h, 0, "duration")?.as_u64().ok_or(RenderErrorReason::InvalidParamType("seconds"))?;
        let text = crate::model::unit::format_duration(std::time::Duration::from_secs(seconds));
        Ok(ScopedJson::Derived(Json::String(text)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn render(template: &str, data: Json) -> Result<String, Diagnostic> {
        let mut sources = Sources::default();
        let id = sources.add("t.hbs", template);
        let mut diagnostics = Diagnostics::default();
        let mut engine = Engine::new(&sources);
        engine.add_file(id, &mut diagnostics);
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
        let Json::Object(data) = data else { panic!("{data}") };
        engine.file(id, &Data::new(data)).unwrap_or_else(|| panic!("broken"))
    }

    fn marked(template: &str, data: Json) -> (String, String, Option<String>) {
        let d = render(template, data).err().unwrap_or_else(|| panic!("`{template}` was accepted"));
        let span = d.labels[0].span;
        (d.message, template[span.offset..span.offset + span.len].to_owned(), d.help)
    }

    #[test]
    fn text_is_not_escaped() {
        assert_eq!(render("{{a}}", json!({"a": "<&\">"})).ok().as_deref(), Some("<&\">"));
    }

    #[test]
    fn unknown_variables_are_errors_wherever_they_stand() {
        let data = || json!({"server": {"name": "a"}, "list": [{"x": 1}]});
        for (template, path) in [
            ("line\n  b = {{server.nam}}\n", "server.nam"),
            ("{{#if server.nam}}x{{/if}}", "server.nam"),
            ("{{#unless server.nam}}x{{/unless}}", "server.nam"),
            ("{{#if (and server.name server.nam)}}x{{/if}}", "server.nam"),
            ("{{#if (or server.name server.nam)}}x{{/if}}", "server.nam"),
            ("{{#each list}}{{this.y}}{{/each}}", "this.y"),
            ("{{#each lists}}{{/each}}", "lists"),
            ("{{join lists \",\"}}", "lists"),
        ] {
            let (message, text, _) = marked(template, data());
            assert_eq!(text, path, "{template}: {message}");
            assert!(message.contains(path), "{message}");
        }
    }

    #[test]
    fn unknown_variables_suggest_the_nearest() {
        let (_, _, help) = marked("{{server.nmae}}", json!({"server": {"name": "a", "ip": "b"}}));
        assert_eq!(help.as_deref(), Some("did you mean `server.name`?"));
    }

    #[test]
    fn broken_templates_point_at_the_place() {
        let mut sources = Sources::default();
        let id = sources.add("t.hbs", "fine\n{{#if a}}\nnever closed\n");
        let mut diagnostics = Diagnostics::default();
        let mut engine = Engine::new(&sources);
        engine.add_file(id, &mut diagnostics);
        assert_eq!(diagnostics.iter().next().map(|d| d.code), Some("E1007"));
        assert!(engine.file(id, &Data::new(Map::new())).is_none(), "reported once");
    }

    #[test]
    fn secrets_are_cut_out_of_the_text() {
        let secret = SecretRef("env:P".into());
        let data = json!({"p": secret_marker(&secret), "who": "ann"});
        let text = render("a {{p}} b {{password_hash p who}}\n", data).unwrap_or_default();
        assert_eq!(
            segments(&text),
            [
                Segment::Text("a ".into()),
                Segment::Secret(secret.clone()),
                Segment::Text(" b ".into()),
                Segment::PasswordHash { secret, salt: "ann".into() },
                Segment::Text("\n".into()),
            ]
        );
    }

    #[test]
    fn helpers() {
        let data = json!({"l": [{"a": "x"}, {"a": "y"}], "t": ["p", "q"], "s": 5400});
        let text = render("{{join t \", \"}} {{join l \" \" \"a\"}} {{duration s}}", data);
        assert_eq!(text.ok().as_deref(), Some("p, q x y 90m"));
    }
}
