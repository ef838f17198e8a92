//! The repository keeps its own promises: what the pages name exists, what the rules forbid is not there.

mod dependencies;
mod documents;
mod sources;
mod symbols;
mod tree;
