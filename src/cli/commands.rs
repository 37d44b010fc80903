//! One command one file: help text, arguments, function.

use clap::Subcommand;

use super::context::Context;
use super::exit::Exit;
use super::failure::Failure;

mod apply;
mod approve;
mod audit;
mod calendar;
mod check;
mod cohort;
mod completions;
mod destroy;
mod dns;
mod docs;
mod drift;
mod evidence;
mod explain;
mod export;
mod fmt;
mod forecast;
mod graph;
mod history;
mod import;
mod init;
mod lab;
mod lab_relay;
mod lint;
mod lsp;
mod monitoring;
mod notices;
mod phase;
mod plan;
mod records;
mod resume;
mod rollback;
mod routes;
mod runbook;
mod scorecard;
mod show;
mod state;
mod survey;
mod undo;
mod user;
mod version;

pub use routes::failure as routes_failure;

pub type Answer = Result<Exit, Failure>;

#[derive(Debug, Subcommand)]
pub enum Command {
    Init(init::Args),
    Check(check::Args),
    Lint(lint::Args),
    Fmt(fmt::Args),
    Explain(explain::Args),
    Export(export::Args),
    Docs(docs::Args),
    Import(import::Args),
    Plan(plan::Args),
    Apply(apply::Args),
    Approve(approve::Args),
    Phase(phase::Args),
    Evidence(evidence::Args),
    Records(records::Args),
    Resume(resume::Args),
    Undo(undo::Args),
    Rollback(rollback::Args),
    User(user::Args),
    Cohort(cohort::Args),
    Forecast(forecast::Args),
    Routes(routes::Args),
    Dns(dns::Args),
    Calendar(calendar::Args),
    Notices(notices::Args),
    Monitoring(monitoring::Args),
    Runbook(runbook::Args),
    Survey(survey::Args),
    Drift(drift::Args),
    Audit(audit::Args),
    Scorecard(scorecard::Args),
    Show(show::Args),
    History(history::Args),
    Graph(graph::Args),
    State(state::Args),
    Destroy(destroy::Args),
    Lab(lab::Args),
    Lsp(lsp::Args),
    Completions(completions::Args),
    Version(version::Args),
    #[command(hide = true)]
    LabRelay(lab_relay::Args),
}

pub fn run(command: Command, context: &Context) -> Answer {
    match command {
        Command::Init(args) => init::run(&args, context),
        Command::Check(args) => check::run(&args, context),
        Command::Lint(args) => lint::run(&args, context),
        Command::Fmt(args) => fmt::run(&args, context),
        Command::Explain(args) => explain::run(&args, context),
        Command::Import(args) => import::run(&args, context),
        Command::Docs(args) => docs::run(&args, context),
        Command::Export(args) => export::run(&args, context),
        Command::Plan(args) => plan::run(&args, context),
        Command::Apply(args) => apply::run(&args, context),
        Command::Approve(args) => approve::run(&args, context),
        Command::Evidence(args) => evidence::run(&args, context),
        Command::Phase(args) => phase::run(&args, context),
        Command::Records(args) => records::run(&args, context),
        Command::Resume(args) => resume::run(&args, context),
        Command::Undo(args) => undo::run(&args, context),
        Command::Rollback(args) => rollback::run(&args, context),
        Command::User(args) => user::run(&args, context),
        Command::Cohort(args) => cohort::run(&args, context),
        Command::Forecast(args) => forecast::run(&args, context),
        Command::Routes(args) => routes::run(&args, context),
        Command::Dns(args) => dns::run(&args, context),
        Command::Calendar(args) => calendar::run(&args, context),
        Command::Notices(args) => notices::run(&args, context),
        Command::Monitoring(args) => monitoring::run(&args, context),
        Command::Runbook(args) => runbook::run(&args, context),
        Command::Survey(args) => survey::run(&args, context),
        Command::Drift(args) => drift::run(&args, context),
        Command::Audit(args) => audit::run(&args, context),
        Command::Scorecard(args) => scorecard::run(&args, context),
        Command::Show(args) => show::run(&args, context),
        Command::Destroy(args) => destroy::run(&args, context),
        Command::Graph(args) => graph::run(&args, context),
        Command::State(args) => state::run(&args, context),
        Command::History(args) => history::run(&args, context),
        Command::Lab(args) => lab::run(&args, context),
        Command::Lsp(args) => lsp::run(&args, context),
        Command::Completions(args) => completions::run(&args, context),
        Command::Version(args) => version::run(&args, context),
        Command::LabRelay(args) => lab_relay::run(&args, context),
    }
}
