//! Tones made, written, sent as RTP, and found again.

use std::{
    fs, io,
    net::{SocketAddr, UdpSocket},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use offhook_codec::{Dbm0, G711, KeyDetector, ToneDetector, ToneGenerator, ToneReading, tones_of_key};
use offhook_rtp::telephone_event::{EventCode, TelephoneEvent};

/// Samples a second of all sound here: G.711's.
pub const RATE: u32 = 8000;

/// Samples of one packet: 20 ms.
const PACKET_SAMPLES: usize = 160;

/// Samples of one look for a tone: 50 ms.
const BLOCK_SAMPLES: usize = 400;

/// The payload type of telephone events.
const EVENTS: u8 = 101;

/// How loud tones are made.
const LEVEL: Dbm0 = Dbm0(-10.0);

/// How loud, and how clear, a tone must be to count as heard. G.711 and G.722 keep both; Opus at the rate of
/// a voice has some 13 dB of tone over noise.
const HEARD: (Dbm0, f64) = (Dbm0(-16.0), 10.0);

/// How loud a tone among others must be: they are levelled, and none makes so much beside its place.
const AMONG_OTHERS: Dbm0 = Dbm0(-30.0);

/// A sine.
pub fn tone(hz: f64, length: Duration) -> Vec<i16> {
    tone_at(RATE, hz, length)
}

/// A sine of another sample rate.
pub fn tone_at(rate: u32, hz: f64, length: Duration) -> Vec<i16> {
    let count = usize::try_from(length.as_millis()).expect("a short tone") * rate as usize / 1000;
    let mut samples = vec![0; count];
    ToneGenerator::new(rate, &[(hz, LEVEL)]).expect("an audible tone").fill(&mut samples);
    samples
}

/// A sine as µ-law octets, as SIPp's `rtp_stream` wants it.
pub fn mu_law_tone(hz: f64, length: Duration) -> Vec<u8> {
    let samples = tone(hz, length);
    let mut octets = vec![0; samples.len()];
    G711::MuLaw.encode(&samples, &mut octets);
    octets
}

/// Writes samples as a WAV file, one channel, 16 bits.
///
/// # Errors
/// The file cannot be written.
pub fn write_wav(path: &Path, samples: &[i16]) -> io::Result<()> {
    write_wav_as(path, samples, RATE, 1)
}

/// The same at another rate, with the sound on each of `channels` channels.
///
/// # Errors
/// The file cannot be written.
pub fn write_wav_as(path: &Path, samples: &[i16], rate: u32, channels: u16) -> io::Result<()> {
    let frame_bytes = 2 * channels;
    let data_bytes = u32::try_from(samples.len()).expect("a short sound") * u32::from(frame_bytes);
    let mut file = Vec::with_capacity(44 + data_bytes as usize);
    file.extend(b"RIFF");
    file.extend((36 + data_bytes).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16_u32.to_le_bytes());
    file.extend([1, 0]); // PCM
    file.extend(channels.to_le_bytes());
    file.extend(rate.to_le_bytes());
    file.extend((rate * u32::from(frame_bytes)).to_le_bytes());
    file.extend(frame_bytes.to_le_bytes());
    file.extend([16, 0]);
    file.extend(b"data");
    file.extend(data_bytes.to_le_bytes());
    for sample in samples {
        (0..channels).for_each(|_| file.extend(sample.to_le_bytes()));
    }
    fs::write(path, file)
}

/// How long `hz` is heard in a WAV file of any rate, 16 bits, on its first channel. One that is still being written gives
/// what is there.
pub fn heard_in(path: &Path, hz: f64) -> Duration {
    found_in(path, hz, |reading| reading.is_tone(HEARD.0, HEARD.1))
}

/// The same by its level alone, where other tones sound besides.
pub fn heard_among_others_in(path: &Path, hz: f64) -> Duration {
    found_in(path, hz, |reading| reading.level >= AMONG_OTHERS)
}

fn found_in(path: &Path, hz: f64, is_tone: impl Fn(&ToneReading) -> bool) -> Duration {
    let file = fs::read(path).unwrap_or_default();
    let word = |at: usize| file.get(at..at + 2).map_or(0, |two| u16::from_le_bytes([two[0], two[1]]));
    let (channels, rate) = (usize::from(word(22)).max(1), u32::from(word(24)));
    let samples: Vec<i16> = read_wav(path).into_iter().step_by(channels).collect();
    let block = (rate / 20) as usize;
    let Some(mut detector) = ToneDetector::new(rate, hz, block) else { return Duration::ZERO };
    let blocks = samples.chunks_exact(block).filter_map(|block| detector.feed(block));
    let found = blocks.filter(is_tone).count();
    Duration::from_millis(50) * u32::try_from(found).expect("a short sound")
}

/// The samples of a WAV file of 16 bits, those of several channels in turn. One that is still being written gives what is there.
pub fn read_wav(path: &Path) -> Vec<i16> {
    let file = fs::read(path).unwrap_or_default();
    let start = file.windows(4).position(|window| window == b"data").map_or(file.len(), |at| at + 8);
    let octets = file.get(start..).unwrap_or_default();
    octets.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
}

/// How long `hz` is heard in `samples`.
pub fn heard(samples: &[i16], hz: f64) -> Duration {
    let mut detector = ToneDetector::new(RATE, hz, BLOCK_SAMPLES).expect("an audible tone");
    let blocks = samples.chunks_exact(BLOCK_SAMPLES).filter_map(|block| detector.feed(block));
    let found = blocks.filter(|reading| reading.is_tone(HEARD.0, HEARD.1)).count();
    Duration::from_millis(50) * u32::try_from(found).expect("a short sound")
}

/// An endpoint of RTP with G.711 µ-law.
#[derive(Debug)]
pub struct RtpEnd {
    socket: UdpSocket,
    voice: ToneGenerator,
    packets: u16,
    /// The sound received so far, in the order it came.
    pub received: Vec<i16>,
    /// The telephone events received so far, of payload type 101.
    pub events: Vec<TelephoneEvent>,
}

impl RtpEnd {
    /// Opens one on an address of this host, whose voice is a tone of `hz`.
    pub fn open(ip: &str, hz: f64) -> Self {
        let socket = UdpSocket::bind((ip, 0)).expect("a UDP port");
        socket.set_nonblocking(true).expect("sockets can");
        let voice = ToneGenerator::new(RATE, &[(hz, LEVEL)]).expect("an audible tone");
        Self { socket, voice, packets: 0, received: Vec::new(), events: Vec::new() }
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("a bound socket")
    }

    /// A session description that offers or answers µ-law here.
    pub fn description(&self) -> String {
        let address = self.address();
        let (kind, ip) = (if address.is_ipv4() { "IP4" } else { "IP6" }, address.ip());
        format!(
            "v=0\r\no=- 1 1 IN {kind} {ip}\r\ns=-\r\nc=IN {kind} {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n",
            port = address.port()
        )
    }

    /// Talks for so long, in real time, to where `description` says, and takes what comes meanwhile.
    pub fn talk(&mut self, description: &str, length: Duration) {
        let to = media_address(description);
        let give_up_at = Instant::now() + length;
        let mut next = Instant::now();
        while next < give_up_at {
            let (mut samples, mut payload) = ([0; PACKET_SAMPLES], [0; PACKET_SAMPLES]);
            self.voice.fill(&mut samples);
            G711::MuLaw.encode(&samples, &mut payload);
            let mut packet = vec![0x80, 0];
            packet.extend(self.packets.to_be_bytes());
            packet.extend((u32::from(self.packets) * 160).to_be_bytes());
            packet.extend(0x0ff0_0ff0_u32.to_be_bytes());
            packet.extend(payload);
            let _ = self.socket.send_to(&packet, to);
            self.packets += 1;
            next += Duration::from_millis(20);
            thread::sleep(next.saturating_duration_since(Instant::now()));
            self.take();
        }
    }

    /// The same with the tones of a key instead of its voice, and a pause after it.
    pub fn press(&mut self, description: &str, key: char) {
        let tones = tones_of_key(key).expect("a key").map(|hz| (f64::from(hz), LEVEL));
        for tones in [&tones[..], &[]] {
            let generator = ToneGenerator::new(RATE, tones).expect("audible tones");
            let voice = std::mem::replace(&mut self.voice, generator);
            self.talk(description, Duration::from_millis(100));
            self.voice = voice;
        }
    }

    /// Presses a key as telephone events of payload type 101 (RFC 4733), for 100 ms.
    pub fn press_as_event(&mut self, description: &str, key: char) {
        let to = media_address(description);
        let code = EventCode::from_digit(key).expect("a key");
        let start = (u32::from(self.packets) * 160).to_be_bytes();
        for packet in 1..=7_u16 {
            let (end, duration) = (packet >= 5, packet.min(5) * 160);
            let event = TelephoneEvent { code, end, volume: 10, duration };
            let mut octets = vec![0x80, EVENTS | u8::from(packet == 1) << 7];
            octets.extend(self.packets.to_be_bytes());
            octets.extend(start);
            octets.extend(0x0ff0_0ff0_u32.to_be_bytes());
            octets.extend(event.to_bytes());
            let _ = self.socket.send_to(&octets, to);
            self.packets += 1;
        }
    }

    /// A session description with telephone events besides.
    pub fn description_with_events(&self) -> String {
        let plain = self.description();
        plain.replace("RTP/AVP 0\r\n", "RTP/AVP 0 101\r\n")
            + "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n"
    }

    /// The keys that were heard as tones.
    pub fn keys(&self) -> String {
        let mut detector = KeyDetector::new(RATE).expect("a rate for keys");
        self.received.chunks(80).filter_map(|chunk| detector.feed(chunk)).collect()
    }

    /// Takes the packets that have come.
    pub fn take(&mut self) {
        let mut packet = [0; 2048];
        while let Ok(length) = self.socket.recv(&mut packet) {
            let Some(payload) = packet[..length].get(12..) else { continue };
            if packet[1] & 0x7f == EVENTS {
                self.events.extend(TelephoneEvent::parse(payload));
                continue;
            }
            let mut samples = vec![0; payload.len()];
            G711::MuLaw.decode(payload, &mut samples);
            self.received.append(&mut samples);
        }
    }
}

/// Where a session description wants its first stream.
pub fn media_address(description: &str) -> SocketAddr {
    let line = |start: &str| description.lines().find_map(|line| line.strip_prefix(start));
    let ip = line("c=IN IP4 ").or_else(|| line("c=IN IP6 ")).and_then(|ip| ip.trim().parse().ok());
    let port = line("m=audio ").and_then(|media| media.split(' ').next()?.parse().ok());
    match (ip, port) {
        (Some(ip), Some(port)) => SocketAddr::new(ip, port),
        _ => panic!("no media address in {description}"),
    }
}
