//! A user's password: its hash reaches the host, and nothing that is shown.

use super::*;

const HASH: &str = "$y$j9T$6w9iFJbqVXXZ5sGyyfpdd.$FrVDH9SMPwCjRbCwrVE5nyv1nGzs.pMOUCEaOKBs7F2";

fn user(password: &str) -> String {
    object(
        "Host",
        "a",
        &format!("resources: {{user: {{john: {{password: {password}}}}}}}"),
    )
}

#[test]
fn hash_is_a_content_and_is_never_shown() {
    let host = user(&format!("{{hash: \"{HASH}\"}}"));
    let files = [("hosts/a.yaml", host.as_str())];
    let resolved = resolved(&files);
    let digest = plumb_api::Digest::of_bytes(HASH.as_bytes());
    let text = resolved.contents.get(&digest).unwrap();
    assert_eq!(&*text, HASH.as_bytes());
    let shown = super::host("a", &files)["user"]["john"]["password"].clone();
    assert_eq!(shown["hash"]["sha256"], digest.to_string());
    assert!(
        !crate::resolve::rendered(&resolved)
            .to_string()
            .contains(HASH)
    );
    let fleet = load(sources(&files)).fleet;
    let explained = crate::explain::explain(&fleet, "a", "user:john").unwrap();
    let explained = serde_json::to_string(&explained).unwrap();
    assert!(explained.contains("(hidden)"), "{explained}");
    assert!(!explained.contains(HASH), "{explained}");
}

#[test]
fn what_is_no_hash_is_told_and_not_quoted() {
    for (password, says) in [
        ("hunter2", "`password` takes a hash, not a text"),
        (
            "{hash: hunter2}",
            "isn't a crypt hash, which begins with `$`",
        ),
        ("{hash: \"$1$saltsalt$2vnaRpHa6Jxjz5n83ok8Z0\"}", "by MD5"),
        ("{clear: hunter2}", "unknown form `clear` of `password`"),
        (
            "{secret: john/hash}",
            "refers to `secret:john/hash`, which isn't on this host",
        ),
        ("{secret: john}", "write {secret: NAME/KEY}"),
        ("{hash: 5}", "`hash` must be text"),
    ] {
        let host = user(password);
        let told = told(&[("hosts/a.yaml", host.as_str())]);
        assert!(told.contains(says), "{password}: {told}");
        assert!(
            !told.contains("hunter2") && !told.contains("2vna"),
            "{told}"
        );
    }
}
