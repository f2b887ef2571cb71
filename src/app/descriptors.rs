//! How many files and sockets this process may hold open: as many as the system lets it. Many systems begin with 1024
//! for the sake of programs that use `select`, which this one does not, and allow far more to who asks.

use tracing::debug;

/// Asks for all there is.
#[cfg(target_os = "linux")]
pub(super) fn raise() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(soft, hard)| if soft < hard { setrlimit(Resource::RLIMIT_NOFILE, hard, hard) } else { Ok(()) });
    if let Err(error) = raised {
        debug!("the limit of open files stays as it is: {error}");
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn raise() {
    debug!("the limit of open files stays as it is");
}
