//! Source and trust together: what our own signers sign is accepted, and nothing else is.

use std::time::{SystemTime, UNIX_EPOCH};

use futures::executor::block_on;
use plumb_trust::source::{Source, VerifyRequest};
use plumb_trust::{ObjectFormat, Oid, Verdict};

use super::super::sign::{OpenPgpSigner, Signer, SshSigner};
use super::super::write::{Mode, NewCommit, NewTag, Person, Writer};
use super::{Place, fetch};

struct Fleet {
    place: Place,
    writer: Writer,
    alice: SshSigner,
    bob: OpenPgpSigner,
    policy: String,
    alice_public: String,
    bob_public: String,
}

impl Fleet {
    fn new(format: ObjectFormat) -> Self {
        let place = Place::new();
        let writer = Writer::create(&place.path("fleet.git"), format, "refs/heads/main").unwrap();
        let alice = SshSigner::generate("alice@example.org").unwrap();
        let bob = OpenPgpSigner::generate("Bob <bob@example.org>").unwrap();
        let policy = format!(
            "kind: TrustPolicy
metadata: {{name: main}}
spec:
  serial: 1
  repository: 6f1c0c9e-0000-4000-8000-000000000000
  ref: refs/heads/main
  bindRef: none
  identities:
    alice: {{keys: [{{ssh: \"{}\"}}]}}
    bob: {{keys: [{{openpgp: {}}}]}}
  groups: {{ops: [alice, bob]}}
  rules:
    - {{paths: [\"**\"], need: [{{from: ops, count: 1}}]}}
    - {{paths: [\"hosts/**\"], need: [{{from: ops, count: 2}}]}}
    - {{paths: [\"trust/**\"], need: [{{from: ops, count: 2}}]}}
",
            alice.fingerprint(),
            bob.fingerprint()
        );
        let (alice_public, bob_public) = (alice.public().unwrap(), bob.public().unwrap());
        Self {
            place,
            writer,
            alice,
            bob,
            policy,
            alice_public,
            bob_public,
        }
    }

    fn commit(&self, parents: &[Oid], more: &[(&str, &str)], signer: Option<&dyn Signer>) -> Oid {
        let files = [
            (
                "fleet.yaml",
                "kind: Fleet\nmetadata: {name: home}\nspec: {}\n",
            ),
            ("trust/policy.yaml", self.policy.as_str()),
            ("trust/keys/alice.pub", self.alice_public.as_str()),
            ("trust/keys/bob.asc", self.bob_public.as_str()),
        ];
        let files = files
            .iter()
            .chain(more)
            .map(|(path, text)| (*path, Mode::File, text.as_bytes()));
        let tree = self.writer.tree(files).unwrap();
        let new = NewCommit {
            tree,
            parents: parents.to_vec(),
            author: person(),
            message: "change".to_owned(),
        };
        let id = self.writer.commit(&new, signer).unwrap();
        self.writer.set_ref("refs/heads/main", &id).unwrap();
        id
    }

    fn approve(&self, name: &str, target: Oid, signer: &dyn Signer) {
        let message = format!(
            "Approved.\n\nApprove: 6f1c0c9e-0000-4000-8000-000000000000 refs/heads/main {target}"
        );
        let new = NewTag {
            name: name.to_owned(),
            target,
            tagger: person(),
            message,
        };
        self.writer.tag(&new, Some(signer)).unwrap();
    }
}

fn person() -> Person {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    Person {
        name: "A".to_owned(),
        email: "a@example.org".to_owned(),
        time: i64::try_from(now).unwrap(),
    }
}

fn verdict(source: &super::GitSource, introduction: Oid) -> plumb_trust::Outcome {
    let fetched = fetch(source).unwrap();
    let mut request = VerifyRequest::new(introduction, fetched.head, jiff::Timestamp::now());
    request.tags = fetched.tags;
    block_on(source.verify(request)).unwrap()
}

#[test]
fn signed_commits_are_accepted_and_deployed_as_far_as_they_are() {
    for format in [ObjectFormat::Sha1, ObjectFormat::Sha256] {
        let fleet = Fleet::new(format);
        let first = fleet.commit(&[], &[], Some(&fleet.alice));
        let by_alice = fleet.commit(&[first], &[("profiles/a.yaml", "1")], Some(&fleet.alice));
        let by_bob = fleet.commit(&[by_alice], &[("profiles/a.yaml", "2")], Some(&fleet.bob));
        let source = fleet.place.source(fleet.writer.path().to_str().unwrap());
        let outcome = verdict(&source, first);
        assert_eq!(outcome.verdict, Verdict::Accept, "{:#?}", outcome.steps);
        assert_eq!(outcome.accepted, by_bob);
        let files = block_on(source.files(outcome.revision().unwrap())).unwrap();
        assert_eq!(**files["profiles/a.yaml"].bytes().unwrap(), *b"2");

        // Two are needed for a host; the second comes as a tag.
        let host = [("profiles/a.yaml", "2"), ("hosts/a.yaml", "kind: Host\n")];
        let waiting = fleet.commit(&[by_bob], &host, Some(&fleet.alice));
        let outcome = verdict(&source, first);
        assert_eq!(
            (outcome.verdict, outcome.accepted),
            (Verdict::Pending, by_bob),
            "{:#?}",
            outcome.steps
        );
        let files = block_on(source.files(outcome.revision().unwrap())).unwrap();
        assert!(!files.contains_key("hosts/a.yaml"));
        fleet.approve("approve/main/1-bob", waiting, &fleet.bob);
        let outcome = verdict(&source, first);
        assert_eq!(
            (outcome.verdict, outcome.accepted),
            (Verdict::Accept, waiting),
            "{:#?}",
            outcome.steps
        );

        // An unsigned one holds what comes after it too.
        let unsigned = fleet.commit(&[waiting], &[("profiles/a.yaml", "evil")], None);
        fleet.commit(
            &[unsigned],
            &[("profiles/a.yaml", "fine")],
            Some(&fleet.alice),
        );
        let outcome = verdict(&source, first);
        assert_eq!(
            (outcome.verdict, outcome.accepted),
            (Verdict::Pending, waiting)
        );
        assert_eq!(outcome.first_held().unwrap().commit, unsigned);

        // A branch that was rewound below what is accepted.
        fleet.writer.set_ref("refs/heads/main", &by_alice).unwrap();
        let fetched = fetch(&source).unwrap();
        assert_eq!(fetched.head, by_alice);
        let mut request = VerifyRequest::new(first, fetched.head, jiff::Timestamp::now());
        request.floor = Some(waiting);
        let outcome = block_on(source.verify(request)).unwrap();
        assert_eq!(
            (outcome.verdict, outcome.accepted),
            (Verdict::Reject, waiting)
        );
    }
}
