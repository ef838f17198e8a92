//! Where the next hop is: RFC 3263, with RFC 2782 for SRV and RFC 7118 for WebSocket.
//!
//! [`plan`] decides without I/O: it asks questions of DNS and makes of the answers an ordered list of targets, to be tried
//! one after the other. [`Resolver`] puts the questions to DNS. [`local_address`] tells from which of our addresses a
//! target is reached.

pub mod plan;
mod resolver;
mod source;
mod weight;

pub use plan::{LocationError, NextHop, Support, Target};
pub use resolver::{Resolver, ResolverConfig, ResolverError};
pub use source::local_address;
