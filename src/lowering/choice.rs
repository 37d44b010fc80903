//! Which pack says what a role means on a server: by role and platform, the user's own pack before a built-in one.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Diagnostic, Diagnostics, Span};

use super::pack::{Pack, PlatformDef, ProductDef, RoleDef};
use super::survey::Server;

/// All roles of all packs, by role and platform.
pub struct Choice<'p> {
    roles: BTreeMap<(&'p str, &'p str), (&'p Pack, &'p RoleDef)>,
    platforms: BTreeMap<&'p str, &'p PlatformDef>,
}

impl<'p> Choice<'p> {
    pub fn new(packs: &'p [Pack], diagnostics: &mut Diagnostics) -> Self {
        let mut choice = Self { roles: BTreeMap::new(), platforms: BTreeMap::new() };
        // Built-in first, so that a user's pack replaces it.
        for user in [false, true] {
            let mut seen: BTreeMap<(&str, &str), (&Pack, Span)> = BTreeMap::new();
            for pack in packs.iter().filter(|p| p.built_in != user) {
                for platform in &pack.platforms {
                    choice.platforms.insert(&platform.name.value, platform);
                }
                for role in &pack.roles {
                    let key = (role.name.value.as_str(), role.platform.value.as_str());
                    if let Some((other, span)) = seen.insert(key, (pack, role.name.span)) {
                        diagnostics.push(
                            Diagnostic::error(
                                "E1010",
                                format!(
                                    "packs `{}` and `{}` both say what role `{}` is on platform `{}`",
                                    other.name, pack.name, key.0, key.1
                                ),
                            )
                            .label(role.name.span, "here")
                            .label(span, "and here")
                            .help("keep one of them: two packs for one role and platform have no order"),
                        );
                    }
                    choice.roles.insert(key, (pack, role));
                }
            }
        }
        for (pack, role) in choice.roles.values() {
            let Some(platform) = choice.platforms.get(role.platform.value.as_str()) else {
                let known: Vec<&str> = choice.platforms.keys().copied().collect();
                diagnostics.push(
                    Diagnostic::error(
                        "E1011",
                        format!("pack `{}`: no pack declares platform `{}`", pack.name, role.platform.value),
                    )
                    .label(role.platform.span, "unknown")
                    .help(format!(
                        "declare `platform {} {{ product NAME }}`; known: {}",
                        role.platform.value,
                        known.join(", ")
                    )),
                );
                continue;
            };
            for need in role.needs.iter().filter(|n| !platform.products.iter().any(|p| p.name == **n)) {
                diagnostics.push(
                    Diagnostic::error(
                        "E1011",
                        format!(
                            "role `{}` needs `{need}`, which platform `{}` does not name",
                            role.name.value, platform.name.value
                        ),
                    )
                    .label(role.name.span, "this role"),
                );
            }
        }
        choice
    }

    /// Role names that some pack knows.
    pub fn role_names(&self) -> BTreeSet<&'p str> {
        self.roles.keys().map(|(role, _)| *role).collect()
    }

    /// Products that some platform knows.
    pub fn product_names(&self) -> BTreeSet<&'p str> {
        self.platforms.values().flat_map(|p| p.products.iter().map(|d| d.name.as_str())).collect()
    }

    /// Products that a role uses on a server: those that it needs, or what it shares with the server's platform when it does not say.
    pub fn products_of(&self, role: &'p RoleDef, server: &Server<'_>) -> Vec<&'p ProductDef> {
        let Some(platform) = self.platforms.get(role.platform.value.as_str()) else { return Vec::new() };
        let used = |p: &&ProductDef| match role.needs.is_empty() {
            true => server.products.contains_key(&p.name),
            false => role.needs.contains(&p.name),
        };
        platform.products.iter().filter(used).collect()
    }

    /// Products that a role asks a platform for, for people.
    fn wants(&self, role: &RoleDef) -> String {
        if !role.needs.is_empty() {
            return role.needs.join(" and ");
        }
        let platform = self.platforms.get(role.platform.value.as_str());
        let all: Vec<&str> = platform.into_iter().flat_map(|p| p.products.iter().map(|d| d.name.as_str())).collect();
        all.join(" or ")
    }

    /// The pack and role for one role of a server; what stands in the way is reported.
    pub fn find(
        &self,
        role: &str,
        span: Span,
        server: &Server<'_>,
        diagnostics: &mut Diagnostics,
    ) -> Option<(&'p Pack, &'p RoleDef)> {
        let of_name: Vec<_> = self.roles.iter().filter(|((r, _), _)| *r == role).map(|(_, found)| *found).collect();
        let fits = |def: &'p RoleDef| {
            let products = self.products_of(def, server);
            // A platform without products is any Debian host: its roles bring what they need.
            let bare = self.platforms.get(def.platform.value.as_str()).is_some_and(|p| p.products.is_empty());
            (bare || !products.is_empty()) && products.iter().all(|p| server.products.contains_key(&p.name))
        };
        let fitting: Vec<_> = of_name.iter().filter(|(_, def)| fits(def)).copied().collect();
        match fitting.as_slice() {
            [] => {
                let mut d = Diagnostic::warning(
                    "W1001",
                    format!(
                        "role {role} has no pack yet for platform {}: nothing is installed for it",
                        server.platform
                    ),
                )
                .label(span, format!("asked for by server {}", server.name));
                if !of_name.is_empty() {
                    let wants: Vec<String> = of_name.iter().map(|(_, def)| self.wants(def)).collect();
                    d = d.help(format!("packs for this role want a platform with {}", wants.join(", or ")));
                } else {
                    d = d.help(format!(
                        "roles with packs are {}",
                        self.role_names().into_iter().collect::<Vec<_>>().join(", ")
                    ));
                }
                diagnostics.push(d);
                None
            }
            [(pack, def)] => {
                for product in self.products_of(def, server) {
                    let version = server.products.get(&product.name)?;
                    if !covers(product, version) {
                        diagnostics.push(
                            Diagnostic::error(
                                "E1012",
                                format!(
                                    "role {role} of pack {} is written for {} {}, but platform {} says {version}",
                                    pack.name,
                                    product.name,
                                    range(product),
                                    server.platform
                                ),
                            )
                            .label(span, format!("asked for by server {}", server.name))
                            .help("name the version that the hosts run, or write an own pack for this version in modules/"),
                        );
                    }
                }
                Some((pack, def))
            }
            several => {
                let names: Vec<&str> = several.iter().map(|(p, _)| p.name.as_str()).collect();
                diagnostics.push(
                    Diagnostic::error(
                        "E1010",
                        format!("role {role} of platform {} fits several packs: {}", server.platform, names.join(", ")),
                    )
                    .label(span, format!("asked for by server {}", server.name))
                    .help("give the server a platform that names the products of one of them only"),
                );
                None
            }
        }
    }
}

/// Whether a version is within a product's limits. Only as many parts as the limit has are compared: `until 2.3` covers 2.3.19.
pub fn covers(product: &ProductDef, version: &str) -> bool {
    let parts = |v: &str| v.split('.').map(|p| p.parse::<u64>().unwrap_or(0)).collect::<Vec<_>>();
    let version = parts(version);
    let cut = |limit: &[u64]| version.iter().copied().chain(std::iter::repeat(0)).take(limit.len()).collect::<Vec<_>>();
    let since = product.since.as_deref().map(parts);
    let until = product.until.as_deref().map(parts);
    since.is_none_or(|s| cut(&s) >= s) && until.is_none_or(|u| cut(&u) <= u)
}

fn range(product: &ProductDef) -> String {
    match (&product.since, &product.until) {
        (Some(s), Some(u)) if s == u => s.clone(),
        (Some(s), Some(u)) => format!("{s} to {u}"),
        (Some(s), None) => format!("{s} or newer"),
        (None, Some(u)) => format!("up to {u}"),
        (None, None) => "of any version".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_cover_their_patch_releases() {
        let p = ProductDef { name: "dovecot".into(), since: Some("2.2".into()), until: Some("2.3".into()) };
        for (version, inside) in
            [("2.3", true), ("2.3.19", true), ("2.2.36", true), ("2.4", false), ("2.1.9", false), ("3", false)]
        {
            assert_eq!(covers(&p, version), inside, "{version}");
        }
    }
}
