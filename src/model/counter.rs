//! Counters that a monitor can watch: one name for what each product calls otherwise.
//!
//! A `rule` names a counter by its name here, by the performance counter of Windows, by the metric of Prometheus, or as
//! `custom:NAME` where this list does not have it. Names of performance counters are those of Microsoft's "Monitoring without
//! System Center" (Exchange 2007 and 2010) and of the Exchange 2007 management pack (TechNet bb218724, bb218053); names of
//! metrics those of windows_exporter (collectors exchange, cpu, logical_disk, service, mscluster), node_exporter,
//! postfix_exporter and Dovecot's OpenMetrics.

use super::unit::Quantity;

/// One counter.
#[derive(Debug, PartialEq)]
pub struct Counter {
    /// Name in the language.
    pub name: &'static str,
    /// What it counts.
    pub about: &'static str,
    pub unit: Quantity,
    /// Performance counters of Windows, `\OBJECT\COUNTER` without instance; empty where there is none.
    pub windows: &'static [&'static str],
    /// Metrics of Prometheus, from Exchange or Windows first; empty where no exporter has it.
    pub metrics: &'static [&'static str],
}

const fn counter(
    name: &'static str,
    about: &'static str,
    unit: Quantity,
    windows: &'static [&'static str],
    metrics: &'static [&'static str],
) -> Counter {
    Counter { name, about, unit, windows, metrics }
}

use Quantity::{Bytes, Count, Days, Percent, Seconds, State};

/// By name.
pub const COUNTERS: &[Counter] = &[
    counter(
        "active-mailbox-queue",
        "messages on their way into mailboxes",
        Count,
        &[r"\MSExchangeTransport Queues\Active Mailbox Delivery Queue Length"],
        &["windows_exchange_transport_queues_active_mailbox_delivery"],
    ),
    counter(
        "aggregate-delivery-queue",
        "messages in all delivery queues of a server",
        Count,
        &[r"\MSExchangeTransport Queues\Aggregate Delivery Queue Length (All Queues)"],
        &["postfix_showq_message_age_seconds_count"],
    ),
    counter(
        "averaged-latency",
        "time of an answer to a client, averaged",
        Seconds,
        &[r"\MSExchangeIS\RPC Averaged Latency", r"\MSExchange RpcClientAccess\RPC Averaged Latency"],
        &["windows_exchange_rpc_avg_latency_sec", "dovecot_imap_command_duration_seconds_total"],
    ),
    counter("backup-age", "time since the last good backup", Seconds, &[], &[]),
    counter(
        "ccr-service-state",
        "services of a cluster node, 1 while they run",
        State,
        &[],
        &["windows_service_state", "windows_mscluster_node_state"],
    ),
    counter(
        "certificate-days",
        "days until the certificate that a port shows ends",
        Days,
        &[],
        &["probe_ssl_earliest_cert_expiry"],
    ),
    counter(
        "copy-queue",
        "logs that a copy of a database lacks",
        Count,
        &[r"\MSExchange Replication\CopyQueueLength"],
        &[],
    ),
    counter("deleted-item-retention", "days that deleted items are kept", Days, &[], &[]),
    counter("delivery-time", "time from sending to arrival of a test message", Seconds, &[], &[]),
    counter(
        "disk-free",
        "free space of a volume",
        Percent,
        &[r"\LogicalDisk\% Free Space"],
        &["windows_logical_disk_free_bytes", "node_filesystem_avail_bytes"],
    ),
    counter(
        "disk-latency",
        "time of a read or write of a disk",
        Seconds,
        &[
            r"\LogicalDisk\Avg. Disk sec/Read",
            r"\LogicalDisk\Avg. Disk sec/Write",
            r"\LogicalDisk\Avg. Disk sec/Transfer",
        ],
        &[
            "windows_logical_disk_read_latency_seconds_total",
            "windows_logical_disk_write_latency_seconds_total",
            "node_disk_io_time_seconds_total",
        ],
    ),
    counter("heartbeat", "whether the host answers, 1 while it does", State, &[], &["up", "probe_success"]),
    counter("imap-sessions", "sessions of IMAP clients", Count, &[r"\MSExchangeImap4\Current Connections"], &[]),
    counter(
        "largest-delivery-queue",
        "messages in the longest delivery queue",
        Count,
        &[r"\MSExchangeTransport Queues\Largest Delivery Queue Length"],
        &[
            "windows_exchange_transport_queues_internal_largest_delivery",
            "windows_exchange_transport_queues_external_largest_delivery",
        ],
    ),
    counter(
        "ldap-latency",
        "time of a search in the directory",
        Seconds,
        &[r"\MSExchange ADAccess Processes\LDAP Search Time", r"\MSExchange ADAccess Processes\LDAP Read Time"],
        &["windows_exchange_ldap_search_time_sec", "windows_exchange_ldap_read_time_sec"],
    ),
    counter(
        "memory-free",
        "memory that is free",
        Bytes,
        &[r"\Memory\Available Bytes", r"\Memory\Available MBytes"],
        &["node_memory_MemAvailable_bytes"],
    ),
    counter(
        "owa-connections",
        "users of the web client at work",
        Count,
        &[r"\MSExchange OWA\Current Unique Users"],
        &["windows_exchange_owa_current_unique_users"],
    ),
    counter(
        "poison-queue",
        "messages that have crashed the transport",
        Count,
        &[r"\MSExchangeTransport Queues\Poison Queue Length"],
        &["windows_exchange_transport_queues_poison"],
    ),
    counter("pop-sessions", "sessions of POP3 clients", Count, &[r"\MSExchangePop3\Connections Current"], &[]),
    counter(
        "processor-load",
        "share of the processors at work",
        Percent,
        &[r"\Processor\% Processor Time"],
        &["windows_cpu_time_total", "node_cpu_seconds_total"],
    ),
    counter(
        "queue-size",
        "messages in any one queue",
        Count,
        &[],
        &["windows_exchange_transport_queues_internal_largest_delivery", "postfix_showq_message_age_seconds_count"],
    ),
    counter(
        "replay-queue",
        "logs that a copy of a database has not replayed",
        Count,
        &[r"\MSExchange Replication\ReplayQueueLength"],
        &[],
    ),
    counter(
        "retry-mailbox-delivery-queue",
        "messages that could not be put into mailboxes and are tried again",
        Count,
        &[r"\MSExchangeTransport Queues\Retry Mailbox Delivery Queue Length"],
        &["windows_exchange_transport_queues_retry_mailbox_delivery"],
    ),
    counter(
        "retry-remote-delivery-queue",
        "messages that other servers did not take and are tried again",
        Count,
        &[r"\MSExchangeTransport Queues\Retry Remote Delivery Queue Length"],
        &[],
    ),
    counter(
        "service-state",
        "services of a role, 1 while they run",
        State,
        &[],
        &["windows_service_state", "node_systemd_unit_state"],
    ),
    counter(
        "submission-queue",
        "messages that wait to be sorted",
        Count,
        &[r"\MSExchangeTransport Queues\Submission Queue Length"],
        &["windows_exchange_transport_queues_submission_queue_length"],
    ),
    counter(
        "um-service-state",
        "the service of unified messaging, 1 while it runs",
        State,
        &[],
        &["windows_service_state"],
    ),
    counter(
        "unreachable-queue",
        "messages with no way to their receiver",
        Count,
        &[r"\MSExchangeTransport Queues\Unreachable Queue Length"],
        &["windows_exchange_transport_queues_unreachable"],
    ),
];

/// What a rule watches.
#[derive(Debug, PartialEq)]
pub enum Watched<'a> {
    Known(&'static Counter),
    /// What stands behind `custom:`.
    Custom(&'a str),
}

/// The counter of a name, of a performance counter with or without instance (`\Processor(_Total)\% Processor Time`), or of a
/// metric, with or without labels. `None`: no counter that is known.
pub fn find(text: &str) -> Option<Watched<'_>> {
    if let Some(own) = text.strip_prefix("custom:") {
        let plain = !own.is_empty() && !own.contains(|c: char| c.is_whitespace() || c.is_control());
        return plain.then_some(Watched::Custom(own));
    }
    let metric = text.split('{').next().unwrap_or(text);
    let path = without_instance(text);
    let is = |c: &&Counter| {
        c.name == text
            || c.metrics.contains(&metric)
            || path.as_deref().is_some_and(|p| c.windows.iter().any(|w| w.eq_ignore_ascii_case(p)))
    };
    COUNTERS.iter().find(is).map(Watched::Known)
}

/// `\OBJECT\COUNTER` of `\OBJECT(INSTANCE)\COUNTER`; the first `\` may be missing. The host of `\\HOST\..` is no part of it.
fn without_instance(text: &str) -> Option<String> {
    let (object, counter) = text.trim_start_matches('\\').split_once('\\')?;
    let object = object.split_once('(').map_or(object, |(o, _)| o);
    Some(format!("\\{object}\\{counter}"))
}

/// Every word that [`find`] knows, names first.
pub fn words() -> impl Iterator<Item = &'static str> {
    let others = COUNTERS.iter().flat_map(|c| c.windows.iter().chain(c.metrics).copied());
    COUNTERS.iter().map(|c| c.name).chain(others)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Option<&str> {
        match find(text)? {
            Watched::Known(c) => Some(c.name),
            Watched::Custom(own) => Some(own),
        }
    }

    #[test]
    fn a_counter_is_found_by_each_of_its_names() {
        assert_eq!(name("processor-load"), Some("processor-load"));
        assert_eq!(name(r"\Processor(_Total)\% Processor Time"), Some("processor-load"));
        assert_eq!(name(r"processor\% processor time"), Some("processor-load"));
        assert_eq!(name("node_cpu_seconds_total{mode=\"idle\"}"), Some("processor-load"));
        assert_eq!(name("custom:spool.size"), Some("spool.size"));
        for bad in ["processor-laod", "custom:", "custom:a b", "", r"\Processor", "node_cpu"] {
            assert_eq!(name(bad), None, "{bad}");
        }
    }

    #[test]
    fn names_are_in_order_and_each_word_is_found() {
        assert!(COUNTERS.is_sorted_by(|a, b| a.name < b.name));
        assert!(words().all(|w| find(w).is_some()));
    }
}
