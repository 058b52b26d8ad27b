//! Limits on the time of a signature.

/// Limits on the time of a signature.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// The signature must not be older than this time (seconds since 1970), apart from the clock skew that
    /// the policy allows.
    pub(super) after: Option<i64>,
    /// Time at which this machine first saw the commit or tag with the signature, if known.
    pub(super) seen: Option<i64>,
    pub(super) age: Age,
}

/// The limit on a signature's age at the time when this machine first saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    /// At most `time.maxAge` of the policy.
    Asked,
    /// No limit, because work on a branch may wait long before it is merged. The key must still be valid
    /// shortly before the first sight.
    NotAsked,
}

impl Bounds {
    /// Returns bounds without a lower limit or a time of first sight. They only exclude signatures from the
    /// future.
    pub(super) const fn none() -> Self {
        Self {
            after: None,
            seen: None,
            age: Age::Asked,
        }
    }

    /// Returns bounds for a signature that must not be older than `seconds`.
    pub(super) const fn after(seconds: i64) -> Self {
        Self {
            after: Some(seconds),
            ..Self::none()
        }
    }

    /// Sets the time at which this machine first saw the commit or tag, if known.
    pub(super) const fn seen(mut self, seen: Option<i64>) -> Self {
        self.seen = seen;
        self
    }

    /// Removes the limit on the signature's age.
    pub(super) const fn of_any_age(mut self) -> Self {
        self.age = Age::NotAsked;
        self
    }
}
