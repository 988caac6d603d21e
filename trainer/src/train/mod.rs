//! Training: one optimizer step, the loop around it, and what the loop records.

mod evaluate;
mod gradients;
mod guard;
mod lr_finder;
mod metrics;
mod prepare;
mod run;
mod saver;
mod step;
mod totals;

pub use evaluate::{Evaluation, evaluate};
pub use gradients::Gradients;
pub use guard::{Guard, GuardState, SpikePolicy, Verdict};
pub use lr_finder::{Search, Trial};
pub use metrics::{EvaluationRecord, METRICS_FILE, Metrics, StepRecord};
pub use run::{Control, Ended, Observer, Run, Start, Summary};
pub use step::{AutogradStep, MicroLoss, TrainStep};
