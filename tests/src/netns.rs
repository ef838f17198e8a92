//! A network for one phone: a namespace, joined to this one by a veth pair. Needs root, and is gone with the value.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use tempfile::TempDir;

use crate::process::Running;

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

/// What a phone hears: the RTP that comes to it from the node, captured in its network.
#[derive(Debug)]
pub struct Ear {
    dumpcap: Running,
    file: PathBuf,
    node: IpAddr,
}

impl Ear {
    /// Listens to the phone of `network` from now on; files go to `directory`.
    pub fn open(network: &Network, directory: &Path) -> Self {
        let file = directory.join(format!("{}.pcapng", network.namespace()));
        let mut command = command(network.namespace(), "dumpcap");
        command
            .args(["-i", "phone", "-q", "-f", &format!("udp and src host {}", network.node()), "-w"])
            .arg(&file);
        let mut dumpcap = Running::start(&format!("dumpcap-{}", network.namespace()), command, directory);
        dumpcap.wait_for_output("File:");
        Self { dumpcap, file, node: network.node() }
    }

    /// How many packets of sound came, and how many are missing between the first and the last of each source.
    pub fn close(mut self) -> (usize, usize) {
        self.dumpcap.terminate();
        let mut tshark = Command::new("tshark");
        tshark.arg("-r").arg(&self.file).args(["-o", "rtp.heuristic_rtp:TRUE", "-T", "fields"]);
        tshark.args(["-Y", &format!("rtp and ip.src == {}", self.node), "-e", "rtp.ssrc", "-e", "rtp.seq"]);
        let said = tshark.output().expect("tshark is installed");
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        let mut sources: BTreeMap<String, BTreeSet<u16>> = BTreeMap::new();
        for line in String::from_utf8_lossy(&said.stdout).lines() {
            let (source, number) = line.split_once('\t').expect("two fields");
            sources.entry(source.into()).or_default().insert(number.parse().expect("a sequence number"));
        }
        let came = sources.values().map(BTreeSet::len).sum();
        (came, sources.values().map(missing).sum())
    }
}

/// Numbers that are missing in one run of them, which may go round.
fn missing(numbers: &BTreeSet<u16>) -> usize {
    let next = numbers.iter().skip(1).chain(numbers.first());
    let gaps = numbers
        .iter()
        .zip(next)
        .map(|(number, next)| usize::from(next.wrapping_sub(*number).wrapping_sub(1)));
    // The largest gap is what lies outside of the run.
    let (sum, largest) = gaps.fold((0, 0), |(sum, largest), gap| (sum + gap, gap.max(largest)));
    sum - largest
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
