//! `keypair`, by every route.

use plumb_api::report::ErrorCode;
use plumb_api::resource::{KeyType, KeypairSpec, Presence};
use plumb_api::{Kind, Spec};

use crate::driver::{Driver, at};
use crate::ground::{AREA, Ground};

const OTHER: &str = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=";

fn want(driver: &mut Driver<'_>, public_key: Option<&str>) {
    let spec = KeypairSpec {
        public_key: public_key.map(str::to_owned),
        ..KeypairSpec::of(KeyType::Wireguard, Presence::Present)
    };
    driver.want([(at(Kind::Keypair, "k"), Spec::Keypair(spec))]);
}

pub async fn it_is_made_once_and_private(ground: &Ground) {
    let mut driver = Driver::new(ground).await;
    want(&mut driver, None);
    driver.converge().await;
    let key = ground.sh(&format!("cat $R{AREA}/k"));
    assert_eq!(key.len(), 44);
    assert_eq!(ground.sh(&format!("stat -c %a $R{AREA}/k")), "600");
    ground.sh(&format!("chmod 644 $R{AREA}/k"));
    driver.converge().await;
    assert_eq!(
        ground.sh(&format!("stat -c %a $R{AREA}/k; cat $R{AREA}/k")),
        format!("600\n{key}"),
        "the key stays"
    );
    driver.want([]);
    driver.converge().await;
    assert_eq!(ground.sh(&format!("ls -A $R{AREA}")), "");
}

pub async fn another_key_is_refused_and_never_replaced(ground: &Ground) {
    let mut driver = Driver::new(ground).await;
    want(&mut driver, None);
    driver.converge().await;
    let key = ground.sh(&format!("cat $R{AREA}/k"));
    want(&mut driver, Some(OTHER));
    let error = driver.fail().await;
    assert_eq!(error.code, ErrorCode::Refused, "{error}");
    assert!(
        error.message.contains(OTHER) && !error.message.contains(&key),
        "{error}"
    );
    assert_eq!(ground.sh(&format!("cat $R{AREA}/k")), key);
}
