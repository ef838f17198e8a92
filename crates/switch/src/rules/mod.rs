//! What is done to headers and URIs of INVITEs to and from a peer, written as data by the operator.
//!
//! A [`RuleDocument`] is what people write, in the routing under the peer's name; [`HeaderRules`] what calls use. Where a peer has none,
//! nothing is read or copied. Rules never touch what makes the dialog or the transaction.

mod addresses;
mod apply;
mod document;
mod plan;

pub(crate) use addresses::{Change, change_addresses};
pub use apply::{Draft, Tried, Unwritable};
pub use document::{Action, Direction, RuleDocument};
pub use plan::{HeaderRules, RULES_MAX, RuleFault};
