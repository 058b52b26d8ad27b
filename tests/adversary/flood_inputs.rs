//! Pushes that cost their maker little: each function builds one of a given size.

use std::fmt::Write as _;

use openpgp::cert::{CertBuilder, CipherSuite};
use openpgp::packet::Key as PgpKey;
use openpgp::packet::Packet;
use openpgp::packet::key::{Key4, PublicParts, SubordinateRole};
use openpgp::packet::signature::SignatureBuilder;
use openpgp::serialize::SerializeInto as _;
use openpgp::types::SignatureType;
use plumb_trust::object::Tree;
use plumb_trust::{EntryMode, KeyName, ObjectKind, Oid};
use sequoia_openpgp as openpgp;
use tests::keys::{BORN, Key, at, people};
use tests::objects::{REF, REPOSITORY, World};

/// A repository, and the head that a stranger pushed.
pub struct Flood {
    pub world: World,
    pub head: Oid,
}

/// The modes of a tree's entries.
type Entry<'n> = (&'static str, Vec<u8>, Oid);

fn all_signed() -> World {
    World::with(|policy| policy.more.push_str("sideBranches: allSigned"))
}

/// Writes a tree of entries in git's order.
fn tree(w: &mut World, mut entries: Vec<Entry<'_>>) -> Oid {
    entries.sort_by_key(|(mode, name, _)| {
        let mut key = name.clone();
        if *mode == "40000" {
            key.push(b'/');
        }
        key
    });
    let raw: Vec<(&str, &[u8], Oid)> = entries
        .iter()
        .map(|(mode, name, id)| (*mode, name.as_slice(), *id))
        .collect();
    w.store.raw_tree(&raw)
}

fn entries_of(w: &World, id: &Oid) -> Vec<Entry<'static>> {
    let raw = w.store.bytes(id);
    let tree = Tree::parse(raw, id.format()).unwrap();
    let mode = |mode| match mode {
        EntryMode::Folder => "40000",
        _ => "100644",
    };
    tree.entries()
        .iter()
        .map(|entry| (mode(entry.mode), entry.name.as_bytes().to_vec(), entry.id))
        .collect()
}

/// The root tree of a commit.
fn root_of(w: &World, commit: &Oid) -> Oid {
    Oid::from_hex(&w.store.bytes(commit)[5..45]).unwrap()
}

/// The folder of a commit at a path without slashes.
fn folder_of(w: &World, commit: &Oid, name: &str) -> Oid {
    let entries = entries_of(w, &root_of(w, commit));
    let found = entries
        .iter()
        .find(|(_, other, _)| other == name.as_bytes());
    found.unwrap().2
}

/// The root tree of a commit with entries added or replaced.
fn with_entries(w: &mut World, commit: &Oid, more: Vec<Entry<'_>>) -> Oid {
    let mut entries = entries_of(w, &root_of(w, commit));
    entries.retain(|(_, name, _)| !more.iter().any(|(_, other, _)| other == name));
    entries.extend(more);
    tree(w, entries)
}

/// An unsigned commit on the root that adds entries to the root folder.
fn pushed(mut world: World, more: Vec<Entry<'_>>) -> Flood {
    let root = world.root;
    let tree = with_entries(&mut world, &root, more);
    let head = world.on(root).tree(tree).make(&mut world);
    Flood { world, head }
}

/// A commit that changes `trust/`, approved as it must be or by nobody.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Cover {
    Approved,
    Nobody,
}

/// A commit on the root that puts files into `trust/`.
fn trust_step(mut world: World, files: &[(&str, &[u8])], cover: Cover) -> Flood {
    let p = people();
    let mut step = world.policy_step(world.root, |_| {});
    for (path, bytes) in files {
        step = step.entry(path, "100644", bytes);
    }
    let head = match cover {
        Cover::Nobody => step.make(&mut world),
        Cover::Approved => {
            let head = step.sign(&p.alice).make(&mut world);
            world.approve(head, &p.bob);
            world.approve(head, &p.dave);
            head
        }
    };
    Flood { world, head }
}

/// The fingerprint of an SSH key that nobody has.
fn name_of_nobody(number: usize) -> KeyName {
    let mut hash = [7; 32];
    hash[..8].copy_from_slice(&(number as u64).to_be_bytes());
    KeyName::Ssh(hash)
}

/// The text of a policy of two rules with so many needs each, of groups of so many members.
pub fn policy_text(needs: usize, members: usize) -> String {
    let mut text = format!(
        "kind: TrustPolicy\nmetadata: {{name: main}}\nspec:\n  serial: 2\n  repository: {REPOSITORY}\n  ref: {REF}\n  bindRef: none\n  identities:\n"
    );
    for n in 0..=members {
        let name = name_of_nobody(n);
        writeln!(text, "    a{n:04}: {{keys: [{{ssh: \"{name}\"}}]}}").unwrap();
    }
    // The groups differ in their last member alone.
    for (name, last) in [("g", members - 1), ("h", members)] {
        let names: Vec<String> = (0..members - 1)
            .chain([last])
            .map(|n| format!("a{n:04}"))
            .collect();
        let begin = if name == "g" { "  groups:\n" } else { "" };
        writeln!(text, "{begin}    {name}: [{}]", names.join(",")).unwrap();
    }
    let of = |group: &str, count: usize| vec![format!("{{from: {group}, count: 1}}"); count];
    let one = of("g", needs).join(",");
    let two = [of("h", needs - 1), of("g", 1)].concat().join(",");
    write!(
        text,
        "  rules:\n    - {{paths: [\"**\"], need: [{one}]}}\n    - {{paths: [\"trust/**\"], need: [{two}]}}\n"
    )
    .unwrap();
    text
}

/// A policy of many needs of large groups.
pub fn needs_and_members(needs: usize, members: usize, cover: Cover) -> Flood {
    let text = policy_text(needs, members);
    trust_step(
        World::default(),
        &[("trust/policy.yaml", text.as_bytes())],
        cover,
    )
}

/// The same as the policy of a merged branch, where each commit must be signed.
pub fn policies_on_a_side(needs: usize, members: usize) -> Flood {
    let mut w = all_signed();
    let root = w.root;
    let text = policy_text(needs, members);
    let mut tips = vec![root];
    // The walk may begin with either commit.
    for n in 0..8 {
        let bottom = w
            .on(root)
            .file("trust/policy.yaml", &format!("{text}# {n}\n"))
            .make(&mut w);
        let mut tip = bottom;
        while tip == bottom || tip.as_bytes()[0] >= 0x10 {
            tip = w.on(bottom).file("lab/a", "1").make(&mut w);
        }
        tips.push(tip);
    }
    // Side branches are judged once somebody stands behind the merge.
    let head = w.merge(&tips).make(&mut w);
    w.approve(head, &people().alice);
    Flood { world: w, head }
}

/// A policy whose groups name so many identities that aren't there.
pub fn unknown_members(count: usize, cover: Cover) -> Flood {
    let names: Vec<String> = (0..count).map(|n| format!("m{n:0>60}")).collect();
    let world = World::default();
    let mut policy = world.policy.clone();
    policy.serial += 1;
    policy
        .groups
        .push(("others".to_owned(), format!("[{}]", names.join(","))));
    for n in 0..900 {
        policy.identities.push((
            format!("{n:a>60}"),
            vec![format!("ssh: \"{}\"", name_of_nobody(n))],
        ));
    }
    let text = policy.render();
    trust_step(world, &[("trust/policy.yaml", text.as_bytes())], cover)
}

/// A policy with so many keys that are set twice.
pub fn duplicate_keys(count: usize, cover: Cover) -> Flood {
    let text = format!(
        "kind: TrustPolicy\nspec: {{{}}}\n",
        vec!["a: 1"; count].join(",")
    );
    trust_step(
        World::default(),
        &[("trust/policy.yaml", text.as_bytes())],
        cover,
    )
}

/// A policy of so many values.
pub fn yaml_values(count: usize, cover: Cover) -> Flood {
    let text = format!(
        "kind: TrustPolicy\nspec: [{}]\n",
        vec!["1"; count].join(",")
    );
    trust_step(
        World::default(),
        &[("trust/policy.yaml", text.as_bytes())],
        cover,
    )
}

/// A certificate with so many subkeys, and so many bindings that aren't by its primary key.
pub fn certificate(subkeys: usize, bindings: usize) -> Vec<u8> {
    let (cert, _) = CertBuilder::new()
        .set_cipher_suite(CipherSuite::Cv25519)
        .add_userid("flood")
        .set_creation_time(at(BORN))
        .generate()
        .unwrap();
    let mut signer = cert
        .primary_key()
        .key()
        .clone()
        .parts_into_secret()
        .unwrap()
        .into_keypair()
        .unwrap();
    let mut raw = Vec::new();
    for packet in cert.clone().strip_secret_key_material().into_packets() {
        raw.extend(packet.to_vec().unwrap());
    }
    let mut model = None;
    for n in 0..subkeys {
        // Another point each; nobody checks that there is a secret to it.
        let mut public = [0; 32];
        public[..8].copy_from_slice(&(n as u64 + 1).to_le_bytes());
        let key = Key4::import_public_ed25519(&public, at(BORN)).unwrap();
        let key: PgpKey<PublicParts, SubordinateRole> = key.into();
        if model.is_none() {
            let binding = key
                .bind(
                    &mut signer,
                    &cert,
                    SignatureBuilder::new(SignatureType::SubkeyBinding),
                )
                .unwrap();
            model = Some(Packet::from(binding).to_vec().unwrap());
        }
        raw.extend(Packet::from(key).to_vec().unwrap());
    }
    let model = model.unwrap();
    for n in 0..bindings {
        let mut binding = model.clone();
        let end = binding.len();
        binding[end - 8..].copy_from_slice(&(n as u64 + 1).to_be_bytes());
        raw.extend(binding);
    }
    raw
}

/// A certificate in `trust/keys/` under so many names.
pub fn certificate_files(cert: &[u8], names: usize, cover: Cover) -> Flood {
    let paths: Vec<String> = (0..names)
        .map(|n| format!("trust/keys/flood-{n:04}"))
        .collect();
    let files: Vec<(&str, &[u8])> = paths.iter().map(|path| (path.as_str(), cert)).collect();
    trust_step(World::default(), &files, cover)
}

/// The file of an SSH key of so many bytes.
pub fn large_key(bytes: usize) -> Vec<u8> {
    let key = Key::ssh_ed25519("flood").public();
    let mut file = "# a comment\n".repeat((bytes - key.len() - 1) / 12);
    file.push_str(&key);
    file.into_bytes()
}

/// Names below a long path, so many in each of two folders.
pub fn long_paths(count: usize, folders: usize) -> Flood {
    let mut w = World::default();
    let blob = w.store.write(ObjectKind::Blob, *b"x");
    let mut tops = Vec::new();
    for half in 0..2 {
        let entries = (0..count / 2)
            .map(|n| ("100644", format!("{n:06}").into_bytes(), blob))
            .collect();
        let mut folder = tree(&mut w, entries);
        for _ in 0..folders {
            folder = tree(&mut w, vec![("40000", vec![b'l'; 255], folder)]);
        }
        tops.push(("40000", format!("x{half}").into_bytes(), folder));
    }
    pushed(w, tops)
}

/// Names of which normalization makes eleven times as many bytes, in four folders.
pub fn growing_names(count: usize) -> Flood {
    let mut w = World::default();
    let blob = w.store.write(ObjectKind::Blob, *b"x");
    let long = "\u{fdfa}".repeat(80);
    let mut tops = Vec::new();
    for quarter in 0..4 {
        let entries = (0..count / 4)
            .map(|n| ("100644", format!("{n:06}{long}").into_bytes(), blob))
            .collect();
        tops.push((
            "40000",
            format!("x{quarter}").into_bytes(),
            tree(&mut w, entries),
        ));
    }
    pushed(w, tops)
}

/// Unsigned tags that revoke a key of the policy, spread over so many signed commits.
pub fn revoke_tags(tags: usize, commits: usize) -> Flood {
    let (p, mut w) = (people(), World::default());
    let mut head = w.root;
    let mut chain = vec![head];
    for n in 0..commits {
        head = w
            .on(head)
            .file("lab/a", &n.to_string())
            .sign(&p.carol)
            .make(&mut w);
        chain.push(head);
    }
    w.now = w.clock() + 600;
    for n in 0..tags {
        let target = chain[1 + n % commits];
        w.tag(&format!("revoke/{}/{n}", p.alice.hex()), target)
            .make(&mut w);
    }
    Flood { world: w, head }
}

/// Unsigned tags that revoke a key of the policy and stand on a commit that nobody has, above a long history.
pub fn revoke_tags_of_nothing(tags: usize, history: usize) -> Flood {
    let (p, mut w) = (people(), World::default());
    let mut head = w.root;
    for _ in 0..history {
        head = w.on(head).make(&mut w);
    }
    w.floor = Some(head);
    for n in 0..tags {
        let nothing = Oid::from_bytes(&[7; 20]).unwrap();
        w.tag(&format!("revoke/{}/{n}", p.alice.hex()), nothing)
            .make(&mut w);
    }
    let head = w.on(head).file("lab/a", "1").sign(&p.carol).make(&mut w);
    w.now = w.clock() + 600;
    Flood { world: w, head }
}

/// Tags of the head with the signature of another approval, of so many bytes each.
pub fn copied_signatures(tags: usize, bytes: usize) -> Flood {
    let (p, mut w) = (people(), World::default());
    let root = w.root;
    let model = w
        .tag("approve/main/model", root)
        .sign(&p.alice)
        .make(&mut w);
    let model = String::from_utf8(w.store.bytes(&model).to_vec()).unwrap();
    let block = &model[model.find("-----BEGIN").unwrap()..];
    w.tags.clear();
    let head = w.on(root).file("lab/a", "1").make(&mut w);
    let filler = "x".repeat(bytes.saturating_sub(700));
    for n in 0..tags {
        w.tag(&format!("approve/main/{n}"), head)
            .message(&format!("{filler}\n\nApprove: {REPOSITORY} {REF} {head}\n"))
            .edit(|raw| [&raw[..], block.as_bytes()].concat())
            .make(&mut w);
    }
    Flood { world: w, head }
}

/// Tags of the head that call themselves something long.
pub fn long_tag_names(tags: usize, bytes: usize) -> Flood {
    let mut w = World::default();
    let head = w.on(w.root).file("lab/a", "1").make(&mut w);
    let long = "\u{e9}".repeat(bytes / 2);
    for n in 0..tags {
        w.tag(&format!("approve/main/{n}{long}"), head)
            .found_as(&format!("approve/main/{n}"))
            .make(&mut w);
    }
    Flood { world: w, head }
}

/// A folder with one name of so many bytes.
pub fn garbled_name(bytes: usize) -> Flood {
    let mut w = World::default();
    let blob = w.store.write(ObjectKind::Blob, *b"x");
    let folder = tree(&mut w, vec![("100644", vec![1; bytes], blob)]);
    pushed(w, vec![("40000", b"x".to_vec(), folder)])
}

/// Folders within folders, each with so many names behind the next folder.
pub fn nested_wide_folders(levels: usize, width: usize) -> Flood {
    let mut w = World::default();
    let blob = w.store.write(ObjectKind::Blob, *b"x");
    let filler = "z".repeat(140);
    let mut folder = tree(&mut w, Vec::new());
    for level in 0..levels {
        let mut entries: Vec<Entry<'_>> = (0..width)
            .map(|n| {
                (
                    "100644",
                    format!("{filler}{n:06}{level:02}").into_bytes(),
                    blob,
                )
            })
            .collect();
        entries.push(("40000", b"a".to_vec(), folder));
        folder = tree(&mut w, entries);
    }
    pushed(w, vec![("40000", b"x".to_vec(), folder)])
}

/// Names in `trust/` below a long path, behind what isn't a file.
pub fn wide_trust(count: usize, folders: usize, cover: Cover) -> Flood {
    let p = people();
    let mut w = World::default();
    let blob = w.store.write(ObjectKind::Blob, *b"x");
    let entries = (0..count)
        .map(|n| ("100644", format!("{n:06}").into_bytes(), blob))
        .collect();
    let mut folder = tree(&mut w, entries);
    for _ in 0..folders {
        folder = tree(&mut w, vec![("40000", vec![b'l'; 255], folder)]);
    }
    let root = w.root;
    let step = w.policy_step(root, |_| {}).make(&mut w);
    let mut trust = entries_of(&w, &folder_of(&w, &step, "trust"));
    trust.push(("40000", b"a".to_vec(), folder));
    let trust = tree(&mut w, trust);
    let whole = with_entries(&mut w, &step, vec![("40000", b"trust".to_vec(), trust)]);
    let mut commit = w.on(root).tree(whole);
    if cover == Cover::Approved {
        commit = commit.sign(&p.alice);
    }
    let head = commit.make(&mut w);
    if cover == Cover::Approved {
        w.approve(head, &p.bob);
        w.approve(head, &p.dave);
    }
    Flood { world: w, head }
}

/// Symbolic links with one target of so many bytes.
pub fn links(count: usize, bytes: usize) -> Flood {
    let mut w = World::default();
    let target = "a/".repeat(bytes / 2);
    let blob = w.store.write(ObjectKind::Blob, target.into_bytes());
    let mut tops = Vec::new();
    for half in 0..2 {
        let entries = (0..count / 2)
            .map(|n| ("120000", format!("{n:06}").into_bytes(), blob))
            .collect();
        tops.push((
            "40000",
            format!("x{half}").into_bytes(),
            tree(&mut w, entries),
        ));
    }
    pushed(w, tops)
}

/// An approved branch of so many files, merged by nobody into a folder of so many others.
pub fn approved_into_a_wide_folder(paths: usize, width: usize) -> Flood {
    let (p, mut w) = (people(), World::default());
    let root = w.root;
    let mut side = w.on(root);
    for n in 0..paths {
        side = side.file(&format!("lab/n{n}"), "1");
    }
    let tip = side.make(&mut w);
    w.approve(tip, &p.bob);
    let blob = w.store.write(ObjectKind::Blob, *b"y");
    let mut lab = entries_of(&w, &folder_of(&w, &tip, "lab"));
    lab.extend((0..width).map(|n| ("100644", format!("w{n:06}").into_bytes(), blob)));
    let lab = tree(&mut w, lab);
    let whole = with_entries(&mut w, &tip, vec![("40000", b"lab".to_vec(), lab)]);
    let head = w.merge(&[root, tip]).tree(whole).make(&mut w);
    Flood { world: w, head }
}

/// Copies of a signed commit in other armor, joined by unsigned merges, where each commit must be signed.
pub fn signed_copies(copies: usize) -> Flood {
    let (p, mut w) = (people(), all_signed());
    let root = w.root;
    let model = w.on(root).file("lab/a", "1").sign(&p.bob).make(&mut w);
    let raw = String::from_utf8(w.store.bytes(&model).to_vec()).unwrap();
    let mut tips = Vec::new();
    for n in 0..copies {
        let copy = raw.replacen(
            "SIGNATURE-----\n \n",
            &format!("SIGNATURE-----\n Comment: {n}\n \n"),
            1,
        );
        assert_ne!(copy, raw);
        tips.push(w.store.write(ObjectKind::Commit, copy.into_bytes()));
    }
    while tips.len() > 1 {
        let mut joined = Vec::new();
        for some in tips.chunks(16) {
            for id in some {
                w.know(*id, root);
            }
            // Whoever looks at commits in order of their names looks at these last.
            let mut id = w.merge(some).make(&mut w);
            while id.as_bytes()[0] < 0xf0 {
                id = w.merge(some).make(&mut w);
            }
            joined.push(id);
        }
        tips = joined;
    }
    let head = w.merge(&[root, tips[0]]).make(&mut w);
    w.approve(head, &p.alice);
    w.now = w.clock() + 600;
    Flood { world: w, head }
}

/// A merge of fifteen commits far below the floor, where each commit must be signed.
pub fn far_parents(depth: usize) -> Flood {
    let mut w = all_signed();
    let mut chain = vec![w.root];
    for n in 0..depth {
        let next = w.on(chain[n]).make(&mut w);
        chain.push(next);
    }
    let floor = chain[depth];
    w.floor = Some(floor);
    w.now = w.clock() + 600;
    let parents: Vec<Oid> = [floor]
        .into_iter()
        .chain(chain[1..16].iter().copied())
        .collect();
    let head = w.merge(&parents).file("lab/a", "1").make(&mut w);
    w.approve(head, &people().alice);
    Flood { world: w, head }
}

/// Empty commits of so many bytes by strangers at the ends of fifteen branches.
pub fn empty_commits(each: usize, bytes: usize) -> Flood {
    let (p, mut w) = (people(), World::default());
    let root = w.root;
    let block = p.mallory.sign(b"nothing", w.clock());
    let message = format!("{}\n", "x".repeat(bytes));
    let mut parents = vec![root];
    for n in 0..15 {
        let mut tip = w.on(root).file("lab/a", &n.to_string()).make(&mut w);
        for _ in 0..each {
            tip = w
                .on(tip)
                .message(&message)
                .sign_with(|_, _| block.clone())
                .make(&mut w);
        }
        parents.push(tip);
    }
    let head = w.merge(&parents).make(&mut w);
    Flood { world: w, head }
}
