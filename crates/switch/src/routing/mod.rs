//! Where calls go by number, caller and time: prefixes, sets of peers, least cost, translation of numbers.
//!
//! A [`RoutingDocument`] is what people write, a [`Routing`] what calls read: all names checked, all prefixes of a tenant in one
//! map. A decision ends in [`Trunks`], the peers that a call may be given to, one after the other.

mod choose;
mod conditions;
mod document;
mod numbers;
mod plan;
mod prefixes;
mod probes;
mod table;
mod turns;

pub use self::{
    choose::{Fleet, Silent, Teller, Trunk, Trunks},
    conditions::RetryOn,
    document::{PeerRules, ProbeRules, RoutingDocument},
    numbers::{NumberForm, NumberPlan},
    plan::{Anything, Known, Routing, RoutingFault, TenantRouting},
    prefixes::{Key, PrefixMap},
    probes::{ProbeCounters, Probes, Standing, Turned},
    table::{BadTable, PrefixTable},
    turns::Turns,
};
pub(crate) use choose::{Found, routed};
