//! `time-scale` of an environment: a lab rehearses in minutes what takes days. Only fields that the schema marks `scaled` shrink,
//! timers of the process: windows and their steps, soak times, deltas, notices. DNS TTLs, protocol time-outs and service levels stay,
//! since a rehearsal with other ones would prove nothing.

use std::time::Duration;

use super::decode::{Decoder, Place};
use super::explain::value as show;
use super::schema::FieldDef;
use super::scope::entry_of;
use super::text::Scope;
use crate::model::Span;
use crate::model::topology::{Field, Layer, Value};
use crate::model::tree::{Scalar, Tree};
use crate::model::unit::{format_duration, parse_duration};

#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    factor: u32,
    span: Span,
}

impl Scale {
    /// The factor of the last environment of the chain that writes one; `None` where time runs as it is written.
    pub fn read(dec: &mut Decoder, chain: &[&Tree], scope: &Scope) -> Option<Self> {
        let entry = chain.iter().rev().find_map(|env| entry_of(env, "time-scale"))?;
        let scalar = match &entry.value.value {
            Scalar::Text(t) => {
                let filled = dec.fill(t, Place { scope, captures: &[], zip: None, layer: "" }, entry.span)?;
                filled.whole.unwrap_or(Scalar::Text(filled.text))
            }
            other => other.clone(),
        };
        let factor = match scalar {
            Scalar::Int(i) => u32::try_from(i).ok()?,
            Scalar::Text(t) => t.parse().ok()?,
            _ => return None,
        };
        (factor > 1).then_some(Self { factor, span: entry.span })
    }

    /// Shrinks the values of one field and says so as a layer.
    pub fn apply(&self, def: &FieldDef, field: &mut Field) {
        if !def.scaled {
            return;
        }
        let mut hit = false;
        for v in &mut field.values {
            match &mut v.value {
                Value::Duration(d) if !d.is_zero() => {
                    *d = self.shrink(*d);
                    hit = true;
                }
                Value::Text(t) => {
                    if let Some(scaled) = self.offset(t) {
                        *t = scaled.into();
                        hit = true;
                    }
                }
                _ => {}
            }
        }
        if hit {
            let shown: Vec<String> = field.values.iter().map(|v| show(&v.value)).collect();
            field.layers.push(Layer::new("time-scale", Some(self.span), shown.join(" ")));
        }
    }

    /// Never below a second, where it was one or more: a time-out of nothing would fail before it began.
    fn shrink(&self, d: Duration) -> Duration {
        let least = d.min(Duration::from_secs(1));
        Duration::from_millis(u64::try_from((d / self.factor).as_millis()).unwrap_or(u64::MAX)).max(least)
    }

    /// `-14d` as `-5m36s`.
    fn offset(&self, text: &str) -> Option<String> {
        let sign = text.chars().next().filter(|c| matches!(c, '+' | '-'))?;
        let d = parse_duration(&text[1..])?;
        Some(format!("{sign}{}", format_duration(self.shrink(d))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SourceId;

    #[test]
    fn time_shrinks_but_never_to_nothing() {
        let scale = Scale { factor: 60, span: Span { source: SourceId(0), offset: 0, len: 0 } };
        assert_eq!(scale.shrink(Duration::from_secs(3600)), Duration::from_secs(60));
        assert_eq!(scale.shrink(Duration::from_secs(30)), Duration::from_secs(1));
        assert_eq!(scale.shrink(Duration::from_millis(500)), Duration::from_millis(500));
        assert_eq!(scale.offset("-1d").as_deref(), Some("-24m"));
        assert_eq!(scale.offset("soon"), None);
    }
}
