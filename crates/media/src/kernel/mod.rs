//! The in-kernel relay plane: an eBPF program that carries the RTP of established streams from one leg's port to the other
//! leg, without a visit to user space.
//!
//! User space stays the judge. It learns who speaks (latching), answers STUN, reads RTCP, ends SRTP; a stream comes here
//! when both directions flow undisturbed, and goes back at any change. What the program does not know it hands up
//! unchanged, so a plane that knows nothing harms nobody. `docs/decisions/0012-in-kernel-plane.md` tells why it is so.
//!
//! [`Plane`] does what needs the kernel: loading, attaching, maps and pins. What to carry is decided by
//! [`crate::relay::Relay`], when by the engine.

mod hooks;
mod layout;
mod plane;
mod route;

use std::path::PathBuf;

pub use layout::{Key, Way};
pub use plane::{Plane, clear_pins};

/// How the plane is to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelConfig {
    /// A directory of this node's own on a BPF file system, such as `/sys/fs/bpf/offhook/main`. What is pinned there goes on
    /// while the process is dead. Without one, or where it cannot be made, the plane ends with the process.
    pub pins: Option<PathBuf>,
    /// Where packets are caught.
    pub hook: Hook,
}

impl Default for KernelConfig {
    fn default() -> Self {
        Self { pins: None, hook: Hook::Auto }
    }
}

/// Where in the kernel packets are caught.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hook {
    /// XDP in the driver for network cards on hosts that forward, since only there the program may ask for the way; else tc.
    #[default]
    Auto,
    /// The ingress of traffic control. Works on every interface.
    Tc,
    /// XDP in the driver.
    Xdp,
    /// XDP before traffic control, for drivers without.
    XdpGeneric,
}

/// Why there is no plane, and user space serves alone.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// The program was built without clang.
    #[error("it was not built in: clang was missing when this program was built")]
    NotBuilt,
    /// Neither root nor the capabilities.
    #[error("this process may not: it needs CAP_BPF and CAP_NET_ADMIN")]
    NotPermitted,
    /// An old kernel, or one that was built without.
    #[error("the kernel refuses it: {0}")]
    Refused(String),
}

impl Unavailable {
    /// What an operator can do about it.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::NotBuilt => "install clang-16 and build again, or set media.kernel = \"off\"",
            Self::NotPermitted => "see docs/guide/media-in-the-kernel.md, or set media.kernel = \"off\"",
            Self::Refused(_) => "Linux 5.11 or later has what it needs; or set media.kernel = \"off\"",
        }
    }
}
