//! Limits on the time of a signature.

/// Limits on the time of a signature.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// The signature was made after this, within the skew of clocks.
    pub(super) after: Option<i64>,
    /// The first sight of the signature's object on this machine, if known.
    pub(super) seen: Option<i64>,
    pub(super) age: Age,
}

/// The limit on a signature's age at first sight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    /// At most `time.maxAge`.
    Asked,
    /// No limit: work on a branch may wait long before it is merged. Its key must still be live.
    NotAsked,
}

impl Bounds {
    /// Returns bounds that only the clock limits.
    pub(super) const fn none() -> Self {
        Self {
            after: None,
            seen: None,
            age: Age::Asked,
        }
    }

    /// Returns bounds for a signature that was made after a time.
    pub(super) const fn after(seconds: i64) -> Self {
        Self {
            after: Some(seconds),
            ..Self::none()
        }
    }

    /// Sets the time of first sight, if known.
    pub(super) const fn seen(mut self, seen: Option<i64>) -> Self {
        self.seen = seen;
        self
    }

    /// Removes the limit on the age.
    pub(super) const fn of_any_age(mut self) -> Self {
        self.age = Age::NotAsked;
        self
    }
}
