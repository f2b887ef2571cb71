//! Samples what this process takes of the machine, from Linux's `/proc/self`; elsewhere it knows nothing.

use std::{fs, path::Path};

use crate::stats::ProcessFigures;

/// The figures as of now.
pub(super) fn sample() -> Option<ProcessFigures> {
    let read = |name| fs::read_to_string(format!("/proc/self/{name}")).ok();
    let open_fds = fs::read_dir("/proc/self/fd").ok()?.count() as u64;
    ProcessFigures::parse(&read("stat")?, &read("status")?, &read("limits")?, open_fds)
}

/// What is free for this process where `directory` is.
pub(super) fn disk_free(directory: &Path) -> Option<u64> {
    #[cfg(target_os = "linux")]
    return nix::sys::statvfs::statvfs(directory)
        .ok()
        .map(|disk| disk.blocks_available().saturating_mul(disk.fragment_size()));
    #[cfg(not(target_os = "linux"))]
    return None;
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory_threads_and_files() {
        let figures = sample().unwrap();
        assert!(disk_free(Path::new(".")).is_some_and(|free| free > 0));
        assert!(figures.resident_bytes > 1 << 20 && figures.threads >= 1 && figures.open_fds >= 3, "{figures:?}");
    }
}
