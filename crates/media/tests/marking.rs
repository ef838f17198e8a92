//! What class of service our packets carry, as a receiver sees it (RFC 2474 §3).
#![expect(unsafe_code, reason = "only recvmsg tells the class of a packet")]

mod common;

use std::{
    mem,
    net::{IpAddr, Ipv6Addr, UdpSocket},
    os::fd::AsRawFd,
};

use common::{LOCAL, Phone, Stage, receive};
use offhook_rtp::stun;

/// Expedited forwarding (RFC 3246): the default, shifted over the two bits of ECN.
const EF: i32 = 46 << 2;

/// Has the kernel tell the traffic class of what comes to `socket`.
fn ask_for_class(socket: &UdpSocket) {
    let (level, name) = match socket.local_addr().unwrap().ip() {
        IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_RECVTOS),
        IpAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS),
    };
    let on: libc::c_int = 1;
    let len = mem::size_of_val(&on) as libc::socklen_t;
    // SAFETY: the descriptor is open, and `on` lives for the call with the length that is given.
    let done = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const on).cast(), len) };
    assert_eq!(done, 0);
}

/// Receives one datagram; its traffic class.
fn class_of_next(socket: &UdpSocket) -> i32 {
    let mut octets = [0_u8; 2048];
    // Control messages are read as longs are: aligned so.
    let mut control = [0_u64; 32];
    let mut vector = libc::iovec { iov_base: octets.as_mut_ptr().cast(), iov_len: octets.len() };
    // SAFETY: all zero is a valid message header: no name, no vectors, no control.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = mem::size_of_val(&control);
    // SAFETY: the header points to buffers that live for the call, with their lengths.
    let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, 0) };
    assert!(received > 0, "a packet arrives");
    // SAFETY: the kernel has filled the header in, and the walk stays within `msg_controllen`.
    unsafe {
        let mut next = libc::CMSG_FIRSTHDR(&raw const message);
        while let Some(header) = next.as_ref() {
            match (header.cmsg_level, header.cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_TOS) => return i32::from(*libc::CMSG_DATA(next)),
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                    return libc::CMSG_DATA(next).cast::<i32>().read_unaligned();
                }
                _ => next = libc::CMSG_NXTHDR(&raw const message, next),
            }
        }
    }
    panic!("no traffic class came with the packet")
}

#[test]
fn sound_reports_and_stun_answers_leave_as_expedited_forwarding_on_either_family() {
    for local in [LOCAL, IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        let stage = Stage::new(8);
        let (alice, bob) = (Phone::at(local, 1), Phone::at(local, 2));
        let (left, _) = (stage.open_at(local, 1, 1)[0], stage.open_at(local, 2, 1)[0]);
        stage.configure(1, vec![alice.config()]);
        stage.configure(2, vec![bob.config()]);
        stage.bridge(1, 2);
        stage.settle();
        for socket in [&bob.rtp, &bob.rtcp, &alice.rtp] {
            ask_for_class(socket);
        }
        alice.say(left, 1);
        assert_eq!(class_of_next(&bob.rtp), EF);
        alice.rtcp.send_to(&[0x80, 201, 0, 1, 0, 0, 0, 9], (local, left + 1)).unwrap();
        assert_eq!(class_of_next(&bob.rtcp), EF);
        alice.rtp.send_to(&stun::binding_request(stun::TransactionId([7; 12])), (local, left)).unwrap();
        assert_eq!(class_of_next(&alice.rtp), EF);
    }
}

/// The method sees what it is to see: an unmarked packet has class 0.
#[test]
fn an_unmarked_packet_is_seen_as_such() {
    let (alice, bob) = (Phone::new(1), Phone::new(2));
    ask_for_class(&bob.rtp);
    alice.say(bob.rtp.local_addr().unwrap().port(), 1);
    assert_eq!(class_of_next(&bob.rtp), 0);
    alice.say(bob.rtp.local_addr().unwrap().port(), 2);
    assert_eq!(receive(&bob.rtp).0.len(), 172);
}
