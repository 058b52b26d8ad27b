use super::*;

#[test]
fn only_the_fleets_name_is_changed() {
    let text = rename(
        b"kind: Fleet\nmetadata: {name: home}\nspec:\n  name: x\n",
        "mine",
    );
    assert_eq!(
        text,
        "kind: Fleet\nmetadata: {name: mine}\nspec:\n  name: x\n"
    );
    let text = rename(b"kind: Fleet\nmetadata:\n  name: home\n", "mine");
    assert_eq!(text, "kind: Fleet\nmetadata:\n  name: mine\n");
}
