//! Runs pure work on several threads. The results are the same, and in the same order, as in sequence.

use std::num::NonZero;
use std::thread;

/// Applies a function to every item on at most 8 threads. If the function panics, so does `map`.
pub(crate) fn map<T: Sync, U: Send>(items: &[T], f: impl Fn(&T) -> U + Sync) -> Vec<U> {
    let threads = thread::available_parallelism()
        .map_or(1, NonZero::get)
        .min(8);
    // With fewer items, starting threads costs more than it saves.
    if threads == 1 || items.len() < 256 {
        return items.iter().map(f).collect();
    }
    let size = items.len().div_ceil(threads);
    let f = &f;
    thread::scope(|scope| {
        let workers: Vec<_> = items
            .chunks(size)
            .map(|chunk| scope.spawn(move || chunk.iter().map(f).collect::<Vec<_>>()))
            .collect();
        let mut all = Vec::with_capacity(items.len());
        for worker in workers {
            match worker.join() {
                Ok(part) => all.extend(part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    })
}
