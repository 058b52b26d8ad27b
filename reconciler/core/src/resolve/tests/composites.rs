//! Composite resources: merged, patched, removed, ignored, referenced and explained like any other.

use super::*;
use crate::desired::FieldAddress;

const REPORT: &str =
    "cron: {report: {schedule: \"0 6 * * 1\", user: root, run: [/usr/local/bin/report]}}";

fn intent(host: &str) -> Arc<HostIntent> {
    let resolved = resolved(&borrowed(&with(host, &[])));
    match &resolved.hosts[&"a".parse().unwrap()] {
        HostResult::Ready(intent) => intent.clone(),
        HostResult::Held(why) => panic!("{why:?}"),
    }
}

fn explained(host: &str, address: &str) -> String {
    let files = with(host, &[]);
    let fleet = load(sources(&borrowed(&files))).fleet;
    let explanation = crate::explain::explain(&fleet, "a", address).unwrap();
    explanation.to_string()
}

#[test]
fn composite_expands_to_its_parts() {
    let resources = of(&format!("resources: {{{REPORT}}}"), &[]);
    assert_eq!(resources.as_object().unwrap().len(), 2);
    assert_eq!(
        resources["file"]["/etc/cron.d/report"],
        serde_json::json!({
            "content": "# Written by plumb.\n0 6 * * 1 root '/usr/local/bin/report'\n",
            "owner": "root", "group": "root", "mode": "0644",
        })
    );
    assert_eq!(
        resources["check"]["cron-report"],
        serde_json::json!({"program": {"path": "/usr/local/bin/report", "user": "root"}})
    );
}

#[test]
fn part_remembers_its_composite() {
    let intent = intent(&format!("resources: {{{REPORT}, file: {{/etc/x: {{}}}}}}"));
    let origin = |address: &str| {
        let origin = intent.desired.origin(&address.parse().unwrap());
        origin.map(ToString::to_string)
    };
    assert_eq!(
        origin("file:/etc/cron.d/report").as_deref(),
        Some("cron:report")
    );
    assert_eq!(origin("file:/etc/x"), None);
}

#[test]
fn own_resource_wins_over_part_field_by_field() {
    let host = format!(
        "defaults: {{file: {{/etc/cron.d/report: {{mode: \"0600\"}}}}}}\nresources: {{{REPORT}}}"
    );
    let file = &of(&host, &[])["file"]["/etc/cron.d/report"];
    assert_eq!(
        (file["mode"].as_str(), file["owner"].as_str()),
        (Some("0600"), Some("root"))
    );
}

#[test]
fn patch_reaches_composite_and_wins_over_parts() {
    let host = format!(
        "resources: {{{REPORT}, file: {{/etc/cron.d/report: {{mode: \"0600\"}}}}}}\npatches: [{{op: replace, path: /resources/cron/report/schedule, value: \"@daily\"}}, {{op: replace, path: /resources/file/~1etc~1cron.d~1report/mode, value: \"0640\"}}]"
    );
    let file = &of(&host, &[])["file"]["/etc/cron.d/report"];
    assert_eq!(file["mode"], "0640");
    assert!(
        file["content"].as_str().unwrap().contains("@daily root"),
        "{file}"
    );
}

#[test]
fn patch_that_removes_own_resource_leaves_the_part() {
    let host = format!(
        "resources: {{{REPORT}, file: {{/etc/cron.d/report: {{mode: \"0600\"}}}}}}\npatches: [{{op: remove, path: /resources/file/~1etc~1cron.d~1report}}]"
    );
    let file = &of(&host, &[])["file"]["/etc/cron.d/report"];
    assert_eq!(file["mode"], "0644");
}

#[test]
fn profiles_merge_and_conflict_in_composite() {
    let host = "profiles: {p: {}, q: {}}";
    let p = format!("resources: {{{REPORT}}}");
    let q = "resources: {cron: {report: {schedule: \"@daily\"}}}";
    let told = told_of(host, &[("p", &p), ("q", q)]);
    assert!(
        told.contains(
            "error[conflict]: `cron:report#schedule` is set twice at the priority `resources`"
        ),
        "{told}"
    );
    let q = "force: {cron: {report: {schedule: \"@daily\"}}}";
    let file = &of(host, &[("p", &p), ("q", q)])["file"]["/etc/cron.d/report"];
    assert!(
        file["content"].as_str().unwrap().contains("@daily root"),
        "{file}"
    );
}

#[test]
fn reference_to_composite_means_its_parts() {
    let host = format!(
        "resources: {{{REPORT}, service: {{app: {{restartOn: [cron:report]}}}}, file: {{/etc/x: {{after: [cron:report]}}}}}}"
    );
    let resources = of(&host, &[]);
    let parts = serde_json::json!(["file:/etc/cron.d/report"]);
    assert_eq!(resources["service"]["app"]["restartOn"], parts);
    assert_eq!(resources["file"]["/etc/x"]["after"], parts);
    let told = told_of(
        &host.replace("after: [cron:report]", "after: [cron:rapport]"),
        &[],
    );
    assert!(
        told.contains("error[unknown-reference]: `file:/etc/x` refers to `cron:rapport`, which isn't on this host\n  hint: did you mean `cron:report`?"),
        "{told}"
    );
}

#[test]
fn parts_inherit_order_and_management() {
    let host = "resources: {file: {/etc/x: {}}, cron: {a: {schedule: \"@daily\", user: root, run: [/a], after: [file:/etc/x], manage: once}, b: {schedule: \"@daily\", user: root, run: [/b], after: [cron:a]}}}";
    let files = &of(host, &[])["file"];
    assert_eq!(files["/etc/cron.d/a"]["after"][0], "file:/etc/x");
    assert_eq!(files["/etc/cron.d/a"]["manage"], "once");
    assert_eq!(files["/etc/cron.d/b"]["after"][0], "file:/etc/cron.d/a");
    let told = told_of(&host.replace("file: {/etc/x: {}}, ", ""), &[]);
    assert!(
        told.contains(
            "`file:/etc/cron.d/a` (from `cron:a`) refers to `file:/etc/x`, which isn't on this host"
        ),
        "{told}"
    );
}

#[test]
fn host_removes_composite_or_part() {
    let profile = format!("resources: {{{REPORT}, file: {{/etc/x: {{}}}}}}");
    for removed in ["cron:report", "file:/etc/cron.d/report"] {
        let host = format!("profiles: {{p: {{}}}}\nremove: [\"{removed}\"]");
        let resources = of(&host, &[("p", &profile)]);
        assert_eq!(resources["file"].as_object().unwrap().len(), 1, "{removed}");
    }
    let told = told_of(
        "profiles: {p: {}}\nremove: [cron:reprot]",
        &[("p", &profile)],
    );
    assert!(
        told.contains("`cron:reprot` isn't among the host's resources, so it can't be removed\n  hint: did you mean `cron:report`?"),
        "{told}"
    );
}

#[test]
fn drift_of_composite_is_ignored_by_its_parts() {
    let host =
        |ignored: &str| format!("resources: {{{REPORT}}}\ndrift: {{ignore: [\"{ignored}\"]}}");
    let whole = |address: &str| FieldAddress {
        address: address.parse().unwrap(),
        field: None,
    };
    assert_eq!(
        intent(&host("cron:report")).drift.ignore,
        BTreeSet::from([whole("file:/etc/cron.d/report"), whole("check:cron-report")])
    );
    let told = told_of(&host("cron:report#schedule"), &[]);
    assert!(
        told.contains("error[invalid-name]: `cron:report` can't drift in `schedule`: only its parts drift\n  hint: name a field of one of its parts: file:/etc/cron.d/report, check:cron-report"),
        "{told}"
    );
    let told = told_of(&host("cron:rapport"), &[]);
    assert!(
        told.contains("`cron:rapport` isn't on this host\n  hint: did you mean `cron:report`?"),
        "{told}"
    );
}

#[test]
fn explains_composite_and_part() {
    let host = format!("resources:\n  {REPORT}\n  service: {{app: {{restartOn: [cron:report]}}}}");
    assert_eq!(
        explained(&host, "cron:report"),
        "cron:report on a
  expands to file:/etc/cron.d/report
  expands to check:cron-report
  defined at hosts/a.yaml:5:12 by host a
  run: [\"/usr/local/bin/report\"]
    from hosts/a.yaml:5:56 by host a at `resources`
  schedule: \"0 6 * * 1\"
    from hosts/a.yaml:5:21 by host a at `resources`
  user: \"root\"
    from hosts/a.yaml:5:44 by host a at `resources`
  before service:app
"
    );
    let part = explained(&host, "file:/etc/cron.d/report#mode");
    assert_eq!(
        part,
        "file:/etc/cron.d/report#mode on a
  part of cron:report
  defined at hosts/a.yaml:5:12 by cron:report
  mode: \"0644\"
    from hosts/a.yaml:5:12 by cron:report at `defaults`
  before service:app
"
    );
}

#[test]
fn errors_of_composite_have_their_place() {
    let told = told_of(
        "resources: {cron: {report: {schedule: often, user: root, run: [/x], speed: 3}}}",
        &[],
    );
    assert!(
        told.contains("hosts/a.yaml:4:71: error[unknown-field]"),
        "{told}"
    );
    let told = told_of(
        "resources: {cron: {report: {schedule: often, user: root, run: [/x]}}}",
        &[],
    );
    assert!(
        told.contains("hosts/a.yaml:4:41: error[invalid-value]: `cron:report`: `schedule` isn't a schedule of crontab(5)"),
        "{told}"
    );
    let told = told_of(
        "resources: {cron: {a.b: {schedule: \"@daily\", user: root, run: [/x]}}}",
        &[],
    );
    assert!(
        told.contains(
            "error[invalid-name]: `a.b`: the name of a file in /etc/cron.d must have only"
        ),
        "{told}"
    );
}
