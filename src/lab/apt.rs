//! How this machine gets Debian packages, so that the image and the hosts get them the same way: mirrors, proxy, certificates.

use std::path::PathBuf;
use std::process::Command;

use super::engine;

/// apt's settings of this machine as far as a lab host needs them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct AptSettings {
    /// One-line sources for `suite`; empty when the machine has none for it (Debian's own mirrors serve then).
    pub sources: Vec<String>,
    /// `Acquire::…` settings: proxy, checks, certificates.
    pub options: Vec<String>,
    /// Certificates that the machine's administrator added.
    pub authorities: Vec<PathBuf>,
}

pub(crate) const DEBIAN: [&str; 3] = [
    "deb http://deb.debian.org/debian {suite} main",
    "deb http://deb.debian.org/debian {suite}-updates main",
    "deb http://security.debian.org/debian-security {suite}-security main",
];

/// Reads them by asking apt itself, so that every form of source file and every folder counts.
pub(crate) fn of_this_machine(suite: &str) -> AptSettings {
    let targets = engine::run(
        "asking apt for its sources",
        Command::new("apt-get").args([
            "indextargets",
            "--format",
            "$(RELEASE) $(COMPONENT) $(SITE)",
            "Created-By: Packages",
        ]),
        None,
    )
    .unwrap_or_default();
    let dump =
        engine::run("asking apt for its settings", Command::new("apt-config").arg("dump"), None).unwrap_or_default();
    let mut options = acquire_options(&dump);
    for (variable, scheme) in [("http_proxy", "http"), ("https_proxy", "https")] {
        let set = options.iter().any(|o| o.starts_with(&format!("Acquire::{scheme}::Proxy ")));
        if let (false, Ok(proxy)) = (set, std::env::var(variable)) {
            options.push(format!("Acquire::{scheme}::Proxy \"{proxy}\";"));
        }
    }
    let mut authorities: Vec<PathBuf> = std::fs::read_dir("/usr/local/share/ca-certificates")
        .map(|entries| {
            entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|x| x == "crt")).collect()
        })
        .unwrap_or_default();
    authorities.sort();
    AptSettings { sources: sources(&targets, suite), options, authorities }
}

/// Lines `RELEASE COMPONENT SITE` to one-line sources of this suite. Other repositories of the machine are not the hosts' business.
fn sources(targets: &str, suite: &str) -> Vec<String> {
    let suites = [suite.to_owned(), format!("{suite}-updates"), format!("{suite}-security")];
    let mut lines = Vec::new();
    for target in targets.lines() {
        let mut words = target.split_whitespace();
        let (Some(release), Some("main"), Some(site)) = (words.next(), words.next(), words.next()) else { continue };
        let line = format!("deb {site} {release} main");
        if suites.iter().any(|s| s == release) && !lines.contains(&line) {
            lines.push(line);
        }
    }
    // Without the base suite the rest is of no use.
    if lines.iter().any(|l| l.ends_with(&format!(" {suite} main"))) { lines } else { Vec::new() }
}

/// The lines of `apt-config dump` that decide how packages are reached. `Acquire::http::Proxy "http://proxy:3142";`
fn acquire_options(dump: &str) -> Vec<String> {
    const KEEP: [&str; 8] = [
        "Acquire::http::Proxy",
        "Acquire::https::Proxy",
        "Acquire::Check-Valid-Until",
        "Acquire::Check-Date",
        "Acquire::https::Verify-Peer",
        "Acquire::https::Verify-Host",
        "Acquire::Retries",
        "Acquire::ForceIPv4",
    ];
    dump.lines()
        .filter(|l| KEEP.iter().any(|k| l.strip_prefix(k).is_some_and(|rest| rest.starts_with([' ', ':']))))
        .filter(|l| !l.ends_with("\"\";"))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_suites_of_the_image_are_taken() {
        let targets = "bookworm main http://mirror.example/debian/\nbookworm contrib http://mirror.example/debian/\n\
                       bookworm-security main http://mirror.example/debian-security/\nstable main https://packages.example/apt/\n\
                       bookworm main http://mirror.example/debian/\n";
        assert_eq!(
            sources(targets, "bookworm"),
            [
                "deb http://mirror.example/debian/ bookworm main",
                "deb http://mirror.example/debian-security/ bookworm-security main"
            ]
        );
        assert!(sources("noble main http://archive.example/ubuntu/\n", "bookworm").is_empty());
        assert!(sources("bookworm-security main http://mirror.example/s/\n", "bookworm").is_empty());
    }

    #[test]
    fn the_proxy_is_taken_and_the_rest_of_the_settings_is_not() {
        let dump = "APT::Architecture \"amd64\";\nAcquire::http::Proxy \"http://proxy.example:3142\";\nAcquire::http::Proxy::local.example \"DIRECT\";\n\
                    Acquire::Languages \"none\";\nAcquire::https::Proxy \"\";\nAcquire::http::ProxyX \"no\";\n";
        assert_eq!(
            acquire_options(dump),
            ["Acquire::http::Proxy \"http://proxy.example:3142\";", "Acquire::http::Proxy::local.example \"DIRECT\";"]
        );
    }
}
