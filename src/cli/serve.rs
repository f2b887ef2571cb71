//! `campanile serve`, and `campanile` alone: the configuration, the log, then the server until a signal ends it.

use super::{Failure, Shared};
use crate::{app, base::Monotonic, config::files};

pub(super) fn run(shared: &Shared, started: Monotonic) -> Result<(), Failure> {
    let (config, origin) = shared.open()?;
    shared.start_log(&config, &files::environment())?;
    Ok(app::serve(config, &origin, started)?)
}
