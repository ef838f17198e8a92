//! A network for one phone: a namespace, joined to this one by a veth pair. Needs root, and is gone with the value.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use tempfile::TempDir;

/// The networks lie in 198.18.0.0/15, which RFC 2544 keeps for tests, four addresses each.
const FIRST: u32 = u32::from_be_bytes([198, 18, 0, 0]);
const COUNT: u32 = 1 << 15;

/// A phone's network.
#[derive(Debug)]
pub struct Network {
    name: String,
    /// Where it begins.
    base: u32,
}

static MADE: AtomicU32 = AtomicU32::new(0);

impl Network {
    /// Makes one.
    ///
    /// # Errors
    /// Why this machine does not let us.
    pub fn make() -> Result<Self, String> {
        let number = MADE.fetch_add(1, Relaxed);
        let name = format!("oh{}x{number}", process::id());
        let base = FIRST + 4 * (process::id().wrapping_mul(8).wrapping_add(number) % COUNT);
        ip(&["netns", "add", &name])?;
        let network = Self { name, base };
        let name = network.namespace();
        let [node, phone] = [network.node(), network.phone()].map(|address| format!("{address}/30"));
        ip(&["link", "add", name, "type", "veth", "peer", "name", "phone", "netns", name])?;
        ip(&["addr", "add", &node, "dev", name])?;
        ip(&["link", "set", name, "up"])?;
        ip(&["-n", name, "addr", "add", &phone, "dev", "phone"])?;
        ip(&["-n", name, "link", "set", "lo", "up"])?;
        ip(&["-n", name, "link", "set", "phone", "up"])?;
        Ok(network)
    }

    /// Its namespace's name, and that of the interface towards it.
    pub fn namespace(&self) -> &str {
        &self.name
    }

    /// The node's address towards it.
    pub fn node(&self) -> IpAddr {
        Ipv4Addr::from(self.base + 1).into()
    }

    /// Packets that the node's host has sent to the phone.
    pub fn sent(&self) -> u64 {
        let path = format!("/sys/class/net/{}/statistics/tx_packets", self.name);
        let text = fs::read_to_string(path).expect("the interface is there");
        text.trim().parse().expect("a number")
    }

    /// The phone's address.
    pub fn phone(&self) -> IpAddr {
        Ipv4Addr::from(self.base + 2).into()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // The pair goes with it.
        let _ = ip(&["netns", "del", &self.name]);
    }
}

/// A BPF file system of its own.
#[derive(Debug)]
pub struct BpfDirectory(TempDir);

impl BpfDirectory {
    /// Mounts one.
    ///
    /// # Errors
    /// Why this machine does not let us.
    pub fn mount() -> Result<Self, String> {
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        run(Command::new("mount").args(["-t", "bpf", "bpf"]).arg(directory.path()))?;
        Ok(Self(directory))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for BpfDirectory {
    fn drop(&mut self) {
        let _ = run(Command::new("umount").arg("--lazy").arg(self.path()));
    }
}

/// A program in a namespace.
pub fn command(namespace: &str, program: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace, program]);
    command
}

fn ip(words: &[&str]) -> Result<(), String> {
    run(Command::new("ip").args(words))
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
