//! Whom one may send to without being asked: what is plainly one's own.

use std::net::IpAddr;

/// Loopback, link-local, and what RFC 1918, RFC 6598 and RFC 4193 keep for private use; documentation ranges too.
pub fn is_ours(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            let shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
            v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_documentation() || shared
        }
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_ours(IpAddr::V4(v4)),
            None => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
        },
    }
}
