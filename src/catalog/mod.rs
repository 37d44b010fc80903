//! Resource kinds as pure descriptions: attributes, how they compare, what forces a replacement, how a change is undone.
//!
//! Twins in `providers/` observe and apply them. Lowering may only set attributes that stand here.

pub mod barrier;
mod compare;
pub mod record_set;
pub mod wave;

pub use compare::same;

use crate::model::Kind;

/// How a planner compares an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// Observed must equal desired, when desired is set.
    Exact,
    /// Lists compare as sets.
    Set,
    /// Content digest.
    Content,
    /// An input of apply or observe (validate command, path); a change of it alone is no drift.
    Input,
}

#[derive(Debug, Clone, Copy)]
pub struct FieldSpec {
    pub name: &'static str,
    pub compare: Compare,
    /// A change cannot be made in place.
    pub replaces: bool,
    pub doc: &'static str,
}

#[derive(Debug, Clone, Copy)]
pub enum UndoSpec {
    /// Former state is kept on the host and put back; the text says what.
    Restores(&'static str),
    /// Cannot go back; the text says why.
    Irreversible(&'static str),
}

#[derive(Debug, Clone, Copy)]
pub struct KindSpec {
    pub kind: Kind,
    pub doc: &'static str,
    /// Default order inside a group: packages 0, groups and users 1, directories 2, files and settings 3, commands 4,
    /// accounts and zones 5, services 6, timers 7.
    pub stage: u8,
    pub fields: &'static [FieldSpec],
    pub undo: UndoSpec,
}

impl KindSpec {
    pub fn field(&self, name: &str) -> Option<&'static FieldSpec> {
        self.fields.iter().find(|f| f.name == name)
    }
}

const fn field(name: &'static str, compare: Compare, doc: &'static str) -> FieldSpec {
    FieldSpec { name, compare, replaces: false, doc }
}

const fn replacing(name: &'static str, compare: Compare, doc: &'static str) -> FieldSpec {
    FieldSpec { name, compare, replaces: true, doc }
}

use Compare::{Content, Exact, Input, Set};

const OWNER: FieldSpec = field("owner", Exact, "user name, default root");
const GROUP: FieldSpec = field("group", Exact, "group name, default root");
const MODE: FieldSpec = field("mode", Exact, "four octal digits, e.g. 0644");
const VALIDATE: FieldSpec = field(
    "validate",
    Input,
    "command that must succeed with the new content in place of %s before it replaces the old",
);
const CONTENT: FieldSpec = field("content", Content, "content");

/// Whether a step on one kind of resource may move what a later step on another has pinned: a package brings services, users and
/// files. The hosts' own table is `touched` in `providers/sh/step.sh`.
pub fn touches(step: Kind, other: Kind) -> bool {
    match step {
        Kind::Package | Kind::Command => true,
        Kind::Unit | Kind::Service | Kind::Timer => matches!(other, Kind::Service | Kind::Timer),
        Kind::User | Kind::Group => matches!(other, Kind::User | Kind::Group),
        Kind::File | Kind::Binary => matches!(other, Kind::Line | Kind::Setting | Kind::MailAccount),
        Kind::Line => other == Kind::Setting,
        Kind::Setting => other == Kind::Line,
        Kind::Directory
        | Kind::Firewall
        | Kind::DnsZone
        | Kind::MailAccount
        | Kind::RecordSet
        | Kind::Barrier
        | Kind::Wave => false,
    }
}

/// The description of a kind.
pub fn spec(kind: Kind) -> &'static KindSpec {
    // In the order of `Kind::ALL`, which a test holds.
    &SPECS[kind as usize]
}

pub static SPECS: [KindSpec; 18] = [
    KindSpec {
        kind: Kind::Package,
        doc: "Debian package",
        stage: 0,
        fields: &[
            field("version", Exact, "pinned version; unset: any installed version will do"),
            field("hold", Exact, "held against upgrades"),
            field("recommends", Input, "install recommended packages too"),
        ],
        undo: UndoSpec::Restores(
            "removes what it installed, or puts the former version back where the archive still has it",
        ),
    },
    KindSpec {
        kind: Kind::Group,
        doc: "local group",
        stage: 1,
        fields: &[replacing("gid", Exact, "numeric id"), field("system", Input, "made from the system range")],
        undo: UndoSpec::Restores("removes the group it made"),
    },
    KindSpec {
        kind: Kind::User,
        doc: "local user",
        stage: 1,
        fields: &[
            field("uid", Exact, "numeric id"),
            field("group", Exact, "primary group"),
            field("groups", Set, "supplementary groups"),
            field("home", Exact, "home directory"),
            field("shell", Exact, "login shell"),
            field("comment", Exact, "GECOS"),
            field("system", Input, "made from the system range"),
        ],
        undo: UndoSpec::Restores(
            "removes the user it made, or puts the former account fields back; home directories stay",
        ),
    },
    KindSpec {
        kind: Kind::Directory,
        doc: "directory",
        stage: 2,
        fields: &[OWNER, GROUP, MODE],
        undo: UndoSpec::Restores("former owner and mode, or removes the directory it made when empty"),
    },
    KindSpec {
        kind: Kind::File,
        doc: "regular file, replaced atomically",
        stage: 3,
        fields: &[CONTENT, OWNER, GROUP, MODE, VALIDATE],
        undo: UndoSpec::Restores("former content, owner and mode"),
    },
    KindSpec {
        kind: Kind::Line,
        doc: "one line of a file that others own; key PATH#NAME",
        stage: 3,
        fields: &[
            field("line", Exact, "the whole line"),
            field("prefix", Input, "a line that starts with this is replaced; else the line is appended"),
            VALIDATE,
        ],
        undo: UndoSpec::Restores("the former line"),
    },
    KindSpec {
        kind: Kind::Setting,
        doc: "one product setting; key postfix:NAME, by postconf",
        stage: 3,
        fields: &[field("value", Exact, "value")],
        undo: UndoSpec::Restores("the former value, or unset"),
    },
    KindSpec {
        kind: Kind::Unit,
        doc: "systemd unit file in /etc/systemd/system; key is its file name, of a drop-in UNIT.d/FILE",
        stage: 3,
        fields: &[CONTENT, MODE],
        undo: UndoSpec::Restores("former unit file"),
    },
    KindSpec {
        kind: Kind::Binary,
        doc: "program uploaded by digest",
        stage: 3,
        fields: &[CONTENT, OWNER, GROUP, MODE, VALIDATE],
        undo: UndoSpec::Restores("former program"),
    },
    KindSpec {
        kind: Kind::Command,
        doc: "command that runs when its condition does not hold yet",
        stage: 4,
        fields: &[
            field("satisfied", Exact, "the condition holds; always wanted true"),
            field("run", Input, "shell command"),
            field("creates", Input, "path whose existence means that it need not run"),
            field("unless", Input, "command whose success means that it need not run"),
            field("once", Input, "run once per text of the command; a mark on the host remembers it"),
            field("undo", Input, "shell command that takes it back"),
            field("user", Input, "user to run as"),
            field("timeout", Input, "seconds, default 300"),
        ],
        undo: UndoSpec::Irreversible("a command has an undo only where it names one"),
    },
    KindSpec {
        kind: Kind::Firewall,
        doc: "nftables rules: /etc/nftables.d/KEY.nft, included by nftables.conf and loaded; defines table inet KEY only",
        stage: 5,
        fields: &[CONTENT, field("loaded", Exact, "the kernel holds the rules; always wanted true")],
        undo: UndoSpec::Restores("former rules"),
    },
    KindSpec {
        kind: Kind::DnsZone,
        doc: "zone file; @SERIAL@ in the content is the serial, raised at each change and not compared",
        stage: 5,
        fields: &[
            CONTENT,
            OWNER,
            GROUP,
            MODE,
            replacing("path", Input, "zone file"),
            field("validate", Input, "checker, %s is the new file"),
            field("reload", Input, "command after the change"),
        ],
        undo: UndoSpec::Restores("former zone content with a new serial"),
    },
    KindSpec {
        kind: Kind::MailAccount,
        doc: "one account in a Dovecot passwd-file; key is the address",
        stage: 5,
        fields: &[
            field("password", Content, "password hash field"),
            field("uid", Exact, "numeric or name"),
            field("gid", Exact, "numeric or name"),
            field("home", Exact, "mail home"),
            field("quota", Exact, "storage limit in bytes as text, or empty"),
            field("file", Input, "passwd-file"),
        ],
        undo: UndoSpec::Restores("the former line; mail is never removed"),
    },
    KindSpec {
        kind: Kind::Service,
        doc: "systemd service",
        stage: 6,
        fields: &[field("enabled", Exact, "starts at boot"), field("running", Exact, "is active now")],
        undo: UndoSpec::Restores("former enabled and running state"),
    },
    KindSpec {
        kind: Kind::Timer,
        doc: "systemd timer unit file, enabled and running; key is the file name",
        stage: 7,
        fields: &[CONTENT, field("enabled", Exact, "starts at boot"), field("running", Exact, "is active now")],
        undo: UndoSpec::Restores("former unit file and state"),
    },
    KindSpec {
        kind: Kind::RecordSet,
        doc: "all records of one name and type in a zone, changed by one UPDATE; key NAME/TYPE",
        stage: 5,
        fields: &[
            field("data", Set, "the data of each record, as in a zone file, names absolute"),
            field("ttl", Exact, "time to live in seconds"),
            field("adopt", Input, "take over a set that stands there, differs and was not made by cutover"),
            field("old-ttl", Input, "seconds for which caches may hold answers from before the TTL was lowered"),
        ],
        undo: UndoSpec::Restores("the former records and their time to live, or none"),
    },
    KindSpec {
        kind: Kind::Barrier,
        doc: "what every name server of a zone must serve before a cutover goes on; changes nothing; key WINDOW/STAGE",
        stage: 6,
        fields: &[
            field("serves", Input, "records as `NAME TTL TYPE DATA`"),
            field(
                "servers",
                Input,
                "name servers that the zone names beside those of the topology, as `NAME ADDRESS ..`",
            ),
            field("timeout", Input, "seconds after which a server that does not follow is named and the run ends"),
        ],
        undo: UndoSpec::Irreversible("a barrier changes nothing"),
    },
    KindSpec {
        kind: Kind::Wave,
        doc: "people of a cohort who move together to the new side; key `canaries`, or the number of the wave",
        stage: 8,
        fields: &[
            field("people", Input, "how many"),
            field(
                "digest",
                Input,
                "SHA-256 over their addresses, a line each; who they are stands in the cohort's lists",
            ),
            field("soak", Input, "seconds for which they are watched on the new side before others follow"),
        ],
        undo: UndoSpec::Restores("people back to the old side, with the mail that has come since"),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_stand_in_the_order_of_kinds() {
        for kind in Kind::ALL {
            assert_eq!(spec(kind).kind, kind);
        }
    }

    #[test]
    fn the_hosts_know_the_same_touches() {
        let script = include_str!("../providers/sh/step.sh");
        let from = script.find("touched() {").expect("the hosts' table");
        let table = &script[from..from + script[from..].find("esac").expect("its end")];
        let mut told = std::collections::BTreeSet::new();
        for line in table.lines() {
            let Some((kinds, others)) = line.split_once(") echo ") else { continue };
            for kind in kinds.split('|') {
                for other in others.trim_end_matches(";;").split_whitespace() {
                    told.insert((kind.trim().to_owned(), other.to_owned()));
                }
            }
        }
        let ours =
            Kind::ALL.iter().flat_map(|k| Kind::ALL.iter().map(move |o| (*k, *o))).filter(|(k, o)| touches(*k, *o));
        let ours: std::collections::BTreeSet<_> = ours.map(|(k, o)| (k.to_string(), o.to_string())).collect();
        let missing: Vec<_> = told.difference(&ours).collect();
        assert!(missing.is_empty(), "the hosts look at more than they are told: {missing:?}");
    }
}
