//! The network: what becomes of a packet on its way.

use std::time::Duration;

use offhook_base::Random;

/// A phone of the world, in the order of their making.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PhoneId(pub usize);

/// How bad the network is. Parts are per million.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    /// Packets lost.
    pub loss_ppm: u32,
    /// Packets that come twice.
    pub duplicate_ppm: u32,
    /// The least time on the way.
    pub delay_min: Duration,
    /// The most; more than the least lets packets overtake each other.
    pub delay_max: Duration,
}

impl Faults {
    /// A perfect network: every packet takes 5 ms.
    pub const NONE: Self = Self {
        loss_ppm: 0,
        duplicate_ppm: 0,
        delay_min: Duration::from_millis(5),
        delay_max: Duration::from_millis(5),
    };

    /// Draws a network from bad to very bad.
    pub fn draw(random: &mut Random) -> Self {
        let mut below = |bound: u64| u32::try_from(random.below(bound)).unwrap_or(0);
        let (loss_ppm, duplicate_ppm) = (below(250_000), below(100_000));
        let delay_min = Duration::from_millis(below(50).into());
        let delay_max = delay_min + Duration::from_millis(below(400).into());
        Self { loss_ppm, duplicate_ppm, delay_min, delay_max }
    }

    /// The times after which copies of a packet arrive; none: it is lost.
    pub fn arrivals(&self, random: &mut Random) -> Vec<Duration> {
        if self.loss_ppm > 0 && random.chance_ppm(self.loss_ppm) {
            return Vec::new();
        }
        let copies = 1 + usize::from(self.duplicate_ppm > 0 && random.chance_ppm(self.duplicate_ppm));
        (0..copies).map(|_| self.delay(random)).collect()
    }

    /// The time of one packet on the way.
    pub fn delay(&self, random: &mut Random) -> Duration {
        let spread = self.delay_max.saturating_sub(self.delay_min).as_nanos();
        let extra = if spread == 0 { 0 } else { random.below(u64::try_from(spread).unwrap_or(u64::MAX)) };
        self.delay_min + Duration::from_nanos(extra)
    }
}

/// An order to lose certain messages, for tests that need exactly one to be missing.
#[derive(Clone, Debug)]
pub struct Loss {
    /// The phone at the one end; the node is at the other.
    pub phone: PhoneId,
    /// On the way to the node, or from it.
    pub to_node: bool,
    /// As the ladder shows it.
    pub label: String,
    /// How many to let through first.
    pub spare: usize,
    /// How many to lose.
    pub times: usize,
}

impl Loss {
    /// Whether this order takes the message.
    pub fn takes(&mut self, phone: PhoneId, to_node: bool, label: &str) -> bool {
        if self.phone != phone || self.to_node != to_node || self.label != label {
            return false;
        }
        if self.spare > 0 {
            self.spare -= 1;
            return false;
        }
        if self.times == 0 {
            return false;
        }
        self.times -= 1;
        true
    }
}
