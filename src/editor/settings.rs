//! What a session is told beside the texts: a root, an environment, values of variables. From the arguments of `cutover lsp`, and over them
//! from the editor's `initializationOptions`.

use std::path::PathBuf;

use serde_json::Value;

use crate::language::{Options, lexical};

/// What to check as which environment, and with what.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The root file to check whether a text of it is open or not.
    pub root: Option<PathBuf>,
    /// The environment that is checked and shown; `None` for all.
    pub environment: Option<String>,
    /// Values of variables, as `--set` gives them.
    pub sets: Vec<(String, String)>,
}

impl Settings {
    /// Takes over what the editor says: `{"root": "DIR", "env": "NAME", "set": {"NAME": "VALUE"}}`, each of them optional.
    pub(super) fn told(&mut self, options: &Value) {
        if let Some(root) = options["root"].as_str() {
            let root = PathBuf::from(root);
            self.root = Some(if root.is_dir() { root.join("topology.kdl") } else { root });
        }
        if let Some(name) = options["env"].as_str() {
            self.environment = Some(name.to_owned());
        }
        for (name, value) in options["set"].as_object().into_iter().flatten() {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            self.sets.retain(|(n, _)| n != name);
            self.sets.push((name.clone(), value));
        }
    }

    /// The root file as paths of texts are written.
    pub(super) fn main(&self) -> Option<PathBuf> {
        let root = self.root.as_ref()?;
        Some(lexical(&std::path::absolute(root).ok()?)).filter(|p| p.is_file())
    }

    /// How roots are read: variables without a value get a sample.
    pub(super) fn options(&self) -> Options {
        let (environment, sets) = (self.environment.clone(), self.sets.clone());
        Options { environment, sets, allow_unset: true, ..Options::default() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_editor_is_heard_over_the_arguments() {
        let mut s = Settings { sets: vec![("size".into(), "1GiB".into())], ..Settings::default() };
        s.told(&json!({"env": "lab", "set": {"size": "2GiB", "copies": 3}}));
        assert_eq!(s.environment.as_deref(), Some("lab"));
        assert_eq!(s.sets, [("copies".into(), "3".into()), ("size".into(), "2GiB".into())]);
        s.told(&Value::Null);
        assert_eq!(s.sets.len(), 2);
    }
}
