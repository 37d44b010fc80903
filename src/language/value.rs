//! Single values: interpolation, ranges in lists and along names, types, limits of numbers, known roles.

use super::decode::{Decoder, Place, bad_range, swallowed};
use super::draft::DraftValue;
use super::range::Pattern;
use super::schema::{FieldDef, KindDef};
use super::suggest::{counted, nearest};
use super::text::{Missing, fill, shown};
use super::types::{Draft, Type, Wrong};
use super::written::{Form, WrittenField};
use crate::model::topology::Value;
use crate::model::tree::{Entry, Scalar};
use crate::model::{Diagnostic, Span};

impl Decoder<'_> {
    /// The values of one written field for one node. `None`: reported.
    pub fn values(&mut self, f: &WrittenField, kind: &'static KindDef, place: Place) -> Option<Vec<DraftValue>> {
        let mut out = Vec::with_capacity(f.entries.len());
        for (at, e) in f.entries.iter().enumerate() {
            let Scalar::Text(t) = &e.value.value else {
                out.push(self.read(f, kind, &e.value.value, e, false, false)?);
                continue;
            };
            let reference = t.strip_prefix('$').is_some_and(|n| !n.contains('$')) || e.annotation.is_some();
            if f.def.ty == Type::Secret && !reference {
                self.sink.push(literal_secret(&f.def.name, f.span_of(e), e.value.span));
                return None;
            }
            let filled = self.fill(t, place, f.span_of(e))?;
            let derived = t.contains('$');
            if f.def.ty.expands() && e.annotation.is_none() {
                match self.pattern(&filled.text, f.span_of(e))? {
                    Some(p) if f.list() => {
                        for (text, _) in p.iter() {
                            let mut v = self.read(f, kind, &Scalar::Text(text), e, true, false)?;
                            v.listed = true;
                            out.push(v);
                        }
                        continue;
                    }
                    Some(p) => {
                        if !self.zip_fits(&p, f, kind, place) {
                            return None;
                        }
                        let i = if p.len() == 1 { 0 } else { place.zip.map_or(0, |z| z.index) };
                        out.push(self.read(f, kind, &Scalar::Text(p.nth(i).0), e, true, false)?);
                        continue;
                    }
                    None => {}
                }
            }
            if at > 0 && self.swallowed(f, kind, e, t) {
                return None;
            }
            let scalar = filled.whole.unwrap_or(Scalar::Text(filled.text));
            out.push(self.read(f, kind, &scalar, e, derived, filled.secret)?);
        }
        Some(out)
    }

    /// `roles mailbox baselines mbx`: a bare word that is no value here but the next field.
    fn swallowed(&mut self, f: &WrittenField, kind: &KindDef, e: &Entry, text: &str) -> bool {
        let bare = e.value.span.len == text.len();
        let list = match &f.def.ty {
            Type::Enum(l) | Type::Open(l) => l,
            _ => return false,
        };
        if !bare || list.iter().any(|w| w == text) || !kind.words().any(|w| w == text) {
            return false;
        }
        self.sink.push(swallowed(&f.def.name, text, e.value.span));
        true
    }

    pub(super) fn zip_fits(&mut self, p: &Pattern, f: &WrittenField, kind: &KindDef, place: Place) -> bool {
        let count = place.zip.map_or(1, |z| z.count);
        if p.len() == 1 || p.len() == count {
            return true;
        }
        let values = counted(p.len(), "value");
        let message = format!("`{}` has {values} for {}", f.def.name, counted(count, &kind.name));
        let mut d = Diagnostic::error("E0303", message).label(f.span, values);
        if let Some(z) = place.zip {
            d = d.label(z.names, counted(count, "name"));
        }
        d = d.help(match (f.def.many, count) {
            (true, _) => format!(
                "a property is zipped with the names; write `{} ..` on a line of its own to give the whole list",
                f.def.name
            ),
            (false, 1) => {
                "in a field that takes one value a range is zipped with the names, and here is one name".to_owned()
            }
            (false, n) => format!("in a field that takes one value a range is zipped with the names, so both need {n}"),
        });
        self.sink.push(d);
        false
    }

    pub fn fill(&mut self, text: &str, place: Place, span: Span) -> Option<super::text::Filled> {
        match fill(text, place.scope, place.captures) {
            Ok(f) => Some(f),
            Err(Missing::Name(n)) if place.scope.broken.contains(&n) => None,
            Err(Missing::Name(n)) => {
                let known = place.scope.names.keys().map(String::as_str);
                let mut d = Diagnostic::error("E0511", format!("nothing is called `${n}` here"))
                    .label(span, "unknown variable");
                let short = n.strip_prefix("var.").or_else(|| n.strip_prefix("local.")).unwrap_or(&n);
                let exact = place.scope.names.get_key_value(short).map(|(n, _)| n.as_str());
                d = match (exact.or_else(|| nearest(&n, known)), &place.scope.module) {
                    (Some(near), _) => d.help(format!("did you mean `${near}`?")),
                    (None, Some(m)) => d.help(format!(
                        "module `{m}` sees its params and `$self`, not the root's variables; `$$` writes a `$`"
                    )),
                    (None, None) => d.help(
                        "declare `variable` or `let`; `$$` writes a `$`, and a raw string #\"..\"# is never touched",
                    ),
                };
                self.sink.push(d);
                None
            }
            Err(Missing::Capture(_)) => {
                let n = place.captures.len();
                let what = if n == 0 {
                    "the name has no range".to_owned()
                } else {
                    format!("the name has {}", counted(n, "bracket"))
                };
                self.sink.push(
                    Diagnostic::error("E0511", format!("`{text}` uses the text of a bracket, but {what}"))
                        .label(span, "no such bracket")
                        .help("$1 is the text of the first bracket of the node's name; `$$` writes a `$`"),
                );
                None
            }
        }
    }

    pub fn pattern(&mut self, text: &str, span: Span) -> Option<Option<Pattern>> {
        match Pattern::parse(text) {
            Ok(p) => Some(p),
            Err(e) => {
                self.sink.push(bad_range(&e, span));
                None
            }
        }
    }

    /// One typed value; limits of numbers are checked here. `None`: reported.
    pub(super) fn read(
        &mut self,
        f: &WrittenField,
        kind: &KindDef,
        scalar: &Scalar,
        e: &Entry,
        derived: bool,
        secret: bool,
    ) -> Option<DraftValue> {
        let span = f.span_of(e);
        let annotation = e.annotation.as_ref().map(|a| a.value.as_str());
        let def = f.def;
        let mut ty = &def.ty;
        let mut unit = None;
        match annotation {
            None if *ty == Type::Secret && !secret => {
                self.sink.push(literal_secret(&def.name, span, e.value.span));
                return None;
            }
            Some("secret") if *ty == Type::Any => ty = &Type::Secret,
            Some("secret") if *ty == Type::Secret => {}
            Some(u) if matches!(ty, Type::Duration | Type::Size | Type::Rate | Type::Percent) => unit = Some(u),
            Some(a) => {
                let help = if a == "secret" {
                    format!("`{}` holds {} and no secret; what stands here is shown in plans", def.name, ty.noun())
                } else {
                    "before a value stands (secret), or a unit before a number, as in (GiB)2".to_owned()
                };
                let at = e.annotation.as_ref().map_or(span, |a| a.span);
                self.sink.push(
                    Diagnostic::error("E0111", format!("`({a})` does not belong before `{}`", def.name))
                        .label(at, "no such type here")
                        .help(help),
                );
                return None;
            }
            None => {}
        }
        match ty.read(scalar, unit, derived) {
            Ok(draft) => {
                self.in_limits(def, kind, &draft, span)?;
                self.known_role(def, kind, &draft, span)?;
                Some(DraftValue { draft, span, raw: matches!(scalar, Scalar::Raw(_)), listed: false })
            }
            Err(wrong) => {
                self.sink.push(wrong_value(def, kind, scalar, wrong, span, e.value.span));
                None
            }
        }
    }

    fn in_limits(&mut self, def: &FieldDef, kind: &KindDef, draft: &Draft, span: Span) -> Option<()> {
        let Draft::Value(Value::Int(n)) = draft else { return Some(()) };
        if def.many || def.min.is_none_or(|m| *n >= m) && def.max.is_none_or(|m| *n <= m) {
            return Some(());
        }
        let range = match (def.min, def.max) {
            (Some(a), Some(b)) => format!("{a} to {b}"),
            (Some(a), None) => format!("{a} or more"),
            (_, b) => format!("{} or less", b.unwrap_or_default()),
        };
        self.sink.push(
            Diagnostic::error("E0203", format!("`{}` of `{}` is {range}, not {n}", def.name, kind.name))
                .label(span, "out of limits")
                .help(format!("write a number of {range}")),
        );
        None
    }

    fn known_role(&mut self, def: &FieldDef, kind: &KindDef, draft: &Draft, span: Span) -> Option<()> {
        let (Type::Open(list), Draft::Value(Value::Text(t))) = (&def.ty, draft) else {
            return Some(());
        };
        if list.iter().any(|w| w == t) || self.roles.is_some_and(|r| r.contains(t.as_str())) {
            return Some(());
        }
        let known = list.iter().map(String::as_str).chain(self.roles.into_iter().flatten().map(String::as_str));
        let near = nearest(t, known);
        if self.roles.is_none() && near.is_none() {
            return Some(());
        }
        let help = match near {
            Some(n) => format!("did you mean `{n}`?"),
            None => format!("the roles are {}; a pack under modules/ may define more", list.join(", ")),
        };
        self.sink.push(
            Diagnostic::error("E0202", format!("`{t}` is no role that `{}` of `{}` can take", def.name, kind.name))
                .label(span, "unknown role")
                .help(help),
        );
        None
    }
}

fn literal_secret(field: &str, span: Span, value: Span) -> Diagnostic {
    Diagnostic::error("E0701", format!("`{field}` must be a reference to a secret"))
        .label(span, "literal value in a file that goes to git")
        .masked(value, "")
        .help(format!(
            "write {field}=(secret)\"env:NAME\", \"file:..\", \"age:..\", \"vault:..\" or \"cmd:..\"; then remove the literal from git history and rotate it"
        ))
}

fn wrong_value(def: &FieldDef, kind: &KindDef, scalar: &Scalar, wrong: Wrong, span: Span, value: Span) -> Diagnostic {
    let (field, kind) = (&def.name, &kind.name);
    let mut d = match wrong.code {
        "E0701" => return literal_secret(field, span, value),
        "E0202" => Diagnostic::error("E0202", format!("`{field}` of `{kind}` cannot be `{}`", shown(scalar)))
            .label(span, "unknown word"),
        "E0015" => Diagnostic::error("E0015", format!("`{field}` of `{kind}` holds a character that is not seen"))
            .label(span, "in here"),
        code => {
            let what = match &def.ty {
                Type::Ref(_) | Type::Select(_) => format!("the name of {}", def.ty.noun()),
                t => t.noun(),
            };
            Diagnostic::error(code, format!("`{field}` of `{kind}` takes {what}")).label(span, format!("not {what}"))
        }
    };
    d.help = wrong.help;
    d
}

impl<'t> WrittenField<'t> {
    /// True when a range expands to the whole list instead of being zipped with the names.
    pub fn list(&self) -> bool {
        self.def.many && !matches!(self.form, Form::Property)
    }

    /// The place to show for one of the values: the whole line when it is the only one.
    pub fn span_of(&self, e: &Entry) -> Span {
        if self.entries.len() == 1 { self.span } else { e.span }
    }
}
