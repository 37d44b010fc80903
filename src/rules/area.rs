//! The areas, and with them the order of rules in every list.

use super::dns::{delegation, delivery, shape};
use super::sender::{dkim, dmarc, spf};
use super::{
    Area, care, certificates, connectors, exchange, hygiene, levels, mailflow, monitoring, network, reach, secrecy,
    transit,
};
use super::{Area, certificates, connectors, exchange, mailflow, migration, reach, transit};

/// Area numbers are the first two digits of the codes.
pub const AREAS: &[Area] = &[
    Area { title: "Hosts and how they are reached", rules: reach::RULES },
    Area { title: "The way of the mail", rules: mailflow::RULES },
    Area { title: "Zones: what they may hold", rules: shape::RULES },
    Area { title: "Zones: where mail goes", rules: delivery::RULES },
    Area { title: "Zones: name servers and time to live", rules: delegation::RULES },
    Area { title: "Senders: SPF", rules: spf::RULES },
    Area { title: "Senders: DKIM", rules: dkim::RULES },
    Area { title: "Senders: DMARC", rules: dmarc::RULES },
    Area { title: "TLS that DNS announces", rules: transit::RULES },
    Area { title: "Connectors and accepted domains", rules: connectors::RULES },
    Area { title: "Certificates and namespaces", rules: certificates::RULES },
    Area { title: "Addresses and networks", rules: network::RULES },
    Area { title: "Protection, backups, baselines, hardware", rules: care::RULES },
    Area { title: "Service levels", rules: levels::RULES },
    Area { title: "Probes and alerts", rules: monitoring::RULES },
    Area { title: "Passwords, keys and who may apply", rules: secrecy::RULES },
    Area { title: "Written without effect", rules: hygiene::RULES },
    Area { title: "Exchange: roles and hosts", rules: exchange::roles::RULES },
    Area { title: "Exchange: versions beside one another", rules: exchange::coexistence::RULES },
    Area { title: "Exchange: cluster continuous replication", rules: exchange::ccr::RULES },
    Area { title: "Exchange: database availability groups", rules: exchange::dag::RULES },
    Area { title: "Exchange: witnesses", rules: exchange::witness::RULES },
    Area { title: "Exchange: copies of databases", rules: exchange::copies::RULES },
    Area { title: "Exchange: databases", rules: exchange::database::RULES },
    Area { title: "Exchange: mail flow", rules: exchange::mailflow::RULES },
    Area { title: "Exchange: clients", rules: exchange::client::RULES },
    Area { title: "Exchange: unified messaging", rules: exchange::um::RULES },
    Area { title: "Exchange: moves", rules: exchange::moves::RULES },
    Area { title: "Migration: cohorts", rules: migration::cohort::RULES },
    Area { title: "Migration: the course of cohorts", rules: migration::course::RULES },
    Area { title: "Migration: windows", rules: migration::window::RULES },
    Area { title: "Migration: steps of a window", rules: migration::steps::RULES },
    Area { title: "Migration: forecast", rules: migration::forecast::RULES },
    Area { title: "Migration: source and preflight", rules: migration::legacy::RULES },
    Area { title: "Migration: proxy", rules: migration::proxy::RULES },
    Area { title: "Migration: content", rules: migration::content::RULES },
    Area { title: "Migration: strategy", rules: migration::strategy::RULES },
    Area { title: "Migration: the way back", rules: migration::rollback::RULES },
];
