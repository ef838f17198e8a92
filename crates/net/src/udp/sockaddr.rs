//! Socket addresses as the kernel writes them.
#![expect(unsafe_code, reason = "sockaddr_storage is a union in all but name")]

use std::{
    mem,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
};

/// All zeros: family `AF_UNSPEC`.
pub(super) const fn empty() -> libc::sockaddr_storage {
    // SAFETY: sockaddr_storage is plain integers; all zeros is a value of it.
    unsafe { mem::zeroed() }
}

/// Reads the address the kernel wrote. `None` if the family is neither IPv4 nor IPv6.
pub(super) fn read(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that the kernel wrote a sockaddr_in; storage is larger and at least as aligned.
            let v4 = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be(v4.sin_port))))
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that the kernel wrote a sockaddr_in6; storage is larger and at least as aligned.
            let v6 = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            // The flow label is dropped: it says nothing of who sends, and an address is a key of ours.
            Some(SocketAddr::V6(SocketAddrV6::new(ip, u16::from_be(v6.sin6_port), 0, v6.sin6_scope_id)))
        }
        _ => None,
    }
}

/// Writes `address` for the kernel and says how many octets of it count.
pub(super) fn write(address: SocketAddr, storage: &mut libc::sockaddr_storage) -> libc::socklen_t {
    *storage = empty();
    match address {
        SocketAddr::V4(v4) => {
            // SAFETY: storage is larger than a sockaddr_in and at least as aligned; all its octets are initialised.
            let target = unsafe { &mut *(&raw mut *storage).cast::<libc::sockaddr_in>() };
            target.sin_family = libc::AF_INET as libc::sa_family_t;
            target.sin_port = v4.port().to_be();
            target.sin_addr = in_addr(*v4.ip());
            mem::size_of::<libc::sockaddr_in>() as libc::socklen_t
        }
        SocketAddr::V6(v6) => {
            // SAFETY: storage is larger than a sockaddr_in6 and at least as aligned; all its octets are initialised.
            let target = unsafe { &mut *(&raw mut *storage).cast::<libc::sockaddr_in6>() };
            target.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            target.sin6_port = v6.port().to_be();
            target.sin6_addr = in6_addr(*v6.ip());
            target.sin6_scope_id = v6.scope_id();
            mem::size_of::<libc::sockaddr_in6>() as libc::socklen_t
        }
    }
}

/// An IPv4 address in network order.
pub(super) fn in_addr(ip: Ipv4Addr) -> libc::in_addr {
    libc::in_addr { s_addr: u32::from(ip).to_be() }
}

/// An IPv6 address.
pub(super) const fn in6_addr(ip: Ipv6Addr) -> libc::in6_addr {
    libc::in6_addr { s6_addr: ip.octets() }
}

/// The address of an `in_addr`.
pub(super) fn ipv4(address: libc::in_addr) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(u32::from_be(address.s_addr)))
}

/// The address of an `in6_addr`.
pub(super) fn ipv6(address: libc::in6_addr) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from(address.s6_addr))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_with_port_and_scope() {
        let link_local = SocketAddr::V6(SocketAddrV6::new("fe80::1".parse().unwrap(), 5060, 0, 3));
        for address in ["192.0.2.7:5061".parse().unwrap(), "[2001:db8::7]:65535".parse().unwrap(), link_local]
        {
            let mut storage = empty();
            assert!(write(address, &mut storage) > 0);
            assert_eq!(read(&storage), Some(address));
        }
        assert_eq!(read(&empty()), None);
    }
}
