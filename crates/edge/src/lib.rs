//! Who may enter: the guard before call control. Lists of networks, sizes and rates, bans for who guesses passwords or
//! searches for lines; and what to leave undone when more comes than can be done ([`Overload`]), or when the next server
//! asks for it ([`Restraint`]).
//!
//! A source is an IPv4 address or an IPv6 /64 network, the smallest unit that one party can be assumed to hold. What is
//! held against it falls in two kinds. *Rates* are met by anybody, so they are counted in tables of fixed size
//! (`meter`), where a flood of forged sources pushes out its like. *Penalties* and *bans* are of few, and stand in tables
//! that forget the idlest.
//!
//! Peers, allowed networks, and sources that have proved themselves are trusted: no rate and no ban holds for them, so a flood
//! that forges addresses does not shut out who is registered. Wrong passwords count against everybody.
#![forbid(unsafe_code)]

mod bans;
mod bucket;
mod edge;
mod limits;
mod lists;
mod meter;
mod overload;
mod penalty;
mod prefix;
mod prefix_map;
mod reason;
mod restraint;
mod scanner;
mod source;
mod table;
mod top;

pub use bucket::{Bucket, Rate};
pub use edge::{BannedSource, Edge, EdgeOverview, SourceView, Stray};
pub use limits::EdgeLimits;
pub use lists::{BadLine, Listed, Lists, read_list};
pub use overload::{Episode, Overload, OverloadLimits, Worth};
pub use prefix::{BadPrefix, Prefix};
pub use prefix_map::PrefixMap;
pub use reason::{BanReason, Counters, Reason, Standing, Verdict};
pub use restraint::{Plea, Restraint};
pub use scanner::{SCANNERS, Scanners};
pub use top::TopSource;
