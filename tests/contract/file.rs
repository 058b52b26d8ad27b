//! `file`, by every route.

use plumb_api::report::ErrorCode;
use plumb_api::resource::{FileSpec, Mode, Presence};
use plumb_api::{Kind, Spec};

use crate::driver::{Driver, at};
use crate::ground::{AREA, Ground};

/// A host that wants one file.
async fn wanting<'a>(ground: &'a Ground, text: &str, mode: u32) -> Driver<'a> {
    let mut driver = Driver::new(ground).await;
    want(&mut driver, text, mode);
    driver
}

fn want(driver: &mut Driver<'_>, text: &str, mode: u32) {
    let spec = FileSpec {
        content: Some(driver.content(text.as_bytes())),
        mode: Some(Mode::from_bits(mode)),
        ..FileSpec::default()
    };
    driver.want([(at(Kind::File, "f"), Spec::File(spec))]);
}

fn look(ground: &Ground) -> String {
    ground.sh(&format!("cd $R{AREA}; stat -c '%F %a %h' f; cat f"))
}

pub async fn it_is_made_with_content_and_mode(ground: &Ground) {
    let mut driver = wanting(ground, "hello\n", 0o640).await;
    driver.converge().await;
    assert_eq!(look(ground), "regular file 640 1\nhello");
    if ground.is_real() {
        assert_eq!(ground.sh(&format!("stat -c %U:%G {AREA}/f")), "root:root");
    }
    assert_eq!(
        ground.sh(&format!("ls -A $R{AREA}")),
        "f",
        "no temporary file is left"
    );
}

pub async fn it_is_put_right(ground: &Ground) {
    let mut driver = wanting(ground, "one\n", 0o644).await;
    driver.converge().await;
    want(&mut driver, "two\n", 0o600);
    driver.converge().await;
    assert_eq!(look(ground), "regular file 600 1\ntwo");
    ground.sh(&format!("cd $R{AREA}; echo by hand >f; chmod 777 f"));
    let report = driver.observe().await;
    let fields: Vec<_> = report.differences[0]
        .fields
        .iter()
        .map(|f| f.field.as_str())
        .collect();
    assert_eq!(fields, ["content", "mode"]);
    driver.converge().await;
    assert_eq!(look(ground), "regular file 600 1\ntwo");
}

pub async fn it_goes_when_nothing_wants_it(ground: &Ground) {
    let mut driver = wanting(ground, "x", 0o644).await;
    driver.converge().await;
    driver.want([]);
    driver.converge().await;
    assert_eq!(ground.sh(&format!("ls -A $R{AREA}")), "");
}

pub async fn what_was_there_is_given_back(ground: &Ground) {
    ground.sh(&format!("cd $R{AREA}; printf before >f; chmod 604 f"));
    let mut driver = wanting(ground, "ours", 0o640).await;
    driver.converge().await;
    assert_eq!(look(ground), "regular file 640 1\nours");
    driver.want([]);
    driver.converge().await;
    assert_eq!(look(ground), "regular file 604 1\nbefore");
}

pub async fn absent_removes_it(ground: &Ground) {
    ground.sh(&format!("echo x >$R{AREA}/f"));
    let mut driver = Driver::new(ground).await;
    let spec = FileSpec {
        state: Presence::Absent,
        ..FileSpec::default()
    };
    driver.want([(at(Kind::File, "f"), Spec::File(spec))]);
    driver.converge().await;
    assert_eq!(ground.sh(&format!("ls -A $R{AREA}")), "");
}

pub async fn a_directory_in_its_place_is_refused(ground: &Ground) {
    ground.sh(&format!("mkdir $R{AREA}/f; touch $R{AREA}/f/theirs"));
    let mut driver = wanting(ground, "x", 0o644).await;
    let error = driver.fail().await;
    assert_eq!(error.code, ErrorCode::Refused, "{error}");
    assert_eq!(ground.sh(&format!("ls $R{AREA}/f")), "theirs");
}

pub async fn a_second_hard_link_is_refused(ground: &Ground) {
    ground.sh(&format!("cd $R{AREA}; echo theirs >other; ln other f"));
    let mut driver = wanting(ground, "x", 0o644).await;
    let error = driver.fail().await;
    assert_eq!(error.code, ErrorCode::Refused, "{error}");
    assert_eq!(ground.sh(&format!("cat $R{AREA}/other")), "theirs");
}

pub async fn a_link_in_its_place_is_not_followed(ground: &Ground) {
    ground.sh(&format!("cd $R{AREA}; echo theirs >other; ln -s other f"));
    let mut driver = wanting(ground, "x", 0o644).await;
    let error = driver.fail().await;
    assert_eq!(error.code, ErrorCode::Refused, "{error}");
    assert_eq!(
        ground.sh(&format!("cd $R{AREA}; cat other; readlink f")),
        "theirs\nother"
    );
}

pub async fn a_users_set_id_bits_do_not_become_roots(ground: &Ground) {
    ground.sh(&format!("cd $R{AREA}; cp /bin/true f; chmod 6755 f"));
    if ground.is_real() {
        ground.sh(&format!("cd {AREA}; chown nobody:nogroup f; chmod 6755 f"));
    }
    let mut driver = Driver::new(ground).await;
    let spec = FileSpec {
        owner: "root".parse().ok(),
        group: "root".parse().ok(),
        ..FileSpec::default()
    };
    driver.want([(at(Kind::File, "f"), Spec::File(spec))]);
    driver.converge().await;
    let now = ground.sh(&format!("cd $R{AREA}; stat -c %a f"));
    if ground.is_real() {
        assert_eq!(now, "755");
        assert_eq!(ground.sh(&format!("stat -c %U:%G {AREA}/f")), "root:root");
    } else {
        assert_eq!(now, "6755", "all that is in a sandbox has one owner");
    }
}

pub async fn who_had_it_open_cannot_write_to_it_any_more(ground: &Ground) {
    ground.sh(&format!("cd $R{AREA}; printf same >f; chmod 666 f"));
    let inode = |name: &str| ground.sh(&format!("stat -c %i $R{AREA}/{name}"));
    let before = inode("f");
    let mut driver = wanting(ground, "same", 0o644).await;
    driver.converge().await;
    assert_eq!(look(ground), "regular file 644 1\nsame");
    assert_ne!(inode("f"), before);
}

/// `validate` notes the path that it is given, and what is there.
pub async fn validate_is_given_a_path_that_only_root_can_change(ground: &Ground) {
    ground.sh(&format!(
        "cd $R{AREA}; mkdir ours theirs; chmod 755 . ours theirs"
    ));
    if ground.is_real() {
        ground.sh(&format!("chown nobody {AREA}/theirs"));
    }
    let mut driver = Driver::new(ground).await;
    let text = driver.content(b"text");
    let noting = |folder: &str| FileSpec {
        content: Some(text),
        validate: [
            "sh",
            "-c",
            "(echo $0; cat $0; stat -c ' %u %a' $0) >$1",
            "%s",
            &format!("{AREA}/{folder}.said"),
        ]
        .map(str::to_owned)
        .to_vec(),
        ..FileSpec::default()
    };
    driver.want(["ours", "theirs"].map(|folder| {
        let address = at(Kind::File, &format!("{folder}/f.conf"));
        (address, Spec::File(noting(folder)))
    }));
    driver.converge().await;
    let read = |name: &str| ground.sh(&format!("cat $R{AREA}/{name}"));
    assert_eq!(
        (read("ours/f.conf"), read("theirs/f.conf")),
        ("text".to_owned(), "text".to_owned())
    );
    if ground.is_real() {
        let ours = read("ours.said");
        assert!(ours.starts_with(&format!("{AREA}/ours/.plumb-")), "{ours}");
        let theirs = read("theirs.said");
        assert_eq!(theirs, "/var/lib/plumb/candidates/f.conf\ntext 0 600");
        assert_eq!(ground.sh("ls -A /var/lib/plumb/candidates"), "");
    } else {
        let noted = ground.sh(&format!("cd $R{AREA}; ls -d *.said 2>/dev/null | wc -l"));
        assert_eq!(noted, "0", "a sandbox runs no program");
    }
}

pub async fn a_block_keeps_the_rest_and_is_taken_out_exactly(ground: &Ground) {
    ground.sh(&format!(
        "cd $R{AREA}; printf 'theirs\\nno end' >f; chmod 640 f"
    ));
    let mut driver = Driver::new(ground).await;
    let block = |driver: &mut Driver<'_>, text: &str| {
        let block = |name: &str, content| {
            let spec = FileSpec {
                content: Some(content),
                block: true,
                ..FileSpec::default()
            };
            (at(Kind::File, name), Spec::File(spec))
        };
        let content = driver.content(text.as_bytes());
        driver.want([block("f", content), block("new", content)]);
    };
    block(&mut driver, "one\n");
    driver.converge().await;
    assert_eq!(
        look(ground),
        "regular file 640 1\ntheirs\nno end\n# BEGIN plumb\none\n# END plumb"
    );
    ground.sh(&format!("cd $R{AREA}; sed -i 's/theirs/still theirs/' f"));
    assert!(driver.differences().await.is_empty(), "the rest is theirs");
    ground.sh(&format!(
        "cd $R{AREA}; sed -i 's/one/by hand/; s/still //' f"
    ));
    block(&mut driver, "two\n");
    driver.converge().await;
    assert_eq!(
        ground.sh(&format!("cd $R{AREA}; cat f new")),
        "theirs\nno end\n# BEGIN plumb\ntwo\n# END plumb\n# BEGIN plumb\ntwo\n# END plumb"
    );
    driver.want([]);
    driver.converge().await;
    assert_eq!(
        ground.sh(&format!("cd $R{AREA}; ls -A; stat -c '%a %s' f; cat f")),
        "f\n640 13\ntheirs\nno end"
    );
}
