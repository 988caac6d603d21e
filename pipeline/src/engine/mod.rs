//! Plan, stage, task: what runs where, and what is done.
//!
//! A run is a [`plan::Plan`] and a chain of [`stage::Stage`]s, each a set of ranked, idempotent tasks that read files
//! and write files. A task is done when its checksummed marker exists. `pipeline run` executes the tasks on this
//! machine's cores; `pipeline task` executes one, so that any engine that can place and retry processes will do.
//!
//! **Invariant:** no stage depends on threads, memory or the order in which tasks end; what they write is a function
//! of the inputs and the configuration.

pub mod execute;
pub mod interrupt;
pub mod lock;
pub mod marker;
pub mod memory;
pub mod ordered;
pub mod plan;
pub mod progress;
pub mod run;
pub mod stage;
