//! How often the conversation turns: what an operator far from a host waits for.

use std::sync::Mutex;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;

use super::sshd::{HOST, Manner, OURS, Stage, key, reaching};
use super::*;

/// Which way the last bytes went, and how often it was us who spoke anew.
#[derive(Default)]
struct Turns(Mutex<(Option<Way>, usize)>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    There,
    Back,
}

impl Turns {
    fn goes(&self, way: Way) {
        let mut turns = self.0.lock().unwrap();
        if turns.0 != Some(way) {
            turns.0 = Some(way);
            turns.1 += usize::from(way == Way::There);
        }
    }

    fn taken(&self) -> usize {
        std::mem::take(&mut *self.0.lock().unwrap()).1
    }
}

/// Passes bytes on, late: what is sent in one go on a far line is seen in one go.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    turns: Arc<Turns>,
    way: Way,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        tokio::time::sleep(Duration::from_millis(15)).await;
        turns.goes(way);
        if to.write_all(&buffer[..count]).await.is_err() {
            break;
        }
    }
}

/// A far line to a port.
async fn far(port: u16, turns: Arc<Turns>) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let ours = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
            tokio::spawn(pass(near_in, far_out, Arc::clone(&turns), Way::There));
            tokio::spawn(pass(far_in, near_out, Arc::clone(&turns), Way::Back));
        }
    });
    ours
}

#[tokio::test]
async fn a_cold_host_in_sync_takes_at_most_twelve_turns_and_a_warm_one_takes_one() {
    let stage = Stage::new(Manner::Runs).await;
    let near = reaching(&stage.agent(), stage.settings(OURS));
    let mut target = stage.target(key(HOST).public_key());
    facts(&near, &target).await.unwrap();

    let turns = Arc::<Turns>::default();
    let port = far(stage.port, Arc::clone(&turns)).await;
    if let Route::Ssh { endpoints, .. } = &mut target.route {
        endpoints[0].port = port;
    }
    let connector = reaching(&stage.agent(), stage.settings(OURS));
    facts(&connector, &target).await.unwrap();
    let cold = turns.taken();
    assert!((5..=12).contains(&cold), "{cold} turns");

    tokio::time::sleep(Duration::from_millis(100)).await;
    turns.taken();
    facts(&connector, &target).await.unwrap();
    assert_eq!(turns.taken(), 1);
}
