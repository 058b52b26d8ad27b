//! `kernelParameter`, by every route: as on a Raspberry Pi, whose boot loader needs no program.

use plumb_api::resource::{KernelParameterSpec, Presence, Setting};
use plumb_api::{Address, Kind, Spec};

use crate::driver::Driver;
use crate::ground::Ground;

const LINE: &str = "/boot/firmware/cmdline.txt";

fn parameter() -> Address {
    Address::new(Kind::KernelParameter, "cma").unwrap()
}

fn want(driver: &mut Driver<'_>, value: &str) {
    let spec = KernelParameterSpec {
        state: Presence::Present,
        value: Some(Setting::from(value.to_owned())),
        ..KernelParameterSpec::default()
    };
    driver.want([(parameter(), Spec::KernelParameter(spec))]);
}

pub async fn the_line_of_a_raspberry_pi_keeps_its_other_words(ground: &Ground) {
    ground.sh("mkdir -p $R/boot/firmware");
    for line in ["console=tty1 root=LABEL=x quiet", "cma=64M console=tty1"] {
        ground.sh(&format!("echo '{line}' >$R{LINE}"));
        let mut driver = Driver::new(ground).await;
        want(&mut driver, "256M");
        driver.converge().await;
        let read = || ground.sh(&format!("cat $R{LINE}"));
        assert!(read().contains("cma=256M") && read().contains("console=tty1"));
        assert_eq!(read().matches("cma=").count(), 1);
        want(&mut driver, "128M");
        driver.converge().await;
        assert!(read().contains("cma=128M"));
        driver.want([]);
        driver.converge().await;
        assert_eq!(read(), line);
    }
    ground.sh("rm -r $R/boot/firmware");
}
