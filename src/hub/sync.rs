//! The locks of the publish, read and wake edge. The model test puts others in their place.

pub(super) use std::sync::{Arc, Mutex, MutexGuard};

/// Locks whatever happened to the last holder: no state here is left half-written by a panic.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
