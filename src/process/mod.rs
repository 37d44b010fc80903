//! What opens and closes parts of a plan: phases and their gates, evidence and approvals, calendars of change, notices. Pure decisions on plain
//! data: no clock, no disk, no socket. What was recorded, what time it is and who asks are inputs.

pub mod after;
pub mod board;
pub mod calendar;
pub mod certificate;
pub mod change;
pub mod forecast;
pub mod forward;
pub mod gate;
pub mod notice;
pub mod record;
pub mod recurrence;
pub mod runbook;
pub mod survey;
pub mod trust;
