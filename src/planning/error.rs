//! Why there is no plan at all.

use std::fmt;

use crate::model::address::Address;
use crate::model::source::Origin;

/// One member of a cycle: a resource, or "all of a group up to a stage".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CycleMember {
    pub name: String,
    /// Where the topology asked for it; `None` for a group.
    pub origin: Option<Origin>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlanError {
    /// Resources that wait for each other. Each member waits for the one before it, the first for the last.
    Cycles(Vec<Vec<CycleMember>>),
    /// `after` names a resource that no role makes.
    UnknownDependency { address: Address, wants: Box<Address>, origin: Origin },
    /// Two resources with one address.
    Duplicate { address: Address, first: Origin, second: Origin },
    /// A `--target` that fits nothing.
    UnknownTarget { word: String, near: Option<String> },
    /// Content without a digest: the site was not sealed before it was planned.
    Unsealed(Address),
    /// A `--window` that no record waits for.
    UnknownWindow { name: String, known: Vec<String> },
}

impl PlanError {
    /// Stable code, without the `cutover::` prefix.
    pub fn code(&self) -> &'static str {
        match self {
            PlanError::Cycles(_) => "E1101",
            PlanError::UnknownDependency { .. } => "E1102",
            PlanError::Duplicate { .. } => "E1103",
            PlanError::UnknownTarget { .. } => "E1104",
            PlanError::Unsealed(_) => "E1105",
            PlanError::UnknownWindow { .. } => "E1106",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            PlanError::Cycles(_) => {
                "take one of these `after` away, or split a role so that the part that others wait for \
                                     stands alone"
                    .into()
            }
            PlanError::UnknownDependency { wants, .. } => {
                format!("give host {} the role that makes {}, or take the `after` away", wants.host, wants.local())
            }
            PlanError::Duplicate { .. } => "name it in one role only, or give the two different paths".into(),
            PlanError::UnknownTarget { near: Some(near), .. } => format!("did you mean `{near}`?"),
            PlanError::UnknownTarget { near: None, .. } => {
                "a target is an address (server.mail-1/file:/etc/postfix/main.cf), a \
                                                            role (imap@mail-1), a host (mail-1), or has a * in it"
                    .into()
            }
            PlanError::Unsealed(_) => "this is a fault of cutover: please report it".into(),
            PlanError::UnknownWindow { known, .. } if known.is_empty() => {
                "write held-until=WINDOW on the records that it moves, in a zone whose provider is rfc2136".into()
            }
            PlanError::UnknownWindow { known, .. } => format!("records wait for {}", known.join(", ")),
        }
    }
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PlanError::Cycles(cycles) => {
                for (i, cycle) in cycles.iter().enumerate() {
                    if i > 0 {
                        writeln!(f)?;
                    }
                    write!(f, "these wait for each other, so none of them can be first:")?;
                    for (i, member) in cycle.iter().enumerate().rev() {
                        let before = if i > 0 { cycle.get(i - 1) } else { cycle.last() };
                        write!(f, "\n  {}", member.name)?;
                        if let Some(origin) = member.origin.as_ref().filter(|o| !o.file.is_empty()) {
                            write!(f, " ({origin})")?;
                        }
                        if let Some(before) = before {
                            write!(f, " waits for {}", before.name)?;
                        }
                    }
                }
                Ok(())
            }
            PlanError::UnknownDependency { address, wants, origin } => {
                write!(f, "{address} ({origin}) waits for {wants}, which no role makes")
            }
            PlanError::Duplicate { address, first, second } => {
                write!(f, "{address} is asked for twice: at {first} and at {second}")
            }
            PlanError::UnknownTarget { word, .. } => write!(f, "--target {word} fits nothing in the topology"),
            PlanError::UnknownWindow { name, .. } => write!(f, "no record waits for window {name}"),
            PlanError::Unsealed(address) => write!(f, "the content of {address} has no digest"),
        }
    }
}

impl std::error::Error for PlanError {}
