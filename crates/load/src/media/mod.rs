//! Media of calls: captures and sound that are sent, echoes, and received streams that are judged.
//!
//! [`mouth`] and [`ear`] are pure: time in, packets out, and the other way round. [`engine`] owns the sockets.

pub mod audio;
pub mod capture;
pub mod clip;
mod command;
pub mod description;
pub mod ear;
pub mod engine;
pub mod mouth;
pub mod pattern;
pub mod ports;
mod totals;

pub use command::{Command, Secrets};
pub use ports::MediaPorts;
pub use totals::{MediaTotals, Spread};
