use super::*;
use plumb_document::Span;

fn node(text: &str) -> Node {
    plumb_document::parse(&"x.yaml".into(), text.as_bytes()).unwrap()
}

#[test]
fn an_engine_renders_what_it_learnt_and_what_it_did_not() {
    let mut engine = Engine::new(&BTreeMap::new());
    let tree =
        node("a: \"{{ host.x }}\"\nb: [\"{{ host.x + 1 }}\", plain]\nc: \"{{ {'k': host.x} }}\"\n");
    engine.learn(&tree);
    let host = Jinja::from_pairs([("x", Jinja::from(1))]);
    let context = Context::facts(&host, None);
    let rendered = serde_json::to_string(&engine.render(&tree, &context).unwrap()).unwrap();
    assert_eq!(rendered, r#"{"a":1,"b":[2,"plain"],"c":{"k":1}}"#);
    let fresh = Engine::new(&BTreeMap::new());
    assert_eq!(
        serde_json::to_string(&fresh.render(&tree, &context).unwrap()).unwrap(),
        rendered
    );
}

#[test]
fn what_a_text_looks_at_is_known_before_it_is_rendered() {
    let mut engine = Engine::new(&BTreeMap::from([(
        Arc::from("files/x.j2"),
        b"{{ params.a }}".as_slice().into(),
    )]));
    let tree = node(
        "a: \"{{ host.x }}\"\nb: \"{{ fleet.domain }}\"\nc: \"{{ params.x }} {{ instance }}\"\nd: {templateFile: files/x.j2}\ne: {templateFile: files/y.j2}\nf: {template: \"{{ host }}\"}\ng: \"{{ fleet.endpoints(job='x') | length }}\"\nh: \"{% set all = fleet %}{{ all.endpoints() }}\"\n",
    );
    engine.learn(&tree);
    let uses = |key: &str| engine.uses(tree.get(key).unwrap());
    assert!(uses("a").host && uses("a").fleet == FleetRead::Nothing);
    assert!(uses("b").fleet == FleetRead::Facts && uses("b").is_shared());
    assert!(uses("c").instance && uses("c").is_shared());
    assert!(uses("d").is_shared());
    assert!(!uses("e").is_shared() && !uses("f").is_shared());
    assert!(!uses("g").is_shared() && !uses("h").is_shared());
}

#[test]
fn values_of_all_types_become_trees() {
    let span = Span::of_file("x");
    let tree = to_node(
        &serialized(serde_json::json!({"a": [1, -2, "x", true, null, 1.5]})),
        &span,
    )
    .unwrap();
    assert_eq!(
        serde_json::to_string(&tree).unwrap(),
        r#"{"a":[1,-2,"x",true,null,1.5]}"#
    );
    assert!(to_node(&Jinja::UNDEFINED, &span).is_err());
}

fn rendered(expression: &str) -> String {
    let engine = Engine::new(&BTreeMap::new());
    let host = serialized(serde_json::json!({
        "a": {"b": [1, "x y"], "c": null, "d": true}, "top": "it's", "quote": "\"${x}\"",
    }));
    let tree = node(&format!("- \"{expression}\"\n"));
    match engine.render(&tree, &Context::facts(&host, None)) {
        Ok(tree) => tree.as_seq().unwrap()[0]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        Err(wrong) => wrong[0].to_string(),
    }
}

#[test]
fn filters_write_the_languages_of_configuration_files() {
    for (expression, text) in [
        (
            "x{{ host.a | json }}",
            "x{\"b\":[1,\"x y\"],\"c\":null,\"d\":true}",
        ),
        ("x{{ [1] | json(indent=2) }}", "x[\n  1\n]"),
        ("x{{ {'k': host.a} | ini }}", "x[k]\nb=1\nb=x y\nd=true\n"),
        (
            "x{{ {'t': host.top, 'k': {'d': 1}} | ini }}",
            "xt=it's\n\n[k]\nd=1\n",
        ),
        (
            "x{{ {'k': host.a.d, 's': host.top} | toml }}",
            "xk = true\ns = \"it's\"\n",
        ),
        ("x{{ {'k': [1, 'a']} | yaml }}", "xk:\n- 1\n- a\n"),
        (
            "x{{ [host.quote, -1, none] | nix }}",
            "x[\n  \"\\\"\\${x}\\\"\"\n  (-1)\n  null\n]",
        ),
        ("x {{ host.top | shell_quote }}", "x 'it'\\''s'"),
        ("x {{ ['a b', 'c'] | shell_quote }}", "x 'a b' c"),
        (
            "x {{ '/srv/a b' | systemd_escape(path=true) }}",
            "x srv-a\\x20b",
        ),
        ("x {{ '.a/b' | systemd_escape }}", "x \\x2ea-b"),
    ] {
        assert_eq!(rendered(expression), text, "{expression}");
    }
    assert!(rendered("x{{ [1] | toml }}").contains("toml needs a mapping"));
    assert!(rendered("x{{ {'a': {'b': {'c': 1}}} | ini }}").contains("no section in a section"));
}

#[test]
fn subnets_have_addresses_and_subnets() {
    for (expression, text) in [
        ("x {{ cidr('192.0.2.0/24').host(5) }}", "x 192.0.2.5"),
        ("x {{ ('192.0.2.9/24' | cidr).host(-2) }}", "x 192.0.2.254"),
        ("x {{ cidr('2001:db8::/64').host(16) }}", "x 2001:db8::10"),
        ("x {{ cidr('10.0.0.0/8').subnet(16, 2) }}", "x 10.2.0.0/16"),
        (
            "x {{ cidr('2001:db8::/48').subnet(64, 255) }}",
            "x 2001:db8:0:ff::/64",
        ),
        (
            "x {{ cidr('192.0.2.0/24').contains('192.0.2.9') }}",
            "x true",
        ),
        (
            "x {{ cidr('192.0.2.0/24').contains('2001:db8::1') }}",
            "x false",
        ),
        (
            "x {% set n = cidr('192.0.2.0/24') %}{{ n.network }} {{ n.netmask }} {{ n.prefix }} {{ n.broadcast }} {{ n.family }}",
            "x 192.0.2.0 255.255.255.0 24 192.0.2.255 4",
        ),
        (
            "x {{ cidr('::/0').host(-1) }}",
            "x ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ),
    ] {
        assert_eq!(rendered(expression), text, "{expression}");
    }
    for (expression, says) in [
        (
            "x {{ cidr('192.0.2.0/24').host(256) }}",
            "192.0.2.0/24 has no address 256",
        ),
        (
            "x {{ cidr('192.0.2.0/24').subnet(25, 2) }}",
            "has no subnet 2 with the prefix 25",
        ),
        ("x {{ cidr('banana') }}", "`banana` isn't a subnet"),
    ] {
        assert!(
            rendered(expression).contains(says),
            "{expression}: {}",
            rendered(expression)
        );
    }
}
