//! The flags that say where a run is shown beside the console.

use crate::config::TrainConfig;
use crate::error::Result;
use crate::logging::{Loggers, check_wandb};

/// Where a run is shown.
#[derive(Debug, Clone, clap::Args)]
pub struct LoggingArgs {
    /// Write event files for TensorBoard to OUT/tensorboard
    #[arg(long)]
    pub tensorboard: bool,
    /// Report to Weights & Biases, by the wandb package of python3 (or of $PYTHON)
    #[arg(long)]
    pub use_wandb: bool,
    /// The project there
    #[arg(long, default_value = "MateConv-Pretrain")]
    pub wandb_project: String,
}

impl LoggingArgs {
    /// Refuses what cannot be done, before any work.
    ///
    /// # Errors
    /// Where the wandb package is asked for and missing.
    pub fn check(&self) -> Result<()> {
        if self.use_wandb { check_wandb() } else { Ok(()) }
    }

    /// The loggers of a run that goes on after `step`.
    ///
    /// # Errors
    /// Where one does not start.
    pub fn start(&self, config: &TrainConfig, step: u64) -> Result<Loggers> {
        let mut loggers = Loggers::default();
        if self.tensorboard {
            loggers = loggers.with_tensorboard(&config.out, step)?;
        }
        if self.use_wandb {
            let settings = serde_json::to_value(config).unwrap_or_default();
            loggers = loggers.with_wandb(&config.out, &self.wandb_project, &settings)?;
        }
        Ok(loggers)
    }
}
