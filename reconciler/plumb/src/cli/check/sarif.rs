//! `-o sarif`: SARIF 2.1.0, the OASIS format for the results of static analysis, which code scanning reads.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use plumb_document::{Code, Diagnostic, Severity, Span};
use serde::Serialize;

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// A log with one run. Fields that no diagnostic has are left out.
#[derive(Serialize)]
pub(super) struct Log<'a> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    runs: [Run<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Run<'a> {
    tool: Tool,
    column_kind: &'static str,
    results: Vec<SarifResult<'a>>,
}

#[derive(Serialize)]
struct Tool {
    driver: Driver,
}

#[derive(Serialize)]
struct Driver {
    name: &'static str,
    version: &'static str,
    rules: Vec<Rule>,
}

/// A code that at least one result has.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    id: &'static str,
    full_description: Text,
    help: Text,
}

#[derive(Serialize)]
struct Text {
    text: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SarifResult<'a> {
    rule_id: &'static str,
    rule_index: usize,
    level: &'static str,
    message: Text,
    locations: [Location; 1],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    related_locations: Vec<Location>,
    properties: Properties<'a>,
}

#[derive(Serialize)]
struct Properties<'a> {
    hosts: &'a [String],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    physical_location: PhysicalLocation,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Text>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PhysicalLocation {
    artifact_location: Artifact,
    region: Region,
}

#[derive(Serialize)]
struct Artifact {
    uri: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    start_line: u32,
    start_column: u32,
}

impl<'a> Log<'a> {
    /// Creates the log of a check.
    pub(super) fn of(diagnostics: &'a [Diagnostic]) -> Self {
        let codes: BTreeMap<&'static str, Code> = diagnostics
            .iter()
            .map(|one| (one.code.as_str(), one.code))
            .collect();
        let index = |code: &str| codes.keys().position(|known| *known == code);
        let results = diagnostics
            .iter()
            .map(|one| SarifResult {
                rule_id: one.code.as_str(),
                rule_index: index(one.code.as_str()).unwrap_or_default(),
                level: match one.severity {
                    Severity::Error => "error",
                    Severity::Warning => "warning",
                },
                message: Text {
                    text: match &one.hint {
                        Some(hint) => format!("{}\nhint: {hint}", one.message),
                        None => one.message.clone(),
                    },
                },
                locations: [Location::of(&one.span, None)],
                related_locations: one
                    .related
                    .iter()
                    .map(|label| Location::of(&label.span, Some(&label.message)))
                    .collect(),
                properties: Properties { hosts: &one.hosts },
            })
            .collect();
        Self {
            schema: SCHEMA,
            version: "2.1.0",
            runs: [Run {
                tool: Tool {
                    driver: Driver {
                        name: "plumb",
                        version: env!("CARGO_PKG_VERSION"),
                        rules: codes.values().map(Rule::of).collect(),
                    },
                },
                column_kind: "unicodeCodePoints",
                results,
            }],
        }
    }
}

impl Rule {
    fn of(code: &Code) -> Self {
        Self {
            id: code.as_str(),
            full_description: Text {
                text: code.explanation().to_owned(),
            },
            help: Text {
                text: format!("Run `plumb explain {code}` for an example and what to do."),
            },
        }
    }
}

impl Location {
    fn of(span: &Span, message: Option<&str>) -> Self {
        Self {
            physical_location: PhysicalLocation {
                artifact_location: Artifact {
                    uri: relative_uri(span.file()),
                },
                region: Region {
                    start_line: span.line(),
                    start_column: span.column(),
                },
            },
            message: message.map(|text| Text {
                text: text.to_owned(),
            }),
        }
    }
}

/// Returns a path as a relative URI reference (RFC 3986).
fn relative_uri(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use plumb_document::codes;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_result_has_its_rule_and_its_place() {
        let span = Span::new("hosts/a b.yaml".into(), 4, 3, 0..1);
        let mut error =
            Diagnostic::error(codes::WRONG_TYPE, &span, "expected text").hint("quote it");
        error.hosts = vec!["a".to_owned()];
        let warning =
            Diagnostic::warning(codes::INVALID_VALUE, &span, "odd").related(&span, "here");
        let all = [error, warning];
        let log: Value = serde_json::to_value(Log::of(&all)).unwrap();
        assert_eq!(log["version"], "2.1.0");
        let run = &log["runs"][0];
        let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
        for result in run["results"].as_array().unwrap() {
            let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
            assert_eq!(rules[index]["id"], result["ruleId"]);
            let place = &result["locations"][0]["physicalLocation"];
            assert_eq!(place["artifactLocation"]["uri"], "hosts/a%20b.yaml");
            assert_eq!(place["region"], json!({"startLine": 4, "startColumn": 3}));
        }
        assert_eq!(
            run["results"][0]["message"]["text"],
            "expected text\nhint: quote it"
        );
        assert_eq!(run["results"][0]["properties"]["hosts"], json!(["a"]));
        assert_eq!(
            run["results"][1]["relatedLocations"][0]["message"]["text"],
            "here"
        );
    }
}
