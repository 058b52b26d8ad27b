//! `directory`, by every route.

use plumb_api::report::ErrorCode;
use plumb_api::resource::{DirectorySpec, Mode, Presence};
use plumb_api::{Kind, Spec};

use crate::driver::{Driver, at};
use crate::ground::{AREA, Ground};

async fn wanting<'a>(ground: &'a Ground, name: &str, mode: u32) -> Driver<'a> {
    let mut driver = Driver::new(ground).await;
    let spec = DirectorySpec {
        mode: Some(Mode::from_bits(mode)),
        ..DirectorySpec::default()
    };
    driver.want([(at(Kind::Directory, name), Spec::Directory(spec))]);
    driver
}

fn look(ground: &Ground, name: &str) -> String {
    ground.sh(&format!("stat -c '%F %a' $R{AREA}/{name}"))
}

pub async fn it_is_made_with_those_above_it(ground: &Ground) {
    let mut driver = wanting(ground, "a/b/c", 0o2750).await;
    driver.converge().await;
    assert_eq!(look(ground, "a/b/c"), "directory 2750");
    assert_eq!(look(ground, "a/b"), "directory 755");
    if ground.is_real() {
        assert_eq!(
            ground.sh(&format!("stat -c %U:%G {AREA}/a/b/c")),
            "root:root"
        );
    }
}

pub async fn its_mode_is_put_right(ground: &Ground) {
    let mut driver = wanting(ground, "d", 0o755).await;
    driver.converge().await;
    ground.sh(&format!("chmod 777 $R{AREA}/d; touch $R{AREA}/d/theirs"));
    assert_eq!(driver.differences().await, [at(Kind::Directory, "d")]);
    driver.converge().await;
    assert_eq!(look(ground, "d"), "directory 755");
    assert_eq!(ground.sh(&format!("ls $R{AREA}/d")), "theirs");
}

pub async fn it_goes_only_when_it_is_empty(ground: &Ground) {
    let mut driver = wanting(ground, "d", 0o755).await;
    driver.converge().await;
    ground.sh(&format!("touch $R{AREA}/d/theirs"));
    let absent = DirectorySpec {
        state: Presence::Absent,
        ..DirectorySpec::default()
    };
    driver.want([(at(Kind::Directory, "d"), Spec::Directory(absent))]);
    let error = driver.fail().await;
    assert_eq!(error.code, ErrorCode::Refused, "{error}");
    assert_eq!(ground.sh(&format!("ls $R{AREA}/d")), "theirs");
    ground.sh(&format!("rm $R{AREA}/d/theirs"));
    driver.converge().await;
    assert_eq!(ground.sh(&format!("ls -A $R{AREA}")), "");
}

pub async fn a_file_in_its_place_is_refused(ground: &Ground) {
    ground.sh(&format!("echo theirs >$R{AREA}/d"));
    let mut driver = wanting(ground, "d", 0o755).await;
    let error = driver.fail().await;
    assert_eq!(error.code, ErrorCode::Refused, "{error}");
    assert_eq!(ground.sh(&format!("cat $R{AREA}/d")), "theirs");
}

pub async fn a_users_set_group_id_bit_does_not_become_roots(ground: &Ground) {
    ground.sh(&format!("cd $R{AREA}; mkdir d"));
    if ground.is_real() {
        ground.sh(&format!("chown nobody:nogroup {AREA}/d"));
    }
    ground.sh(&format!("chmod 2775 $R{AREA}/d"));
    let mut driver = Driver::new(ground).await;
    let spec = DirectorySpec {
        owner: "root".parse().ok(),
        group: "root".parse().ok(),
        ..DirectorySpec::default()
    };
    driver.want([(at(Kind::Directory, "d"), Spec::Directory(spec))]);
    driver.converge().await;
    let now = look(ground, "d");
    if ground.is_real() {
        assert_eq!(now, "directory 775");
    } else {
        assert_eq!(
            now, "directory 2775",
            "all that is in a sandbox has one owner"
        );
    }
}
