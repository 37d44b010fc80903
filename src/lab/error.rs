//! What can go wrong with a lab, and what to do about it.

use std::path::PathBuf;

/// A failure of the lab. `Display` says what was found and where; [`LabError::help`] says what to do.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    #[error("the lab needs root: containers with addresses of their own cannot be made by user {uid}")]
    NotRoot { uid: u32 },
    #[error("neither podman nor docker answers on this machine ({found})")]
    NoEngine { found: String },
    #[error("no container runtime can start a systemd host: {found}")]
    NoRuntime { found: String },
    #[error("`{tool}` is not installed")]
    NoTool { tool: &'static str, package: &'static str },
    #[error("{what} failed: {message}")]
    Command { what: String, message: String },
    #[error("{what} took longer than {seconds} s")]
    Slow { what: String, seconds: u64 },
    #[error("building the image failed: {message}")]
    Image { message: String },
    #[error("image `{image}` is not known to {engine}")]
    NoImage { image: String, engine: &'static str },
    #[error("lab `{lab}` was made from {other}")]
    Foreign { lab: String, other: String },
    #[error("the network {subnets} of the lab cannot be made: {message}")]
    Network { subnets: String, message: String },
    #[error("lab `{lab}` is not up")]
    NotUp { lab: String },
    #[error("lab `{lab}` has no host `{host}`{}", suggest(.near))]
    NoHost { lab: String, host: String, near: Option<String> },
    #[error("host `{host}` is {state}")]
    NotRunning { host: String, state: String },
    #[error("host `{host}` did not answer on SSH within {seconds} s")]
    NoSsh { host: String, seconds: u64 },
    #[error("the lab cannot be made as written: {0}")]
    Spec(String),
    #[error("fault `{0}` is not active")]
    NoFault(String),
    #[error("fault refused: {0}")]
    Fault(String),
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{}: not a lab record: {message}", path.display())]
    Record { path: PathBuf, message: String },
}

fn suggest(near: &Option<String>) -> String {
    near.as_ref().map(|n| format!(" (did you mean `{n}`?)")).unwrap_or_default()
}

impl LabError {
    /// Stable code, as in the diagnostics of the language.
    pub fn code(&self) -> &'static str {
        match self {
            LabError::NotRoot { .. } => "E1201",
            LabError::NoEngine { .. } => "E1202",
            LabError::NoRuntime { .. } => "E1203",
            LabError::NoTool { .. } => "E1204",
            LabError::Command { .. } => "E1205",
            LabError::Slow { .. } => "E1206",
            LabError::Image { .. } => "E1207",
            LabError::NoImage { .. } => "E1208",
            LabError::Foreign { .. } => "E1209",
            LabError::NotUp { .. } => "E1210",
            LabError::NoHost { .. } => "E1211",
            LabError::NotRunning { .. } => "E1212",
            LabError::NoSsh { .. } => "E1213",
            LabError::Spec(_) => "E1214",
            LabError::NoFault(_) => "E1215",
            LabError::Fault(_) => "E1216",
            LabError::Io { .. } => "E1217",
            LabError::Record { .. } => "E1218",
            LabError::Network { .. } => "E1219",
        }
    }

    /// What to do next.
    pub fn help(&self) -> Option<String> {
        match self {
            LabError::NotRoot { .. } => Some("run the command as root, or with sudo".into()),
            LabError::NoEngine { .. } => Some("apt-get install podman runc (or Docker, with its service started)".into()),
            LabError::NoRuntime { .. } => {
                Some("apt-get install runc; on a machine with cgroup v1 crun refuses systemd containers".into())
            }
            LabError::NoTool { package, .. } => Some(format!("apt-get install {package}")),
            LabError::Image { .. } => {
                Some("the image is made from Debian packages: check `apt-get update` on this machine; a ready image can be named in CUTOVER_LAB_IMAGE".into())
            }
            LabError::NoImage { .. } => Some("import it first, or unset CUTOVER_LAB_IMAGE to build one".into()),
            LabError::Foreign { other, .. } => {
                let topology = other.split("/.cutover/").next().unwrap_or(other);
                Some(format!(
                    "take it down from there (`cutover lab down --root {topology}`), or make this one beside it under another name \
                     (`cutover lab up --name NAME`) and in another network (the environment's address-map)"
                ))
            }
            LabError::Network { .. } => Some(
                "give the environment another network by its address-map, or take the other one down (`podman network ls`)".into(),
            ),
            LabError::NotUp { .. } => Some("start it with `cutover lab up`".into()),
            LabError::NotRunning { .. } => Some("`cutover lab up` starts it again; `cutover lab status` shows active faults".into()),
            LabError::NoSsh { host, .. } => {
                Some(format!("`cutover lab exec {host} journalctl -b -u ssh` shows what its sshd says"))
            }
            LabError::NoFault(_) => Some("`cutover lab status` lists the active ones".into()),
            LabError::Record { .. } => Some("`cutover lab down` removes what the lab made and forgets the record".into()),
            LabError::Command { .. }
            | LabError::Slow { .. }
            | LabError::NoHost { .. }
            | LabError::Spec(_)
            | LabError::Fault(_)
            | LabError::Io { .. } => None,
        }
    }

    pub(crate) fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        LabError::Io { path: path.into(), source }
    }
}
