//! Who reads the events of an apply, live or replayed.

use crate::model::event::Event;

/// Reads one event after the other. What it returns is for the terminal, without a line end; the caller prints it.
pub trait Reporter: Send {
    fn event(&mut self, event: &Event) -> Option<String>;

    /// After the last event: takes down what it drew.
    fn finish(&mut self) {}
}

/// `--json`: each event as one line.
#[derive(Debug, Default)]
pub struct JsonLines;

impl Reporter for JsonLines {
    fn event(&mut self, event: &Event) -> Option<String> {
        serde_json::to_string(event).ok()
    }
}
