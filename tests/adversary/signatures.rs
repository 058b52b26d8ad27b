//! What stands in a commit's signature.

use plumb_trust::ReasonCode as R;
use sequoia_openpgp as openpgp;
use tests::keys::{BORN, DAY, Key, Sshsig, armor_pgp, at, people, unarmor};
use tests::objects::{World, noted};

#[test]
fn a_good_signature_is_enough_where_one_is_needed() {
    let p = people();
    for key in [&p.alice, &p.carol] {
        let mut w = World::default();
        let c = w.on(w.root).file("lab/a", "1").sign(key).make(&mut w);
        let outcome = w.accepts(c);
        assert_eq!(outcome.steps.len(), 1);
        assert_eq!(outcome.revision().unwrap().commit(), c);
    }
}

#[test]
fn case_01_unsigned_in_the_middle_and_reverted() {
    let (p, mut w) = (people(), World::default());
    let good = w.on(w.root).file("lab/a", "1").sign(&p.alice).make(&mut w);
    let bad = w.on(good).file("lab/b", "evil").make(&mut w);
    let reverted = w.on(bad).file("lab/b", "b\n").sign(&p.alice).make(&mut w);
    let outcome = w.pends(reverted, R::Uncovered);
    assert_eq!(outcome.accepted, good);
    assert_eq!(outcome.steps[2].reasons[0].code, R::Ancestor);
}

#[test]
fn case_02_signature_copied_from_another_commit() {
    let (p, mut w) = (people(), World::default());
    let mut block = String::new();
    let _ = w
        .on(w.root)
        .file("lab/a", "1")
        .sign_with(|payload, t| {
            block = p.alice.sign(payload, t);
            block.clone()
        })
        .make(&mut w);
    let c = w
        .on(w.root)
        .file("lab/a", "2")
        .sign_with(|_, _| block)
        .make(&mut w);
    w.rejects(c, R::BadSignature);
}

#[test]
fn case_03_one_byte_of_the_payload_flipped() {
    let p = people();
    for key in [&p.alice, &p.carol] {
        let mut w = World::default();
        let c = w
            .on(w.root)
            .file("lab/a", "1")
            .sign(key)
            .replace("a change", "b change")
            .make(&mut w);
        w.rejects(c, R::BadSignature);
    }
}

#[test]
fn case_06_key_expired_before_signing() {
    let builder = openpgp::cert::CertBuilder::new()
        .set_primary_key_flags(
            openpgp::types::KeyFlags::empty()
                .set_signing()
                .set_certification(),
        )
        .set_validity_period(std::time::Duration::from_hours(240));
    let key = Key::pgp_built(builder, "alice");
    let mut w = World::with(|policy| policy.identity("alice", &[&key]));
    let c = w.on(w.root).file("lab/a", "1").sign(&key).make(&mut w);
    w.alarms(c, R::KeyExpired);
}

/// A key that expires a day after the first commit.
fn expiring() -> Key {
    let builder = openpgp::cert::CertBuilder::new()
        .set_primary_key_flags(
            openpgp::types::KeyFlags::empty()
                .set_signing()
                .set_certification(),
        )
        .set_validity_period(std::time::Duration::from_hours(744));
    Key::pgp_built(builder, "alice")
}

#[test]
fn case_07_signed_while_valid_expired_since() {
    let key = expiring();
    let mut w = World::with(|policy| policy.identity("alice", &[&key]));
    let c = w.on(w.root).file("lab/a", "1").sign(&key).make(&mut w);
    w.accepts(c);
}

#[test]
fn case_08_backdated_after_expiry() {
    let (p, key) = (people(), expiring());
    let mut w = World::with(|policy| policy.identity("alice", &[&key]));
    w.wait(5 * DAY);
    let parent = w.on(w.root).file("lab/b", "1").sign(&p.bob).make(&mut w);
    let then = w.clock() - 5 * DAY;
    let c = w
        .on(parent)
        .file("lab/a", "1")
        .sign_at(&key, then)
        .make(&mut w);
    w.alarms(c, R::Backdated);
}

#[test]
fn case_09_ssh_valid_before_and_a_false_committer_date() {
    let p = people();
    let mut w = World::with(|policy| {
        for (name, keys) in &mut policy.identities {
            if name == "carol" {
                keys[0].push_str(", validBefore: 2025-02-02T00:00:00Z");
            }
        }
    });
    w.wait(5 * DAY);
    let honest = w.on(w.root).file("lab/a", "1").sign(&p.carol).make(&mut w);
    w.alarms(honest, R::KeyExpired);
    let parent = w.on(w.root).file("lab/b", "1").sign(&p.bob).make(&mut w);
    let then = w.clock() - 5 * DAY;
    let backdated = w
        .on(parent)
        .file("lab/a", "1")
        .dated(then)
        .sign(&p.carol)
        .make(&mut w);
    w.alarms(backdated, R::Backdated);
}

#[test]
fn case_15_a_key_that_is_not_for_signing_and_a_subkey_without_back_signature() {
    use openpgp::types::{KeyFlags, SignatureType};
    let certifies = Key::pgp_built(
        openpgp::cert::CertBuilder::new()
            .set_primary_key_flags(KeyFlags::empty().set_certification()),
        "alice",
    );
    let mut w = World::with(|policy| policy.identity("alice", &[&certifies]));
    // The policy isn't satisfiable by her, but two others of ops are left.
    let c = w
        .on(w.root)
        .file("lab/a", "1")
        .sign(&certifies)
        .make(&mut w);
    w.alarms(c, R::KeyMisused);

    // Mallory's key taken into alice's certificate as a signing subkey, without mallory's consent.
    let p = people();
    let cert = p.alice.cert().clone();
    let stolen: openpgp::packet::Key<_, openpgp::packet::key::SubordinateRole> = p
        .mallory
        .cert()
        .primary_key()
        .key()
        .clone()
        .parts_into_public()
        .role_into_subordinate();
    let mut signer = cert
        .primary_key()
        .key()
        .clone()
        .parts_into_secret()
        .unwrap()
        .into_keypair()
        .unwrap();
    let binding = openpgp::packet::signature::SignatureBuilder::new(SignatureType::SubkeyBinding)
        .set_signature_creation_time(at(BORN))
        .unwrap()
        .set_key_flags(KeyFlags::empty().set_signing())
        .unwrap()
        .sign_subkey_binding(&mut signer, None, &stolen)
        .unwrap();
    let cert = cert
        .insert_packets([
            openpgp::Packet::from(stolen),
            openpgp::Packet::from(binding),
        ])
        .unwrap()
        .0;
    let adopted = Key::Pgp(Box::new(cert));
    let mut w = World::with(|policy| policy.identity("alice", &[&adopted]));
    let c = w
        .on(w.root)
        .file("lab/a", "1")
        .sign(&p.mallory)
        .make(&mut w);
    w.alarms(c, R::KeyMisused);
}

#[test]
fn case_16_unknown_key_with_the_same_user_id() {
    let key = Key::pgp("alice");
    let mut w = World::default();
    let c = w.on(w.root).file("lab/a", "1").sign(&key).make(&mut w);
    let outcome = w.pends(c, R::Uncovered);
    assert!(
        outcome.steps[0]
            .reasons
            .iter()
            .any(|reason| reason.code == R::UnknownKey)
    );
}

#[test]
fn case_17_unhashed_issuer_edited() {
    use openpgp::packet::signature::subpacket::{Subpacket, SubpacketValue};
    use openpgp::serialize::SerializeInto as _;
    let (p, mut w) = (people(), World::default());
    let c = w
        .on(w.root)
        .file("lab/a", "1")
        .sign_with(|payload, t| {
            let mut signature = p.mallory.signature(payload, t, |b| b);
            let alice = SubpacketValue::Issuer(p.alice.cert().keyid());
            signature
                .unhashed_area_mut()
                .replace(Subpacket::new(alice, false).unwrap())
                .unwrap();
            armor_pgp(&openpgp::Packet::from(signature).to_vec().unwrap())
        })
        .make(&mut w);
    w.rejects(c, R::BadSignature);
}

#[test]
fn case_46_two_signatures_in_one_armor() {
    let (p, mut w) = (people(), World::default());
    let both = |payload: &[u8], t| {
        let (a, b) = (
            unarmor(&p.alice.sign(payload, t)),
            unarmor(&p.bob.sign(payload, t)),
        );
        armor_pgp(&[a, b].concat())
    };
    let c = w
        .on(w.root)
        .file("prod/a", "1")
        .sign_with(both)
        .make(&mut w);
    w.rejects(c, R::MalformedSignature);
    let blocks = |payload: &[u8], t| p.alice.sign(payload, t) + &p.bob.sign(payload, t);
    let c = w
        .on(w.root)
        .file("prod/a", "1")
        .sign_with(blocks)
        .make(&mut w);
    w.rejects(c, R::MalformedSignature);
}

#[test]
fn case_47_duplicate_gpgsig() {
    let (p, mut w) = (people(), World::default());
    let twice = |raw: Vec<u8>| {
        let text = String::from_utf8(raw).unwrap();
        let (from, to) = (
            text.find("gpgsig").unwrap(),
            text.find("\n\na change").unwrap() + 1,
        );
        format!("{}{}{}", &text[..to], &text[from..to], &text[to..]).into_bytes()
    };
    let c = w
        .on(w.root)
        .file("lab/a", "1")
        .sign(&p.alice)
        .edit(twice)
        .make(&mut w);
    w.rejects(c, R::MalformedCommit);
}

#[test]
fn case_48_gpgsig_evil() {
    let (p, mut w) = (people(), World::default());
    let c = w
        .on(w.root)
        .file("lab/a", "1")
        .sign(&p.alice)
        .replace("gpgsig ", "gpgsig-evil x\ngpgsig ")
        .make(&mut w);
    w.rejects(c, R::MalformedCommit);
}

#[test]
fn case_49_gpgsig_sha256_in_a_sha1_repository() {
    let (p, mut w) = (people(), World::default());
    let c = w
        .on(w.root)
        .file("lab/a", "1")
        .sign(&p.alice)
        .replace("gpgsig ", "gpgsig-sha256 ")
        .make(&mut w);
    w.rejects(c, R::MalformedCommit);
    let c = w
        .on(w.root)
        .file("lab/a", "1")
        .sign(&p.alice)
        .replace("\n\na change", "\ngpgsig-sha256 x\n\na change")
        .make(&mut w);
    w.rejects(c, R::MalformedCommit);
}

#[test]
fn case_50_an_armor_comment_changes_the_name_and_not_the_signature() {
    let (p, mut w) = (people(), World::default());
    let c = w.on(w.root).file("prod/a", "1").sign(&p.alice).make(&mut w);
    w.approve(c, &p.bob);
    w.accepts(c);
    let other = w
        .on(w.root)
        .file("prod/a", "1")
        .dated(w.clock() - 60)
        .sign_with(|payload, t| {
            p.alice
                .sign(payload, t)
                .replacen("-----\n\n", "-----\nComment: x\n\n", 1)
        })
        .make(&mut w);
    assert_ne!(other, c);
    // The approval is of the other name, and lost.
    let outcome = w.pends(other, R::ApprovalsMissing);
    assert_eq!(outcome.steps[0].reasons[0].missing[0].have, 1);
}

#[test]
fn case_51_malformed_armor() {
    let p = people();
    let spoil: [fn(String) -> String; 7] = [
        |s| s.replace("-----END PGP SIGNATURE-----\n", ""),
        |s| s.replacen("-----\n\n", "-----\n", 1),
        |s| s.replace("\n-----END", "\n=AAAA\n-----END"),
        |s| s + "trailing",
        |s| s[..s.len() / 2].to_owned(),
        |s| s.replacen("-----\n\n", "-----\n\n\n", 1),
        |_| "x".to_owned(),
    ];
    for (index, spoil) in spoil.into_iter().enumerate() {
        let mut w = World::default();
        let c = w
            .on(w.root)
            .file("lab/a", "1")
            .sign_with(|payload, t| spoil(p.alice.sign(payload, t)))
            .make(&mut w);
        let outcome = w.rejects(c, R::MalformedSignature);
        assert!(!outcome.is_accept(), "{index}");
    }
    // Cut off within the packet, armored again.
    let mut w = World::default();
    let cut = |payload: &[u8], t| armor_pgp(&unarmor(&p.alice.sign(payload, t))[..40]);
    let c = w.on(w.root).file("lab/a", "1").sign_with(cut).make(&mut w);
    w.rejects(c, R::MalformedSignature);
}

#[test]
fn case_52_inline_message_or_cleartext() {
    let p = people();
    for begin in ["MESSAGE", "SIGNED MESSAGE"] {
        let mut w = World::default();
        let inline = |payload: &[u8], t| {
            p.alice
                .sign(payload, t)
                .replace("PGP SIGNATURE", &format!("PGP {begin}"))
        };
        let c = w
            .on(w.root)
            .file("lab/a", "1")
            .sign_with(inline)
            .make(&mut w);
        w.rejects(c, R::MalformedSignature);
    }
}

#[test]
fn case_53_sshsig_of_another_namespace() {
    let (p, mut w) = (people(), World::default());
    let file = |payload: &[u8], _| {
        p.carol.sign_ssh(
            payload,
            Sshsig {
                namespace: "file",
                ..Sshsig::default()
            },
        )
    };
    let c = w.on(w.root).file("lab/a", "1").sign_with(file).make(&mut w);
    w.alarms(c, R::KeyMisused);
}

#[test]
fn case_54_weak_digests_and_small_keys() {
    use openpgp::types::HashAlgorithm;
    let p = people();
    for hash in [HashAlgorithm::SHA1, HashAlgorithm::RipeMD] {
        let mut w = World::default();
        let weak = |payload: &[u8], t| p.alice.sign_pgp(payload, t, |b| b.set_hash_algo(hash));
        let c = w.on(w.root).file("lab/a", "1").sign_with(weak).make(&mut w);
        w.alarms(c, R::WeakCrypto);
    }
    let rsa = Key::pgp_of("alice", openpgp::cert::CipherSuite::RSA2k);
    let mut w = World::with(|policy| policy.identity("alice", &[&rsa]));
    let c = w.on(w.root).file("lab/a", "1").sign(&rsa).make(&mut w);
    w.alarms(c, R::WeakCrypto);
    let mut w = World::with(|policy| {
        policy.identity("alice", &[&rsa]);
        policy.more = "crypto: {minRsaBits: 2048}".to_owned();
    });
    let c = w.on(w.root).file("lab/a", "1").sign(&rsa).make(&mut w);
    w.accepts(c);
}

#[test]
fn case_71_text_mode_signature() {
    let (p, mut w) = (people(), World::default());
    let text = |payload: &[u8], t| {
        p.alice.sign_pgp(payload, t, |b| {
            b.set_type(openpgp::types::SignatureType::Text)
        })
    };
    let c = w
        .on(w.root)
        .file("lab/a", "1")
        .sign_with(text)
        .replace("a change\n", "a change\r\n")
        .make(&mut w);
    w.rejects(c, R::MalformedSignature);
    let c = w.on(w.root).file("lab/a", "2").sign_with(text).make(&mut w);
    w.rejects(c, R::MalformedSignature);
}

#[test]
fn case_85_inner_ssh_rsa_and_a_security_key_without_presence() {
    let rsa = Key::ssh("alice", ssh_key::Algorithm::Rsa { hash: None });
    let mut w = World::with(|policy| policy.identity("alice", &[&rsa]));
    let c = w
        .on(w.root)
        .file("lab/a", "1")
        .sign_with(|payload, _| rsa.sign_ssh_rsa_sha1(payload))
        .make(&mut w);
    w.alarms(c, R::WeakCrypto);
    let c = w.on(w.root).file("lab/a", "2").sign(&rsa).make(&mut w);
    w.accepts(c);
    let (absent, present) = (Key::security_key(0), Key::security_key(1));
    let mut w = World::with(|policy| policy.identity("alice", &[&absent, &present]));
    let c = w.on(w.root).file("lab/a", "1").sign(&absent).make(&mut w);
    w.alarms(c, R::KeyMisused);
    let c = w.on(w.root).file("lab/a", "2").sign(&present).make(&mut w);
    w.accepts(c);
}

#[test]
fn own_01_every_kind_of_key_that_can_be_verified() {
    use openpgp::cert::CipherSuite;
    use ssh_key::{Algorithm, EcdsaCurve};
    let keys = [
        Key::pgp_of("alice", CipherSuite::P256),
        Key::pgp_of("alice", CipherSuite::P384),
        Key::pgp_of("alice", CipherSuite::RSA3k),
        Key::ssh(
            "alice",
            Algorithm::Ecdsa {
                curve: EcdsaCurve::NistP256,
            },
        ),
        Key::ssh(
            "alice",
            Algorithm::Ecdsa {
                curve: EcdsaCurve::NistP384,
            },
        ),
    ];
    for key in &keys {
        let mut w = World::with(|policy| policy.identity("alice", &[key]));
        let c = w.on(w.root).file("lab/a", "1").sign(key).make(&mut w);
        w.accepts(c);
        let c = w
            .on(w.root)
            .file("lab/a", "1")
            .sign(key)
            .replace("a change", "b change")
            .make(&mut w);
        w.rejects(c, R::BadSignature);
    }
}

#[test]
fn own_02_a_signing_subkey_speaks_for_its_certificate() {
    let builder = openpgp::cert::CertBuilder::new()
        .set_primary_key_flags(openpgp::types::KeyFlags::empty().set_certification())
        .add_signing_subkey();
    let key = Key::pgp_built(builder, "alice");
    let mut w = World::with(|policy| policy.identity("alice", &[&key]));
    let c = w.on(w.root).file("lab/a", "1").sign(&key).make(&mut w);
    w.accepts(c);
}

#[test]
fn own_03_a_signature_with_an_end_of_its_own() {
    let (p, mut w) = (people(), World::default());
    let ends = |payload: &[u8], t| {
        p.alice.sign_pgp(payload, t, |b| {
            b.set_signature_validity_period(std::time::Duration::from_hours(1))
                .unwrap()
        })
    };
    let c = w.on(w.root).file("lab/a", "1").sign_with(ends).make(&mut w);
    w.alarms(c, R::KeyMisused);
}

#[test]
fn own_04_sshsig_that_is_garbled() {
    let p = people();
    let spoil: [fn(Vec<u8>) -> Vec<u8>; 4] = [
        |b| [b, vec![0]].concat(),
        |b| b[..b.len() - 1].to_vec(),
        |mut b| {
            b[9] = 2;
            b
        },
        |mut b| {
            b[0] = b'X';
            b
        },
    ];
    for spoil in spoil {
        let mut w = World::default();
        let garbled =
            |payload: &[u8], t| tests::keys::armor_ssh(&spoil(unarmor(&p.carol.sign(payload, t))));
        let c = w
            .on(w.root)
            .file("lab/a", "1")
            .sign_with(garbled)
            .make(&mut w);
        w.rejects(c, R::MalformedSignature);
    }
}

#[test]
fn own_05_a_garbled_signature_of_nobody_is_a_reject_and_not_only_uncovered() {
    let mut w = World::default();
    let c = w
        .on(w.root)
        .file("lab/a", "1")
        .sign_with(|_, _| {
            "-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----".to_owned()
        })
        .make(&mut w);
    w.rejects(c, R::MalformedSignature);
}

#[test]
fn own_06_a_bad_signature_by_a_known_key_is_not_cured_by_approvals() {
    let (p, mut w) = (people(), World::default());
    let c = w
        .on(w.root)
        .file("lab/a", "1")
        .sign(&p.alice)
        .replace("a change", "b change")
        .make(&mut w);
    w.approve(c, &p.bob);
    w.rejects(c, R::BadSignature);
}

#[test]
fn own_07_a_misused_key_is_cured_by_approvals_of_others() {
    let (p, mut w) = (people(), World::default());
    let file = |payload: &[u8], _| {
        p.carol.sign_ssh(
            payload,
            Sshsig {
                namespace: "file",
                ..Sshsig::default()
            },
        )
    };
    let c = w.on(w.root).file("lab/a", "1").sign_with(file).make(&mut w);
    w.approve(c, &p.bob);
    let outcome = w.accepts(c);
    assert!(noted(&outcome, "isn't made for git"));
}

/// A policy in which alice's only key is the one of a file.
fn alice_has(file: &str) -> World {
    World::with(|policy| {
        let name = plumb_trust::policy::KeyFile::parse(file.as_bytes())
            .unwrap()
            .name();
        let line = match &name {
            plumb_trust::KeyName::OpenPgp(fingerprint) => format!("openpgp: {fingerprint}"),
            plumb_trust::KeyName::Ssh(_) => format!("ssh: \"{name}\""),
        };
        policy.identities.retain(|(other, _)| other != "alice");
        policy.identities.push(("alice".to_owned(), vec![line]));
        policy.keys.retain(|(path, _)| !path.starts_with("alice"));
        policy.keys.push(("alice".to_owned(), file.to_owned()));
    })
}

// Made by gpg and ssh-keygen: no library here makes keys of these kinds, or verifies them.
#[test]
fn own_47_kinds_that_can_t_be_verified_count_for_nothing_and_are_named_so() {
    for (key, signature) in [
        (
            include_str!("fixtures/brainpool.asc"),
            include_str!("fixtures/brainpool.sig"),
        ),
        (
            include_str!("fixtures/p521.pub"),
            include_str!("fixtures/p521.sig"),
        ),
    ] {
        let (p, mut w) = (people(), alice_has(key));
        let c = w
            .on(w.root)
            .file("lab/a", "1")
            .sign_with(|_, _| signature.to_owned())
            .make(&mut w);
        w.pends(c, R::UnsupportedSignature);
        w.approve(c, &p.bob);
        w.accepts(c);
        // And such a key can't be what makes a policy satisfiable.
        let tree = w.verify(w.root).revision().unwrap().tree();
        let now = jiff::Timestamp::from_second(w.now).unwrap();
        let authority = plumb_trust::authority(&w.store, &tree, now).unwrap();
        assert!(
            authority
                .check(now)
                .unusable
                .iter()
                .any(|line| line.contains("alice"))
        );
    }
}

/// Carol's signature with something in its reserved field, made over a content of that field.
fn reserved(payload: &[u8], signed: &[u8]) -> String {
    use ed25519_dalek::Signer as _;
    use sha2::Digest as _;
    let Key::Ssh(key) = &people().carol else {
        unreachable!("carol's key is of SSH")
    };
    let ssh_key::private::KeypairData::Ed25519(pair) = key.key_data() else {
        unreachable!("carol's key is Ed25519")
    };
    let string = |bytes: &[u8]| {
        let len = u32::try_from(bytes.len()).unwrap().to_be_bytes();
        [&len[..], bytes].concat()
    };
    let data = [
        b"SSHSIG".to_vec(),
        string(b"git"),
        string(signed),
        string(b"sha512"),
        string(&sha2::Sha512::digest(payload)),
    ]
    .concat();
    let raw = ed25519_dalek::SigningKey::from_bytes(&pair.private.to_bytes())
        .sign(&data)
        .to_bytes();
    let blob = |reserved: &[u8]| {
        tests::keys::armor_ssh(
            &[
                b"SSHSIG\0\0\0\x01".to_vec(),
                string(&key.public_key().to_bytes().unwrap()),
                string(b"git"),
                string(reserved),
                string(b"sha512"),
                string(&[string(b"ssh-ed25519"), string(&raw)].concat()),
            ]
            .concat(),
        )
    };
    // It is made well: with nothing in the field it is the one that the library makes.
    if signed.is_empty() {
        assert_eq!(
            unarmor(&blob(b"")),
            unarmor(&people().carol.sign(payload, 0))
        );
    }
    blob(b"x")
}

// `ssh-keygen -Y verify` takes the first: it ignores the field, and verifies with an empty one. The
// second is what `PROTOCOL.sshsig` calls signed.
#[test]
fn own_48_sshsig_with_something_in_its_reserved_field() {
    let (p, mut w) = (people(), World::default());
    for signed in [&b""[..], b"x"] {
        let c = w
            .on(w.root)
            .file("lab/a", "1")
            .sign_with(|payload, _| reserved(payload, signed))
            .make(&mut w);
        w.rejects(c, R::BadSignature);
    }
    // Something behind the inner signature.
    let behind = |payload: &[u8], t| {
        let bytes = unarmor(&p.carol.sign(payload, t));
        let at = bytes.len() - 83 - 4;
        let inner = [&87_u32.to_be_bytes()[..], &bytes[at + 4..], b"more"].concat();
        assert_eq!(bytes[at..at + 4], 83_u32.to_be_bytes());
        tests::keys::armor_ssh(&[&bytes[..at], &inner].concat())
    };
    let c = w
        .on(w.root)
        .file("lab/a", "2")
        .sign_with(behind)
        .make(&mut w);
    w.rejects(c, R::BadSignature);
}
