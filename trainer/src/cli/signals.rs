//! SIGINT, SIGTERM and SIGUSR1: the first asks the run to save and end, the second ends it at once.
//!
//! SIGTERM and SIGUSR1 are how a cluster says that time is up: the run saves and exits with 0, as after `--time-limit`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};

/// The signal received, if any.
pub struct Signals(Arc<AtomicUsize>);

impl Signals {
    /// Installs the handlers.
    pub fn install() -> std::io::Result<Signals> {
        let received = Arc::new(AtomicUsize::new(0));
        let again = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGUSR1] {
            // Order matters: the second signal finds `again` set and gets the default action.
            signal_hook::flag::register_conditional_default(signal, again.clone())?;
            signal_hook::flag::register(signal, again.clone())?;
            signal_hook::flag::register_usize(signal, received.clone(), signal as usize)?;
        }
        Ok(Signals(received))
    }

    /// The signal received, if any.
    pub fn received(&self) -> Option<i32> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            signal => Some(signal as i32),
        }
    }

    /// The exit code's signal: that of a person's Ctrl-C; the others are an orderly end.
    pub fn interrupted(&self) -> Option<i32> {
        self.received().filter(|signal| *signal == SIGINT)
    }
}
