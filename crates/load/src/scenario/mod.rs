//! Scenarios: SIPp's XML, or the same in YAML, read, checked and made ready to run.

mod actions;
pub mod built_in;
mod elements;
pub mod ere;
pub mod fault;
pub mod keyword;
mod media;
pub mod model;
pub mod pause;
pub mod read;
pub mod template;
pub mod variables;
pub mod write;
pub mod xml;
pub mod yaml;

pub use fault::{Fault, Place};
pub use model::Scenario;
pub use read::{Known, read};
