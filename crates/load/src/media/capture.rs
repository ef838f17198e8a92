//! Packet captures: the datagrams of a pcap or pcapng file, with their times.

use std::{net::SocketAddr, time::Duration};

/// What a capture cannot be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CaptureError {
    /// Neither pcap nor pcapng.
    #[error("this is no capture: it begins like neither pcap nor pcapng")]
    NoCapture,
    /// The file ends within a packet.
    #[error("the capture is cut off")]
    CutOff,
    /// A kind of link that is not read.
    #[error("link type {0} is not read; Ethernet, Linux cooked, loopback and raw IP are")]
    Link(u32),
}

/// A UDP datagram of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Since the first one of the capture.
    pub at: Duration,
    /// Who sent it.
    pub from: SocketAddr,
    /// To whom.
    pub to: SocketAddr,
    /// What was in it.
    pub payload: Box<[u8]>,
}

/// The largest packet that is believed, octets: what captures are cut at.
const PACKET_BYTES_MAX: usize = 262_144;

/// Reads all UDP datagrams of `file`; fragments and other protocols are passed over.
///
/// # Errors
/// [`CaptureError`]. A file that ends within its last packet gives what is before it.
pub fn read(file: &[u8]) -> Result<Vec<Datagram>, CaptureError> {
    let mut datagrams = Vec::new();
    let mut take = |link: u32, nanos: u64, frame: &[u8]| -> Result<(), CaptureError> {
        let known = matches!(link, NULL | ETHERNET | RAW_BSD | RAW | LOOP | COOKED | COOKED_2);
        if !known {
            return Err(CaptureError::Link(link));
        }
        if let Some((from, to, payload)) = ip_of(link, frame).and_then(udp_of) {
            datagrams.push(Datagram { at: Duration::from_nanos(nanos), from, to, payload: payload.into() });
        }
        Ok(())
    };
    match file.first_chunk::<4>() {
        Some(&[0x0a, 0x0d, 0x0d, 0x0a]) => blocks(file, &mut take)?,
        Some(magic) => records(file, *magic, &mut take)?,
        None => return Err(CaptureError::NoCapture),
    }
    let first = datagrams.iter().map(|datagram| datagram.at).min().unwrap_or_default();
    for datagram in &mut datagrams {
        datagram.at -= first;
    }
    datagrams.sort_by_key(|datagram| datagram.at);
    Ok(datagrams)
}

// Link types, as tcpdump.org numbers them.
const NULL: u32 = 0;
const ETHERNET: u32 = 1;
const RAW_BSD: u32 = 12;
const RAW: u32 = 101;
const LOOP: u32 = 108;
const COOKED: u32 = 113;
const COOKED_2: u32 = 276;

type Take<'a> = dyn FnMut(u32, u64, &[u8]) -> Result<(), CaptureError> + 'a;

/// A number of four octets in the byte order of its file.
fn word(bytes: &[u8], at: usize, is_big: bool) -> Option<u32> {
    let bytes = *bytes.get(at..)?.first_chunk::<4>()?;
    Some(if is_big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
}

/// The classic format: a header, then records.
fn records(file: &[u8], magic: [u8; 4], take: &mut Take<'_>) -> Result<(), CaptureError> {
    let (is_big, tick_ns) = match magic {
        [0xd4, 0xc3, 0xb2, 0xa1] => (false, 1000),
        [0xa1, 0xb2, 0xc3, 0xd4] => (true, 1000),
        [0x4d, 0x3c, 0xb2, 0xa1] => (false, 1),
        [0xa1, 0xb2, 0x3c, 0x4d] => (true, 1),
        _ => return Err(CaptureError::NoCapture),
    };
    let link = word(file, 20, is_big).ok_or(CaptureError::CutOff)? & 0xffff;
    let mut rest = file.get(24..).ok_or(CaptureError::CutOff)?;
    while let (Some(seconds), Some(ticks), Some(length)) =
        (word(rest, 0, is_big), word(rest, 4, is_big), word(rest, 8, is_big))
    {
        let length = length as usize;
        let Some(frame) = rest.get(16..).and_then(|rest| rest.get(..length)) else { break };
        if length <= PACKET_BYTES_MAX {
            take(link, u64::from(seconds) * 1_000_000_000 + u64::from(ticks) * tick_ns, frame)?;
        }
        rest = &rest[16 + length..];
    }
    Ok(())
}

/// pcapng: blocks, of which those with interfaces and packets are read.
fn blocks(file: &[u8], take: &mut Take<'_>) -> Result<(), CaptureError> {
    const SECTION: u32 = 0x0a0d_0d0a;
    const INTERFACE: u32 = 1;
    const PACKET: u32 = 6;
    let is_big = file.get(8..12) == Some(&[0x1a, 0x2b, 0x3c, 0x4d]);
    let mut interfaces: Vec<(u32, u64)> = Vec::new();
    let mut rest = file;
    while let (Some(kind), Some(length)) = (word(rest, 0, is_big), word(rest, 4, is_big)) {
        let length = length as usize;
        let Some(block) = rest.get(..length).filter(|_| length >= 12) else { break };
        match kind {
            SECTION => interfaces.clear(),
            INTERFACE => {
                let link = word(block, 8, is_big).ok_or(CaptureError::CutOff)?;
                // The two octets of the link type stand first, in either byte order.
                let link = if is_big { link >> 16 } else { link & 0xffff };
                interfaces.push((link, ticks_per_second(block, is_big)));
            }
            PACKET => {
                let number = |at| word(block, at, is_big).ok_or(CaptureError::CutOff);
                let (interface, high, low, captured) = (number(8)?, number(12)?, number(16)?, number(20)?);
                let &(link, per_second) =
                    interfaces.get(interface as usize).ok_or(CaptureError::NoCapture)?;
                let ticks = u64::from(high) << 32 | u64::from(low);
                let nanos = u128::from(ticks) * 1_000_000_000 / u128::from(per_second);
                let frame = block.get(28..).and_then(|rest| rest.get(..captured as usize));
                take(link, nanos as u64, frame.ok_or(CaptureError::CutOff)?)?;
            }
            _ => {}
        }
        rest = &rest[length..];
    }
    Ok(())
}

/// The option `if_tsresol` of an interface; a million without it.
fn ticks_per_second(block: &[u8], is_big: bool) -> u64 {
    let short = |at: usize| {
        let bytes = *block.get(at..)?.first_chunk::<2>()?;
        Some(if is_big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    };
    let mut at = 16;
    while let (Some(code @ 1..), Some(length)) = (short(at), short(at + 2)) {
        if let (9, Some(&resolution)) = (code, block.get(at + 4)) {
            let power = u32::from(resolution & 0x7f);
            let base: u64 = if resolution & 0x80 == 0 { 10 } else { 2 };
            return base.checked_pow(power).unwrap_or(1_000_000_000);
        }
        at += 4 + usize::from(length).next_multiple_of(4);
    }
    1_000_000
}

/// The IP packet in a frame.
fn ip_of(link: u32, frame: &[u8]) -> Option<&[u8]> {
    match link {
        NULL | LOOP => frame.get(4..),
        RAW | RAW_BSD => Some(frame),
        COOKED => frame.get(16..),
        COOKED_2 => frame.get(20..),
        _ => {
            let mut at = 12;
            // Tags of virtual networks stand before the type.
            while matches!(frame.get(at..at + 2)?, [0x81, 0x00] | [0x88, 0xa8]) {
                at += 4;
            }
            matches!(frame.get(at..at + 2)?, [0x08, 0x00] | [0x86, 0xdd]).then(|| &frame[at + 2..])
        }
    }
}

/// Addresses and payload of the UDP datagram in an IP packet.
fn udp_of(packet: &[u8]) -> Option<(SocketAddr, SocketAddr, &[u8])> {
    const UDP: u8 = 17;
    let (from, to, datagram) = match packet.first()? >> 4 {
        4 => {
            let header = usize::from(packet[0] & 0x0f) * 4;
            let total = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
            let fragment = u16::from_be_bytes([*packet.get(6)?, *packet.get(7)?]) & 0x3fff;
            if *packet.get(9)? != UDP || fragment != 0 {
                return None;
            }
            let address = |at: usize| packet.get(at..).and_then(|rest| rest.first_chunk::<4>().copied());
            let total = if total == 0 { packet.len() } else { total.min(packet.len()) };
            (address(12)?.into(), address(16)?.into(), packet.get(header..total)?)
        }
        6 => {
            if *packet.get(6)? != UDP {
                return None;
            }
            let address = |at: usize| packet.get(at..).and_then(|rest| rest.first_chunk::<16>().copied());
            (std::net::IpAddr::from(address(8)?), address(24)?.into(), packet.get(40..)?)
        }
        _ => return None,
    };
    let port = |at: usize| Some(u16::from_be_bytes([*datagram.get(at)?, *datagram.get(at + 1)?]));
    let length = usize::from(port(4)?).max(8).min(datagram.len());
    Some((SocketAddr::new(from, port(0)?), SocketAddr::new(to, port(2)?), datagram.get(8..length)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An Ethernet frame with a UDP datagram from 10.0.0.1:4000 to 10.0.0.2:5000.
    fn frame(payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend_from_slice(&[0x81, 0x00, 0, 7, 0x08, 0x00]);
        frame.extend_from_slice(&[0x45, 0, 0, 28 + payload.len() as u8, 0, 0, 0, 0, 64, 17, 0, 0]);
        frame.extend_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        frame.extend_from_slice(&[0x0f, 0xa0, 0x13, 0x88, 0, 8 + payload.len() as u8, 0, 0]);
        frame.extend_from_slice(payload);
        frame
    }

    fn classic(is_big: bool, times_us: &[u32]) -> Vec<u8> {
        let word = |number: u32| if is_big { number.to_be_bytes() } else { number.to_le_bytes() };
        let mut file: Vec<u8> =
            [0xa1b2_c3d4, 0x0002_0004, 0, 0, 65_535, 1].into_iter().flat_map(word).collect();
        for time in times_us {
            let frame = frame(&time.to_be_bytes());
            let length = frame.len() as u32;
            file.extend([7, *time, length, length].into_iter().flat_map(word));
            file.extend_from_slice(&frame);
        }
        file
    }

    #[test]
    fn datagrams_are_read_with_their_times_and_addresses() {
        for is_big in [false, true] {
            let datagrams = read(&classic(is_big, &[1000, 21_000])).expect("it reads");
            assert_eq!(datagrams.len(), 2);
            assert_eq!(datagrams[1].at, Duration::from_millis(20));
            assert_eq!(datagrams[1].from.to_string(), "10.0.0.1:4000");
            assert_eq!(datagrams[1].to.to_string(), "10.0.0.2:5000");
            assert_eq!(*datagrams[1].payload, 21_000_u32.to_be_bytes());
        }
    }

    #[test]
    fn the_newer_format_is_read_too() {
        let block = |kind: u32, body: &[u8]| {
            let length = (12 + body.len().next_multiple_of(4)) as u32;
            let mut block = [kind.to_le_bytes(), length.to_le_bytes()].concat();
            block.extend_from_slice(body);
            block.resize(length as usize - 4, 0);
            block.extend_from_slice(&length.to_le_bytes());
            block
        };
        let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        let mut file = block(0x0a0d_0d0a, &words(&[0x1a2b_3c4d, 1, u32::MAX, u32::MAX]));
        // Ethernet, and times in nanoseconds.
        file.extend(block(1, &words(&[1, 65_535, 0x0001_0009, 9, 0])));
        for nanos in [5_u32, 20_000_005] {
            let frame = frame(b"abcd");
            let length = frame.len() as u32;
            file.extend(block(6, &[words(&[0, 0, nanos, length, length]), frame].concat()));
        }
        let datagrams = read(&file).expect("it reads");
        assert_eq!(datagrams.len(), 2);
        assert_eq!((datagrams[1].at, &*datagrams[1].payload), (Duration::from_millis(20), &b"abcd"[..]));
    }

    #[test]
    fn what_is_cut_off_or_no_capture_never_panics() {
        assert_eq!(read(b"GET "), Err(CaptureError::NoCapture));
        assert_eq!(read(b""), Err(CaptureError::NoCapture));
        let whole = classic(false, &[1, 2, 3]);
        for length in 0..whole.len() {
            let _ = read(&whole[..length]);
        }
        let mut random = offhook_base::Random::from_number(5);
        for _ in 0..2000 {
            let mut file = whole.clone();
            let at = random.below(file.len() as u64) as usize;
            file[at] = random.next_u32() as u8;
            let _ = read(&file);
        }
    }
}
