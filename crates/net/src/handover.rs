//! Descriptors from one process to another (SCM_RIGHTS of unix(7)): a new version takes over the listeners of the old one, and
//! what waits in them is not lost.
#![expect(unsafe_code, reason = "control messages carry descriptors")]

use std::{
    io, mem,
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
};

/// Descriptors of one message: what Linux lets through (`SCM_MAX_FD`).
pub const DESCRIPTORS_MAX: usize = 253;

/// The octet that carries them: a message without data carries none.
const CARRIER: u8 = b'#';

/// Room for [`DESCRIPTORS_MAX`] descriptors and their header, aligned as `cmsghdr` asks.
#[repr(C, align(8))]
struct Control([u8; 1040]);

/// Sends copies of descriptors, and one octet.
///
/// # Errors
/// More than [`DESCRIPTORS_MAX`], or the other side is gone.
pub fn send_descriptors(stream: &UnixStream, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    if descriptors.len() > DESCRIPTORS_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors for one message"));
    }
    let raw: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let size = mem::size_of_val(raw.as_slice()) as u32;
    let mut octet = [CARRIER];
    let mut control = Control([0; 1040]);
    let mut vector = libc::iovec { iov_base: octet.as_mut_ptr().cast(), iov_len: 1 };
    let mut header = empty_header();
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    if !raw.is_empty() {
        header.msg_control = (&raw mut control.0).cast();
        // SAFETY: CMSG_SPACE only computes.
        header.msg_controllen = unsafe { libc::CMSG_SPACE(size) } as usize;
        assert!(header.msg_controllen <= control.0.len(), "the control area holds the most there can be");
        // SAFETY: the control area is aligned for a cmsghdr and, as asserted, has room for this header and the descriptors,
        // so CMSG_FIRSTHDR is not null and CMSG_DATA with `size` octets lies within.
        unsafe {
            let message = libc::CMSG_FIRSTHDR(&header);
            (*message).cmsg_level = libc::SOL_SOCKET;
            (*message).cmsg_type = libc::SCM_RIGHTS;
            (*message).cmsg_len = libc::CMSG_LEN(size) as usize;
            std::ptr::copy_nonoverlapping(raw.as_ptr().cast(), libc::CMSG_DATA(message), size as usize);
        }
    }
    // SAFETY: header, vector, octet and control area live through the call, with the lengths given.
    let sent = unsafe { libc::sendmsg(stream.as_raw_fd(), &header, libc::MSG_NOSIGNAL) };
    if sent == 1 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Receives what [`send_descriptors`] sent; they are closed on exec.
///
/// # Errors
/// The other side is gone or sent something else.
pub fn receive_descriptors(stream: &UnixStream) -> io::Result<Vec<OwnedFd>> {
    let mut octet = [0];
    let mut control = Control([0; 1040]);
    let mut vector = libc::iovec { iov_base: octet.as_mut_ptr().cast(), iov_len: 1 };
    let mut header = empty_header();
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    header.msg_control = (&raw mut control.0).cast();
    header.msg_controllen = control.0.len();
    // SAFETY: header, vector, octet and control area live through the call, with the lengths given.
    let received = unsafe { libc::recvmsg(stream.as_raw_fd(), &raw mut header, libc::MSG_CMSG_CLOEXEC) };
    if received < 0 {
        return Err(io::Error::last_os_error());
    }
    let descriptors = descriptors_of(&header);
    let whole = received == 1 && octet == [CARRIER] && header.msg_flags & libc::MSG_CTRUNC == 0;
    if whole { Ok(descriptors) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Takes hold of every descriptor that the kernel has made for us.
fn descriptors_of(header: &libc::msghdr) -> Vec<OwnedFd> {
    let mut found = Vec::new();
    // SAFETY: `header` was filled by recvmsg; its control area is still alive and as long as the kernel said.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !message.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR give a pointer to a whole header within the control area, or null.
        let (level, kind, length) =
            unsafe { ((*message).cmsg_level, (*message).cmsg_type, (*message).cmsg_len) };
        if level == libc::SOL_SOCKET && kind == libc::SCM_RIGHTS {
            // SAFETY: CMSG_LEN only computes; the data lies behind the header.
            let (empty, data) = unsafe { (libc::CMSG_LEN(0) as usize, libc::CMSG_DATA(message)) };
            for index in 0..length.saturating_sub(empty) / mem::size_of::<RawFd>() {
                // SAFETY: SCM_RIGHTS carries so many descriptors; the read makes no claim on alignment. Each was made for
                // this process by recvmsg just now and belongs to nobody else.
                found.push(unsafe { OwnedFd::from_raw_fd(data.cast::<RawFd>().add(index).read_unaligned()) });
            }
        }
        // SAFETY: `message` is within the control area of `header`.
        message = unsafe { libc::CMSG_NXTHDR(header, message) };
    }
    found
}

fn empty_header() -> libc::msghdr {
    // SAFETY: an msghdr is integers and pointers; all zeros is a value of it, with null pointers and zero lengths.
    unsafe { mem::zeroed() }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        net::{TcpListener, TcpStream},
        os::fd::AsFd,
    };

    use super::*;

    #[test]
    fn a_listener_goes_on_in_other_hands() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let waiting = TcpStream::connect(address).unwrap();
        send_descriptors(&ours, &[listener.as_fd(), ours.as_fd()]).unwrap();
        drop(listener);
        let mut taken = receive_descriptors(&theirs).unwrap();
        assert_eq!(taken.len(), 2);
        let taken = TcpListener::from(taken.remove(0));
        let (_, remote) = taken.accept().unwrap();
        assert_eq!(remote, waiting.local_addr().unwrap());
    }

    #[test]
    fn anything_else_is_refused() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(b"x").unwrap();
        assert!(receive_descriptors(&theirs).is_err());
        drop(ours);
        assert!(receive_descriptors(&theirs).is_err());
        let (ours, _theirs) = UnixStream::pair().unwrap();
        assert!(send_descriptors(&ours, &vec![ours.as_fd(); DESCRIPTORS_MAX + 1]).is_err());
        assert!(send_descriptors(&ours, &vec![ours.as_fd(); DESCRIPTORS_MAX]).is_ok());
    }
}
