//! Tenants, users, devices, lines and peers.

mod device;
mod line;
mod peer;
mod routes;
mod tenant;
mod user;

pub(crate) use routes::*;
