//! `firewall`: a real host loads its table, a sandbox has no packet filter.

use plumb_api::frame::DifferenceState;
use plumb_api::report::ErrorCode;
use plumb_api::resource::{FirewallSpec, Policy, ReversePath};
use plumb_api::{Address, Kind, Spec};

use crate::driver::Driver;
use crate::ground::Ground;

/// Shows the table, and a table of somebody else.
const TABLES: &str = "nft list table inet plumb 2>/dev/null || echo none; nft list table ip others";

fn want(driver: &mut Driver<'_>, open: serde_json::Value) {
    // The host's own connections go on.
    let spec = FirewallSpec {
        input: Policy::Accept,
        forward: Policy::Accept,
        reverse_path: ReversePath::Off,
        trusted: serde_json::from_value(open).unwrap(),
        ..FirewallSpec::default()
    };
    let address = Address::new(Kind::Firewall, FirewallSpec::NAME).unwrap();
    driver.want([(address, Spec::Firewall(spec))]);
}

pub async fn its_table_is_loaded_put_right_and_deleted(ground: &Ground) {
    if !ground.is_real() {
        let mut driver = Driver::new(ground).await;
        want(&mut driver, serde_json::json!([]));
        let seen = driver.observe().await;
        let DifferenceState::Unsupported(error) = &seen.differences[0].state else {
            panic!("{seen:?}");
        };
        assert_eq!(error.code, ErrorCode::Unsupported, "{error}");
        return;
    }
    ground.sh("nft add table ip others; nft 'add chain ip others c { type filter hook input priority 10; }'");
    let mut driver = Driver::new(ground).await;
    want(
        &mut driver,
        serde_json::json!(["interface:wg0", "interface:virbr0"]),
    );
    driver.converge().await;
    let shown = ground.sh(TABLES);
    assert!(shown.contains("wg0") && shown.contains("virbr0"), "{shown}");
    assert!(shown.contains("table ip others"), "{shown}");
    assert_eq!(ground.sh("systemctl is-enabled plumb-firewall"), "enabled");

    ground.sh("nft add rule inet plumb input tcp dport 9 drop");
    driver.converge().await;
    assert_eq!(ground.sh(TABLES), shown, "the rule is gone");
    ground.sh("nft flush chain inet plumb input; rm /etc/plumb/firewall.json");
    driver.converge().await;
    assert_eq!(ground.sh(TABLES), shown, "the rules are back");

    driver.want([]);
    driver.converge().await;
    let shown = ground.sh(TABLES);
    assert!(
        shown.starts_with("none\n") && shown.contains("table ip others"),
        "{shown}"
    );
    ground.sh("nft delete table ip others; ! systemctl cat plumb-firewall 2>/dev/null; test ! -e /etc/plumb/firewall.json");
}
