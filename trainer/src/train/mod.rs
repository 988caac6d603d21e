//! Training: one optimizer step, the loop around it, and what the loop records.

mod evaluate;
mod gradients;
mod guard;
mod metrics;
mod run;
mod step;

pub use evaluate::{Evaluation, evaluate};
pub use gradients::Gradients;
pub use guard::{Guard, GuardState, SpikePolicy, Verdict};
pub use metrics::{EvaluationRecord, METRICS_FILE, Metrics, StepRecord};
pub use run::{Control, Ended, Observer, Run, Start, Summary};
pub use step::{AutogradStep, MicroLoss, TrainStep};
