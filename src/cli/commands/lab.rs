use std::io::IsTerminal as _;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::super::args::Format;
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::failure::Failure;
use super::super::project::Project;
use super::super::{lab_spec, runtime, secrets};
use super::Answer;
use crate::lab::{self, Input, Note, Progress};

mod fault;

/// Make the hosts of an environment as containers on this machine
///
/// For environments with `runtime=containers`: systemd hosts with sshd on networks of their own, made by Podman or Docker from
/// Debian packages. They are reached over SSH exactly as real hosts are.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cutover lab up --env lab                       make the hosts; the first time builds their image (about a minute)
  cutover lab status --env lab
  cutover lab ssh --env lab mail-1               a shell on a host
  cutover lab exec --env lab mail-1 -- postqueue -p
  cutover lab fault --env lab cut mail-1 mail-2  cut the line between two hosts
  cutover lab down --env lab                     leave nothing behind")]
pub struct Args {
    #[command(subcommand)]
    command: LabCommand,
}

#[derive(Debug, Subcommand)]
enum LabCommand {
    /// Make the hosts, or bring them to what the topology says now
    Up {
        /// Call the lab so instead of organisation-environment, to have two of one topology on this machine; give the
        /// second one an address-map of its own too
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
    },
    /// Remove the hosts, networks and disks of the lab
    Down {
        /// Remove the built images too
        #[arg(long)]
        images: bool,
        /// The lab of this name, when the record of it in the state folder is lost
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
    },
    /// Show the hosts, whether they answer, and the faults in force
    Status,
    /// Open a shell on a host, or run a command there, over SSH
    Ssh {
        host: String,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Run a command as root inside a host, without SSH
    Exec {
        host: String,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<String>,
    },
    /// Break something on purpose: cut a link, pause or reboot a host, fill a disk, …
    Fault(fault::Args),
}

/// What every lab command works on.
struct Lab {
    project: Project,
    name: String,
    dir: PathBuf,
}

pub fn run(args: &Args, context: &Context) -> Answer {
    context.formats("lab", &[Format::Text, Format::Json])?;
    let project = Project::compile(context)?;
    let environment = lab_spec::environment(&project.topology)?.to_owned();
    let dir = lab_spec::dir(&context.state_dir(), &environment);
    let name = name(args, lab_spec::name(&project.site.organization, &environment), &dir)?;
    let lab = Lab { project, name, dir };
    match &args.command {
        LabCommand::Up { .. } => up(&lab, context),
        LabCommand::Down { images, .. } => down(&lab, *images, context),
        LabCommand::Status => status(&lab, context),
        LabCommand::Ssh { host, command } => ssh(&lab, host, command),
        LabCommand::Exec { host, command } => exec(&lab, host, command),
        LabCommand::Fault(args) => fault::run(args, &lab, context),
    }
}

/// The lab's name: as its record says, once it was made.
fn name(args: &Args, usual: String, dir: &Path) -> Result<String, Failure> {
    let recorded = match (&args.command, lab::recorded_name(dir)) {
        // What a torn record says is not needed to take a lab down.
        (LabCommand::Down { .. }, Err(_)) => None,
        (_, recorded) => recorded?,
    };
    match (&args.command, recorded) {
        (LabCommand::Up { name: Some(asked) }, Some(is)) if *asked != is => {
            Err(Failure::new(format!("this lab is up already and is called {is}, not {asked}"))
                .help("`cutover lab down` first, or leave --name out"))
        }
        (LabCommand::Up { name: Some(asked) } | LabCommand::Down { name: Some(asked), .. }, _) => Ok(asked.clone()),
        (_, recorded) => Ok(recorded.unwrap_or(usual)),
    }
}

fn with_progress<T>(context: &Context, work: impl FnOnce(Progress<'_>) -> T) -> T {
    let verbose = context.globals.verbose > 0 || !context.out.interactive();
    let say = |note: Note<'_>| match note {
        Note::Step(text) => context.out.note(text),
        Note::Detail(text) if verbose => context.out.note(format!("  {text}")),
        Note::Detail(text) => context.out.passing(text),
    };
    let done = work(Progress::new(&say));
    context.out.passing("");
    done
}

fn up(lab: &Lab, context: &Context) -> Answer {
    let root = context.root();
    let Project { topology, site, .. } = &lab.project;
    for path in lab_spec::make_missing_keys(&root, site)? {
        context.out.note(format!("made the key {} (the topology names it, and it was not there)", path.display()));
    }
    let resolver = secrets::resolver(&root, topology);
    let keys = runtime::block_on(lab_spec::public_keys(&root, site, &resolver))??;
    let mut spec = lab_spec::spec(topology, site, lab.dir.clone(), keys)?;
    spec.name.clone_from(&lab.name);
    let record = with_progress(context, |progress| lab::up(&spec, progress))?;
    match context.json() {
        true => context.out.json(&record),
        false => {
            let env = topology.environment.as_deref().unwrap_or_default();
            context.out.result(format!("{} hosts are up. Next: cutover plan --env {env}", record.hosts.len()));
        }
    }
    Ok(Exit::Ok)
}

fn down(lab: &Lab, images: bool, context: &Context) -> Answer {
    with_progress(context, |progress| lab::down(&lab.name, &lab.dir, progress))?;
    if images {
        let removed = lab::remove_images()?;
        context.out.note(format!("removed {removed} images"));
    }
    context.out.result(format!("lab {} is gone", lab.name));
    Ok(Exit::Ok)
}

fn status(lab: &Lab, context: &Context) -> Answer {
    let status = lab::status(&lab.name, &lab.dir)?;
    if context.json() {
        context.out.json(&status);
        return Ok(Exit::Ok);
    }
    let mut text = format!("lab {} by {}\n", status.name, status.engine);
    let width = status.hosts.iter().map(|h| h.name.len()).max().unwrap_or(0);
    for host in &status.hosts {
        let addresses = host.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let ssh = if host.answers { "answers on SSH" } else { "does not answer on SSH" };
        text.push_str(&format!("  {:width$}  {:?}, {ssh}  {addresses}\n", host.name, host.state));
    }
    if !status.faults.is_empty() {
        text.push_str("faults in force:\n");
        for fault in &status.faults {
            text.push_str(&format!("  {}  {}\n", fault.id, fault.fault));
        }
    }
    context.out.result(text);
    Ok(Exit::Ok)
}

fn ssh(lab: &Lab, host: &str, command: &[String]) -> Answer {
    let record = lab::load(&lab.name, &lab.dir)?;
    let root = lab.project.root.clone();
    record.host(host)?;
    let access = lab.project.site.hosts.get(&host.into());
    let user = access.map_or("root", |a| a.user.as_str());
    let key = match access.and_then(|a| a.key.as_ref()).map(|k| k.parts()) {
        Some(("file", path)) => root.join(path),
        _ => {
            return Err(Failure::new(format!("the key of {host} is not a file, so plain ssh cannot use it"))
                .help(format!("use: cutover lab exec {host} -- COMMAND")));
        }
    };
    finish(lab::ssh_command(&record, &lab.dir, host, user, &key, command)?)
}

fn exec(lab: &Lab, host: &str, command: &[String]) -> Answer {
    let record = lab::load(&lab.name, &lab.dir)?;
    finish(lab::exec_command(&record, host, command, input())?)
}

/// What standard input is: a terminal, nothing (`/dev/null`), or something to read.
fn input() -> Input {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return if std::io::stdout().is_terminal() { Input::Terminal } else { Input::Piped };
    }
    let null = |fd: &dyn AsFd| {
        let of = |file: std::fs::File| file.metadata().map(|m| m.rdev());
        let here = fd.as_fd().try_clone_to_owned().map(std::fs::File::from).and_then(of);
        here.ok().zip(std::fs::metadata("/dev/null").ok()).is_some_and(|(rdev, null)| rdev == null.rdev())
    };
    if null(&stdin) { Input::None } else { Input::Piped }
}

/// Hands the terminal to another program; its exit code, when it has one, is ours.
fn finish(mut command: std::process::Command) -> Answer {
    let status = command
        .status()
        .map_err(|e| Failure::new(format!("{} cannot be started: {e}", command.get_program().to_string_lossy())))?;
    match status.code() {
        Some(0) => Ok(Exit::Ok),
        Some(code) => Ok(Exit::Other(u8::try_from(code).unwrap_or(1))),
        None => Err(Failure::new("the command was ended by a signal")),
    }
}
