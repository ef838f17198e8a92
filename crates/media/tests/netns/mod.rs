//! Three network namespaces in a row, joined by veth pairs: a phone's, the node's, another phone's. Made for one test and
//! removed with it. Needs root.
#![expect(unsafe_code, reason = "namespaces and network cards are set by system calls")]

use std::{
    fs::File,
    io::Write,
    net::{IpAddr, UdpSocket},
    os::fd::AsRawFd,
    path::PathBuf,
    process::{self, Command},
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    thread,
};

use offhook_media::kernel::{KernelConfig, Plane};
use tempfile::TempDir;

/// Which of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Alice,
    Node,
    Bob,
}

/// The IP family of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub fn alice(self) -> IpAddr {
        self.pick("10.77.1.1", "fd77:1::1")
    }
    /// The node towards Alice.
    pub fn left(self) -> IpAddr {
        self.pick("10.77.1.2", "fd77:1::2")
    }
    /// The node towards Bob.
    pub fn right(self) -> IpAddr {
        self.pick("10.77.2.2", "fd77:2::2")
    }
    pub fn bob(self) -> IpAddr {
        self.pick("10.77.2.1", "fd77:2::1")
    }
    fn pick(self, v4: &str, v6: &str) -> IpAddr {
        if self == Self::V4 { v4.parse().unwrap() } else { v6.parse().unwrap() }
    }
}

/// True if namespaces can be made and the plane can be loaded. Says why a test is skipped where not, past what the test harness
/// keeps to itself.
pub fn can_test() -> bool {
    static WHY_NOT: LazyLock<Option<String>> = LazyLock::new(|| {
        let why_not = why_not().err();
        if let Some(why) = &why_not {
            let _ = writeln!(std::io::stderr(), "SKIPPED, the in-kernel plane is not tested here: {why}");
        }
        why_not
    });
    WHY_NOT.is_none()
}

fn why_not() -> Result<(), String> {
    let name = format!("oh{}", process::id());
    let made = Command::new("ip").args(["netns", "add", &name]).output();
    let made = made.map_err(|error| format!("no ip command: {error}"))?;
    if !made.status.success() {
        return Err(format!("no network namespaces: {}", String::from_utf8_lossy(&made.stderr).trim()));
    }
    let _ = Command::new("ip").args(["netns", "del", &name]).status();
    Plane::open(&KernelConfig::default(), 0, 0).map(drop).map_err(|why| why.to_string())
}

/// The namespaces, and a BPF file system for pins.
pub struct World {
    name: String,
    folder: TempDir,
}

static WORLDS: AtomicU32 = AtomicU32::new(0);

impl World {
    pub fn new() -> Self {
        let name = format!("oh{}x{}", process::id(), WORLDS.fetch_add(1, Relaxed));
        let world = Self { name, folder: tempfile::tempdir().unwrap() };
        for place in [Place::Alice, Place::Node, Place::Bob] {
            ip(&["netns", "add", &world.namespace(place)]);
            world.ip_in(place, &["link", "set", "lo", "up"]);
        }
        world.join(Place::Alice, "a0", "ra", Family::alice, Family::left);
        world.join(Place::Bob, "b0", "rb", Family::bob, Family::right);
        // Native XDP hands frames over only to an end that polls: GRO turns that on.
        for (place, interface) in [(Place::Alice, "a0"), (Place::Bob, "b0")] {
            world.set_card(place, interface, ETHTOOL_SGRO, 1);
        }
        run("mount", &["-t", "bpf", "bpf", world.folder.path().to_str().unwrap()]);
        world
    }

    fn join(
        &self,
        place: Place,
        far: &str,
        near: &str,
        far_ip: fn(Family) -> IpAddr,
        near_ip: fn(Family) -> IpAddr,
    ) {
        let (its, node) = (self.namespace(place), self.namespace(Place::Node));
        ip(&["link", "add", far, "netns", &its, "type", "veth", "peer", "name", near, "netns", &node]);
        for (place, interface, address) in [(place, far, far_ip), (Place::Node, near, near_ip)] {
            for (family, len) in [(Family::V4, 24), (Family::V6, 64)] {
                let address = format!("{}/{len}", address(family));
                let mut words = vec!["addr", "add", &address, "dev", interface];
                // Without duplicate detection the address serves at once.
                words.extend((family == Family::V6).then_some("nodad"));
                self.ip_in(place, &words);
            }
            self.ip_in(place, &["link", "set", interface, "up"]);
        }
    }

    /// Where this test's node pins.
    pub fn pins(&self) -> PathBuf {
        self.folder.path().join("node")
    }

    /// Whether senders leave UDP checksums to the network card, as they do between containers. Off: packets carry them as
    /// on a wire, and receivers check them.
    pub fn leave_checksums_to_cards(&self, place: Place, interface: &str, leave: bool) {
        self.set_card(place, interface, ETHTOOL_STXCSUM, leave.into());
    }

    /// Lets the node forward packets of its own accord, as a router does.
    pub fn forward(&self) {
        self.within(Place::Node, || {
            for path in ["/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"] {
                std::fs::write(path, "1").unwrap();
            }
        });
    }

    /// Runs something in one of the namespaces. Sockets that it makes stay there, and so do its threads.
    pub fn within<T: Send>(&self, place: Place, run: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/run/netns/{}", self.namespace(place))).unwrap();
        thread::scope(|scope| {
            let inside = scope.spawn(move || {
                // SAFETY: the descriptor is open; only this thread changes its namespace.
                let done = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
                assert_eq!(done, 0, "a thread enters a namespace");
                run()
            });
            inside.join().unwrap()
        })
    }

    fn set_card(&self, place: Place, interface: &str, what: u32, value: u32) {
        self.within(place, || set_card(interface, what, value));
    }

    pub fn namespace(&self, place: Place) -> String {
        format!("{}{}", self.name, ["a", "n", "b"][place as usize])
    }

    pub fn ip_in(&self, place: Place, words: &[&str]) {
        let namespace = self.namespace(place);
        ip(&[&["-n", &namespace], words].concat());
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.folder.path()).status();
        for place in [Place::Alice, Place::Node, Place::Bob] {
            let _ = Command::new("ip").args(["netns", "del", &self.namespace(place)]).status();
        }
    }
}

fn ip(words: &[&str]) {
    run("ip", words);
}

fn run(program: &str, words: &[&str]) {
    let output = Command::new(program).args(words).output().unwrap();
    assert!(output.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

const ETHTOOL_SGRO: u32 = 0x2c;
const ETHTOOL_STXCSUM: u32 = 0x17;
const SIOCETHTOOL: libc::c_ulong = 0x8946;

fn set_card(interface: &str, command: u32, value: u32) {
    let mut value = [command, value];
    // SAFETY: all zero is a valid request.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_data = value.as_mut_ptr().cast();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    // SAFETY: the request names an interface and points to a value; both live through the call.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
    assert_eq!(done, 0, "{interface}: {}", std::io::Error::last_os_error());
}
