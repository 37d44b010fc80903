//! Dashboards of Grafana over the figures that the rules record, and the files by which Grafana finds them.
//!
//! The forms: <https://grafana.com/docs/grafana/latest/administration/provisioning/> and Grafana's own schema of a dashboard.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::alert::number;
use super::prometheus::{braces, labels, yaml};
use super::{Options, Watch};
use crate::model::counter;
use crate::model::topology::{Node, Topology};
use crate::model::unit::Quantity;

/// By which panels name their Prometheus.
const SOURCE: &str = "cutover";
/// Of the forms of dashboards the one that Grafana 10 writes; newer ones read it.
const SCHEMA: u32 = 39;
/// Columns of Grafana's grid, and the height of a graph in it.
const WIDTH: u32 = 24;
const HEIGHT: u32 = 8;

/// By path below the folder.
pub fn files(topology: &Topology, watches: &[Watch], options: &Options, out: &mut BTreeMap<String, String>) {
    let mut boards = Vec::new();
    let (mut levels, mut monitors) = (Board::default(), Board::default());
    if topology.all("sla").next().is_some() || topology.all("probe").next().is_some() {
        service(&mut levels);
        boards.push(("service", "Service levels and probes", levels));
    }
    for monitor in topology.all("monitor") {
        let name = monitor.id.name.as_str();
        let made = |rule: &&Node| watches.iter().any(|w| w.monitor == name && w.rule == rule.name());
        let mut rules = monitor.children("rule").filter(made).peekable();
        if rules.peek().is_some() {
            monitors.row(name);
            rules.for_each(|rule| watched(&mut monitors, name, rule));
        }
    }
    if !monitors.panels.is_empty() {
        boards.push(("monitors", "Monitors", monitors));
    }
    if boards.is_empty() {
        return;
    }
    for (name, title, board) in boards {
        let text = serde_json::to_string_pretty(&board.json(name, title)).unwrap_or_default();
        out.insert(format!("grafana/{name}.json"), text + "\n");
    }
    let source = json!({
        "name": SOURCE, "uid": SOURCE, "type": "prometheus", "access": "proxy", "url": "http://127.0.0.1:9090", "editable": false,
    });
    out.insert("grafana/datasources.yml".into(), yaml(&json!({ "apiVersion": 1, "datasources": [source] })));
    let provider = json!({
        "name": SOURCE, "type": "file", "folder": "cutover", "allowUiUpdates": false,
        "options": { "path": format!("{}/grafana", options.folder) },
    });
    out.insert("grafana/dashboards.yml".into(), yaml(&json!({ "apiVersion": 1, "providers": [provider] })));
}

/// What a graph shows.
struct Graph<'a> {
    title: &'a str,
    expr: &'a str,
    legend: &'a str,
    unit: &'a str,
    thresholds: Json,
}

#[derive(Default)]
struct Board {
    panels: Vec<Json>,
    /// Where the next panel stands.
    x: u32,
    y: u32,
}

impl Board {
    fn add(&mut self, mut panel: Json, w: u32, h: u32) {
        if self.x + w > WIDTH {
            (self.x, self.y) = (0, self.y + HEIGHT);
        }
        panel["id"] = json!(self.panels.len() + 1);
        panel["gridPos"] = json!({ "x": self.x, "y": self.y, "w": w, "h": h });
        self.panels.push(panel);
        self.x += w;
    }

    fn row(&mut self, title: &str) {
        if self.x > 0 {
            (self.x, self.y) = (0, self.y + HEIGHT);
        }
        self.add(json!({ "type": "row", "title": title, "collapsed": false, "panels": [] }), WIDTH, 1);
        (self.x, self.y) = (0, self.y + 1);
    }

    fn graph(&mut self, graph: &Graph<'_>) {
        let panel = json!({
            "type": "timeseries",
            "title": graph.title,
            "datasource": source(),
            "targets": [query(graph.expr, graph.legend, false)],
            "fieldConfig": {
                "defaults": {
                    "unit": graph.unit, "thresholds": graph.thresholds, "custom": { "thresholdsStyle": { "mode": "line" } },
                },
                "overrides": [],
            },
            "options": {
                "legend": { "displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": [] },
                "tooltip": { "mode": "multi", "sort": "desc" },
            },
        });
        self.add(panel, WIDTH / 2, HEIGHT);
    }

    fn json(self, name: &str, title: &str) -> Json {
        json!({
            "uid": format!("cutover-{name}"),
            "title": title,
            "tags": ["cutover"],
            "schemaVersion": SCHEMA,
            "timezone": "browser",
            "editable": false,
            "refresh": "1m",
            "time": { "from": "now-6h", "to": "now" },
            "templating": { "list": [] },
            "annotations": { "list": [] },
            "panels": self.panels,
        })
    }
}

fn source() -> Json {
    json!({ "type": "prometheus", "uid": SOURCE })
}

fn query(expr: &str, legend: &str, instant: bool) -> Json {
    json!({ "refId": "A", "datasource": source(), "expr": expr, "legendFormat": legend, "instant": instant, "range": !instant })
}

fn plain() -> Json {
    json!({ "mode": "absolute", "steps": [{ "value": null, "color": "green" }] })
}

/// What is promised, and what probes find.
fn service(board: &mut Board) {
    board.row("Service levels");
    board.add(
        json!({
            "type": "stat",
            "title": "Error budget left",
            "datasource": source(),
            "targets": [query("cutover:level:budget_left", "{{sla}}", true)],
            "fieldConfig": {
                "defaults": { "unit": "percentunit", "thresholds": { "mode": "absolute", "steps": [
                    { "value": null, "color": "red" }, { "value": 0, "color": "orange" }, { "value": 0.25, "color": "green" },
                ] } },
                "overrides": [],
            },
            "options": {
                "graphMode": "none", "colorMode": "value", "justifyMode": "auto", "textMode": "auto", "wideLayout": true,
                "showPercentChange": false, "percentChangeColorMode": "standard", "orientation": "auto",
                "reduceOptions": { "calcs": ["lastNotNull"], "values": false, "fields": "" },
            },
        }),
        WIDTH / 2,
        HEIGHT,
    );
    let graph = |title, expr, legend, unit| Graph { title, expr, legend, unit, thresholds: plain() };
    board.graph(&graph("Wrong in an hour", "cutover:level:error_ratio{window=\"1h\"}", "{{sla}}", "percentunit"));
    board.row("Alerts");
    board.add(
        json!({
            "type": "table",
            "title": "What fires",
            "datasource": source(),
            "targets": [query("ALERTS{alertstate=\"firing\"}", "", true)],
            "transformations": [{ "id": "labelsToFields", "options": { "mode": "columns" } }, { "id": "merge", "options": {} }],
            "fieldConfig": { "defaults": {}, "overrides": [] },
            "options": { "frameIndex": 0, "showHeader": true, "cellHeight": "sm" },
        }),
        WIDTH,
        HEIGHT,
    );
    board.row("Probes");
    let done = "sum by (probe, target) (increase(cutover_probe_attempts_total{result=\"ok\"}[5m])) / sum by (probe, target) (increase(cutover_probe_attempts_total[5m]))";
    board.graph(&graph("Attempts that were done", done, "{{probe}} {{target}}", "percentunit"));
    let failed = "sum by (probe, target, result) (increase(cutover_probe_attempts_total{result!=\"ok\"}[5m])) > 0";
    board.graph(&graph("Attempts that failed", failed, "{{probe}} {{target}}: {{result}}", "short"));
    let took = "histogram_quantile(0.95, sum by (le, probe) (rate(cutover_probe_seconds_bucket[15m])))";
    board.graph(&graph("95 of 100 took less", took, "{{probe}}", "s"));
    let ends = "min by (probe, target) (cutover_probe_certificate_ends_seconds) - time()";
    board.graph(&graph("Certificates end in", ends, "{{target}}", "s"));
}

/// The figure of a rule, with the bound from which it alerts.
fn watched(board: &mut Board, monitor: &str, rule: &Node) {
    let text = rule.text("counter").unwrap_or_default();
    let unit = match counter::find(text) {
        Some(counter::Watched::Known(c)) => c.unit,
        _ => Quantity::Count,
    };
    let unit = match unit {
        Quantity::Bytes => "bytes",
        Quantity::Count | Quantity::State => "short",
        Quantity::Days => "d",
        Quantity::Percent => "percent",
        Quantity::Seconds => "s",
    };
    let steps = match (number(rule, "above"), number(rule, "below")) {
        (Some(v), _) => json!([{ "value": null, "color": "green" }, { "value": v, "color": "red" }]),
        (_, Some(v)) => json!([{ "value": null, "color": "red" }, { "value": v, "color": "green" }]),
        (None, None) => json!([{ "value": null, "color": "green" }]),
    };
    let title = format!("{}: {text}", rule.name());
    let expr = format!("cutover:watched{}", braces(&labels([("monitor", monitor), ("rule", rule.name())])));
    let thresholds = json!({ "mode": "absolute", "steps": steps });
    board.graph(&Graph { title: &title, expr: &expr, legend: "{{server}}", unit, thresholds });
}
