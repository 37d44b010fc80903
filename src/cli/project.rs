//! The topology of this run, compiled and lowered: what nearly every command begins with.
//!
//! ```text
//! files ──language──▶ Topology ──rules──▶ diagnostics
//! packs ──────────────────┴──lowering──▶ Site
//! ```

use std::path::PathBuf;
use std::time::SystemTime;

use super::args::Format;
use super::authority::Authority;
use super::context::Context;
use super::failure::Failure;
use super::{packs, signing};
use crate::journal::StateDir;
use crate::language::{self, Compiled};
use crate::lowering;
use crate::model::diagnostic::Diagnostics;
use crate::model::site::Site;
use crate::model::source::Sources;
use crate::model::topology::Topology;
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

    /// The language alone, without packs and hosts: for what only reads the topology.
    pub fn topology(context: &Context) -> Result<(Sources, Topology), Failure> {
        let Compiled { sources, topology, diagnostics } = language::compile(&existing(context)?, &options(context));
        accept(context, &sources, &diagnostics)?;
        Ok((sources, topology))
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
    let file = existing(context)?;
    let root = context.root();
    let Compiled { mut sources, topology, mut diagnostics } = language::compile(&file, options);
    let (site, made) = if diagnostics.has_errors() {
        // Half a topology would only repeat its mistakes under other names.
        (Site::default(), lowering::Options::default())
    } else {
        let packs = packs::load(&root, &mut sources, &mut diagnostics);
        let needs = lowering::needs(&topology);
        let made = match issue {
            Issue::StandIns => lowering::Options::unissued(&needs),
            Issue::Really => {
                let organization = topology.organization().map_or("", |o| o.id.name.as_str());
                let state = state(context, &topology);
                let authority = Authority::new(&root, state.path(), organization, SystemTime::now());
                let mut made = authority.fulfil(&needs, &mut diagnostics);
                made.signing = signing::public(&root, &topology, &needs.signing, &mut diagnostics);
                made
            }
        };
        let (site, more) = lowering::lower(&topology, &packs, &sources, &made);
        diagnostics.extend(more);
        (site, made)
    };
    let diagnostics = language::guard(&mut sources, diagnostics);
    Ok(Examined { project: Project { root, sources, topology, site, made }, diagnostics })
}

/// Examines the base or the chosen environment; with none chosen, every environment after the other. Variables without a value get
/// a sample of their type. Lint rules speak here only: a plan is not the place to be told of style.
pub fn examine_all(context: &Context) -> Result<Vec<Examined>, Failure> {
    let mut examined = examine_each(context)?;
    for Examined { project, diagnostics } in &mut examined {
        if !diagnostics.has_errors() {
            diagnostics.extend(rules::check(&project.topology, jiff::Zoned::now().date()));
        }
    }
    Ok(examined)
}

/// Compiles every environment (or the chosen one) and runs the lint rules over each. A topology with mistakes gives its mistakes.
pub fn lint_all(context: &Context) -> Result<Vec<Compiled>, Failure> {
    let options = language::Options { allow_unset: true, ..options(context) };
    let file = existing(context)?;
    let whole = language::check(&file, &options);
    if whole.diagnostics.has_errors() {
        return Ok(vec![whole]);
    }
    let first = language::compile(&file, &options);
    let environments: Vec<String> = match &options.environment {
        Some(_) => Vec::new(),
        None => first.topology.all("environment").map(|e| e.id.name.clone()).collect(),
    };
    let of = |e: String| language::compile(&file, &language::Options { environment: Some(e), ..options.clone() });
    let mut all: Vec<Compiled> = environments.into_iter().map(of).collect();
    if all.is_empty() {
        all.push(first);
    }
    for c in &mut all {
        c.diagnostics.extend(rules::check(&c.topology, jiff::Zoned::now().date()));
    }
    Ok(all)
}

fn examine_each(context: &Context) -> Result<Vec<Examined>, Failure> {
    let options = language::Options { allow_unset: true, ..options(context) };
    let whole = language::check(&existing(context)?, &options);
    if whole.diagnostics.has_errors() || context.globals.env.is_some() {
        if !whole.diagnostics.has_errors() {
            return Ok(vec![examine(context, &options, Issue::StandIns)?]);
        }
        let Compiled { sources, topology, diagnostics } = whole;
        let made = lowering::Options::default();
        let project = Project { root: context.root(), sources, topology, site: Site::default(), made };
        return Ok(vec![Examined { project, diagnostics }]);
    }
    let base = examine(context, &options, Issue::StandIns)?;
    let environments: Vec<String> = base.project.topology.all("environment").map(|e| e.id.name.clone()).collect();
    if environments.is_empty() {
        return Ok(vec![base]);
    }
    let of = |environment: String| {
        let options = language::Options { environment: Some(environment), ..options.clone() };
        examine(context, &options, Issue::StandIns)
    };
    environments.into_iter().map(of).collect()
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
