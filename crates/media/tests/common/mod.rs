//! Phones on the loopback and an engine between them. No sleeps: everything waits for a datagram or an event.
#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    ops::RangeInclusive,
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use offhook_media::{MediaConfig, MediaEngine, MediaHandle};
use offhook_rtp::rtp::{FixedHeader, PacketWriter, PayloadType, SequenceNumber, Ssrc, Timestamp};
use offhook_switch::media::{
    EndpointId, MediaCommand, MediaEvent, PayloadName, RemoteMedia, StreamConfig, StreamQuality,
};

/// Longest wait for something that must come. Only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(5);
pub const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A range of `pairs` pairs that nobody holds at the moment: found by letting the kernel choose its start.
pub fn free_range(pairs: u16) -> RangeInclusive<u16> {
    loop {
        let first = UdpSocket::bind((LOCAL, 0)).unwrap().local_addr().unwrap().port() & !1;
        let Some(last) = first.checked_add(2 * pairs - 1) else { continue };
        if (first..=last).all(|port| UdpSocket::bind((LOCAL, port)).is_ok()) {
            return first..=last;
        }
    }
}

/// An engine and its events.
pub struct Stage {
    pub handle: MediaHandle,
    events: Receiver<MediaEvent>,
}

impl Stage {
    pub fn new(pairs: u16) -> Self {
        Self::with_ports(free_range(pairs))
    }

    pub fn with_ports(ports: RangeInclusive<u16>) -> Self {
        Self::with_config(MediaConfig { ports, ..MediaConfig::default() })
    }

    pub fn with_config(config: MediaConfig) -> Self {
        let (sender, events) = channel();
        let handle = MediaEngine::start(config, move |event| {
            let _ = sender.send(event);
        });
        Self { handle: handle.unwrap(), events }
    }

    /// The next event. Notes are passed over: they come whenever keys count on or a peer settles.
    pub fn event(&self) -> MediaEvent {
        loop {
            let event = self.events.recv_timeout(PATIENCE).expect("the engine says something");
            if !matches!(event, MediaEvent::Noted { .. }) {
                return event;
            }
        }
    }

    pub fn open(&self, endpoint: u64, streams: usize) -> Vec<u16> {
        self.open_at(LOCAL, endpoint, streams)
    }

    pub fn open_at(&self, local: IpAddr, endpoint: u64, streams: usize) -> Vec<u16> {
        let endpoint = EndpointId(endpoint);
        self.handle.send(MediaCommand::Open { endpoint, local, streams });
        match self.event() {
            MediaEvent::Opened { endpoint: its, rtp_ports } if its == endpoint => rtp_ports,
            other => panic!("opened expected, not {other:?}"),
        }
    }

    pub fn configure(&self, endpoint: u64, streams: Vec<StreamConfig>) {
        self.handle.send(MediaCommand::Configure { endpoint: EndpointId(endpoint), streams });
    }

    pub fn bridge(&self, left: u64, right: u64) {
        self.handle.send(MediaCommand::Bridge { left: EndpointId(left), right: EndpointId(right) });
    }

    pub fn close(&self, endpoint: u64) -> Vec<StreamQuality> {
        let endpoint = EndpointId(endpoint);
        self.handle.send(MediaCommand::Close { endpoint });
        match self.event() {
            MediaEvent::Closed { endpoint: its, streams } if its == endpoint => streams,
            other => panic!("closed expected, not {other:?}"),
        }
    }

    /// Returns when all commands before it have been carried out: opens and closes an endpoint of its own.
    pub fn settle(&self) {
        let probe = u64::MAX;
        self.open(probe, 1);
        self.close(probe);
    }
}

/// A phone's port pair.
pub struct Phone {
    pub rtp: UdpSocket,
    pub rtcp: UdpSocket,
    pub ssrc: u32,
}

impl Phone {
    pub fn new(ssrc: u32) -> Self {
        Self::at(LOCAL, ssrc)
    }

    pub fn at(local: IpAddr, ssrc: u32) -> Self {
        let socket = || {
            let socket = UdpSocket::bind((local, 0)).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket
        };
        Self { rtp: socket(), rtcp: socket(), ssrc }
    }

    pub fn config(&self) -> StreamConfig {
        StreamConfig {
            remote: Some(RemoteMedia {
                rtp: self.rtp.local_addr().unwrap(),
                rtcp: self.rtcp.local_addr().unwrap(),
            }),
            receives: true,
            sends: true,
            payloads: vec![PayloadName { payload_type: 8, codec: "PCMA".into(), clock_rate: 8000 }],
            ..StreamConfig::default()
        }
    }

    pub fn say(&self, to: u16, sequence_number: u16) {
        self.rtp.send_to(&rtp(self.ssrc, sequence_number), (self.ip(), to)).unwrap();
    }

    /// Where it is, and so is the node it speaks to.
    pub fn ip(&self) -> IpAddr {
        self.rtp.local_addr().unwrap().ip()
    }

    pub fn hear(&self) -> (Vec<u8>, SocketAddr) {
        receive(&self.rtp)
    }

    pub fn hear_control(&self) -> (Vec<u8>, SocketAddr) {
        receive(&self.rtcp)
    }
}

pub fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 2048];
    let (len, source) = socket.recv_from(&mut buffer).expect("a packet arrives");
    (buffer[..len].to_vec(), source)
}

/// 20 ms of PCMA.
pub fn rtp(ssrc: u32, sequence_number: u16) -> Vec<u8> {
    let header = FixedHeader {
        marker: false,
        payload_type: PayloadType::PCMA,
        sequence_number: SequenceNumber(sequence_number),
        timestamp: Timestamp(160 * u32::from(sequence_number)),
        ssrc: Ssrc(ssrc),
    };
    let mut bytes = vec![0; 172];
    PacketWriter::new(header, &[sequence_number as u8; 160]).write(&mut bytes).unwrap();
    bytes
}
