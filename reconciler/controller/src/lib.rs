//! The loop: queue, reconcilers, rollout, status. Knows ports, never adapters.

mod backoff;
mod queue;
