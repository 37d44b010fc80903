//! cutover: plans and carries out the move of an organisation's mail.
//!
//! The floors, bottom up; `tests/it/floors.rs` holds the imports against this table.
//!
//! | floor | may import |
//! |---|---|
//! | [`model`] | nothing of ours |
//! | [`catalog`], [`journal`], [`secret`] | model |
//! | [`protocol`] | model |
//! | [`language`], [`planning`], [`reporting`] | ground (model, catalog, secret) |
//! | [`availability`] | model |
//! | [`rules`] | ground, availability |
//! | [`people`] | ground, protocol |
//! | [`process`] | ground, people |
//! | [`importing`] | ground, protocol, people |
//! | [`lowering`] | ground, protocol, people, monitoring |
//! | [`transport`] | model, secret |
//! | [`providers`] | ground, transport, protocol, exchange |
//! | [`execution`] | ground, journal, transport, providers |
//! | [`monitoring`] | ground |
//! | [`auditing`] | ground, transport |
//! | [`lab`] | ground, transport |
//! | [`exchange`] | ground, language |
//! | [`editor`] | ground, language, rules, reporting |
//! | [`services`] | model, protocol |
//! | [`moving`] | model, services, people |
//! | [`cli`] | all |

pub mod auditing;
pub mod availability;
pub mod catalog;
pub mod cli;
pub mod editor;
pub mod exchange;
pub mod execution;
pub mod importing;
pub mod journal;
pub mod lab;
pub mod language;
pub mod lowering;
pub mod model;
pub mod monitoring;
pub mod moving;
pub mod people;
pub mod planning;
pub mod process;
pub mod protocol;
pub mod providers;
pub mod reporting;
pub mod rules;
pub mod secret;
pub mod services;
pub mod transport;
