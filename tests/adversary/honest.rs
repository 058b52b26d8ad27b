//! Honest histories that were held or refused.

use plumb_trust::ReasonCode as R;
use tests::keys::{DAY, people};
use tests::objects::{REF, REPOSITORY, START, World, moment};

/// `prod/**` is frozen on the tenth day; two of sec may declare an emergency.
fn frozen() -> World {
    let from = moment(START + 9 * DAY);
    let to = moment(START + 20 * DAY);
    World::with(|policy| {
        policy.more = format!(
            "freeze: [{{from: {from}, to: {to}, paths: [\"prod/**\"]}}]\nemergency: {{need: [{{from: sec, count: 2}}], ttl: 4h, bypasses: [freeze, counts], never: [\"lab/b\"]}}"
        );
    })
}

#[test]
fn own_180_emergency_that_a_merged_branch_carries_gets_around_a_freeze() {
    let p = people();
    for ordinary in [false, true] {
        let mut w = frozen();
        w.wait(9 * DAY + 23 * 3600);
        let tip = w.on(w.root).file("prod/a", "fix").make(&mut w);
        w.approve(tip, &p.dave);
        w.approve(tip, &p.erin);
        let merge = w
            .merge(&[w.root, tip])
            .file("prod/a", "fix")
            .message("fix\n\nEmergency: the door is open\n")
            .sign(&p.alice)
            .make(&mut w);
        if ordinary {
            w.approve(merge, &p.bob);
        }
        w.seen.insert(merge, moment(w.now));
        w.accepts(merge);
    }
}

#[test]
fn own_181_emergency_without_its_need_stays_frozen() {
    let p = people();
    let mut w = frozen();
    w.wait(9 * DAY + 23 * 3600);
    let tip = w.on(w.root).file("prod/a", "fix").make(&mut w);
    w.approve(tip, &p.dave);
    let merge = w
        .merge(&[w.root, tip])
        .file("prod/a", "fix")
        .message("fix\n\nEmergency: the door is open\n")
        .sign(&p.alice)
        .make(&mut w);
    w.approve(merge, &p.bob);
    w.seen.insert(merge, moment(w.now));
    let outcome = w.pends(merge, R::Frozen);
    let frozen = &outcome.steps[0].reasons[0];
    assert!(
        frozen.message.contains("has 1 of 2 from sec"),
        "{}",
        frozen.message
    );
    assert_eq!(frozen.missing[0].have, 1);
}

#[test]
fn own_182_embedded_tag_may_hold_what_a_message_may() {
    let p = people();
    for word in ["a\ttab", "a\u{c}page", "a\u{1b}[1mcolour\u{1b}[0m", "a\r"] {
        let mut w = World::default();
        let tip = w.on(w.root).file("prod/a", "1").make(&mut w);
        let message = format!("approved: {word}\n\nApprove: {REPOSITORY} {REF} {tip}\n");
        let tag = w
            .tag("approve/main/bob", tip)
            .message(&message)
            .sign(&p.bob);
        let tag = tag.make(&mut w);
        let merge = w
            .merge(&[w.root, tip])
            .file("prod/a", "1")
            .mergetag(&w.store, tag)
            .sign(&p.alice)
            .make(&mut w);
        w.tags.clear();
        w.accepts(merge);
        // Other headers hold none.
        let evil = w
            .merge(&[w.root, tip])
            .file("prod/a", "1")
            .headers("change-id a\tb\n")
            .sign(&p.alice)
            .make(&mut w);
        w.rejects(evil, R::MalformedCommit);
    }
}

#[test]
fn own_183_cherry_picked_commit_keeps_its_trailers() {
    let p = people();
    let mut w = World::with(|policy| policy.bind_ref = "trailer".to_owned());
    let picked = "(cherry picked from commit 0123456789abcdef0123456789abcdef01234567)";
    let bound = format!("Deploy-Ref: {REPOSITORY} {REF}");
    for message in [
        format!("a change\n\n{bound}\n{picked}\n"),
        format!("a change\n\n{picked}\n{bound}\n"),
        format!("a change\n\nSigned-off-by: x\n{bound}\n{picked}\nSigned-off-by: y\n"),
    ] {
        let c = w
            .on(w.root)
            .file("lab/a", "1")
            .message(&message)
            .sign(&p.alice);
        let c = c.make(&mut w);
        w.accepts(c);
    }
    // Prose is still no trailer, whatever it begins with.
    for message in [
        format!("a change\n\n{bound}\n(cherry picked by hand)\n"),
        format!("a change\n\n{bound}\n {picked}\nand more\n"),
    ] {
        let c = w
            .on(w.root)
            .file("lab/a", "1")
            .message(&message)
            .sign(&p.alice);
        let c = c.make(&mut w);
        w.pends(c, R::Unbound);
    }
}

#[test]
fn own_184_latin_1_name_beside_a_binding_trailer() {
    let p = people();
    let mut w = World::with(|policy| policy.bind_ref = "trailer".to_owned());
    let message = format!("a change\n\nDeploy-Ref: {REPOSITORY} {REF}\nSigned-off-by: Ren\u{e9}\n");
    let latin: Vec<u8> = message
        .chars()
        .map(|c| u8::try_from(u32::from(c)).unwrap())
        .collect();
    let mut commit = w
        .on(w.root)
        .file("lab/a", "1")
        .headers("encoding ISO-8859-1\n");
    commit.message.clone_from(&latin);
    let c = commit.sign(&p.alice).make(&mut w);
    w.accepts(c);
    // What binds is compared as it stands.
    let other = format!("a change\n\nDeploy-Ref: {REPOSITORY} {REF}\u{e9}\n");
    let mut commit = w.on(w.root).file("lab/a", "1");
    commit.message = other
        .chars()
        .map(|c| u8::try_from(u32::from(c)).unwrap())
        .collect();
    let c = commit.sign(&p.alice).make(&mut w);
    w.pends(c, R::Unbound);
}

const X509: &str = "-----BEGIN SIGNED MESSAGE-----\nMIIEuwYJKoZIhvcNAQcCoIIErDCCBKgCAQExDTALBglghkgBZQMEAgEwCwYJKoZI\nhvcNAQcBoIICzTCC\n-----END SIGNED MESSAGE-----\n";

#[test]
fn own_185_x509_signature_contributes_nothing() {
    let p = people();
    let mut w = World::default();
    let x509 = |w: &mut World| {
        w.on(w.root)
            .file("lab/a", "1")
            .sign_with(|_, _| X509.to_owned())
    };
    let c = x509(&mut w).make(&mut w);
    let outcome = w.pends(c, R::Uncovered);
    let told = |code| outcome.steps[0].reasons.iter().any(|r| r.code == code);
    assert!(told(R::UnsupportedSignature));
    w.approve(c, &p.alice);
    w.accepts(c);
    // A block that can be read in two ways is still refused.
    let pgp = "-----BEGIN PGP SIGNATURE-----\n\niQ==\n-----END PGP SIGNATURE-----\n";
    for garbled in [
        format!("{X509}{pgp}"),
        format!("{X509}{X509}"),
        X509.replace("-----END SIGNED MESSAGE-----\n", ""),
        X509.replace("MIIE", "-----BEGIN PGP SIGNATURE-----\n"),
    ] {
        let c = w.on(w.root).file("lab/a", "1");
        let c = c.sign_with(|_, _| garbled.clone()).make(&mut w);
        w.rejects(c, R::MalformedSignature);
    }
}

#[test]
fn own_186_duplicate_trailer_is_refused_though_its_signer_is_revoked() {
    let p = people();
    let mut w = World::default();
    let twice = "a change\n\nEmergency: a\nEmergency: b\n";
    let c = w.on(w.root).file("lab/a", "1").message(twice);
    let c = c.sign(&p.alice).make(&mut w);
    w.approve(c, &p.bob);
    w.rejects(c, R::DuplicateTrailer);
    // Nor does taking alice out of her groups, or her authority away, make it good.
    w.revoked.read(p.alice.public().as_bytes()).unwrap();
    w.rejects(c, R::DuplicateTrailer);
    let mut w = World::with(|policy| policy.groups[0].1 = "[bob, carol]".to_owned());
    let c = w.on(w.root).file("lab/a", "1").message(twice);
    let c = c.sign(&p.alice).make(&mut w);
    w.approve(c, &p.bob);
    w.rejects(c, R::DuplicateTrailer);
    // The trailers of what nobody of the policy signed are never read.
    for signer in [None, Some(&p.mallory)] {
        let mut c = w.on(w.root).file("lab/a", "1").message(twice);
        if let Some(key) = signer {
            c = c.sign(key);
        }
        let c = c.make(&mut w);
        w.approve(c, &p.bob);
        w.accepts(c);
    }
}

#[test]
fn own_187_policy_is_read_once_its_commit_is_covered() {
    let p = people();
    let mut w = World::default();
    let garbage = |w: &mut World| {
        let step = w.policy_step(w.root, |_| {});
        step.file(
            "trust/policy.yaml",
            "kind: TrustPolicy\nspec: {nonsense: true}\n",
        )
    };
    for signer in [None, Some(&p.mallory)] {
        let mut step = garbage(&mut w);
        if let Some(key) = signer {
            step = step.sign(key);
        }
        let step = step.make(&mut w);
        w.pends(step, R::Uncovered);
    }
    let step = garbage(&mut w).sign(&p.alice).make(&mut w);
    w.rejects(step, R::PolicyInvalid);
}
