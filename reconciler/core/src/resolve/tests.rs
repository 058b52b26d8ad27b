use super::*;
use crate::manifest::{Sources, load};

/// The files of a revision, for tests.
pub(crate) fn sources(files: &[(&str, &str)]) -> Sources<()> {
    let files = files.iter().map(|(path, text)| (Arc::from(*path), Arc::from(text.as_bytes()))).collect();
    Sources { revision: (), files }
}

fn template() -> Sources<()> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fleet-repo-template");
    let mut files = BTreeMap::new();
    let mut open = vec![root.clone()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                files.insert(Arc::from(name), Arc::from(std::fs::read(&path).unwrap()));
            }
        }
    }
    Sources { revision: (), files }
}

#[test]
fn the_template_resolves_without_a_word() {
    let loaded = load(template());
    let resolved = resolve(&loaded.fleet);
    let told: Vec<String> = resolved.diagnostics.iter().map(ToString::to_string).collect();
    assert_eq!(told, Vec::<String>::new());
    for (name, result) in &resolved.hosts {
        assert!(matches!(result, HostResult::Ready(_)), "{name}");
        if let HostResult::Ready(intent) = result {
            println!("{name} {:?} {:#?}", intent.connect, intent.desired.resources().keys());
        }
    }
    println!("{:?}", resolved.alertmanagers);
}
