//! The flows, in one test binary: it links once.

mod cli;
mod docs;
mod execution;
mod execution_crash;
mod execution_races;
mod execution_world;
mod floors;
mod journal;
mod lab_faults;
mod lab_flow;
mod lab_hosts;
mod lab_providers;
mod lab_providers_faults;
mod language;
mod language_robust;
mod language_rules;
mod packs;
mod planning;
mod planning_properties;
mod planning_scale;
mod planning_undo;
mod planning_world;
mod providers;
mod reporting_golden;
mod reporting_schema;
mod support;
