//! The HTTP doors: router, one file per surface, error → status in one place.

pub mod assets;
