//! Composites that watch the fleet: exporters, Prometheus, Alertmanager, Grafana.

use serde_json::json;

use super::*;

/// A fleet of a host `mon` with these resources, and a host `web` with a node exporter to scrape.
fn fleet(resources: &str) -> Vec<(String, String)> {
    let lan = object("Network", "lan", "{subnets: [192.0.2.0/24]}");
    let web = "networks: {lan: {id: 7}}\nendpoints: {node: {ports: [9100], on: [lan], scrape: {job: node, interval: 30s}}}";
    let mon = "networks: {lan: {id: 8}}\nendpoints: {api: {ports: [9093], on: [lan]}}\n";
    vec![
        ("networks/lan.yaml".to_owned(), lan),
        ("hosts/web.yaml".to_owned(), object("Host", "web", web)),
        (
            "hosts/mon.yaml".to_owned(),
            object("Host", "mon", &format!("{mon}resources: {{{resources}}}")),
        ),
        ("files/rules.yml".to_owned(), "groups: []\n".to_owned()),
        ("files/dashboards/a.json".to_owned(), "{}\n".to_owned()),
        ("files/dashboards/b.json".to_owned(), "{}\n".to_owned()),
    ]
}

fn mon(resources: &str) -> Value {
    host("mon", &borrowed(&fleet(resources)))
}

fn wrong(resources: &str) -> String {
    told(&borrowed(&fleet(resources)))
}

#[test]
fn exporter_listens_in_its_network() {
    let resources = mon("exporter: {node: {on: [lan], arguments: [--collector.systemd]}}");
    assert_eq!(
        resources["file"]["/etc/default/prometheus-node-exporter"]["content"],
        "# Written by plumb.\nARGS=\"--web.listen-address=192.0.2.8:9100 --collector.systemd\"\n"
    );
    assert_eq!(
        resources["service"]["prometheus-node-exporter"],
        json!({
            "state": "started", "enabled": true,
            "restartOn": ["file:/etc/default/prometheus-node-exporter"],
            "after": ["package:prometheus-node-exporter"],
        })
    );
    assert!(wrong("exporter: {klipper: {}}").contains("isn't an exporter of the distribution"));
    assert!(wrong("exporter: {node: {on: [wan]}}").contains("no address in the network `wan`"));
    assert!(!mon("exporter: {klipper: {package: klipper-exporter, port: 9999}}")["package"]["klipper-exporter"].is_null());
}

#[test]
fn prometheus_scrapes_what_the_fleet_offers() {
    let resources = mon(
        "prometheus: {main: {retention: 30d, rules: [files/rules.yml], alertmanagers: [mon/host.api]}}",
    );
    assert_eq!(
        resources["file"]["/etc/prometheus/prometheus.yml"]["content"],
        "# Written by plumb.\nglobal:\n  scrape_interval: 15s\n  evaluation_interval: 15s\nrule_files: [/etc/prometheus/rules/*]\nalerting:\n  alertmanagers:\n    - static_configs:\n        - targets:\n            - \"192.0.2.8:9093\"\nscrape_configs:\n  - job_name: \"node\"\n    metrics_path: \"/metrics\"\n    scrape_interval: \"30s\"\n    file_sd_configs: [{files: [\"/etc/prometheus/targets/node.json\"]}]\n"
    );
    let targets = resources["file"]["/etc/prometheus/targets/node.json"]["content"]
        .as_str()
        .unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(targets).unwrap(),
        json!([{"targets": ["192.0.2.7:9100"], "labels": {"host": "web"}}])
    );
    assert_eq!(
        resources["service"]["prometheus"]["reloadOn"],
        json!([
            "file:/etc/prometheus/prometheus.yml",
            "file:/etc/prometheus/rules/plumb-backup.yml",
            "file:/etc/prometheus/rules/rules.yml"
        ])
    );
    assert!(
        wrong("prometheus: {main: {alertmanagers: [mon/host.web]}}")
            .contains("has no such endpoint")
    );
}

#[test]
fn alertmanager_checks_its_configuration() {
    let resources = mon("alertmanager: {main: {config: \"route: {receiver: x}\\n\", on: [lan]}}");
    let file = &resources["file"]["/etc/prometheus/alertmanager.yml"];
    assert_eq!(file["content"], "route: {receiver: x}\n");
    assert_eq!(file["validate"], json!(["amtool", "check-config", "%s"]));
    assert_eq!(
        resources["file"]["/etc/default/prometheus-alertmanager"]["content"],
        "# Written by plumb.\nARGS=\"--web.listen-address=192.0.2.8:9093\"\n"
    );
}

#[test]
fn grafana_gets_its_sources_and_every_dashboard() {
    let resources = mon(
        "grafana: {main: {datasources: [mon/host.api], dashboards: [files/dashboards/*.json]}}",
    );
    assert_eq!(
        resources["file"]["/etc/grafana/provisioning/datasources/plumb.yaml"]["content"],
        "# Written by plumb.\napiVersion: 1\ndatasources:\n  - {name: \"mon/host.api\", type: prometheus, access: proxy, url: \"http://192.0.2.8:9093\", isDefault: true}\n"
    );
    for name in ["a", "b"] {
        let place = format!("/etc/grafana/dashboards/{name}.json");
        assert_eq!(resources["file"][&place]["content"], "{}\n");
    }
    assert!(
        wrong("grafana: {main: {dashboards: [files/none/*.json]}}")
            .contains("no file of the repository matches")
    );
}

#[test]
fn texts_about_the_fleet_are_written_once_for_all_hosts() {
    let lan = object("Network", "lan", "{subnets: [192.0.2.0/24]}");
    let composites =
        "resources: {hosts: {fleet: {}}, knownHosts: {fleet: {}}, prometheus: {main: {}}}";
    let mut files = vec![("networks/lan.yaml".to_owned(), lan)];
    for id in 1..=20 {
        let spec = format!(
            "networks: {{lan: {{id: {id}}}}}\nhostKeys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO{id:042}]\nendpoints: {{node: {{ports: [9100], on: [lan], scrape: {{job: node}}}}}}\n{composites}"
        );
        files.push((
            format!("hosts/h{id}.yaml"),
            object("Host", &format!("h{id}"), &spec),
        ));
    }
    let loaded = load(sources(&borrowed(&files)));
    let rendered = rendered(&resolve(&loaded.fleet));
    for id in [1, 20] {
        let resources = &rendered["hosts"][format!("h{id}")]["resources"];
        for path in ["/etc/hosts", "/etc/prometheus/targets/node.json"] {
            let text = resources["file"][path]["content"].as_str().unwrap();
            assert_eq!(text.matches("192.0.2.").count(), 20, "{path} of h{id}");
        }
    }
    let of_fleet = &loaded.fleet.manifests().of_fleet;
    let computed = of_fleet.computed.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(computed, 3, "one for each of the three types");
}
