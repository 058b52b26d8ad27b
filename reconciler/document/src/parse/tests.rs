use std::fmt::Write as _;

use super::*;

fn read(text: &str) -> Result<Node, String> {
    parse(&"hosts/a.yaml".into(), text.as_bytes()).map_err(|diagnostics| {
        diagnostics
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    })
}

#[test]
fn values_keep_their_places_and_spelling() {
    let text = "a: {b, c}\nlist:\n  - 1.10\n  - \"x: y\"\nd: |\n  block\n";
    let node = read(text).unwrap();
    let list = node.get("list").unwrap().as_seq().unwrap();
    assert_eq!(list[0].span.to_string(), "hosts/a.yaml:3:5");
    assert!(matches!(&list[0].value, Value::Float(_, raw) if &**raw == "1.10"));
    assert_eq!(&text[list[1].span.bytes()], "\"x: y\"");
    assert_eq!(list[1].style, Style::Quoted);
    assert_eq!(node.get("d").unwrap().style, Style::Block);
    let a = node.get("a").unwrap().as_map().unwrap();
    assert!(a.get("b").unwrap().is_null() && a.get("c").unwrap().is_null());
    assert_eq!(
        a.entry("c").unwrap().key.span.to_string(),
        "hosts/a.yaml:1:8"
    );
    assert_eq!(&text[node.get("a").unwrap().span.bytes()], "{b, c}");
    let text = "a:\n  b: 1\n  c: |\n    x\n\n# comment\nd: 2\n";
    let node = read(text).unwrap();
    assert_eq!(
        &text[node.get("a").unwrap().span.bytes()],
        "b: 1\n  c: |\n    x",
        "a block ends with its last value"
    );
}

#[test]
fn each_way_to_be_wrong_has_its_code_place_and_hint() {
    for (text, says) in [
        (
            "a: 1\nb: 2\na: 3\n",
            "hosts/a.yaml:3:1: error[yaml-duplicate-key]: `a` is set twice in this mapping\n  hosts/a.yaml:1:1: here first\n  hint: remove one of them",
        ),
        (
            "a:\n\tb: 1\n",
            "hosts/a.yaml:2:1: error[yaml-tab]: a tab is used where YAML allows only spaces\n  hint: indent and separate with spaces",
        ),
        ("a:\tb\n", "hosts/a.yaml:1:3: error[yaml-tab]"),
        ("a: b\tc\n", "hosts/a.yaml:1:5: error[yaml-tab]"),
        (
            "a: 1\n---\nb: 2\n",
            "hosts/a.yaml:2:1: error[yaml-documents]: the file holds a second YAML document",
        ),
        ("a: !!str 1\n", "error[yaml-tag]"),
        (
            "x: &x {a: 1}\ny:\n  <<: *x\n",
            "hosts/a.yaml:3:3: error[yaml-merge]",
        ),
        ("port: {{ params.port }}\n", "put an expression in quotes"),
        ("port: {{ params.port }}/x\n", "put an expression in quotes"),
        ("a: b: c\n", "put text that contains `: ` in quotes"),
        ("[a]: 1\n", "a key must be a word, not a list"),
        ("~: 1\n", "a key must be a word, not nothing"),
        ("a: *nobody\n", "error[yaml-syntax]"),
        ("a: [1, 2\n", "error[yaml-syntax]"),
        ("x: &x [*x]\n", "error[yaml-"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(says), "{text:?}\n{error}");
    }
}

#[test]
fn tabs_inside_text_and_comments_are_theirs() {
    read("a: \"x\ty\"\nb: |\n  all:\n  \tmake\tit\nc: 'x\ty' # a\tcomment\n#\tanother\n").unwrap();
    read("a: |\n\tx\n").unwrap_err();
}

#[test]
fn several_errors_of_a_file_are_all_told() {
    let error = read("a: 1\na: 2\nb: !x 1\nb: 2\n").unwrap_err();
    assert_eq!(error.matches("error[").count(), 3, "{error}");
}

#[test]
fn foreign_bytes_are_bounded() {
    let bytes = [b"a: \xff\n".to_vec(), b"\xff".to_vec()];
    for bytes in bytes {
        let error = parse(&"x".into(), &bytes).unwrap_err();
        assert_eq!(error[0].code, codes::YAML_ENCODING);
    }
    let deep = "[".repeat(5000);
    assert!(read(&deep).is_err());
    let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
    assert!(read(&deep).unwrap_err().contains("yaml-limit"));
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let previous = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(bomb, "a{level}: &a{level} [{previous}]").unwrap();
    }
    assert!(read(&bomb).unwrap_err().contains("yaml-limit"));
    let limits = Limits {
        bytes: 3,
        ..Limits::default()
    };
    assert_eq!(
        parse_with(&"x".into(), b"abcd", limits).unwrap_err()[0].code,
        codes::YAML_LIMIT
    );
}

#[test]
fn values_and_diagnostics_have_an_end() {
    let limits = Limits {
        values: 5,
        ..Limits::default()
    };
    let code = |text: &str| {
        let read = parse_with(&"x".into(), text.as_bytes(), limits);
        read.map_err(|wrong| wrong[0].code)
    };
    // The mapping, its key, the list and two numbers.
    assert!(code("a: [1, 2]").is_ok());
    assert_eq!(code("a: [1, 2, 3]"), Err(codes::YAML_LIMIT));
    let wrong = "a: 1\n".repeat(1000);
    let wrong = parse_with(&"x".into(), wrong.as_bytes(), Limits::default()).unwrap_err();
    assert_eq!(wrong.len(), 100);
}

#[test]
fn nothing_is_null_and_line_ends_of_other_systems_are_fine() {
    assert!(read("").unwrap().is_null());
    assert!(read("# only a comment\n").unwrap().is_null());
    let node = read("a: 1\r\nb: x\r\n").unwrap();
    assert_eq!(node.get("b").unwrap().as_str(), Some("x"));
}

#[test]
fn an_alias_is_the_value_at_the_alias_place() {
    let node = read("a: &x {k: 1}\nb: *x\n").unwrap();
    assert_eq!(node.get("a"), node.get("b"));
    assert_eq!(node.get("b").unwrap().span.line(), 2);
}
