//! Attaching the program to interfaces, beside whatever else is attached there, and keeping it attached.

use std::{
    fs,
    path::{Path, PathBuf},
};

use aya::{
    Ebpf,
    programs::{
        LinkOrder, SchedClassifier, TcAttachType, Xdp, XdpMode,
        links::{FdLink, PinnedLink},
        tc::{NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle, qdisc_add_clsact},
        xdp::XdpLink,
    },
    util::KernelVersion,
};

use super::{Hook, route::Interface};

/// The name of the program for traffic control, and the start of its pins' names.
pub const TC: &str = "relay_tc";
/// The name of the program for XDP, and the start of its pins' names.
pub const XDP: &str = "relay_xdp";
/// Before Linux 6.6 a filter of traffic control has no owner; this priority and the handle name ours.
const TC_PRIORITY: u16 = 0x4f48;

/// A link that outlives the process while its file is there.
struct Pinned {
    interface: u32,
    path: PathBuf,
    _link: PinnedLink,
}

/// What is attached. The links that are not pinned belong to the loaded programs, and end with them.
pub struct Hooks {
    hook: Hook,
    handle: TcHandle,
    pinned: Vec<Pinned>,
}

impl Hooks {
    /// `handle` tells filters of this node from those of another one on the same host.
    pub fn new(hook: Hook, handle: u16) -> Self {
        Self { hook, handle: TcHandle::new(0, handle.max(1)), pinned: Vec::new() }
    }

    /// Takes over links that a process before left pinned in `folder`: they run this program from now on.
    pub fn adopt(&mut self, ebpf: &mut Ebpf, folder: Option<&Path>) {
        if !has_links() {
            self.detach_filters();
        }
        let Some(folder) = folder else { return };
        for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.split_once('-'));
            let Some((program, Ok(interface))) = name.map(|(program, index)| (program, index.parse())) else {
                continue;
            };
            match take_over(ebpf, program, &path) {
                Some(link) => self.pinned.push(Pinned { interface, path, _link: link }),
                // Its interface is gone, or it is not ours to update: without the file it ends.
                None => drop(fs::remove_file(path)),
            }
        }
    }

    /// Ends filters that a process before left: they run its program, which may be another one.
    fn detach_filters(&self) {
        for interface in fs::read_dir("/sys/class/net").into_iter().flatten().flatten() {
            if let Some(name) = interface.file_name().to_str() {
                self.detach_filter(name);
            }
        }
    }

    fn detach_filter(&self, name: &str) {
        // Dropping the link detaches the filter; there mostly is none.
        drop(SchedClassifierLink::attached(name, TcAttachType::Ingress, TC_PRIORITY, self.handle, None));
    }

    /// Attaches to an interface, unless it is already; pinned in `folder`, if there is one.
    pub fn attach(
        &mut self,
        ebpf: &mut Ebpf,
        interface: &Interface,
        folder: Option<&Path>,
    ) -> Result<(), String> {
        if self.pinned.iter().any(|pinned| pinned.interface == interface.index) {
            return Ok(());
        }
        match self.hook {
            Hook::Tc => self.attach_tc(ebpf, interface, folder),
            Hook::Xdp => self.attach_xdp(ebpf, interface, XdpMode::Driver, folder),
            Hook::XdpGeneric => self.attach_xdp(ebpf, interface, XdpMode::Skb, folder),
            Hook::Auto if is_card_that_forwards(&interface.name) => {
                // Another XDP program holds the place, or the driver has none.
                let attached = self.attach_xdp(ebpf, interface, XdpMode::Driver, folder);
                attached.or_else(|_| self.attach_tc(ebpf, interface, folder))
            }
            Hook::Auto => self.attach_tc(ebpf, interface, folder),
        }
    }

    fn attach_xdp(
        &mut self,
        ebpf: &mut Ebpf,
        interface: &Interface,
        mode: XdpMode,
        folder: Option<&Path>,
    ) -> Result<(), String> {
        let program = xdp(ebpf)?;
        let id = program.attach_to_if_index(interface.index, mode).map_err(|error| describe(&error))?;
        if let Some(folder) = folder {
            let link = program.take_link(id).map_err(|error| describe(&error))?;
            self.pin(folder, XDP, interface, link.try_into().map_err(|error| describe(&error))?)?;
        }
        Ok(())
    }

    fn attach_tc(
        &mut self,
        ebpf: &mut Ebpf,
        interface: &Interface,
        folder: Option<&Path>,
    ) -> Result<(), String> {
        if !has_links() {
            return self.attach_filter(ebpf, interface);
        }
        let program = tc(ebpf)?;
        let options = TcAttachOptions::TcxOrder(LinkOrder::default());
        let id = program
            .attach_with_options(&interface.name, TcAttachType::Ingress, options)
            .map_err(|error| describe(&error))?;
        if let Some(folder) = folder {
            let link = program.take_link(id).map_err(|error| describe(&error))?;
            self.pin(folder, TC, interface, link.try_into().map_err(|error| describe(&error))?)?;
        }
        Ok(())
    }

    /// Before Linux 6.6: a filter, which stays when the process dies, and is found again by priority and handle.
    fn attach_filter(&self, ebpf: &mut Ebpf, interface: &Interface) -> Result<(), String> {
        // It may be there already, with the filters of others.
        let _ = qdisc_add_clsact(&interface.name);
        let (name, at) = (&interface.name, TcAttachType::Ingress);
        self.detach_filter(name);
        let options = NlOptions { priority: TC_PRIORITY, handle: self.handle, classid: None };
        let attached = tc(ebpf)?.attach_with_options(name, at, TcAttachOptions::Netlink(options));
        attached.map(drop).map_err(|error| describe(&error))
    }

    fn pin(
        &mut self,
        folder: &Path,
        program: &str,
        interface: &Interface,
        link: FdLink,
    ) -> Result<(), String> {
        let path = folder.join(format!("{program}-{}", interface.index));
        let link = link.pin(&path).map_err(|error| describe(&error))?;
        self.pinned.push(Pinned { interface: interface.index, path, _link: link });
        Ok(())
    }

    /// Lets go of what would outlive the process.
    pub fn unpin(&mut self) {
        for pinned in self.pinned.drain(..) {
            let _ = fs::remove_file(pinned.path);
        }
    }
}

/// Whether filters of traffic control have owners.
fn has_links() -> bool {
    KernelVersion::current().is_ok_and(|version| version >= KernelVersion::new(6, 6, 0))
}

fn tc(ebpf: &mut Ebpf) -> Result<&mut SchedClassifier, String> {
    let program = ebpf.program_mut(TC).ok_or("the program for traffic control is missing")?;
    program.try_into().map_err(|error| describe(&error))
}

fn xdp(ebpf: &mut Ebpf) -> Result<&mut Xdp, String> {
    let program = ebpf.program_mut(XDP).ok_or("the program for XDP is missing")?;
    program.try_into().map_err(|error| describe(&error))
}

/// Loads both programs, which is when the kernel checks them.
pub fn load(ebpf: &mut Ebpf) -> Result<(), String> {
    tc(ebpf)?.load().map_err(|error| describe(&error))?;
    xdp(ebpf)?.load().map_err(|error| describe(&error))
}

fn take_over(ebpf: &mut Ebpf, program: &str, path: &Path) -> Option<PinnedLink> {
    let link = FdLink::from(PinnedLink::from_pin(path).ok()?);
    match program {
        TC => {
            let program = tc(ebpf).ok()?;
            let id = program.attach_to_link(SchedClassifierLink::try_from(link).ok()?).ok()?;
            drop(program.take_link(id).ok()?);
        }
        XDP => {
            let program = xdp(ebpf).ok()?;
            let id = program.attach_to_link(XdpLink::try_from(link).ok()?).ok()?;
            drop(program.take_link(id).ok()?);
        }
        _ => return None,
    }
    PinnedLink::from_pin(path).ok()
}

/// A network card has a device behind it; a veth, a bridge or a VLAN has none, and its XDP is not worth its traps.
fn is_card_that_forwards(interface: &str) -> bool {
    let is_on = |family: &str| {
        let path = format!("/proc/sys/net/{family}/conf/{interface}/forwarding");
        fs::read_to_string(path).is_ok_and(|value| value.trim() == "1")
    };
    Path::new("/sys/class/net").join(interface).join("device").exists() && is_on("ipv4")
}

/// An error with what caused it, in one line.
pub fn describe(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<String> = causes.map(|error| error.to_string()).collect();
    let whole = texts.join(": ");
    // The verifier's log may follow, a thousand lines of it.
    whole.lines().next().unwrap_or_default().to_owned()
}
