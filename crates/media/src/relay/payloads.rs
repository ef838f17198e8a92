//! What the payload types of a stream mean, and how often each came: for the codec named in the call's record.

use offhook_rtp::{rtp::PayloadType, statistics::Timing};
use offhook_switch::media::PayloadName;

use super::carry::{CARRIED_PAYLOAD_TYPES, CarriedPayload};

/// Codecs remembered per stream, over all renegotiations. Offers with more are answered with fewer.
const PAYLOADS_MAX: usize = 64;
/// In the index: this payload type was not negotiated.
const UNKNOWN: u8 = u8::MAX;

#[derive(Debug)]
struct Payload {
    name: PayloadName,
    timing: Timing,
    packets: u64,
}

/// The payload types of one stream.
#[derive(Debug)]
pub struct Payloads {
    /// The one that came last, which mostly comes next: what a packet needs to know of it, without a look into the list.
    current: Option<Current>,
    /// By payload type: the place in `list`.
    index: [u8; 128],
    list: Vec<Payload>,
}

#[derive(Clone, Copy, Debug)]
struct Current {
    payload_type: PayloadType,
    timing: Timing,
    clock_rate: u32,
    place: u8,
    /// Not yet counted in the list.
    packets: u64,
}

impl Default for Payloads {
    fn default() -> Self {
        Self { current: None, index: [UNKNOWN; 128], list: Vec::new() }
    }
}

impl Payloads {
    /// Takes what a new description says; what was counted before stays counted.
    pub fn negotiate(&mut self, names: &[PayloadName]) {
        self.settle();
        self.index = [UNKNOWN; 128];
        let known = |name: &PayloadName| self.list.iter().any(|payload| payload.name == *name);
        let unknown = names.iter().filter(|name| !known(name)).count();
        self.list.reserve_exact(unknown.min(PAYLOADS_MAX - self.list.len()));
        for name in names {
            let Some(place) = self.index.get_mut(usize::from(name.payload_type)) else { continue };
            let known = self.list.iter().position(|payload| payload.name == *name);
            let at = known.unwrap_or(self.list.len());
            if at >= PAYLOADS_MAX {
                return;
            }
            if known.is_none() {
                // A telephone event repeats its start, so its timestamps tell nothing of jitter (RFC 4733 §2.2).
                let held = name.codec.eq_ignore_ascii_case("telephone-event");
                let timing = if held { Timing::Held } else { Timing::Sampled };
                self.list.push(Payload { name: name.clone(), timing, packets: 0 });
            }
            *place = at as u8;
        }
    }

    /// True if nothing was negotiated: the section carries something that is not RTP, such as T.38.
    pub fn is_empty(&self) -> bool {
        self.index.iter().all(|place| *place == UNKNOWN)
    }

    /// True if this payload type was negotiated.
    pub fn contains(&self, payload_type: PayloadType) -> bool {
        self.current.is_some_and(|current| current.payload_type == payload_type)
            || self.index[usize::from(payload_type.as_u8())] != UNKNOWN
    }

    /// Counts a packet; its clock rate in Hz and timing, where known.
    pub fn count(&mut self, payload_type: PayloadType) -> Option<(u32, Timing)> {
        if self.current.is_none_or(|current| current.payload_type != payload_type) {
            let place = self.index[usize::from(payload_type.as_u8())];
            let payload = self.list.get(usize::from(place))?;
            let (timing, clock_rate) = (payload.timing, payload.name.clock_rate);
            self.settle();
            self.current = Some(Current { payload_type, timing, clock_rate, place, packets: 0 });
        }
        let current = self.current.as_mut()?;
        current.packets += 1;
        Some((current.clock_rate, current.timing))
    }

    /// Counts in the list what has come of the current one.
    fn settle(&mut self) {
        if let Some(current) = self.current.take()
            && let Some(payload) = self.list.get_mut(usize::from(current.place))
        {
            payload.packets += current.packets;
        }
    }

    /// Those negotiated that a carrier can count on a clock of this rate, the most used first.
    pub fn carriable(&self, clock_rate: u32) -> [Option<CarriedPayload>; CARRIED_PAYLOAD_TYPES] {
        let negotiated =
            self.index.iter().filter_map(|place| Some((*place, self.list.get(usize::from(*place))?)));
        let uncounted = |place| {
            self.current.filter(|current| current.place == place).map_or(0, |current| current.packets)
        };
        let counted = negotiated
            .filter(|(_, payload)| payload.timing == Timing::Held || payload.name.clock_rate == clock_rate);
        let mut carried: Vec<CarriedPayload> = counted
            .map(|(place, payload)| CarriedPayload {
                payload_type: payload.name.payload_type,
                is_held: payload.timing == Timing::Held,
                packets: payload.packets + uncounted(place),
            })
            .collect();
        carried.sort_by_key(|payload| std::cmp::Reverse(payload.packets));
        let mut carried = carried.into_iter();
        std::array::from_fn(|_| carried.next())
    }

    /// Takes what a carrier has counted since.
    pub fn go_on_from(&mut self, carried: &[Option<CarriedPayload>]) {
        self.settle();
        for payload in carried.iter().flatten() {
            let place = self.index.get(usize::from(payload.payload_type)).map(|place| usize::from(*place));
            if let Some(known) = place.and_then(|place| self.list.get_mut(place)) {
                known.packets = known.packets.max(payload.packets);
            }
        }
    }

    /// The codec most packets carried.
    pub fn most_used(&self) -> Option<&PayloadName> {
        let packets = |(place, payload): &(usize, &Payload)| {
            let current = self.current.filter(|current| usize::from(current.place) == *place);
            payload.packets + current.map_or(0, |current| current.packets)
        };
        // Among equals the first negotiated, which `max_by_key` finds from behind.
        let most = self.list.iter().enumerate().rev().max_by_key(packets)?;
        (packets(&most) > 0).then_some(&most.1.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(payload_type: u8, codec: &str) -> PayloadName {
        PayloadName { payload_type, codec: codec.into(), clock_rate: 8000 }
    }

    #[test]
    fn counts_outlive_a_renegotiation_that_moves_the_payload_type() {
        let mut payloads = Payloads::default();
        assert!(payloads.is_empty());
        payloads.negotiate(&[name(8, "PCMA"), name(101, "telephone-event")]);
        let (pcma, event) = (PayloadType::PCMA, PayloadType::new(101).unwrap());
        assert_eq!(payloads.count(pcma), Some((8000, Timing::Sampled)));
        assert_eq!(payloads.count(pcma), Some((8000, Timing::Sampled)));
        assert_eq!(payloads.count(event), Some((8000, Timing::Held)));
        payloads.negotiate(&[name(0, "PCMU")]);
        assert_eq!(payloads.count(pcma), None);
        assert!(!payloads.contains(pcma));
        payloads.count(PayloadType::PCMU);
        assert_eq!(&*payloads.most_used().unwrap().codec, "PCMA");
    }

    #[test]
    fn payload_types_that_do_not_exist_and_endless_lists_are_no_trouble() {
        let mut payloads = Payloads::default();
        payloads.negotiate(&[name(200, "PCMA")]);
        assert!(payloads.is_empty() && payloads.most_used().is_none());
        for round in 0..10u8 {
            let names: Vec<_> = (0..128).map(|number| name(number, &format!("codec-{round}"))).collect();
            payloads.negotiate(&names);
        }
        assert!(payloads.list.len() <= PAYLOADS_MAX);
    }
}
