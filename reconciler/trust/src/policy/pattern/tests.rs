use super::*;

#[track_caller]
fn check(pattern: &str, owned: &[&str], not_owned: &[&str]) {
    let pattern = Pattern::parse(pattern).unwrap();
    for path in owned {
        assert!(pattern.owns(path), "{pattern} owns {path}");
    }
    for path in not_owned {
        assert!(!pattern.owns(path), "{pattern} doesn't own {path}");
    }
}

#[test]
fn everything() {
    check("**", &["a", "a/b", ".hidden/.x", "ü"], &[]);
}

#[test]
fn a_name_owns_the_file_or_the_folder() {
    check(
        "prod",
        &["prod", "prod/x", "prod/x/y"],
        &["production", "a/prod", "pro"],
    );
    check(
        "fleet.yaml",
        &["fleet.yaml"],
        &["fleetxyaml", "hosts/fleet.yaml"],
    );
}

#[test]
fn a_star_stops_at_a_slash_and_may_stand_for_nothing() {
    check(
        "hosts/*.yaml",
        &["hosts/a.yaml", "hosts/.yaml", "hosts/.x.yaml"],
        &["hosts/x/a.yaml", "hosts/a.yml", "hosts", "hosts/a.yamlx"],
    );
    check(
        "a*b*c",
        &["abc", "axxbxxc", "abbcc"],
        &["ab", "axcxb", "abcd"],
    );
    check("*", &["a", "a/b"], &[]);
    check("hosts/*", &["hosts/x", "hosts/x/y"], &["hosts", "host/x"]);
}

#[test]
fn two_stars_are_zero_or_more_whole_components() {
    check(
        "trust/**",
        &["trust", "trust/policy.yaml", "trust/keys/a.asc"],
        &["trusty", "a/trust"],
    );
    check(
        "**/secret",
        &["secret", "a/secret", "a/b/secret", "a/secret/b"],
        &["secrets", "a/xsecret"],
    );
    check(
        "a/**/z",
        &["a/z", "a/b/z", "a/b/c/z", "a/z/b"],
        &["a", "az", "b/a/z"],
    );
    check(
        "a/**/b/**/c",
        &["a/b/c", "a/x/b/y/z/c", "a/b/b/c"],
        &["a/c", "a/b", "a/c/b"],
    );
    check("**/x/**", &["x", "a/x", "a/x/b"], &["a/xx"]);
    check("a/**/**/b", &["a/b", "a/c/d/b"], &["a"]);
}

#[test]
fn ascii_case_is_folded_and_nothing_else() {
    check("Prod/*.YAML", &["prod/a.yaml", "PROD/A.Yaml"], &[]);
    check("straße", &["STRAßE"], &["strasse", "STRASSE"]);
}

#[test]
fn what_other_matchers_know_is_refused() {
    for (pattern, error) in [
        ("", PatternError::Empty),
        ("/a", PatternError::Slash),
        ("a/", PatternError::Slash),
        ("a//b", PatternError::Slash),
        ("./a", PatternError::Dots),
        ("a/../b", PatternError::Dots),
        ("a**", PatternError::Joined),
        ("**.yaml", PatternError::Joined),
        ("***", PatternError::Joined),
        ("a?", PatternError::Character('?')),
        ("!a", PatternError::Character('!')),
        ("[ab]", PatternError::Character('[')),
        ("{a,b}", PatternError::Character('{')),
        ("a\\*", PatternError::Character('\\')),
        ("a\nb", PatternError::Character('\n')),
    ] {
        assert_eq!(Pattern::parse(pattern).err(), Some(error), "{pattern}");
    }
}

/// The plainest matcher that can be written, to compare with.
fn plain(parts: &[&str], components: &[&str]) -> bool {
    match (parts, components) {
        ([], _) => true,
        (["**", rest @ ..], _) => (0..=components.len()).any(|n| plain(rest, &components[n..])),
        (_, []) => false,
        ([part, rest @ ..], [component, more @ ..]) => {
            glob(part.as_bytes(), component.as_bytes()) && plain(rest, more)
        }
    }
}

fn glob(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=name.len()).any(|n| glob(rest, &name[n..])),
        ([a, rest @ ..], [b, more @ ..]) => a == b && glob(rest, more),
        _ => false,
    }
}

#[test]
fn it_agrees_with_the_plainest_matcher() {
    let parts = ["a", "b", "*", "**", "a*", "*b"];
    let names = ["a", "b", "ab", "ba"];
    let mut compared = 0;
    for pattern in combinations(&parts, 4) {
        let ours = Pattern::parse(&pattern.join("/")).unwrap();
        for path in combinations(&names, 4) {
            assert_eq!(
                ours.owns(&path.join("/")),
                plain(&pattern, &path),
                "{pattern:?} {path:?}"
            );
            compared += 1;
        }
    }
    assert!(compared > 500_000);
}

fn combinations<'a>(words: &[&'a str], most: usize) -> Vec<Vec<&'a str>> {
    let mut all: Vec<Vec<&str>> = vec![vec![]];
    let mut last = all.clone();
    for _ in 0..most {
        last = last
            .iter()
            .flat_map(|c| words.iter().map(|w| [&c[..], &[*w]].concat()))
            .collect();
        all.extend(last.clone());
    }
    all.retain(|c| !c.is_empty());
    all
}

#[test]
fn a_hostile_pattern_isn_t_slow() {
    let pattern = Pattern::parse(&format!("{}z", "**/a*a*a*a*b/".repeat(50))).unwrap();
    assert!(!pattern.owns(&format!("{}y", "aaaaaaaaaaaaaaaaaaaaaaaa/".repeat(100))));
}
