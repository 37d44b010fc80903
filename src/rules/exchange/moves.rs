//! How mailboxes come into Exchange, or out of it.

use super::coexistence::target;
use crate::model::diagnostic::Severity;
use crate::model::version::{Exchange, year_name};
use crate::rules::{Facts, Findings, Rule};

pub(in crate::rules) const RULES: &[Rule] = &[
    Rule {
        name: "exchange-cannot-pull",
        code: "L4001",
        severity: Severity::Error,
        about: "Exchange on premises reads no foreign mail store: New-MigrationEndpoint knows IMAP in Exchange Online only, so the move needs a cms.",
        source: "Microsoft PowerShell reference: New-MigrationEndpoint, IMAP",
        check: cannot_pull,
    },
    Rule {
        name: "ews-before-2007",
        code: "L4002",
        severity: Severity::Error,
        about: "Exchange Web Services begin with Exchange 2007: other sources are read by IMAP, POP3 or a program of their own.",
        source: "Microsoft Learn: Exchange Web Services, versions and schema",
        check: ews_before_2007,
    },
    Rule {
        name: "importer-of-other-version",
        code: "L4003",
        severity: Severity::Error,
        about: "An importer made for one version of Exchange writes into that version.",
        source: "Microsoft PowerShell reference: Move-Mailbox (2007), New-MoveRequest (2010 on), New-MigrationBatch (2013 on)",
        check: importer_of_other_version,
    },
];

fn cannot_pull(t: &Facts, out: &mut Findings) {
    for m in t.all("migration").filter(|m| m.value("cms").is_none()) {
        let (Some(from), Some(to)) = (t.target(m, "from"), target(t, m)) else { continue };
        let product = from.text("product").unwrap_or_default();
        if product.starts_with("exchange-") && m.text("coexistence") == Some("native") {
            continue;
        }
        out.push(&m.id, format!("nothing carries the mail of `{}` from {product} into {to}", m.id.name), |d| {
            d.label(m.span, "no cms").label(from.at("product"), "the source").help(
                if product.starts_with("exchange-") {
                    "declare a `cms`, or write coexistence=native for a move within one organization"
                } else {
                    "declare a `cms` with importer=ews and write cms=NAME"
                },
            )
        });
    }
}

fn ews_before_2007(t: &Facts, out: &mut Findings) {
    for cms in t.all("cms").filter(|c| c.text("extractor") == Some("ews")) {
        let Some(from) = t.target(cms, "from") else { continue };
        let product = from.text("product").unwrap_or_default();
        if !matches!(product, "exchange-2007" | "exchange-2010" | "other") {
            out.push(&cms.id, format!("`{}` reads {product} by EWS, which it does not have", cms.id.name), |d| {
                d.label(cms.at("extractor"), "not there")
                    .label(from.at("product"), "the source")
                    .help("write extractor=imap, or extractor=custom with a program that knows the product")
            });
        }
    }
}

fn importer_of_other_version(t: &Facts, out: &mut Findings) {
    for cms in t.all("cms") {
        let Some(made_for) = cms.text("importer").and_then(|i| i.strip_prefix("exchange-")).and_then(Exchange::year)
        else {
            continue;
        };
        let Some(to) = target(t, cms).filter(|to| to.year != made_for) else { continue };
        out.push(
            &cms.id,
            format!("importer of Exchange {made_for} writes into Exchange {}", year_name(to.year)),
            |d| {
                d.label(cms.at("importer"), format!("for {made_for}"))
                    .label(cms.at("to"), to.to_string())
                    .help("write importer=ews")
            },
        );
    }
}
