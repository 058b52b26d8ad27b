use serde_json::json;

use super::*;

fn content(form: &str, files: &[(&str, &str)]) -> String {
    let host = object(
        "Host",
        "a",
        &format!("resources: {{file: {{/x: {{content: {form}}}}}}}"),
    );
    let mut all = vec![("hosts/a.yaml", host.as_str())];
    all.extend(files);
    let told = told(&all);
    if told.is_empty() {
        super::host("a", &all)["file"]["/x"]["content"]
            .as_str()
            .unwrap()
            .to_owned()
    } else {
        told
    }
}

#[test]
fn content_has_four_forms() {
    assert_eq!(
        content("\"{{ never }} rendered\\n\"", &[]),
        "{{ never }} rendered\n"
    );
    assert_eq!(
        content("{template: \"{{ host.name }}\\n\"}", &[]),
        "a\n",
        "the last newline stays"
    );
    assert_eq!(
        content("{file: files/x}", &[("files/x", "{{ never }}")]),
        "{{ never }}"
    );
    assert_eq!(
        content(
            "{templateFile: files/x.j2}",
            &[(
                "files/x.j2",
                "{% for i in [1, 2] %}\n{{ i }}\n{% endfor %}\n"
            )]
        ),
        "1\n2\n"
    );
    assert_eq!(
        content(
            "{file: \"files/{{ host.name }}.conf\"}",
            &[("files/a.conf", "mine")]
        ),
        "mine"
    );
    for (form, says) in [
        (
            "{file: files/y}",
            "hosts/a.yaml:4:43: error[unknown-reference]: the repository has no file `files/y`\n  hint: did you mean `files/x`?",
        ),
        (
            "{file: ../fleet.yaml}",
            "`../fleet.yaml` isn't under files/",
        ),
        ("{file: hosts/a.yaml}", "`hosts/a.yaml` isn't under files/"),
        (
            "{tmplate: x}",
            "unknown form `tmplate` of `content`\n  hint: did you mean `template`?",
        ),
        (
            "{template: a, file: b}",
            "`content` must have exactly one form",
        ),
        ("{template: 1}", "`template` must be text, not the number 1"),
        (
            "{secret: a/b}",
            "refers to `secret:a/b`, which isn't on this host",
        ),
        ("12", "`content` can't be the number 12"),
        ("[a]", "`content` can't be a list"),
    ] {
        let told = content(form, &[("files/x", "")]);
        assert!(told.contains(says), "{form}\n{told}");
    }
}

#[test]
fn expressions_keep_their_type_when_they_are_whole() {
    let profile = "params: {n: {type: integer, default: 7}, groups: {type: array, default: [b, c]}}\nresources:\n  group: {g: {gid: \"{{ params.n + 1 }}\", members: \"{{ params.groups }}\"}}\n  user: {u: {system: \"{{ params.n > 3 }}\", comment: \"{{ params.n }} and {{ params.n }}\"}}";
    let resources = of("profiles: {p: {}}", &[("p", profile)]);
    assert_eq!(
        resources["group"]["g"],
        json!({"gid": 8, "members": ["b", "c"]})
    );
    assert_eq!(
        resources["user"]["u"],
        json!({"system": true, "comment": "7 and 7"})
    );
    let told = told_of(
        "resources: {sysctl: {vm.swappiness: {value: \"{{ 7 }}\"}}}",
        &[],
    );
    assert!(told.contains("hosts/a.yaml:4:47: error[wrong-type]: expected text, not the number 7\n  hint: add `| string`: the expression gives another type"), "{told}");
}

#[test]
fn names_of_resources_may_be_expressions() {
    let profile = "params: {dir: {type: string, default: /srv}}\nresources: {directory: {\"{{ params.dir }}/{{ host.name }}\": {}, \"{{ params.dir }}\": {}}}";
    assert_eq!(
        of("profiles: {p: {}}", &[("p", profile)])["directory"],
        json!({"/srv": {}, "/srv/a": {}})
    );
    let told = told_of("resources: {directory: {\"{{ fleet.domain }}\": {}}}", &[]);
    assert!(
        told.contains("use only `host` and `params` in keys, `when`, `endpoints` and `networks`"),
        "{told}"
    );
}

#[test]
fn what_an_expression_gives_is_never_rendered_again() {
    let profile = "params: {text: {type: string, default: \"x\"}}\nresources: {user: {u: {comment: \"{{ params.text }}\"}}}";
    let host = "profiles: {p: {text: \"{{ '{' ~ '{ host.secret }' ~ '}' }}\"}}";
    assert_eq!(
        of(host, &[("p", profile)])["user"]["u"]["comment"],
        "{{ host.secret }}"
    );
}

#[test]
fn errors_of_expressions_have_their_place_and_say_what_to_do() {
    for (text, says) in [
        (
            "resources: {user: {u: {comment: \"x {{ host.nmae }}\"}}}",
            "hosts/a.yaml:4:41: error[expression]: `host.nmae` is undefined",
        ),
        (
            "resources: {user: {u: {comment: \"{{ hots.name }}\"}}}",
            "hosts/a.yaml:4:39: error[expression]: `hots.name` is undefined\n  hint: did you mean `host`?",
        ),
        (
            "resources: {user: {u: {comment: \"{{ params.x }}\"}}}",
            "`params.x` is undefined",
        ),
        (
            "resources: {user: {u: {comment: \"{{ host.name | upperr }}\"}}}",
            "filter upperr is unknown",
        ),
        (
            "resources: {user: {u: {comment: \"{{ host.name \"}}}",
            "the template can't be parsed",
        ),
        (
            "resources: {file: {/x: {content: {template: \"{% for x in [] %}{% endfro %}\"}}}}",
            "unknown tag `endfro`\n  hint: did you mean `endfor`?",
        ),
        (
            "resources: {user: {u: {comment: \"{{ none }} x\"}}}",
            "the value is none",
        ),
        (
            "resources: {user: {u: {comment: \"{% for i in range(9999) %}{% for j in range(9999) %}{{ i }}{% endfor %}{% endfor %}\"}}}",
            "the template takes too many steps",
        ),
        (
            "resources:\n  file:\n    /x:\n      content:\n        template: |\n          one\n          two {{ host.nope }}\n",
            "hosts/a.yaml:10:20: error[expression]: `host.nope` is undefined",
        ),
    ] {
        let told = told_of(text, &[]);
        assert!(told.contains(says), "{text}\n{told}");
    }
    let told = content(
        "{templateFile: files/x.j2}",
        &[("files/x.j2", "a\nb {{ host.nope }}\n")],
    );
    assert!(
        told.contains("files/x.j2:2:6: error[expression]: `host.nope` is undefined"),
        "{told}"
    );
    assert!(told.contains("hosts/a.yaml:4:51: used here"), "{told}");
}

#[test]
fn text_of_others_with_braces_is_put_in_raw() {
    assert_eq!(
        of(
            "resources: {user: {u: {comment: \"{% raw %}{{ .Name }}{% endraw %}\"}}}",
            &[]
        )["user"]["u"]["comment"],
        "{{ .Name }}"
    );
    let told = told_of("resources: {user: {u: {comment: \"{{ .Name }}\"}}}", &[]);
    assert!(told.contains("{% raw %}"), "{told}");
    for open in ["{{ host.fqdn", "{{ host.fqdn }"] {
        let manifest = format!("resources: {{user: {{u: {{comment: \"{open}\"}}}}}}");
        let told = told_of(&manifest, &[]);
        assert!(told.contains("close it with }}"), "{told}");
    }
}

#[test]
fn values_that_look_otherwise_need_quotes() {
    for (text, says) in [
        (
            "resources: {file: {/x: {mode: 0644}}}",
            "hosts/a.yaml:4:33: error[wrong-type]: expected text, not the number 0644\n  hint: put it in quotes: \"0644\"",
        ),
        (
            "resources: {package: {git: {version: 1.10}}}",
            "expected text, not the number 1.10\n  hint: put it in quotes: \"1.10\"",
        ),
        (
            "resources: {sysctl: {net.ipv4.ip_forward: {value: 1}}}",
            "hint: put it in quotes: \"1\"",
        ),
        (
            "resources: {file: {/x: {contnet: x}}}",
            "hosts/a.yaml:4:27: error[unknown-field]: unknown field `contnet`\n  hint: did you mean `content`?",
        ),
        (
            "resources: {fil: {/x: {}}}",
            "hosts/a.yaml:4:15: error[unknown-type]: unknown resource type `fil`\n  hint: did you mean `file`?",
        ),
        (
            "resources: {package: [git, btop]}",
            "`package` must be a mapping, not a list\n  hint: write it in braces instead of brackets: {a, b}",
        ),
        (
            "resources: {file: {etc/x: {}}}",
            "hosts/a.yaml:4:22: error[invalid-name]: `etc/x`: a path must be absolute",
        ),
        (
            "resources: {file: {/x: text}}",
            "`file:/x` must be a mapping of fields, not the text \"text\"",
        ),
        (
            "resources: {service: {nginx: {masked: true, state: started}}}",
            "`service:nginx`: a masked unit can neither run nor be enabled",
        ),
        (
            "resources: {nixos: {x: {}}}",
            "error[unsupported-field]: the resource type `nixos` isn't supported by this version of Plumb",
        ),
        (
            "resources: {user: {john: {password: x}}}",
            "error[clear-text-secret]: `password` takes a hash, not a text",
        ),
    ] {
        let told = told_of(text, &[]);
        assert!(told.contains(says), "{text}\n{told}");
    }
}
