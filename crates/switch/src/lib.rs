//! Call control without I/O: the directory of tenants and lines, the registrar, calls with their legs, and the facts
//! and records that they leave.
#![forbid(unsafe_code)]

mod account;
mod border;
mod call;
pub mod capabilities;
pub mod crossing;
pub mod directory;
pub mod exchange;
pub mod fact;
pub mod gate;
mod hunt;
mod identity;
pub mod kept;
pub mod lines;
pub mod media;
pub mod peer_calls;
pub mod record;
pub mod registrar;
pub mod route;
pub mod routing;
pub mod rules;
pub mod service;
pub mod settings;
pub mod summary;
pub mod tape;
mod trunk_login;
