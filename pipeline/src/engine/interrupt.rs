//! Ctrl-C, SIGTERM and SIGUSR1 (how schedulers warn): tasks stop between two blocks, leaving nothing under a final name; a second signal ends at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};

use crate::error::Error;

/// Whether a signal asked this process to stop.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    signal: Arc<AtomicUsize>,
}

impl Interrupt {
    /// Takes over SIGINT, SIGTERM and SIGUSR1.
    ///
    /// # Errors
    /// [`Error::Usage`] where the system refuses to install a handler.
    pub fn install() -> Result<Interrupt, Error> {
        let interrupt = Interrupt::default();
        let refused = |error: std::io::Error| Error::usage("signal handler", error.to_string(), "");
        let asked = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGUSR1] {
            // The order matters: the first signal only sets both flags, the second finds `asked` and ends.
            signal_hook::flag::register_conditional_default(signal, Arc::clone(&asked)).map_err(refused)?;
            signal_hook::flag::register(signal, Arc::clone(&asked)).map_err(refused)?;
            signal_hook::flag::register_usize(signal, Arc::clone(&interrupt.signal), signal as usize)
                .map_err(refused)?;
        }
        Ok(interrupt)
    }

    /// Stops the task where a signal came.
    ///
    /// # Errors
    /// [`Error::Interrupted`] with the signal.
    pub fn check(&self) -> Result<(), Error> {
        match self.signal.load(Ordering::Relaxed) {
            0 => Ok(()),
            signal => Err(Error::Interrupted(signal as i32)),
        }
    }
}
