//! A counter as Prometheus is asked for it: one value a server, in the counter's own unit.
//!
//! Metrics are those of node_exporter 1.5, postfix_exporter 0.3 and Dovecot 2.3 for open hosts, and of windows_exporter (collectors
//! exchange, cpu, logical_disk, memory, mscluster, service) for Exchange. Its transport queues are read as `name="_total"` only: from
//! Exchange 2019 on it also exports partial sums of them (windows_exporter issue 1904), which a bare sum would count twice.

use super::scope::Family;
use crate::model::counter::Watched;

/// How a series of a test grows, so that the reading comes to a value `v`.
#[derive(Debug, Clone, PartialEq)]
pub struct Feed {
    /// Name and labels; `SERVER` stands for the labels of a server.
    pub series: String,
    /// The series holds `v * times + plus`, or grows by that each minute.
    pub times: f64,
    pub plus: f64,
    pub grows: bool,
}

/// The labels that every series of a host has, from the list of targets.
pub const PER_SERVER: &str = "by (server, site)";
/// Stands in expressions where the servers are named.
pub const SERVERS: &str = "SERVERS";

#[derive(Debug, Clone)]
pub struct Reading {
    /// PromQL with [`SERVERS`] in each selector.
    pub expr: String,
    pub feeds: Vec<Feed>,
    /// What it differs in from what was asked for.
    pub nearly: Option<&'static str>,
}

fn reading(expr: &str, feeds: Vec<Feed>) -> Reading {
    Reading { expr: expr.to_owned(), feeds, nearly: None }
}

impl Reading {
    fn nearly(mut self, why: &'static str) -> Self {
        self.nearly = Some(why);
        self
    }
}

/// A series that is the value itself.
fn holds(series: &str) -> Feed {
    Feed { series: series.into(), times: 1.0, plus: 0.0, grows: false }
}

fn grows(series: &str, times: f64, plus: f64) -> Feed {
    Feed { series: series.into(), times, plus, grows: true }
}

/// The largest of one queue of Exchange, by names of metrics below the common one.
fn exchange_queue(names: &str) -> Reading {
    let prefix = "windows_exchange_transport_queues_";
    let first = names.split('|').next().unwrap_or(names);
    let selector = match names.contains('|') {
        true => format!("{{__name__=~\"{prefix}({names})\",name=\"_total\",{SERVERS}}}"),
        false => format!("{prefix}{names}{{name=\"_total\",{SERVERS}}}"),
    };
    reading(
        &format!("max {PER_SERVER} ({selector})"),
        vec![holds(&format!("{prefix}{first}{{name=\"_total\",SERVER}}"))],
    )
}

/// Messages in queues of Postfix.
fn postfix_queue(queues: &str) -> Reading {
    let first = queues.split('|').next().unwrap_or(queues);
    let of = if queues.is_empty() { String::new() } else { format!("queue=~\"{queues}\",") };
    let first = if first.is_empty() { "active" } else { first };
    reading(
        &format!("sum {PER_SERVER} (postfix_showq_message_age_seconds_count{{{of}{SERVERS}}})"),
        vec![holds(&format!("postfix_showq_message_age_seconds_count{{queue=\"{first}\",SERVER}}"))],
    )
}

/// 1 while no service of these is stopped.
fn windows_services(names: &str) -> Reading {
    let first = if names == EXCHANGE { "MSExchangeIS" } else { names.split('|').next().unwrap_or(names) };
    let stopped = "state=\"stopped\"";
    reading(
        &format!("1 - max {PER_SERVER} (windows_service_state{{name=~\"(?i)({names})\",{stopped},{SERVERS}}})"),
        vec![Feed {
            series: format!("windows_service_state{{name=\"{first}\",{stopped},SERVER}}"),
            times: -1.0,
            plus: 1.0,
            grows: false,
        }],
    )
}

/// 1 while all of these units are active.
fn units(names: &str) -> Reading {
    let first = names.split('|').next().unwrap_or(names).replace("(@-)?", "@-");
    let active = "state=\"active\"";
    reading(
        &format!("min {PER_SERVER} (node_systemd_unit_state{{name=~\"({names})[.]service\",{active},{SERVERS}}})"),
        vec![holds(&format!("node_systemd_unit_state{{name=\"{first}.service\",{active},SERVER}}"))],
    )
}

fn idle(metric: &str) -> Reading {
    reading(
        &format!("100 * (1 - avg {PER_SERVER} (rate({metric}{{mode=\"idle\",{SERVERS}}}[5m])))"),
        vec![grows(&format!("{metric}{{mode=\"idle\",SERVER}}"), -0.6, 60.0)],
    )
}

/// Seconds of something for each of its turns.
fn each(seconds: &[&str], turns: &[&str], more: &str) -> Reading {
    let sum = |names: &[&str]| {
        let rates: Vec<String> =
            names.iter().map(|n| format!("sum {PER_SERVER} (rate({n}{{{more}{SERVERS}}}[5m]))")).collect();
        if rates.len() == 1 { rates.concat() } else { format!("({})", rates.join(" + ")) }
    };
    let series = |n: &str| format!("{n}{{{more}SERVER}}");
    let mut feeds = vec![grows(&series(seconds[0]), 60.0, 0.0), grows(&series(turns[0]), 0.0, 60.0)];
    feeds.extend(
        seconds
            .iter()
            .chain(turns)
            .filter(|n| **n != seconds[0] && **n != turns[0])
            .map(|n| grows(&series(n), 0.0, 0.0)),
    );
    reading(&format!("{} / {}", sum(seconds), sum(turns)), feeds)
}

/// Percent of a volume that is free, of the fullest.
fn free(free: &str, size: &str, more: &str, volume: &str) -> Reading {
    reading(
        &format!("100 * min {PER_SERVER} ({free}{{{more}{SERVERS}}} / {size}{{{more}{SERVERS}}})"),
        vec![
            holds(&format!("{free}{{{volume},SERVER}}")),
            Feed { series: format!("{size}{{{volume},SERVER}}"), times: 0.0, plus: 100.0, grows: false },
        ],
    )
}

/// Debian's postfix.service does nothing and stays active whatever happens: the daemon is its instance `-`.
const POSTFIX: &str = "postfix(@-)?";

/// Services that run on every server of Exchange that has them; POP3 and IMAP4 are stopped by default.
const EXCHANGE: &str = "MSExchange(ADTopology|IS|Transport|FrontEndTransport|Delivery|Submission|MailboxAssistants|MailSubmission|Repl|RPC|ServiceHost|Throttling)";

/// The services of a role on an open host, as units of systemd.
fn services(roles: &[&str]) -> String {
    let mut out: Vec<&str> = Vec::new();
    for role in roles {
        let units: &[&str] = match *role {
            "smtp" | "relay" | "hub" => &[POSTFIX],
            "edge" => &[POSTFIX, "rspamd"],
            "imap" | "mailbox" | "cas" => &["dovecot"],
            "proxy" => &["cutover-proxy"],
            "migration" => &["cutover-cms"],
            "monitor" => &["prometheus", "prometheus-alertmanager"],
            _ => &[],
        };
        out.extend(units.iter().filter(|u| !out.contains(u)).copied().collect::<Vec<_>>());
    }
    out.join("|")
}

/// How a counter is read on hosts of a family with these roles. The error says why it cannot be.
pub fn of(watched: &Watched<'_>, family: Family, roles: &[&str]) -> Result<Reading, &'static str> {
    use Family::{Exchange, Open};
    let name = match watched {
        Watched::Known(counter) => counter.name,
        Watched::Custom(own) => return custom(own),
    };
    let no_exporter = Err("no exporter of this platform has it");
    Ok(match (name, family) {
        ("queue-size", Open) => postfix_queue(""),
        ("queue-size", Exchange) => exchange_queue(
            "internal_largest_delivery|external_largest_delivery|submission_queue_length|retry_mailbox_delivery|\
             active_mailbox_delivery|poison|unreachable",
        ),
        ("submission-queue", Open) => postfix_queue("maildrop|incoming"),
        ("submission-queue", Exchange) => exchange_queue("submission_queue_length"),
        ("retry-mailbox-delivery-queue" | "retry-remote-delivery-queue", Open) => postfix_queue("deferred")
            .nearly("Postfix keeps one deferred queue: for mailboxes and other servers together"),
        ("retry-mailbox-delivery-queue", Exchange) => exchange_queue("retry_mailbox_delivery"),
        ("active-mailbox-queue", Open) => {
            postfix_queue("active").nearly("Postfix has one active queue: for mailboxes and other servers together")
        }
        ("active-mailbox-queue", Exchange) => exchange_queue("active_mailbox_delivery"),
        ("largest-delivery-queue", Open) => postfix_queue("active|deferred")
            .nearly("postfix_exporter does not tell destinations apart: their sum, which is never smaller"),
        ("largest-delivery-queue", Exchange) => exchange_queue("internal_largest_delivery|external_largest_delivery"),
        ("aggregate-delivery-queue", Open) => postfix_queue("incoming|active|deferred"),
        ("aggregate-delivery-queue", Exchange) => {
            let names =
                "active_mailbox_delivery|retry_mailbox_delivery|external_largest_delivery|internal_largest_delivery";
            let mut sum = exchange_queue(names);
            sum.expr = sum.expr.replacen("max", "sum", 1);
            sum.nearly("windows_exporter does not export the aggregate: the sum of the queues that it exports")
        }
        ("poison-queue", Exchange) => exchange_queue("poison"),
        ("unreachable-queue", Exchange) => exchange_queue("unreachable"),
        ("averaged-latency", Open) => {
            each(&["dovecot_imap_command_duration_seconds_total"], &["dovecot_imap_command_total"], "")
        }
        ("averaged-latency", Exchange) => reading(
            &format!("max {PER_SERVER} (windows_exchange_rpc_avg_latency_sec{{{SERVERS}}})"),
            vec![holds("windows_exchange_rpc_avg_latency_sec{SERVER}")],
        ),
        ("processor-load", Open) => idle("node_cpu_seconds_total"),
        ("processor-load", Exchange) => idle("windows_cpu_time_total"),
        ("disk-free", Open) => free(
            "node_filesystem_avail_bytes",
            "node_filesystem_size_bytes",
            "fstype!~\"tmpfs|overlay|squashfs|ramfs\",",
            "fstype=\"ext4\",mountpoint=\"/\"",
        ),
        ("disk-free", Exchange) => free(
            "windows_logical_disk_free_bytes",
            "windows_logical_disk_size_bytes",
            "volume!~\"HarddiskVolume.*\",",
            "volume=\"C:\"",
        ),
        ("disk-latency", Open) => each(
            &["node_disk_read_time_seconds_total", "node_disk_write_time_seconds_total"],
            &["node_disk_reads_completed_total", "node_disk_writes_completed_total"],
            "",
        ),
        ("disk-latency", Exchange) => each(
            &["windows_logical_disk_read_latency_seconds_total", "windows_logical_disk_write_latency_seconds_total"],
            &["windows_logical_disk_reads_total", "windows_logical_disk_writes_total"],
            "",
        ),
        ("memory-free", Open) => reading(
            &format!("min {PER_SERVER} (node_memory_MemAvailable_bytes{{{SERVERS}}})"),
            vec![holds("node_memory_MemAvailable_bytes{SERVER}")],
        ),
        ("memory-free", Exchange) => reading(
            &format!("min {PER_SERVER} (windows_memory_available_bytes{{{SERVERS}}})"),
            vec![holds("windows_memory_available_bytes{SERVER}")],
        ),
        ("heartbeat", _) => reading(
            &format!("min {PER_SERVER} (up{{job=~\"node|windows\",{SERVERS}}})"),
            vec![holds("up{job=\"node\",SERVER}")],
        ),
        ("service-state", Open) => match services(roles) {
            names if names.is_empty() => return Err("no service of these roles is known by name"),
            names => units(&names),
        },
        ("ccr-service-state", Open) => units("dovecot"),
        ("service-state", Exchange) => windows_services(EXCHANGE),
        ("ccr-service-state", Exchange) => windows_services("MSExchangeIS|MSExchangeRepl|ClusSvc"),
        ("um-service-state", Exchange) => windows_services("MSExchangeUM"),
        ("owa-connections", Exchange) => reading(
            &format!("sum {PER_SERVER} (windows_exchange_owa_current_unique_users{{{SERVERS}}})"),
            vec![holds("windows_exchange_owa_current_unique_users{SERVER}")],
        ),
        ("imap-sessions" | "pop-sessions", Open) if roles.contains(&"proxy") => {
            let protocol = if name == "imap-sessions" { "imap" } else { "pop3" };
            reading(
                &format!("sum {PER_SERVER} (cutover_proxy_sessions{{protocol=\"{protocol}\",{SERVERS}}})"),
                vec![holds(&format!("cutover_proxy_sessions{{protocol=\"{protocol}\",side=\"new\",SERVER}}"))],
            )
        }
        ("ldap-latency", Exchange) => reading(
            &format!("max {PER_SERVER} (windows_exchange_ldap_search_time_sec{{{SERVERS}}})"),
            vec![holds("windows_exchange_ldap_search_time_sec{SERVER}")],
        )
        .nearly("windows_exporter divides the counter by no base count (its issue 2369)"),
        _ => return no_exporter,
    })
}

/// A metric of the user's own: `NAME` or `NAME{LABELS}`.
fn custom(own: &str) -> Result<Reading, &'static str> {
    let (name, labels) = match own.split_once('{') {
        None => (own, ""),
        Some((name, rest)) => (name, rest.strip_suffix('}').ok_or("custom: wants NAME or NAME{label=\"value\"}")?),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    if name.is_empty() || !name.chars().all(plain) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("custom: wants the name of a metric of Prometheus: letters, digits, _ and :");
    }
    let own = if labels.is_empty() { String::new() } else { format!("{},", labels.trim_end_matches(',')) };
    let exact = own.contains("=~") || own.contains("!=") || own.contains("!~");
    Ok(Reading {
        expr: format!("max {PER_SERVER} ({name}{{{own}{SERVERS}}})"),
        // A pattern is no label: such a rule has no test that feeds it.
        feeds: if exact { Vec::new() } else { vec![holds(&format!("{name}{{{own}SERVER}}"))] },
        nearly: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::counter::{COUNTERS, find};

    #[test]
    fn a_counter_with_a_metric_is_read_somewhere_and_names_its_servers() {
        for counter in COUNTERS {
            let read: Vec<Reading> = [Family::Open, Family::Exchange]
                .into_iter()
                .filter_map(|f| of(&Watched::Known(counter), f, &["imap", "smtp"]).ok())
                .collect();
            let made_by_probes = ["certificate-days", "delivery-time"].contains(&counter.name);
            assert!(counter.metrics.is_empty() || made_by_probes || !read.is_empty(), "{}", counter.name);
            for r in read {
                assert!(r.expr.contains(SERVERS) && r.expr.contains(PER_SERVER), "{}: {}", counter.name, r.expr);
                assert!(r.feeds.iter().all(|f| f.series.contains("SERVER")), "{}", counter.name);
            }
        }
    }

    #[test]
    fn metrics_of_ones_own_are_taken_as_they_are() {
        let read = |text: &str| of(&find(text).expect("custom"), Family::Open, &[]).map(|r| r.expr);
        assert_eq!(read("custom:spool_size").as_deref(), Ok("max by (server, site) (spool_size{SERVERS})"));
        assert_eq!(
            read("custom:spool_size{disk=\"a\"}").as_deref(),
            Ok("max by (server, site) (spool_size{disk=\"a\",SERVERS})")
        );
        assert!(read("custom:spool.size").is_err() && read("custom:a{b").is_err());
    }
}
