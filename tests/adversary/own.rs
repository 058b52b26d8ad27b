//! Limits of reads, and the JSON of a verdict.

use tests::objects::World;

// Case 83, a small pack that inflates to much, is refused where packs are read; here it is the limit
// that each read carries.
#[test]
fn case_83_every_read_carries_a_limit() {
    use plumb_trust::{Inputs, ObjectError, ObjectKind, Objects, Oid, verify};
    use std::borrow::Cow;
    use std::cell::RefCell;
    struct Limits<'a>(&'a World, RefCell<u64>);
    impl Objects for Limits<'_> {
        fn read(
            &self,
            id: &Oid,
            kind: ObjectKind,
            limit: u64,
        ) -> Result<Cow<'_, [u8]>, ObjectError> {
            let most = self.1.borrow().max(limit);
            *self.1.borrow_mut() = most;
            self.0.store.read(id, kind, limit)
        }
    }
    let p = tests::keys::people();
    let mut w = World::default();
    let c = w
        .on(w.root)
        .file("hosts/a.yaml", "kind: Host\n")
        .sign(&p.alice)
        .make(&mut w);
    let limits = Limits(&w, RefCell::new(0));
    let outcome = verify(
        &limits,
        &Inputs::new(w.root, c, jiff::Timestamp::from_second(w.now).unwrap()),
    );
    assert!(outcome.is_accept());
    assert!(*limits.1.borrow() <= 16 << 20);
}

#[test]
fn own_46_the_json_of_verify() {
    let p = tests::keys::people();
    let mut w = World::default();
    let one = w.on(w.root).file("prod/a", "1").sign(&p.alice).make(&mut w);
    let two = w.on(one).file("lab/a", "1").sign(&p.alice).make(&mut w);
    let json = serde_json::to_value(w.verify(two)).unwrap();
    assert_eq!(json["verdict"], "pending");
    assert_eq!(json["accepted"], w.root.to_string());
    assert_eq!(json["steps"][0]["commit"], one.to_string());
    assert_eq!(json["steps"][0]["reasons"][0]["code"], "approvals-missing");
    assert_eq!(json["steps"][0]["reasons"][0]["paths"][0], "prod/a");
    assert_eq!(
        json["steps"][0]["reasons"][0]["missing"][0],
        serde_json::json!({"from": "ops", "count": 2, "have": 1})
    );
    assert_eq!(json["steps"][1]["reasons"][0]["code"], "ancestor");
}
