//! `docs/reference/resources.md` is generated from the types and their documentation.
//!
//! The test fails when the page differs from the code; `PLUMB_BLESS=1 cargo test -p tests reference`
//! writes it.

use std::fmt::Write as _;
use std::path::Path;

use plumb_api::{CompositeKind, Kind};
use serde_json::Value;

/// A documentation comment as one line, without links of rustdoc.
fn text(value: &Value) -> String {
    let text = value.as_str().unwrap_or_default().replace('\n', " ");
    text.replace("[`", "`")
        .replace("`]", "`")
        .replace('|', "\\|")
}

/// What a field takes, in a few words.
fn takes(schema: &Value) -> String {
    if let Some(title) = schema["title"].as_str() {
        return title.to_owned();
    }
    if let Some(any) = schema["anyOf"].as_array() {
        let some: Vec<_> = any
            .iter()
            .filter(|one| one["type"] != "null")
            .map(takes)
            .collect();
        return some.join(" or ");
    }
    if let Some(one_of) = schema["oneOf"].as_array() {
        let all: Vec<_> = one_of
            .iter()
            .flat_map(|one| {
                one["const"]
                    .as_str()
                    .map_or_else(|| names(one), |c| vec![format!("`{c}`")])
            })
            .collect();
        return all.join(", ");
    }
    if schema["enum"].is_array() {
        return names(schema).join(", ");
    }
    let types: Vec<_> = match &schema["type"] {
        Value::String(one) => vec![one.clone()],
        Value::Array(many) => many
            .iter()
            .filter_map(Value::as_str)
            .filter(|t| *t != "null")
            .map(str::to_owned)
            .collect(),
        _ => vec!["value".to_owned()],
    };
    match types.first().map(String::as_str) {
        Some("array") => format!("list of {}", takes(&schema["items"])),
        Some("object") if schema["properties"]["sha256"].is_object() => "content".to_owned(),
        _ => types.join(" or "),
    }
}

fn names(schema: &Value) -> Vec<String> {
    schema["enum"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(|name| format!("`{name}`"))
        .collect()
}

/// One type.
fn section(page: &mut String, kind: &str, schema: &Value) {
    let _ = write!(page, "\n## {kind}\n\n");
    for paragraph in schema["description"]
        .as_str()
        .unwrap_or_default()
        .split("\n\n")
    {
        let _ = write!(page, "{}\n\n", text(&Value::from(paragraph)));
    }
    page.push_str("| field | takes | meaning |\n|---|---|---|\n");
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let _ = writeln!(
            page,
            "| `{name}` | {} | {} |",
            takes(field),
            text(&field["description"])
        );
    }
}

/// The page.
fn page() -> String {
    let mut page = String::from(
        "# Resource types\n\n\
         Generated from the code; edit the documentation of the types in `reconciler/api/src/resource/` instead.\n\n\
         A field that is left out is not managed: it is neither compared nor changed. \
         `content` is a literal string, `{template: …}`, `{file: files/…}` or `{templateFile: files/…}`. \
         An address is `TYPE:NAME`, such as `file:/etc/motd`.\n",
    );
    for kind in Kind::ALL {
        let schema = serde_json::to_value(kind.schema()).expect("schemas are JSON");
        section(&mut page, kind.as_str(), &schema);
    }
    page.push_str(
        "\n# Composite types\n\n\
         A composite type expands to resources of the types above, its parts. `plumb explain` and plans \
         name the composite beside each part. A part is below everything that a manifest says about the \
         same address: a resource of your own there wins field by field. `remove` and `drift.ignore` take \
         a composite's address or a part's; `after`, `restartOn` and the like take a composite for all of \
         its parts.\n",
    );
    for kind in CompositeKind::ALL {
        let schema = serde_json::to_value(kind.schema()).expect("schemas are JSON");
        section(&mut page, kind.as_str(), &schema);
    }
    page
}

#[test]
fn the_reference_is_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/resources.md");
    let page = page();
    if std::env::var_os("PLUMB_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().expect("it has a folder"))
            .expect("docs can be written");
        std::fs::write(&path, &page).expect("docs can be written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/reference/resources.md is not what the code says; write it with PLUMB_BLESS=1 cargo test -p tests reference"
    );
}
