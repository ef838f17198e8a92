//! A tester that runs SIPp's scenarios.
//!
//! The interpreter is pure: [`scenario`] reads and checks, [`call`] walks. A [`call::Shard`] takes messages and the time and
//! hands back messages, requests and lines for the log files; each worker owns one. What touches the world stands apart in
//! [`run`]: sockets, clocks, files, the screen. `docs/reference/load-sipp.md` says what of SIPp is there.
#![forbid(unsafe_code)]

pub mod call;
pub mod captured;
pub mod inject;
pub mod media;
mod reach;
pub mod run;
pub mod scenario;
pub mod stats;
