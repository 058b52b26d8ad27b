//! `kernelModule`, by every route. A sandbox has no kernel, and a real host may be a container, so nothing is
//! loaded here.

use plumb_api::resource::{KernelModuleSpec, ModuleState};
use plumb_api::{Address, Kind, Spec};

use crate::driver::Driver;
use crate::ground::Ground;

const FILE: &str = "/etc/modprobe.d/plumb-snd_dummy.conf";

fn module() -> Address {
    Address::new(Kind::KernelModule, "snd-dummy").unwrap()
}

pub async fn a_blacklist_is_written_corrected_and_removed(ground: &Ground) {
    let mut driver = Driver::new(ground).await;
    let spec = KernelModuleSpec {
        state: ModuleState::Blacklisted,
        ..KernelModuleSpec::default()
    };
    driver.want([(module(), Spec::KernelModule(spec))]);
    driver.converge().await;
    let written = "# Written by plumb.\nblacklist snd_dummy";
    assert_eq!(ground.sh(&format!("cat $R{FILE}")), written);
    ground.sh(&format!("echo blacklist other >>$R{FILE}"));
    assert_eq!(driver.differences().await, [module()]);
    driver.converge().await;
    assert_eq!(ground.sh(&format!("cat $R{FILE}")), written);
    driver.want([]);
    driver.converge().await;
    assert_eq!(
        ground.sh(&format!("ls $R{FILE} 2>/dev/null || echo none")),
        "none"
    );
}
