//! How the agent gets onto a host, and what is said when it can't. Over ssh alone.

use plumb_core::ports::{HostError, Hosts};

use crate::ground::Ground;
use crate::rig::turn;

/// Connects as a controller that was just started, and asks what machine it is.
async fn arch(ground: &Ground) -> Result<String, HostError> {
    let connector = ground.connector();
    let mut session = connector.connect(ground.target()).await?;
    session.facts().await.map(|facts| facts.arch)
}

/// A folder of our own over the host's, so that it can be full or otherwise unfit.
async fn on_disk(ground: &Ground, options: &str) -> String {
    ground.sh(&format!(
        "mkdir -p /var/lib/plumb; mount -t tmpfs -o mode=0700,{options} none /var/lib/plumb"
    ));
    let error = arch(ground).await;
    ground.sh("umount -l /var/lib/plumb");
    error.unwrap_err().to_string()
}

#[tokio::test]
#[ignore = "needs a real host: `tests/run contract`"]
async fn an_agent_that_is_gone_is_placed_again_for_root_alone() {
    let _turn = turn().await;
    let ground = Ground::ssh();
    ground.sh("rm -rf /var/lib/plumb");
    assert_eq!(arch(&ground).await.unwrap(), ground.sh("uname -m"));
    let placed = ground.sh("cd /var/lib/plumb; find . agents -printf '%M %u %P\\n' | sort -u");
    assert!(
        placed.lines().all(|line| line.contains("------ root ")),
        "{placed}"
    );
    let digest = ground.sh("cd /var/lib/plumb/agents/*; [ \"$(sha256sum <plumb-agent)\" = \"${PWD##*/}  -\" ] && echo same");
    assert_eq!(digest, "same");
}

#[tokio::test]
#[ignore = "needs a real host: `tests/run contract`"]
async fn a_full_disk_takes_no_agent_and_heals() {
    let _turn = turn().await;
    let ground = Ground::ssh();
    let said = on_disk(&ground, "size=128k").await;
    assert!(
        said.contains("the agent can't be uploaded") && said.contains("No space left"),
        "{said}"
    );
    arch(&ground).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a real host: `tests/run contract`"]
async fn a_disk_that_runs_no_programs_is_named() {
    let _turn = turn().await;
    let ground = Ground::ssh();
    let said = on_disk(&ground, "noexec").await;
    assert!(said.contains("noexec"), "{said}");
    arch(&ground).await.unwrap();
}
