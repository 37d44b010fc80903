//! Role packs: those built into the program, and the user's own in `modules/` beside the root file.

use std::collections::BTreeMap;
use std::path::Path;

use crate::language;
use crate::model::pack::PackSource;
use crate::model::{Diagnostic, Diagnostics, Sources};

/// A file of a built-in pack: name of the pack, path in its folder, text.
type BuiltIn = (&'static str, &'static str, &'static str);

macro_rules! built_in {
    ($($pack:literal: $($file:literal)*;)*) => {
        &[$($(($pack, $file, include_str!(concat!("../../modules/", $pack, "/", $file)))),*),*]
    };
}

/// A test holds this list against the folders.
static BUILT_IN: &[BuiltIn] = built_in! {
    "bind": "module.kdl" "templates/named.conf.hbs" "templates/seed.hbs" "templates/zone.hbs";
    "knot": "module.kdl" "templates/knot.conf.hbs" "templates/seed.hbs" "templates/zone.hbs" "templates/zones.conf.hbs";
    "migration": "module.kdl" "templates/cms.toml.hbs" "templates/mailboxes.csv.hbs" "templates/service.hbs";
    "monitor": "module.kdl" "templates/alertmanager.hbs" "templates/alertmanager.service.hbs" "templates/loaded.hbs"
        "templates/postfix-exporter.hbs" "templates/probe.service.hbs" "templates/prometheus.hbs" "templates/prometheus.service.hbs";
    "nginx": "module.kdl" "templates/autodiscover.xml.hbs" "templates/config.xml.hbs" "templates/mta-sts.txt.hbs" "templates/nginx.conf.hbs";
    "postfix-dovecot": "module.kdl" "templates/cas.conf.hbs" "templates/dovecot.conf.hbs" "templates/junk.sieve.hbs"
        "templates/main.cf.hbs" "templates/master.cf.hbs" "templates/masters.hbs" "templates/opendkim-hosts.hbs"
        "templates/opendkim-keys.hbs" "templates/opendkim-signing.hbs" "templates/opendkim.conf.hbs"
        "templates/pair.conf.hbs" "templates/proxy.users.hbs" "templates/rspamd-dkim.hbs" "templates/rspamd-headers.hbs" "templates/rspamd-options.hbs" "templates/rspamd-proxy.hbs"
        "templates/sender_login.hbs" "templates/tls_policy.hbs" "templates/transport.hbs" "templates/virtual.hbs";
    "powerdns": "module.kdl" "templates/pdns.conf.hbs" "templates/seed.hbs";
    "proxy": "module.kdl" "templates/proxy.toml.hbs" "templates/service.hbs" "templates/socket.hbs";
    "unbound": "module.kdl" "templates/unbound.conf.hbs";
};

/// Built-in packs, then those in `root/modules/`. A folder there is a pack when its `module.kdl` holds a `role` or a `part`, or
/// when it has `templates/`; else it is a module of the language.
pub fn load(root: &Path, sources: &mut Sources, diagnostics: &mut Diagnostics) -> Vec<PackSource> {
    let mut packs = Vec::new();
    let mut files: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
    for (pack, file, text) in BUILT_IN {
        files.entry(pack).or_default().push((file, text));
    }
    for (name, files) in files {
        let owned = files.iter().map(|(f, t)| ((*f).to_owned(), (*t).to_owned())).collect();
        packs.extend(pack(name, &format!("(built in) modules/{name}"), true, owned, sources, diagnostics));
    }
    let folder = root.join("modules");
    for name in folders(&folder, diagnostics) {
        let dir = folder.join(&name);
        match read(&dir) {
            Ok(files) => packs.extend(pack(&name, &format!("modules/{name}"), false, files, sources, diagnostics)),
            Err(why) => diagnostics.push(
                Diagnostic::error("E1021", format!("modules/{name} cannot be read: {why}"))
                    .help("packs and modules are folders of UTF-8 text"),
            ),
        }
    }
    packs
}

fn pack(
    name: &str,
    shown: &str,
    built_in: bool,
    files: BTreeMap<String, String>,
    sources: &mut Sources,
    diagnostics: &mut Diagnostics,
) -> Option<PackSource> {
    let module = files.get("module.kdl")?;
    let id = sources.add(format!("{shown}/module.kdl"), module.as_str());
    let nodes = match language::parse(sources, id) {
        Ok(nodes) => nodes,
        Err(errors) => {
            errors.into_iter().for_each(|d| diagnostics.push(d));
            return None;
        }
    };
    let has_templates = files.keys().any(|f| f.starts_with("templates/"));
    if !has_templates && !nodes.iter().any(|n| matches!(n.name.value.as_str(), "role" | "part")) {
        return None;
    }
    let mut templates = BTreeMap::new();
    for (file, text) in &files {
        if let Some(template) = file.strip_prefix("templates/") {
            templates.insert(template.to_owned(), sources.add(format!("{shown}/{file}"), text.as_str()));
        }
    }
    Some(PackSource { name: name.to_owned(), built_in, nodes, templates })
}

/// Names of the folders in it, sorted; none when it does not exist.
fn folders(folder: &Path, diagnostics: &mut Diagnostics) -> Vec<String> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(e) => {
            diagnostics.push(Diagnostic::error("E1021", format!("{} cannot be read: {e}", folder.display())));
            return Vec::new();
        }
    };
    let mut names: Vec<String> = entries
        .filter_map(Result::ok)
        .filter(|e| e.path().join("module.kdl").is_file())
        .filter_map(|e| e.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

fn read(dir: &Path) -> Result<BTreeMap<String, String>, String> {
    let mut files = BTreeMap::new();
    let text = |path: &Path| std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()));
    files.insert("module.kdl".to_owned(), text(&dir.join("module.kdl"))?);
    let templates = dir.join("templates");
    if templates.is_dir() {
        for entry in std::fs::read_dir(&templates).map_err(|e| e.to_string())? {
            let path = entry.map_err(|e| e.to_string())?.path();
            let Some(name) = path.file_name().and_then(|n| n.to_str()) else { continue };
            if name.ends_with(".hbs") {
                files.insert(format!("templates/{name}"), text(&path)?);
            }
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_built_in_files_is_whole() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("modules");
        let mut diagnostics = Diagnostics::default();
        for name in folders(&root, &mut diagnostics) {
            let files = read(&root.join(&name)).unwrap_or_else(|e| panic!("{e}"));
            let listed: Vec<&str> = BUILT_IN.iter().filter(|(p, ..)| *p == name).map(|(_, f, _)| *f).collect();
            assert_eq!(listed, files.keys().map(String::as_str).collect::<Vec<_>>(), "{name}");
        }
        assert!(diagnostics.is_empty());
    }
}
