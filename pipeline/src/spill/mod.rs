//! Task files: what one stage hands to the next, under the work folder.
//!
//! They never leave a run, so their layout may change with any version. Each is a sequence of frames
//! ([`frame`]) with a checksum apiece: a file that a crash left short or torn is found when it is read, never taken
//! for data. They are not fsynced (after a power cut the checksum finds what was lost and the task runs again).

pub mod bandkeys;
pub mod edges;
pub mod frame;
pub mod groups;
pub mod keys;
pub mod losers;
pub mod parcels;
pub mod rows;
pub mod tokens;
pub(crate) mod wire;
