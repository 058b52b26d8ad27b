//! What each target does with bytes: shared by the targets, which make them up, and by the test that
//! replays the corpus with the usual compiler.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use plumb_api::selector::Selector;
use plumb_core::desired::HostResult;
use plumb_core::manifest::{Sources, load};
use plumb_core::resolve::resolve;
use plumb_trust::object::{Commit, Tag, Tree};
use plumb_trust::policy::KeyFile;
use plumb_trust::{
    Armor, Inputs, KeyName, ObjectError, ObjectFormat, ObjectKind, Objects, Oid, Pattern, Policy,
    Revocations, Trailers, name_of, verify,
};

/// A target: its name, and what it does.
pub type Entry = (&'static str, fn(&[u8]));

/// All of them.
pub const ENTRIES: [Entry; 12] = [
    ("armor", armor),
    ("commit", commit),
    ("key", key),
    ("manifest", manifest),
    ("patch", patch),
    ("pattern", pattern),
    ("policy", policy),
    ("selector", selector),
    ("signature", signature),
    ("tag", tag),
    ("template", template),
    ("tree", tree),
];

const FORMATS: [ObjectFormat; 2] = [ObjectFormat::Sha1, ObjectFormat::Sha256];

/// Decoding never panics, and gives no more than it was given.
pub fn armor(data: &[u8]) {
    for armor in [Armor::OpenPgp, Armor::Ssh] {
        if let Ok(bytes) = armor.decode(data) {
            assert!(!bytes.is_empty() && bytes.len() < data.len());
            assert_eq!(Armor::of(data.trim_ascii_end()), Some(armor));
        }
    }
}

/// Splitting never panics, and what is taken apart is the whole: payload and signature together are
/// never longer than the commit, and the payload begins and ends as the commit does.
pub fn commit(data: &[u8]) {
    for format in FORMATS {
        let Ok(commit) = Commit::parse(data, format) else {
            continue;
        };
        let payload = commit.payload().to_vec();
        assert!(data.ends_with(commit.message) && payload.ends_with(commit.message));
        match &commit.signature {
            None => assert_eq!(payload, data),
            Some(block) => {
                assert!(payload.len() + block.len() < data.len());
                // The payload is a commit itself, the same without a signature.
                let unsigned = Commit::parse(&payload, format).expect("a payload is a commit");
                assert!(unsigned.signature.is_none() && unsigned.payload().to_vec() == payload);
                assert_eq!(
                    (unsigned.tree, &unsigned.parents),
                    (commit.tree, &commit.parents)
                );
            }
        }
        for mergetag in &commit.mergetags {
            tag(mergetag);
        }
        let _ = commit.subject();
    }
}

/// A key's file, and a list of revocations.
pub fn key(data: &[u8]) {
    if let Ok(key) = KeyFile::parse(data) {
        let name = key.name();
        assert_eq!(name.to_string().parse(), Ok(name.clone()));
        assert_eq!(KeyName::from_hex(&name.to_hex()), Ok(name));
        let _ = key.owner();
    }
    let _ = Revocations::default().read(data);
}

/// Loading and resolving never panics, each diagnostic has a place, and a host whose manifest is any bytes
/// holds no other host.
pub fn manifest(data: &[u8]) {
    const FLEET: &[u8] = b"kind: Fleet\nmetadata: {name: home}\nspec: {domain: fleet.example}\n";
    const GOOD: &[u8] = b"kind: Host\nmetadata: {name: good}\nspec: {resources: {file: {/etc/motd: {content: hello}}}}\n";
    const PROFILE: &[u8] = b"kind: Profile\nmetadata: {name: base}\nspec:\n  params: {port: {type: integer, default: 80}}\n  resources: {file: {/etc/base: {content: {template: \"{{ params.port }} {{ host.name }}\"}}}}\n";
    const NETWORK: &[u8] =
        b"kind: Network\nmetadata: {name: lan}\nspec: {subnets: [192.0.2.0/24]}\n";
    let files = [
        ("fleet.yaml", FLEET),
        ("hosts/bad.yaml", data),
        ("hosts/good.yaml", GOOD),
        ("networks/lan.yaml", NETWORK),
        ("profiles/base.yaml", PROFILE),
    ];
    let files: BTreeMap<Arc<str>, _> = files
        .into_iter()
        .map(|(path, bytes)| (Arc::from(path), bytes.into()))
        .collect();
    let resolved = resolve(
        &load(Sources {
            revision: (),
            files,
        })
        .fleet,
    );
    for diagnostic in &resolved.diagnostics {
        assert!(!diagnostic.span.file().is_empty() && diagnostic.span.line() > 0);
        assert!(!diagnostic.message.is_empty(), "{diagnostic}");
    }
    for (name, host) in &resolved.hosts {
        let is_held = matches!(host, HostResult::Held(_));
        assert!(name.as_str() == "bad" || !is_held, "{name} is held");
    }
}

/// A list of patches of a host's resources; see [`manifest`].
pub fn patch(data: &[u8]) {
    let mut text = b"kind: Host\nmetadata: {name: bad}\nspec:\n  resources: {file: {/etc/x: {content: x, mode: \"0644\"}}, package: {tmux: {}}}\n  patches:\n".to_vec();
    for line in data.split(|b| *b == b'\n') {
        text.extend_from_slice(b"    ");
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    manifest(&text);
}

/// Rendering a template never panics and ends; see [`manifest`].
pub fn template(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut quoted = String::new();
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            c if c.is_control() => return,
            c => quoted.push(c),
        }
    }
    manifest(
        format!("kind: Host\nmetadata: {{name: bad}}\nspec: {{resources: {{file: {{/etc/x: {{content: {{template: \"{quoted}\"}}}}}}}}}}\n")
            .as_bytes(),
    );
}

/// Parsing never panics; a selector reads back as itself.
pub fn selector(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(selector) = Selector::parse(text) {
        let written = selector.to_string();
        let again = Selector::parse(&written).expect("what is written can be read");
        assert_eq!(again, selector, "{text:?} {written:?}");
        let _ = selector.matches("linda", &BTreeMap::new());
    }
}

/// Matching never panics and isn't slow; what owns a folder owns what is in it. The first line is the
/// pattern, the rest a path.
pub fn pattern(data: &[u8]) {
    let Some((pattern, path)) = std::str::from_utf8(data)
        .ok()
        .and_then(|text| text.split_once('\n'))
    else {
        return;
    };
    if let Ok(pattern) = Pattern::parse(pattern) {
        let owns = pattern.owns(path);
        assert!(!owns || pattern.owns(&format!("{path}/inside")));
        assert_eq!(owns, pattern.owns(&path.to_ascii_uppercase()));
        assert_eq!(owns, slow::owns(pattern.as_str(), path), "{pattern} {path}");
    }
}

/// The pattern language once more, as short as it can be said: components against components.
mod slow {
    pub(super) fn owns(pattern: &str, path: &str) -> bool {
        let lower = |text: &str| {
            text.to_ascii_lowercase()
                .split('/')
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let (pattern, path) = (lower(pattern), lower(path));
        // A table from the end: `table[i][j]`: the parts from `i` on own the components from `j` on.
        let mut table = vec![vec![false; path.len() + 1]; pattern.len() + 1];
        table[pattern.len()].fill(true);
        for i in (0..pattern.len()).rev() {
            for j in (0..=path.len()).rev() {
                table[i][j] = if pattern[i] == "**" {
                    table[i + 1][j] || j < path.len() && table[i][j + 1]
                } else {
                    j < path.len()
                        && name(pattern[i].as_bytes(), path[j].as_bytes())
                        && table[i + 1][j + 1]
                };
            }
        }
        table[0][0]
    }

    fn name(glob: &[u8], name: &[u8]) -> bool {
        let mut row = vec![false; name.len() + 1];
        row[0] = true;
        for c in glob {
            let mut next = vec![false; name.len() + 1];
            for j in 0..=name.len() {
                next[j] = match c {
                    b'*' => row[j] || j > 0 && next[j - 1],
                    c => j > 0 && row[j - 1] && name[j - 1] == *c,
                };
            }
            row = next;
        }
        row[name.len()]
    }
}

/// Reading never panics; a policy that is read has a rule for itself that needs somebody.
pub fn policy(data: &[u8]) {
    if let Ok(policy) = Policy::parse(data) {
        assert!(
            policy
                .rules_for("trust/policy.yaml")
                .any(|(_, rule)| !rule.need.is_empty())
        );
        assert!(
            policy
                .rules
                .iter()
                .all(|rule| rule.need.iter().all(|need| need.count > 0))
        );
        for rule in &policy.rules {
            for need in &rule.need {
                assert!(policy.groups.contains_key(&need.from), "{}", need.from);
            }
        }
    }
}

/// Nothing but the signatures that the fixtures' keys truly made is accepted.
pub fn signature(data: &[u8]) {
    if is_accepted(data) {
        let genuine = |part: &Vec<u8>| data.windows(part.len()).any(|window| window == part);
        let parts = &Fixture::of(data).genuine;
        assert!(parts.iter().any(genuine), "a forgery is accepted");
    }
}

/// Whether the fixture's commit is accepted with a signature of these bytes.
pub fn is_accepted(signature: &[u8]) -> bool {
    let fixture = Fixture::of(signature);
    let head = fixture.signed(&armored(signature));
    let now = "2026-01-01T00:00:00Z".parse().expect("a time");
    let id = name_of(ObjectKind::Commit, &head, ObjectFormat::Sha1).expect("no collision");
    let store = With {
        fixture,
        id,
        head: &head,
    };
    let outcome = verify(&store, &Inputs::new(fixture.introduction, id, now));
    assert_eq!(outcome.steps.len(), 1, "the fixture's policy is in order");
    assert_eq!(outcome.accepted == id, outcome.is_accept());
    outcome.is_accept()
}

fn is_ssh(data: &[u8]) -> bool {
    data.starts_with(b"SSHSIG")
}

fn armored(data: &[u8]) -> Vec<u8> {
    let (kind, head) = if is_ssh(data) {
        ("SSH", "")
    } else {
        ("PGP", "\n")
    };
    let text = base64(data);
    format!("-----BEGIN {kind} SIGNATURE-----\n{head}{text}-----END {kind} SIGNATURE-----")
        .into_bytes()
}

fn base64(data: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for line in data.chunks(48) {
        for chunk in line.chunks(3) {
            let number =
                chunk.iter().fold(0_u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
            for i in 0..4 {
                let digit = char::from(DIGITS[(number >> (18 - 6 * i)) as usize & 63]);
                text.push(if i <= chunk.len() { digit } else { '=' });
            }
        }
        text.push('\n');
    }
    text
}

/// A repository with one policy, made by `fuzz-seeds`.
struct Fixture {
    objects: HashMap<Oid, (String, Vec<u8>)>,
    introduction: Oid,
    /// A commit on top of the introduction, without a signature.
    payload: &'static [u8],
    /// The parts of true signatures of the payload that can't be changed.
    genuine: Vec<Vec<u8>>,
}

impl Fixture {
    /// That of the signature's format: a policy with the keys of both would be read twice as slowly.
    fn of(signature: &[u8]) -> &'static Self {
        static SSH: OnceLock<Fixture> = OnceLock::new();
        static OPENPGP: OnceLock<Fixture> = OnceLock::new();
        if is_ssh(signature) {
            return SSH.get_or_init(|| {
                let (objects, payload) = (
                    include_bytes!("fixture/ssh/objects"),
                    include_bytes!("fixture/ssh/payload"),
                );
                let genuine = vec![
                    include_bytes!("fixture/ssh/genuine-ed25519").to_vec(),
                    include_bytes!("fixture/ssh/genuine-security-key").to_vec(),
                ];
                Self::new(objects, payload, genuine)
            });
        }
        OPENPGP.get_or_init(|| {
            let (objects, payload) = (
                include_bytes!("fixture/openpgp/objects"),
                include_bytes!("fixture/openpgp/payload"),
            );
            // What is hashed: behind the packet's header, before the unhashed part.
            let packet = include_bytes!("fixture/openpgp/genuine-ed25519");
            let hashed = 2 + 6 + usize::from(u16::from_be_bytes([packet[6], packet[7]]));
            Self::new(objects, payload, vec![packet[2..hashed].to_vec()])
        })
    }

    fn new(mut batch: &[u8], payload: &'static [u8], genuine: Vec<Vec<u8>>) -> Self {
        let parsed = Commit::parse(payload, ObjectFormat::Sha1).expect("a commit");
        let mut objects = HashMap::new();
        // The form of `git cat-file --batch`.
        while let Some(end) = batch.iter().position(|b| *b == b'\n') {
            let line = std::str::from_utf8(&batch[..end]).expect("text");
            let mut words = line.split(' ');
            let mut word = || words.next().expect("three words");
            let (id, kind, len) = (word(), word(), word().parse::<usize>().expect("a length"));
            let bytes = batch[end + 1..=end + len].to_vec();
            objects.insert(id.parse().expect("a name"), (kind.to_owned(), bytes));
            batch = &batch[end + 2 + len..];
        }
        Self {
            objects,
            introduction: parsed.parents[0],
            payload,
            genuine,
        }
    }

    fn signed(&self, block: &[u8]) -> Vec<u8> {
        let end = self
            .payload
            .windows(2)
            .position(|w| w == b"\n\n")
            .expect("an empty line")
            + 1;
        let mut raw = self.payload[..end].to_vec();
        raw.extend_from_slice(b"gpgsig ");
        for byte in block {
            raw.push(*byte);
            if *byte == b'\n' {
                raw.push(b' ');
            }
        }
        raw.push(b'\n');
        raw.extend_from_slice(&self.payload[end..]);
        raw
    }
}

struct With<'a> {
    fixture: &'a Fixture,
    id: Oid,
    head: &'a [u8],
}

impl Objects for With<'_> {
    fn read(&self, id: &Oid, kind: ObjectKind, limit: u64) -> Result<Cow<'_, [u8]>, ObjectError> {
        if *id == self.id {
            return Ok(self.head.into());
        }
        let (found, bytes) = self.fixture.objects.get(id).ok_or(ObjectError::Missing)?;
        if found != kind.as_str() {
            return Err(ObjectError::WrongKind);
        }
        if bytes.len() as u64 > limit {
            return Err(ObjectError::TooLarge);
        }
        Ok(bytes.as_slice().into())
    }
}

/// Splitting never panics; payload and signature together are the tag.
pub fn tag(data: &[u8]) {
    for format in FORMATS {
        if let Ok(tag) = Tag::parse(data, format) {
            let mut whole = tag.payload().to_vec();
            whole.extend_from_slice(tag.signature.unwrap_or_default());
            assert_eq!(whole, data);
            let _ = Trailers::parse(tag.message);
        }
    }
    let _ = Trailers::parse(data);
}

/// Names that come through are ones that every file system takes for themselves.
pub fn tree(data: &[u8]) {
    for format in FORMATS {
        let Ok(tree) = Tree::parse(data, format) else {
            continue;
        };
        for entry in tree.entries() {
            assert!(!entry.name.is_empty() && !entry.name.contains(['/', '\0', '\n']));
            assert!(entry.name != ".." && !entry.name.eq_ignore_ascii_case(".git"));
        }
        let mut names: Vec<&str> = tree.entries().iter().map(|entry| entry.name).collect();
        names.dedup();
        assert_eq!(names.len(), tree.entries().len());
    }
}
