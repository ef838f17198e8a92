//! A made-up world for tests: phones, a node, a network with loss, duplication, reordering and delay, crashes, and a
//! clock; all from one seed, without threads or I/O.
//!
//! The node is the real [`offhook_switch::exchange::Exchange`]. Everything around it is a model: [`Phone`] is a user
//! agent written for the sim, the media engine only remembers ports, bridges and what passed through them, and sound is
//! a packet that says which conversation it belongs to. So a run of an hour takes milliseconds and repeats exactly.
//!
//! ```
//! use std::time::Duration;
//! use offhook_sim::{Habits, World, WorldConfig};
//!
//! let mut world = World::new(WorldConfig::with_lines(1, &["101", "102"]));
//! let anna = world.add_phone("101", Habits::default());
//! let bert = world.add_phone("102", Habits::default());
//! world.run_for(Duration::from_secs(1)); // both register
//! world.act(anna, |phone, now| phone.call("102", now));
//! world.run_for(Duration::from_secs(10));
//! assert!(world.phone(bert).is_talking());
//! ```
#![forbid(unsafe_code)]

mod bare;
mod ladder;
mod media;
mod network;
mod node;
pub mod phone;
mod setup;
mod world;

pub use self::{
    bare::Bare,
    ladder::Step,
    media::SoundPacket,
    network::{Faults, PhoneId},
    node::NodeState,
    phone::{Habits, Phone, Reaction, Srtp},
    setup::{DOMAIN, NODE, WorldConfig, address_of, line, peer},
    world::World,
};
