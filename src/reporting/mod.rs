//! What people and programs read: plans, progress, closing reports, drift. Functions from data to text; printing is `cli`'s.

mod audit;
mod board;
mod changes;
mod closing;
pub mod codes;
pub mod diagnostics;
pub mod diagnostics_json;
mod dns;
mod drift;
mod estimate;
pub mod graph;
mod history;
mod lines;
mod plan_json;
mod plan_markdown;
mod plan_text;
mod progress;
mod reporter;
mod schedule;
mod schemas;
mod senders;
mod style;
mod timetable;
mod topology_json;

pub use audit::audit_text;
pub use board::{BoardRow, board_html};
pub use changes::{Counts, per_host};
pub use closing::{ApplyReport, FailedStep, ReportLine, Tally, closing_text, show_text};
pub use dns::{ServerReport, SetDifference, SetShown, ZoneReport, zones_text};
pub use drift::{DriftReport, Drifted, drift, drift_text};
pub use history::{Ended, HistoryEntry, history_text};
pub use lines::Lines;
pub use plan_json::plan_json;
pub use plan_markdown::plan_markdown;
pub use plan_text::{TextOptions, plan_text};
pub use progress::Progress;
pub use reporter::{JsonLines, Reporter};
pub use schemas::schemas;
pub use senders::{HostSeen, SendersReport, SpfSeen, senders_text};
pub use style::{Paint, one_line, visible};
pub use timetable::schedule_svg;
pub use topology_json::{
    FieldDocument, NodeDocument, TopologyDocument, UnitDocument, ValueDocument, topology_document,
};
