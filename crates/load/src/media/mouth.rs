//! What one call sends: captures, sound, and keys. Time in, packets out.

use std::{collections::VecDeque, net::SocketAddr, sync::Arc};

use offhook_rtp::{
    rtp::{FixedHeader, PacketWriter, PayloadType, SequenceNumber, Ssrc, Timestamp},
    telephone_event::{EventCode, TelephoneEvent},
};

use super::{
    audio::{Audio, Packing},
    clip::Clip,
    description::Kind,
};

/// From where to where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The port of ours.
    pub from: u16,
    /// Whose packets they are.
    pub to: SocketAddr,
}

/// Keys that may wait to be sent; more are a scenario that went wrong.
const KEYS_MAX: usize = 1024;
/// Packets that are made up for after a stall. A phone would not send more at once either.
const PACKETS_PER_TURN: u32 = 10;
/// How long a key is held, and the silence after it, in packets of 20 ms. Above the 40 ms that ITU-T Q.24 wants of both.
const KEY_PACKETS: u16 = 5;
const GAP_PACKETS: u8 = 3;
/// The last packet of a key is sent so often (RFC 4733 §2.5.1.4).
const END_PACKETS: u8 = 3;
/// Streams begin at multiples of this, ms, so that many packets are due at once: a thread wakes up for each such time,
/// not for each packet. Within a stream packets are as far apart as ever.
const BEAT_MS: u64 = 4;
/// Milliseconds from one packet of a key to the next, and ticks of the clock of keys, which is 8 kHz.
const KEY_MS: u64 = 20;
const KEY_TICKS: u16 = 160;

/// All that a call sends.
#[derive(Debug, Default)]
pub struct Mouth {
    plays: Vec<Play>,
    voice: Option<Voice>,
}

/// A capture on its way.
#[derive(Debug)]
struct Play {
    kind: Kind,
    clip: Arc<Clip>,
    next: usize,
    started_ms: u64,
    route: Route,
}

/// A stream of our own making: one source, one count, whether it is sound or keys.
#[derive(Debug)]
struct Voice {
    route: Route,
    ssrc: Ssrc,
    sequence: SequenceNumber,
    timestamp: u32,
    /// Its clock: that of the sound.
    ticks_per_ms: u32,
    /// When the next packet is due; while nothing is to be sent, when the last one was.
    next_ms: u64,
    /// The next packet is the first after silence.
    marker: bool,
    stream: Option<Streaming>,
    keys: VecDeque<EventCode>,
    event_type: u8,
    key: Option<Key>,
}

#[derive(Debug)]
struct Streaming {
    audio: Arc<Audio>,
    next: usize,
    /// `None`: for ever.
    rounds_left: Option<u32>,
    paused: bool,
}

/// A key that is being sent, or the silence after it.
#[derive(Clone, Copy, Debug)]
struct Key {
    code: EventCode,
    started: u32,
    packets: u16,
    gap: u8,
}

impl Mouth {
    /// Plays a capture; one of each kind at once, the last one counts.
    pub fn play(&mut self, now_ms: u64, kind: Kind, route: Route, clip: Arc<Clip>) {
        self.plays.retain(|play| play.kind != kind);
        self.plays.push(Play { kind, clip, next: 0, started_ms: now_ms, route });
    }

    /// Streams sound, so many times over; `None` for ever.
    pub fn stream(&mut self, now_ms: u64, route: Route, audio: Arc<Audio>, rounds: Option<u32>, random: u64) {
        let voice = self.voice(now_ms, route, random);
        voice.wake(now_ms);
        voice.ticks_per_ms = audio.packing.ticks / audio.packing.ms as u32;
        voice.stream = Some(Streaming { audio, next: 0, rounds_left: rounds, paused: false });
    }

    /// Holds the sound, or lets it go on.
    pub fn pause(&mut self, now_ms: u64, paused: bool) {
        if let Some(voice) = &mut self.voice {
            if !paused {
                voice.wake(now_ms);
            }
            if let Some(stream) = &mut voice.stream {
                stream.paused = paused;
            }
        }
    }

    /// Sends keys; sound waits meanwhile.
    pub fn press(&mut self, now_ms: u64, route: Route, keys: &[EventCode], event_type: u8, random: u64) {
        let voice = self.voice(now_ms, route, random);
        voice.wake(now_ms);
        voice.event_type = event_type;
        let room = KEYS_MAX.saturating_sub(voice.keys.len());
        voice.keys.extend(keys.iter().take(room));
    }

    fn voice(&mut self, now_ms: u64, route: Route, random: u64) -> &mut Voice {
        let voice = self.voice.get_or_insert_with(|| Voice {
            route,
            ssrc: Ssrc(random as u32),
            sequence: SequenceNumber((random >> 32) as u16),
            timestamp: (random >> 17) as u32,
            ticks_per_ms: u32::from(KEY_TICKS) / KEY_MS as u32,
            next_ms: now_ms,
            marker: true,
            stream: None,
            keys: VecDeque::new(),
            event_type: 0,
            key: None,
        });
        voice.route = route;
        voice
    }

    /// When [`Mouth::turn`] has something to send, ms.
    pub fn due(&self) -> Option<u64> {
        let plays = self.plays.iter().filter_map(Play::due).min();
        let voice = self.voice.as_ref().filter(|voice| voice.is_speaking()).map(|voice| voice.next_ms);
        [plays, voice].into_iter().flatten().min()
    }

    /// Gives `send` what is due.
    pub fn turn(&mut self, now_ms: u64, send: &mut dyn FnMut(Route, &[u8])) {
        for play in &mut self.plays {
            play.turn(now_ms, send);
        }
        self.plays.retain(|play| play.due().is_some());
        if let Some(voice) = &mut self.voice {
            let mut count = 0;
            while voice.is_speaking() && voice.next_ms <= now_ms {
                voice.turn(send);
                count += 1;
                if count == PACKETS_PER_TURN && voice.next_ms <= now_ms {
                    voice.wake(now_ms);
                    break;
                }
            }
        }
    }
}

impl Play {
    fn due(&self) -> Option<u64> {
        self.clip.packets.get(self.next).map(|packet| self.started_ms + packet.at_ms)
    }

    fn turn(&mut self, now_ms: u64, send: &mut dyn FnMut(Route, &[u8])) {
        while let Some(packet) = self.clip.packets.get(self.next)
            && self.started_ms + packet.at_ms <= now_ms
        {
            let mut route = self.route;
            if packet.is_control {
                route.to.set_port(route.to.port().wrapping_add(1));
            }
            send(route, &packet.bytes);
            self.next += 1;
        }
    }
}

impl Voice {
    fn is_speaking(&self) -> bool {
        let has_keys = self.key.is_some() || !self.keys.is_empty();
        has_keys || self.stream.as_ref().is_some_and(|stream| !stream.paused)
    }

    /// Its clock went on while it was silent.
    fn wake(&mut self, now_ms: u64) {
        let silent = self.key.is_none() && self.stream.as_ref().is_none_or(|stream| stream.paused);
        let behind = now_ms.saturating_sub(self.next_ms);
        if silent || behind >= u64::from(PACKETS_PER_TURN) * KEY_MS {
            let next_ms = self.next_ms.max(now_ms).next_multiple_of(BEAT_MS);
            let passed = (next_ms - self.next_ms) as u32;
            self.timestamp = self.timestamp.wrapping_add(passed.wrapping_mul(self.ticks_per_ms));
            self.next_ms = next_ms;
            self.marker |= silent;
        }
    }

    /// One packet, or one packet's time of silence.
    fn turn(&mut self, send: &mut dyn FnMut(Route, &[u8])) {
        if self.key.is_none()
            && let Some(code) = self.keys.pop_front()
        {
            self.key = Some(Key { code, started: self.timestamp, packets: 0, gap: 0 });
            self.marker = true;
        }
        if let Some(key) = self.key {
            self.key = self.press(key, send);
            self.marker |= self.key.is_none();
            return self.pass(KEY_MS as u32 * self.ticks_per_ms, KEY_MS);
        }
        let Some(stream) = &mut self.stream else { return };
        let (audio, index) = (Arc::clone(&stream.audio), stream.next);
        stream.next += 1;
        if stream.next >= audio.packets() {
            stream.next = 0;
            stream.rounds_left = stream.rounds_left.map(|rounds| rounds.saturating_sub(1));
            if stream.rounds_left == Some(0) {
                self.stream = None;
            }
        }
        let Packing { payload_type, ticks, ms, .. } = audio.packing;
        // Opus has nothing to say of some silences.
        if !audio.packet(index).is_empty() {
            self.write(payload_type, self.timestamp, audio.packet(index), send);
        }
        self.pass(ticks, ms);
    }

    fn pass(&mut self, ticks: u32, ms: u64) {
        self.timestamp = self.timestamp.wrapping_add(ticks);
        self.next_ms += ms;
    }

    /// The next packet of a key; `None` when the silence after it is over.
    fn press(&mut self, mut key: Key, send: &mut dyn FnMut(Route, &[u8])) -> Option<Key> {
        if key.packets >= KEY_PACKETS {
            key.gap += 1;
            return (key.gap < GAP_PACKETS).then_some(key);
        }
        key.packets += 1;
        let end = key.packets == KEY_PACKETS;
        let event = TelephoneEvent { code: key.code, end, volume: 10, duration: key.packets * KEY_TICKS };
        for _ in 0..if end { END_PACKETS } else { 1 } {
            self.write(self.event_type, key.started, &event.to_bytes(), send);
        }
        Some(key)
    }

    fn write(
        &mut self,
        payload_type: u8,
        timestamp: u32,
        payload: &[u8],
        send: &mut dyn FnMut(Route, &[u8]),
    ) {
        let header = FixedHeader {
            marker: std::mem::take(&mut self.marker),
            payload_type: PayloadType::new(payload_type).unwrap_or(PayloadType::PCMU),
            sequence_number: self.sequence,
            timestamp: Timestamp(timestamp),
            ssrc: self.ssrc,
        };
        self.sequence = self.sequence.next();
        let writer = PacketWriter::new(header, payload);
        let (mut small, mut large);
        let buffer: &mut [u8] = if writer.written_len() <= PACKET_BYTES_USUAL {
            small = [0; PACKET_BYTES_USUAL];
            &mut small
        } else {
            large = [0; PACKET_BYTES_MAX];
            &mut large
        };
        if let Ok(length) = writer.write(buffer) {
            send(self.route, &buffer[..length]);
        }
    }
}

/// Most packets are no longer, octets: 12 of header, 160 of payload, and some room.
const PACKET_BYTES_USUAL: usize = 256;
/// The longest packet of our own making, octets: 12 of header and the longest payload of Opus.
const PACKET_BYTES_MAX: usize = 12 + offhook_codec::voice::PACKET_OCTETS_MAX;

#[cfg(test)]
mod tests {
    use offhook_rtp::rtp::Packet;

    use super::*;

    fn route() -> Route {
        Route { from: 6000, to: "127.0.0.1:7000".parse().expect("an address") }
    }

    /// All that comes until `until`: when, payload type, sequence, timestamp, marker, octets.
    fn run(mouth: &mut Mouth, until: u64) -> Vec<(u64, u8, u16, u32, bool, usize)> {
        let mut sent = Vec::new();
        while let Some(due) = mouth.due().filter(|due| *due <= until) {
            mouth.turn(due, &mut |_, bytes| {
                let packet = Packet::parse(bytes).expect("it is RTP");
                let header = packet.header();
                sent.push((
                    due,
                    header.payload_type().as_u8(),
                    header.sequence_number().0,
                    header.timestamp().0,
                    header.marker(),
                    packet.payload().len(),
                ));
            });
        }
        sent
    }

    fn audio(packets: usize) -> Arc<Audio> {
        let packing = Packing::of(0, None).expect("it is known");
        Arc::new(Audio::read(&vec![1; packets * 160], packing).expect("it reads"))
    }

    #[test]
    fn sound_is_streamed_as_often_as_asked_for() {
        let mut mouth = Mouth::default();
        mouth.stream(1000, route(), audio(2), Some(3), 0);
        let sent = run(&mut mouth, 10_000);
        let wanted: Vec<_> =
            (0..6).map(|n| (1000 + u64::from(n) * 20, 0, n, u32::from(n) * 160, n == 0, 160)).collect();
        assert_eq!(sent, wanted);
        assert_eq!(mouth.due(), None);
    }

    #[test]
    fn a_pause_holds_the_sound_but_not_the_clock() {
        let mut mouth = Mouth::default();
        mouth.stream(0, route(), audio(5), None, 0);
        assert_eq!(run(&mut mouth, 20).len(), 2);
        mouth.pause(30, true);
        assert_eq!(run(&mut mouth, 500), []);
        mouth.pause(540, false);
        // Half a second later by the clock too, and marked as the first after silence.
        assert_eq!(run(&mut mouth, 559), [(540, 0, 2, 540 * 8, true, 160)]);
        assert_eq!(run(&mut mouth, 10_000).len(), 473, "it goes round and round");
    }

    #[test]
    fn keys_are_events_with_an_end_that_comes_three_times() {
        let mut mouth = Mouth::default();
        let codes = ['1', '#'].map(|key| EventCode::from_digit(key).expect("a key"));
        mouth.stream(0, route(), audio(1), None, 0);
        mouth.press(0, route(), &codes, 96, 0);
        let sent = run(&mut mouth, 319);
        assert_eq!(sent.len(), 14, "{sent:?}");
        assert!(sent.iter().all(|packet| packet.1 == 96 && packet.5 == 4));
        assert_eq!(sent.iter().filter(|packet| packet.4).map(|packet| packet.2).collect::<Vec<_>>(), [0, 7]);
        let starts: Vec<u32> = sent.iter().map(|packet| packet.3).collect();
        assert_eq!((starts[0], starts[6], starts[7]), (0, 0, 8 * 160));
        assert!(sent.windows(2).all(|pair| pair[1].2 == pair[0].2 + 1));
        // Then the sound goes on, in the same sequence.
        assert_eq!(run(&mut mouth, 320), [(320, 0, 14, 16 * 160, true, 160)]);
    }

    #[test]
    fn a_stall_is_not_made_up_for_in_one_burst() {
        let mut mouth = Mouth::default();
        mouth.stream(0, route(), audio(1), None, 0);
        let mut count = 0;
        mouth.turn(60_000, &mut |_, _| count += 1);
        assert_eq!(count, PACKETS_PER_TURN);
        assert_eq!(mouth.due(), Some(60_000));
    }

    #[test]
    fn a_capture_is_played_in_its_own_time() {
        let mut mouth = Mouth::default();
        let clip = Arc::new(Clip::standard("dtmf_2833_1.pcap").expect("it is there"));
        mouth.play(100, Kind::Audio, route(), clip);
        let sent = run(&mut mouth, 10_000);
        assert_eq!(sent.len(), 12);
        assert_eq!((sent[0].0, sent[8].0, sent[11].0), (100, 260, 280));
    }
}
