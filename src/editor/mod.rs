//! The language server behind `cutover lsp`: diagnostics as you type, completion, hover, navigation, rename, formatting.
//!
//! | file | what it is |
//! |---|---|
//! | `wire`, `client`, `settings`, `server`, `requests` | messages, what the editor can do and wants, the loop, who answers what |
//! | `documents`, `position`, `uri` | open texts, UTF-16 columns, paths |
//! | `roots`, `analysis`, `publish` | which root a file belongs to, the root read and checked, its diagnostics |
//! | `outline`, `place` | a text that need not parse, and what stands at a cursor |
//! | `index`, `uses` | where every name is written |
//! | `view` | the text now, in line with the last analysis that had trees |
//! | `completion`, `candidates`, `hover`, `navigate`, `rename`, `layout`, `symbols`, `hints`, `actions` | the answers |
//!
//! Not here: what is right and wrong. That is `language` and `rules`, the same as for `cutover check`; role packs and lowering, which
//! `check` adds, are left to it.

mod actions;
mod analysis;
mod candidates;
mod client;
mod completion;
mod documents;
mod hints;
mod hover;
mod index;
mod layout;
mod navigate;
mod outline;
mod place;
mod position;
mod publish;
mod rename;
mod requests;
mod roots;
mod server;
mod settings;
mod symbols;
mod uri;
mod uses;
mod view;
mod wire;

pub use server::{Ended, serve};
pub use settings::Settings;
