//! The topology of this run, compiled and lowered: what nearly every command begins with.
//!
//! ```text
//! files ──language──▶ Topology ──rules──▶ diagnostics
//! packs ──────────────────┴──lowering──▶ Site
//! ```

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::args::Format;
use super::authority::Authority;
use super::context::Context;
use super::failure::Failure;
use super::packs;
use crate::journal::StateDir;
use crate::language::{self, Compiled};
use crate::lowering;
use crate::model::diagnostic::Diagnostics;
use crate::model::site::Site;
use crate::model::source::Sources;
use crate::model::topology::Topology;
use crate::reporting::diagnostics;

pub struct Project {
    /// The folder that paths in the topology are relative to.
    pub root: PathBuf,
    pub sources: Sources,
    pub topology: Topology,
    pub site: Site,
}

/// What a topology became, with everything that is wrong with it.
pub struct Examined {
    pub project: Project,
    pub diagnostics: Diagnostics,
}

impl Project {
    /// Compiles and lowers; mistakes are shown and end the command. Nothing is issued and no secret is read: certificates are
    /// stand-ins, so this site must not be planned.
    pub fn compile(context: &Context) -> Result<Self, Failure> {
        Self::made(context, Issue::StandIns)
    }

    /// The same with certificates and generated secrets made or found, fit for planning.
    pub fn issued(context: &Context) -> Result<Self, Failure> {
        Self::made(context, Issue::Really)
    }

    fn made(context: &Context, issue: Issue) -> Result<Self, Failure> {
        let Examined { project, diagnostics } = examine(context, language::compile, issue)?;
        accept(context, &project.sources, &diagnostics)?;
        Ok(project)
    }

    /// Where journal and lock of this organisation and environment live.
    pub fn state(&self, context: &Context) -> StateDir {
        state(context, &self.topology)
    }
}

fn state(context: &Context, topology: &Topology) -> StateDir {
    let organization = topology.organization().map_or("", |o| o.id.name.as_str());
    StateDir::below(&context.state_dir(), organization, topology.environment.as_deref())
}

/// What becomes of certificates and generated secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Issue {
    /// Made, or found where they were made before, in the state folder.
    Really,
    /// Nothing is made or read.
    StandIns,
}

/// Compiles with `how` ([`language::compile`] or [`language::check`]) and lowers what came out, so that one run shows the
/// mistakes of all floors.
pub fn examine(
    context: &Context,
    how: fn(&Path, &language::Options) -> Compiled,
    issue: Issue,
) -> Result<Examined, Failure> {
    let file = context.file();
    if !file.exists() {
        return Err(Failure::new(format!("there is no {}", file.display()))
            .help("write a starter topology with `cutover init`, or say where yours is with --root DIR"));
    }
    let root = context.root();
    let Compiled { mut sources, topology, mut diagnostics } = how(&file, &options(context));
    let site = if diagnostics.has_errors() || topology.nodes.is_empty() {
        // Half a topology would only repeat its mistakes under other names; without --env a check compiles the environments only.
        Site::default()
    } else {
        let packs = packs::load(&root, &mut sources, &mut diagnostics);
        let needs = lowering::needs(&topology);
        let made = match issue {
            Issue::StandIns => lowering::Options::unissued(&needs),
            Issue::Really => {
                let organization = topology.organization().map_or("", |o| o.id.name.as_str());
                let state = state(context, &topology);
                let authority = Authority::new(&root, state.path(), organization, SystemTime::now());
                authority.fulfil(&needs, &mut diagnostics)
            }
        };
        let (site, more) = lowering::lower(&topology, &packs, &sources, &made);
        diagnostics.extend(more);
        site
    };
    Ok(Examined { project: Project { root, sources, topology, site }, diagnostics })
}

fn options(context: &Context) -> language::Options {
    language::Options {
        environment: context.globals.env.clone(),
        sets: context.globals.sets.clone(),
        roles: None,
        allow_unset: false,
    }
}

/// Shows warnings on standard error and goes on; shows errors and ends.
pub fn accept(context: &Context, sources: &Sources, found: &Diagnostics) -> Result<(), Failure> {
    if found.is_empty() {
        return Ok(());
    }
    if context.globals.format == Format::Json && found.has_errors() {
        context.out.json(&diagnostics::json(sources, found));
    }
    let style = diagnostics::Style { color: context.out.err_color(), ..diagnostics::Style::default() };
    context.out.note(diagnostics::text(sources, found, style));
    if found.has_errors() {
        return Err(Failure::shown());
    }
    Ok(())
}
