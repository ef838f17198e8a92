//! Which interface an address belongs to, and by which one a packet would leave: asked of the kernel over netlink.
#![expect(unsafe_code, reason = "getifaddrs and if_nametoindex have no safe form")]

use std::{
    ffi::CStr,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};

/// An interface that owns an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    pub name: String,
    pub index: u32,
}

/// The interface that `address` belongs to; none if it is nobody's, or the loopback's.
pub fn owner(address: IpAddr) -> Option<Interface> {
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: the kernel's answer is stored where `list` points, which lives through the call.
    if unsafe { libc::getifaddrs(&raw mut list) } != 0 {
        return None;
    }
    let mut next = list;
    let mut found = None;
    // SAFETY: each entry stays valid until freeifaddrs; the list ends with null.
    while let Some(entry) = unsafe { next.as_ref() } {
        next = entry.ifa_next;
        // SAFETY: `ifa_addr` is null or points to an address of the family it names.
        let ip = unsafe { ip_of(entry.ifa_addr) };
        if ip == Some(address) && entry.ifa_flags & libc::IFF_LOOPBACK as u32 == 0 {
            // SAFETY: the name ends with a zero octet and lives as long as the list.
            let (name, index) =
                unsafe { (CStr::from_ptr(entry.ifa_name), libc::if_nametoindex(entry.ifa_name)) };
            found = name.to_str().ok().map(|name| Interface { name: name.to_owned(), index });
            break;
        }
    }
    // SAFETY: the list came from getifaddrs and is not used any more.
    unsafe { libc::freeifaddrs(list) };
    found.filter(|interface| interface.index != 0)
}

/// # Safety
/// `address` is null or points to a socket address of the family it names.
unsafe fn ip_of(address: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: the caller's promise; every address has a family.
    let family = unsafe { address.as_ref() }?.sa_family;
    match i32::from(family) {
        libc::AF_INET => {
            // SAFETY: the family says so.
            let octets = unsafe { (*address.cast::<libc::sockaddr_in>()).sin_addr.s_addr };
            Some(Ipv4Addr::from(u32::from_be(octets)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: the family says so.
            let octets = unsafe { (*address.cast::<libc::sockaddr_in6>()).sin6_addr.s6_addr };
            Some(Ipv6Addr::from(octets).into())
        }
        _ => None,
    }
}

/// A netlink message's header, and that of a route: linux/netlink.h, linux/rtnetlink.h.
const HEADER_LEN: usize = 16;
const ROUTE_LEN: usize = 12;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const NLM_F_REQUEST: u16 = 1;
const RTA_DST: u16 = 1;
const RTA_SRC: u16 = 2;
const RTA_OIF: u16 = 4;
const RTN_UNICAST: u8 = 1;
/// The kernel answers at once; this is for one that does not.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(100);

/// Asks for routes.
#[derive(Debug)]
pub struct Routes(Socket);

impl Routes {
    pub fn new() -> io::Result<Self> {
        let kind = Type::RAW.cloexec();
        let socket =
            Socket::new(Domain::from(libc::AF_NETLINK), kind, Some(Protocol::from(libc::NETLINK_ROUTE)))?;
        socket.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        Ok(Self(socket))
    }

    /// The index of the interface by which a packet from `from` to `to` leaves the host; none if it stays, or has no way.
    pub fn interface(&self, from: IpAddr, to: IpAddr) -> Option<u32> {
        self.0.send(&question(from, to)).ok()?;
        let mut buffer = [0; 2048];
        let len = {
            use std::io::Read;
            (&self.0).read(&mut buffer).ok()?
        };
        answer(&buffer[..len])
    }
}

fn question(from: IpAddr, to: IpAddr) -> Vec<u8> {
    let family = if to.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 } as u8;
    let bits = if to.is_ipv4() { 32 } else { 128 };
    let mut message = vec![0; HEADER_LEN];
    message.extend([family, bits, bits, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for (kind, ip) in [(RTA_DST, to), (RTA_SRC, from)] {
        let octets = match ip {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        message.extend((4 + octets.len() as u16).to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend(octets);
    }
    let len = message.len() as u32;
    message[..4].copy_from_slice(&len.to_ne_bytes());
    message[4..6].copy_from_slice(&RTM_GETROUTE.to_ne_bytes());
    message[6..8].copy_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    message
}

fn answer(message: &[u8]) -> Option<u32> {
    let short = |at: usize| Some(u16::from_ne_bytes(*message.get(at..)?.first_chunk()?));
    let is_unicast = message.get(HEADER_LEN + 7) == Some(&RTN_UNICAST);
    if short(4)? != RTM_NEWROUTE || !is_unicast {
        return None;
    }
    let mut at = HEADER_LEN + ROUTE_LEN;
    loop {
        let (len, kind) = (usize::from(short(at)?), short(at + 2)?);
        if kind == RTA_OIF {
            return Some(u32::from_ne_bytes(*message.get(at + 4..)?.first_chunk()?));
        }
        // At least its own head, or this would never end.
        at += len.max(4).next_multiple_of(4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_on_the_host_has_no_way_out_and_no_owner_to_speak_of() {
        let local = IpAddr::from(Ipv4Addr::LOCALHOST);
        assert_eq!(Routes::new().unwrap().interface(local, local), None);
        assert_eq!(owner(local), None);
        assert_eq!(owner("192.0.2.77".parse().unwrap()), None);
    }

    #[test]
    fn answers_cut_short_and_of_other_kinds_are_no_trouble() {
        let whole = {
            let mut message = question(Ipv4Addr::LOCALHOST.into(), Ipv4Addr::new(192, 0, 2, 1).into());
            message[4..6].copy_from_slice(&RTM_NEWROUTE.to_ne_bytes());
            message[HEADER_LEN + 7] = RTN_UNICAST;
            message.extend([8, 0].into_iter().chain(RTA_OIF.to_ne_bytes()).chain(7u32.to_ne_bytes()));
            message
        };
        assert_eq!(answer(&whole), Some(7));
        for len in 0..whole.len() {
            assert_eq!(answer(&whole[..len]), None, "{len}");
        }
        assert_eq!(answer(&[0; 200]), None);
    }
}
