//! Samples what this process takes of the machine, from Linux's `/proc/self`; elsewhere it knows nothing.

use std::fs;

use crate::stats::ProcessFigures;

/// The figures as of now.
pub(super) fn sample() -> Option<ProcessFigures> {
    let read = |name| fs::read_to_string(format!("/proc/self/{name}")).ok();
    let open_fds = fs::read_dir("/proc/self/fd").ok()?.count() as u64;
    ProcessFigures::parse(&read("stat")?, &read("status")?, &read("limits")?, open_fds)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory_threads_and_files() {
        let figures = sample().unwrap();
        assert!(figures.resident_bytes > 1 << 20 && figures.threads >= 1 && figures.open_fds >= 3, "{figures:?}");
    }
}
