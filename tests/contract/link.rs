//! `link`, by every route.

use plumb_api::report::ErrorCode;
use plumb_api::resource::LinkSpec;
use plumb_api::{Kind, Spec};

use crate::driver::{Driver, at};
use crate::ground::{AREA, Ground};

fn want(driver: &mut Driver<'_>, target: &str) {
    let spec = LinkSpec {
        target: Some(target.to_owned()),
        ..LinkSpec::default()
    };
    driver.want([(at(Kind::Link, "l"), Spec::Link(spec))]);
}

fn look(ground: &Ground) -> String {
    ground.sh(&format!("readlink $R{AREA}/l"))
}

pub async fn it_is_made_and_may_dangle(ground: &Ground) {
    let mut driver = Driver::new(ground).await;
    want(&mut driver, "nowhere/at all");
    driver.converge().await;
    assert_eq!(look(ground), "nowhere/at all");
}

pub async fn it_is_turned_elsewhere(ground: &Ground) {
    ground.sh(&format!("ln -s /etc/passwd $R{AREA}/l"));
    let mut driver = Driver::new(ground).await;
    want(&mut driver, "/etc/hostname");
    driver.converge().await;
    assert_eq!(look(ground), "/etc/hostname");
    ground.sh(&format!("ln -sfn elsewhere $R{AREA}/l"));
    assert_eq!(driver.differences().await, [at(Kind::Link, "l")]);
    driver.converge().await;
    assert_eq!(look(ground), "/etc/hostname");
}

pub async fn a_file_in_its_place_is_refused(ground: &Ground) {
    ground.sh(&format!("echo theirs >$R{AREA}/l"));
    let mut driver = Driver::new(ground).await;
    want(&mut driver, "/etc/hostname");
    let error = driver.fail().await;
    assert_eq!(error.code, ErrorCode::Refused, "{error}");
    assert_eq!(ground.sh(&format!("cat $R{AREA}/l")), "theirs");
}

pub async fn it_goes_and_its_target_stays(ground: &Ground) {
    ground.sh(&format!("echo theirs >$R{AREA}/target"));
    let mut driver = Driver::new(ground).await;
    want(&mut driver, "target");
    driver.converge().await;
    driver.want([]);
    driver.converge().await;
    assert_eq!(
        ground.sh(&format!("cd $R{AREA}; ls; cat target")),
        "target\ntheirs"
    );
}
