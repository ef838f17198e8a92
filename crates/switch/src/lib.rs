//! Call control without I/O: the directory of tenants and lines, the registrar, calls with their legs, and the facts
//! and records that they leave.
#![forbid(unsafe_code)]

pub mod directory;
pub mod fact;
pub mod gate;
pub mod lines;
pub mod media;
pub mod record;
pub mod registrar;
pub mod summary;
