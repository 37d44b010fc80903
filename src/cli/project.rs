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
use super::rotation::Course;
use super::{packs, signing};
use crate::journal::StateDir;
use crate::language::{self, Compiled};
use crate::lowering;
use crate::model::diagnostic::Diagnostics;
use crate::model::site::Site;
use crate::model::source::Sources;
use crate::model::topology::Topology;
use crate::people;
use crate::reporting::diagnostics;
use crate::rules;

pub struct Project {
    /// The folder that paths in the topology are relative to.
    pub root: PathBuf,
    pub sources: Sources,
    pub topology: Topology,
    pub site: Site,
    /// Certificates, secrets and keys that the site was lowered with.
    pub made: lowering::Options,
    /// Keys that cutover changes itself, as this run has them.
    pub courses: Vec<Course>,
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
        let Examined { project, diagnostics } = examine(context, &options(context), issue)?;
        accept(context, &project.sources, &diagnostics)?;
        Ok(project)
    }

    /// The topology of an environment as people sign it: with stand-ins for what is issued, so that it is the same for everybody. Warnings are not
    /// shown again.
    pub fn to_sign(context: &Context, environment: Option<&str>) -> Result<Self, Failure> {
        let options = language::Options { environment: environment.map(str::to_owned), ..options(context) };
        let Examined { project, diagnostics } = examine(context, &options, Issue::StandIns)?;
        if diagnostics.has_errors() {
            accept(context, &project.sources, &diagnostics)?;
        }
        Ok(project)
    }

    /// The language alone, without packs and hosts: for what only reads the topology.
    pub fn topology(context: &Context) -> Result<(Sources, Topology), Failure> {
        let Compiled { sources, topology, diagnostics, .. } = language::compile(&existing(context)?, &options(context));
        accept(context, &sources, &diagnostics)?;
        Ok((sources, topology))
    }

    /// The topology for what asks about its zones only: no pack is read and nothing is issued; the site is empty. Public keys that
    /// stand in records are read.
    pub fn of_zones(context: &Context) -> Result<Self, Failure> {
        let (sources, topology) = Self::topology(context)?;
        let (root, needs) = (context.root(), lowering::needs(&topology));
        let mut diagnostics = Diagnostics::default();
        let mut made = lowering::Options::unissued(&needs);
        made.signing =
            signing::public(&root, &topology, &needs.signing, signing::Change::Stays, &mut diagnostics).selectors;
        accept(context, &sources, &diagnostics)?;
        Ok(Self { root, sources, topology, site: Site::default(), made, courses: Vec::new() })
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

/// Compiles and lowers, so that one run shows the mistakes of both.
fn examine(context: &Context, options: &language::Options, issue: Issue) -> Result<Examined, Failure> {
    lowered(context, language::compile(&existing(context)?, options), issue)
}

/// Lowers what is compiled.
fn lowered(context: &Context, compiled: Compiled, issue: Issue) -> Result<Examined, Failure> {
    let root = context.root();
    let Compiled { mut sources, topology, mut diagnostics, .. } = compiled;
    let mut courses = Vec::new();
    let (site, made) = if diagnostics.has_errors() {
        // Half a topology would only repeat its mistakes under other names.
        (Site::default(), lowering::Options::default())
    } else {
        let packs = packs::load(&root, &mut sources, &mut diagnostics);
        let mut needs = lowering::needs(&topology);
        let read = |path: &str| std::fs::read_to_string(root.join(path)).map_err(|e| format!("cannot be read: {e}"));
        let (accounts, wrong) = people::accounts(&topology, &read);
        wrong.into_iter().for_each(|d| diagnostics.push(d));
        let (people, wrong) = people::everybody(&topology, &accounts, &read);
        wrong.into_iter().for_each(|d| diagnostics.push(d));
        needs.of_people(&accounts);
        let mut made = match issue {
            Issue::StandIns => lowering::Options::unissued(&needs),
            Issue::Really => {
                let organization = topology.organization().map_or("", |o| o.id.name.as_str());
                let state = state(context, &topology);
                let authority = Authority::new(&root, state.path(), organization, SystemTime::now());
                let mut made = authority.fulfil(&needs, &mut diagnostics);
                let keys = signing::public(&root, &topology, &needs.signing, signing::Change::GoesOn, &mut diagnostics);
                made.signing = keys.selectors;
                courses = keys.courses;
                made
            }
        };
        made.people = people;
        made.accounts = accounts;
        let (site, more) = lowering::lower(&topology, &packs, &sources, &made);
        diagnostics.extend(more);
        (site, made)
    };
    let diagnostics = language::guard(&mut sources, diagnostics);
    Ok(Examined { project: Project { root, sources, topology, site, made, courses }, diagnostics })
}

/// What is left of a topology that was checked: the topology itself is let go, so that those of several environments of a large fleet
/// never stand at once.
pub struct Checked {
    pub sources: Sources,
    pub diagnostics: Diagnostics,
    /// `None` for the base.
    pub environment: Option<String>,
    pub nodes: usize,
    pub hosts: usize,
    pub resources: usize,
}

/// Checks the base or the chosen environment; with none chosen, every environment after the other. Variables without a value get
/// a sample of their type. Lint rules speak here only: a plan is not the place to be told of style.
pub fn check_all(context: &Context) -> Result<Vec<Checked>, Failure> {
    let options = language::Options { allow_unset: true, ..options(context) };
    let of = |compiled: Compiled| -> Result<Checked, Failure> {
        let Examined { project, diagnostics } = lowered(context, compiled, Issue::StandIns)?;
        let Project { sources, topology, site, .. } = project;
        let (hosts, resources) = (site.hosts.len(), site.resources.len());
        drop(site);
        let environment = topology.environment.clone();
        let mut checked = Checked { sources, diagnostics, environment, nodes: topology.nodes.len(), hosts, resources };
        if !checked.diagnostics.has_errors() {
            checked.diagnostics.extend(rules::check(&topology, jiff::Zoned::now().date()));
        }
        Ok(checked)
    };
    each(&existing(context)?, &options, of)
}

/// Compiles every environment (or the chosen one) and runs the lint rules over each. A topology with mistakes gives its mistakes.
pub fn lint_all(context: &Context) -> Result<Vec<Compiled>, Failure> {
    let options = language::Options { allow_unset: true, ..options(context) };
    let of = |mut compiled: Compiled| {
        if !compiled.diagnostics.has_errors() {
            compiled.diagnostics.extend(rules::check(&compiled.topology, jiff::Zoned::now().date()));
        }
        Ok(compiled)
    };
    each(&existing(context)?, &options, of)
}

/// What becomes of the base, of the chosen environment or, with none chosen, of every environment after the other. A topology with
/// mistakes is one, whole.
fn each<T>(
    file: &Path,
    options: &language::Options,
    mut of: impl FnMut(Compiled) -> Result<T, Failure>,
) -> Result<Vec<T>, Failure> {
    let whole = language::check(file, options);
    // What two environments share is told of the first, and should have the names of the files, not those of a lab.
    let chosen = options.environment.clone().map_or_else(|| whole.environments.clone(), |e| vec![e]);
    if whole.diagnostics.has_errors() || chosen.is_empty() {
        return Ok(vec![of(whole)?]);
    }
    drop(whole);
    let environment = |e: String| language::Options { environment: Some(e), ..options.clone() };
    chosen.into_iter().map(|e| of(language::compile(file, &environment(e)))).collect()
}

fn existing(context: &Context) -> Result<PathBuf, Failure> {
    let file = context.file();
    if file.exists() {
        return Ok(file);
    }
    Err(Failure::new(format!("there is no {}", file.display()))
        .help("write a starter topology with `cutover init`, or say where yours is with --root DIR"))
}

fn options(context: &Context) -> language::Options {
    language::Options {
        environment: context.globals.env.clone(),
        sets: context.globals.assignments(),
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
