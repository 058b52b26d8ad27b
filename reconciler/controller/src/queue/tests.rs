use std::time::Duration;

use futures::FutureExt as _;
use tokio::time::{Instant, advance};

use super::*;

const S: Duration = Duration::from_secs(1);

fn ready(queue: &mut Queue<&'static str>) -> Option<(&'static str, Trigger)> {
    queue.next().now_or_never()
}

#[tokio::test(start_paused = true)]
async fn the_earliest_request_wins_and_a_key_is_there_once() {
    let mut queue = Queue::new(8);
    let now = Instant::now();
    queue.add("a", now + 60 * S, Trigger::Resync);
    queue.add("a", now + 5 * S, Trigger::Retry);
    queue.add("a", now + 90 * S, Trigger::Manual);
    assert_eq!((queue.len(), queue.at(&"a")), (1, Some(now + 5 * S)));
    assert_eq!(ready(&mut queue), None);
    advance(5 * S).await;
    assert_eq!(ready(&mut queue), Some(("a", Trigger::Manual)));
    queue.finish(&"a");
    assert!(queue.is_empty());
}

#[tokio::test(start_paused = true)]
async fn next_sleeps_until_the_first_is_due() {
    let mut queue = Queue::new(8);
    let start = Instant::now();
    queue.add("late", start + 20 * S, Trigger::Resync);
    queue.add("soon", start + 10 * S, Trigger::Resync);
    assert_eq!(queue.next().await.0, "soon");
    assert_eq!(start.elapsed(), 10 * S);
    assert_eq!(queue.next().await.0, "late");
    assert_eq!(start.elapsed(), 20 * S);
}

#[tokio::test(start_paused = true)]
async fn a_running_key_runs_exactly_once_more_and_blocks_nobody() {
    let mut queue = Queue::new(8);
    let now = Instant::now();
    queue.add("a", now, Trigger::Resync);
    assert_eq!(ready(&mut queue).unwrap().0, "a");
    for _ in 0..5 {
        queue.add("a", now, Trigger::Manual);
    }
    queue.add("b", now, Trigger::Resync);
    assert_eq!(ready(&mut queue).unwrap().0, "b");
    assert_eq!(ready(&mut queue), None, "one run per key");
    queue.finish(&"a");
    assert_eq!(ready(&mut queue), Some(("a", Trigger::Manual)));
    queue.finish(&"a");
    assert_eq!(ready(&mut queue), None, "once more, not five times");
}

#[tokio::test(start_paused = true)]
async fn concurrency_is_bounded_while_requests_go_on_merging() {
    let mut queue = Queue::new(2);
    let now = Instant::now();
    for key in ["a", "b", "c"] {
        queue.add(key, now, Trigger::Target);
    }
    assert_eq!(
        (ready(&mut queue).unwrap().0, ready(&mut queue).unwrap().0),
        ("a", "b")
    );
    assert_eq!(ready(&mut queue), None);
    queue.add("c", now, Trigger::Manual);
    assert_eq!((queue.len(), queue.running(), queue.due()), (1, 2, 1));
    queue.finish(&"b");
    assert_eq!(ready(&mut queue), Some(("c", Trigger::Manual)));
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_key_does_not_come_back() {
    let mut queue = Queue::new(1);
    let now = Instant::now();
    queue.add("a", now, Trigger::Resync);
    queue.remove(&"a");
    assert_eq!(ready(&mut queue), None);
    queue.add("a", now, Trigger::Resync);
    assert!(ready(&mut queue).is_some() && queue.is_running(&"a"));
    queue.add("a", now, Trigger::Resync);
    queue.remove(&"a");
    queue.finish(&"a");
    assert_eq!(ready(&mut queue), None);
}

#[tokio::test(start_paused = true)]
async fn losing_the_wait_loses_nothing() {
    let mut queue = Queue::new(1);
    queue.add("a", Instant::now() + 10 * S, Trigger::Resync);
    assert!(tokio::time::timeout(3 * S, queue.next()).await.is_err());
    assert_eq!(queue.next().await.0, "a");
}

#[tokio::test(start_paused = true)]
async fn thousands_are_quick() {
    let mut queue = Queue::new(200);
    let now = Instant::now();
    let started = std::time::Instant::now();
    for key in 0..10_000_u32 {
        queue.add(
            key,
            now + Duration::from_millis(u64::from(key % 100)),
            Trigger::Resync,
        );
    }
    let mut runs = 0;
    while !queue.is_empty() {
        let (key, _) = queue.next().await;
        runs += 1;
        queue.finish(&key);
    }
    assert_eq!(runs, 10_000);
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
}
