//! A value that is replaced as a whole while others use it: how a reload reaches those who decide.
//!
//! Takes a new value, gives the one in use; whoever has one goes on with it to the end of what it does. Knows nothing of
//! what it holds.

use std::sync::{Arc, PoisonError, RwLock};

/// The value in use.
#[derive(Debug, Default)]
pub struct Current<T>(RwLock<Arc<T>>);

impl<T> Current<T> {
    /// Begins with this value.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self(RwLock::new(Arc::new(value)))
    }

    /// Begins with a value that others may have too.
    #[must_use]
    pub fn of(value: Arc<T>) -> Self {
        Self(RwLock::new(value))
    }

    /// The value in use now.
    #[must_use]
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on this one is in use.
    pub fn replace(&self, value: Arc<T>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_the_old_value_keeps_it_and_others_get_the_new_one() {
        let current = Current::new(1);
        let old = current.get();
        current.replace(Arc::new(2));
        assert_eq!((*old, *current.get()), (1, 2));
    }
}
