//! What stands in a program's answers.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::Offset;
use serde_json::Value;

use crate::services::cms::mailbox::{Class, Date, Fault, Flags, Folder, FolderPath, Id, Seen, SpecialUse};
use crate::services::cms::wire::shown;

pub(super) fn folder_of(told: &Value) -> Option<Folder> {
    let names: Vec<&str> = told["path"].as_array()?.iter().map(Value::as_str).collect::<Option<_>>()?;
    let special = serde_json::from_value::<SpecialUse>(told["special"].clone()).ok();
    Some(Folder {
        path: FolderPath::new(names)?,
        raw: told["raw"].as_str()?.as_bytes().to_vec(),
        special,
        subscribed: told["subscribed"].as_bool().unwrap_or(true),
        selectable: told["selectable"].as_bool().unwrap_or(true),
        foreign: told["foreign"].as_bool().unwrap_or(false),
        identity: told["identity"].as_str().map(str::to_owned),
        mark: None,
    })
}

pub(super) fn seen_of(told: &Value) -> Option<Seen> {
    let id = told["id"].as_str().filter(|id| !id.is_empty())?;
    let size = told["size"].as_u64().or_else(|| told["length"].as_u64());
    Some(Seen { id: Id(id.into()), flags: flags_of(told), size, date: date_of(told) })
}

pub(super) fn flags_of(told: &Value) -> Flags {
    Flags::of(told["flags"].as_array().into_iter().flatten().filter_map(Value::as_str))
}

pub(super) fn date_of(told: &Value) -> Option<Date> {
    let at = Timestamp::from_second(told["at"].as_i64()?).ok()?;
    let minutes = i32::try_from(told["zone"].as_i64().unwrap_or(0)).ok()?;
    Some(Date { at, zone: Offset::from_seconds(minutes.checked_mul(60)?).ok()? })
}

pub(super) fn fault_of(told: &Value) -> Fault {
    let class = serde_json::from_value::<Class>(told["class"].clone()).unwrap_or(Class::Protocol);
    let fault = Fault::new(class, shown(told["what"].as_str().unwrap_or("no reason is given")));
    match told["after"].as_u64() {
        Some(seconds) => fault.after(Duration::from_secs(seconds)),
        None => fault,
    }
}
