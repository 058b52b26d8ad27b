//! Pure: manifests, resolve, plan, rollout, alerting rules, and the ports.
