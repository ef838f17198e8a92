//! The loaded plane: its maps, and what is attached.

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{HashMap, Map, MapData, PerCpuArray},
};

use super::{
    KernelConfig, Key, Unavailable, Way,
    hooks::{Hooks, describe, load},
    layout::{Flow, LAYOUT, Total},
    route::{Interface, Routes, owner},
};
use crate::relay::Tally;

#[cfg(kernel_plane)]
static OBJECT: Option<&[u8]> = Some(aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/relay.bpf.o")));
#[cfg(not(kernel_plane))]
static OBJECT: Option<&[u8]> = None;

const FLOWS: &str = "flows";
const TOTALS: &str = "totals";
/// Reads a flow whole while the program counts: BPF_F_LOCK.
const LOCKED: u64 = 4;
/// CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_BPF: their bits.
const NET_ADMIN: u64 = 1 << 12;
const SYS_ADMIN: u64 = 1 << 21;
const BPF: u64 = 1 << 39;

/// The loaded plane. Dropping it detaches everything and leaves nothing pinned.
pub struct Plane {
    /// [`Key`] to [`Flow`].
    flows: Map,
    totals: PerCpuArray<MapData, Total>,
    hooks: Hooks,
    routes: Routes,
    /// Interfaces of local addresses, as far as they were asked for; none where the plane cannot serve.
    interfaces: BTreeMap<IpAddr, Option<Interface>>,
    /// Attached or known not to be attachable.
    tried: BTreeMap<u32, bool>,
    /// The value of a packet's traffic class octet.
    traffic_class: u8,
    /// CLOCK_MONOTONIC of the engine's time zero, ns.
    epoch: u64,
    /// Where to pin; none where nothing can be pinned.
    folder: Option<PathBuf>,
    is_pinned: bool,
    /// Holds the programs, and the links that are not pinned. After the hooks, so that it goes last.
    ebpf: Ebpf,
}

impl Plane {
    /// Loads the plane. It attaches to nothing and pins nothing yet; what a dead process left is taken over with its flows.
    pub fn open(config: &KernelConfig, dscp: u8, epoch: u64) -> Result<Self, Unavailable> {
        let object = OBJECT.ok_or(Unavailable::NotBuilt)?;
        if !has_rights() {
            return Err(Unavailable::NotPermitted);
        }
        let folder = config.pins.as_deref().map(|pins| pins.join(format!("v{LAYOUT}")));
        let is_pinned = folder.as_deref().is_some_and(|folder| folder.join(FLOWS).exists());
        if let (Some(pins), Some(folder)) = (&config.pins, &folder) {
            clear_others(pins, folder);
        }
        let refused = |error: &dyn std::error::Error| Unavailable::Refused(describe(error));
        let mut loader = EbpfLoader::new();
        if let Some(folder) = folder.as_ref().filter(|_| is_pinned) {
            loader.map_pin_path(FLOWS, folder.join(FLOWS));
        }
        let mut ebpf = loader.load(object).map_err(|error| refused(&error))?;
        load(&mut ebpf).map_err(Unavailable::Refused)?;
        let mut map =
            |name| ebpf.take_map(name).ok_or_else(|| Unavailable::Refused(format!("no map {name}")));
        let (flows, totals): (Map, Map) = (map(FLOWS)?, map(TOTALS)?);
        // That it is what it should be is seen here once.
        HashMap::<_, Key, Flow>::try_from(&flows).map_err(|error| refused(&error))?;
        let mut hooks = Hooks::new(config.hook, handle(config.pins.as_deref()));
        hooks.adopt(&mut ebpf, folder.as_deref().filter(|_| is_pinned));
        let mut plane = Self {
            flows,
            totals: totals.try_into().map_err(|error| refused(&error))?,
            hooks,
            routes: Routes::new().map_err(|error| refused(&error))?,
            interfaces: BTreeMap::new(),
            tried: BTreeMap::new(),
            traffic_class: dscp << 2,
            epoch,
            folder,
            is_pinned,
            ebpf,
        };
        for (key, _) in plane.flows() {
            plane.serves(key.local().ip());
        }
        Ok(plane)
    }

    /// The flows that a process before left behind.
    pub fn flows(&self) -> Vec<(Key, Way)> {
        let Ok(flows) = HashMap::<_, Key, Flow>::try_from(&self.flows) else { return Vec::new() };
        flows.iter().filter_map(Result::ok).map(|(key, flow)| (key, flow.way())).collect()
    }

    /// Has the kernel carry what comes to `local` from now on. False if it cannot: no interface of the plane leads there.
    pub fn carry(&mut self, local: SocketAddr, way: Way, tally: &Tally) -> bool {
        let Some(interface) = self.way_out(local, way) else { return false };
        let flow = Flow::new(way, interface, self.traffic_class, tally, self.epoch);
        let flows = HashMap::<_, Key, Flow>::try_from(&mut self.flows);
        match flows.and_then(|mut flows| flows.insert(Key::new(local), flow, 0)) {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(%error, "a stream stays in user space");
                false
            }
        }
    }

    /// The interface by which the way leaves, if both ends of it lie on interfaces of the plane.
    fn way_out(&mut self, local: SocketAddr, way: Way) -> Option<u32> {
        let same_family = [way.source, way.from, way.to].iter().all(|end| end.is_ipv4() == local.is_ipv4());
        if !same_family || !self.serves(local.ip()) || !self.serves(way.from.ip()) {
            return None;
        }
        self.routes.interface(way.from.ip(), way.to.ip())
    }

    /// True if the plane is attached where packets to `local` arrive. Attaches at the first question.
    fn serves(&mut self, local: IpAddr) -> bool {
        let interface = self.interfaces.entry(local).or_insert_with(|| owner(local)).clone();
        let Some(interface) = interface else { return false };
        if let Some(&attached) = self.tried.get(&interface.index) {
            return attached;
        }
        self.pin();
        let attached = self.hooks.attach(&mut self.ebpf, &interface, self.folder.as_deref());
        match &attached {
            Ok(()) => tracing::info!(interface = interface.name, "the in-kernel media plane is attached"),
            Err(why) => tracing::warn!(
                interface = interface.name,
                why,
                "the in-kernel media plane cannot be attached: user space serves this interface"
            ),
        }
        self.tried.insert(interface.index, attached.is_ok());
        attached.is_ok()
    }

    /// Pins the maps, before the first interface: a node that carries nothing leaves nothing behind.
    fn pin(&mut self) {
        let Some(folder) = self.folder.as_deref().filter(|_| !self.is_pinned) else { return };
        let pinned = fs::create_dir_all(folder)
            .map_err(|error| describe(&error))
            .and_then(|()| self.flows.pin(folder.join(FLOWS)).map_err(|error| describe(&error)));
        match pinned {
            Ok(()) => self.is_pinned = true,
            Err(why) => {
                tracing::info!(why, "nothing can be pinned: media stops while the process is down");
                self.folder = None;
            }
        }
    }

    /// What was counted of a flow until now; none if it is not carried.
    pub fn read(&self, local: SocketAddr) -> Option<Tally> {
        let flows = HashMap::<_, Key, Flow>::try_from(&self.flows).ok()?;
        Some(flows.get(&Key::new(local), LOCKED).ok()?.tally(self.epoch))
    }

    /// Ends a flow; what was counted until then. A packet that another CPU is counting at this moment may be missed.
    pub fn release(&mut self, local: SocketAddr) -> Option<Tally> {
        let tally = self.read(local);
        // One that is gone already, with its map, is as good.
        let flows = HashMap::<_, Key, Flow>::try_from(&mut self.flows);
        let _ = flows.and_then(|mut flows| flows.remove(&Key::new(local)));
        tally
    }

    /// Packets and octets carried since this program was loaded.
    pub fn totals(&self) -> (u64, u64) {
        let Ok(values) = self.totals.get(&0, 0) else { return (0, 0) };
        values.iter().fold((0, 0), |(packets, octets), cpu| (packets + cpu.packets, octets + cpu.octets))
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.hooks.unpin();
        if let Some(folder) = &self.folder {
            clear(folder);
        }
    }
}

/// Ends what a dead process left pinned, for a node that is to do without the plane.
pub fn clear_pins(pins: &Path) {
    clear_others(pins, pins);
}

/// Removes what other versions of the program left.
fn clear_others(pins: &Path, folder: &Path) {
    for other in fs::read_dir(pins).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if other != folder {
            clear(&other);
        }
    }
}

/// Removes a folder of pins, and its parent if it was the last: what they held ends with them.
fn clear(folder: &Path) {
    for pin in fs::read_dir(folder).into_iter().flatten().flatten() {
        let _ = fs::remove_file(pin.path());
    }
    let _ = fs::remove_dir(folder);
    if let Some(parent) = folder.parent() {
        let _ = fs::remove_dir(parent);
    }
}

/// Tells this node's filters from those of another on the host: FNV-1a of where it pins, folded.
fn handle(pins: Option<&Path>) -> u16 {
    let octets = pins.map(|pins| pins.as_os_str().as_encoded_bytes()).unwrap_or_default();
    let hash = octets
        .iter()
        .fold(0x811c_9dc5u32, |hash, octet| (hash ^ u32::from(*octet)).wrapping_mul(0x0100_0193));
    (hash ^ hash >> 16) as u16
}

fn has_rights() -> bool {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let rights = line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    rights & NET_ADMIN != 0 && rights & (BPF | SYS_ADMIN) != 0
}
