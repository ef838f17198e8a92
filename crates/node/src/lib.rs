//! One running node: configuration, and the rooms wired together.

pub mod config;
