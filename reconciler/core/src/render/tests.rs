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

#[test]
fn suggested_filters_are_filters() {
    let env = environment();
    for name in error::FILTERS {
        let is_one = env.compile_expression("name is filter").unwrap();
        let is_one = is_one.eval(Jinja::from_pairs([("name", name)])).unwrap();
        assert!(is_one.is_true(), "{name}");
    }
}
