//! What to leave undone when more comes than can be done.
//!
//! The driver tells how long the oldest message may have waited before its turn ([`Overload::observe`]). A queue that is
//! empty now and then is none to worry about, so what counts is the *least* wait within an interval, as in CoDel
//! (RFC 8289 §3.1): if even that is above the target, work piles up, and a part of it is given up before it is begun.
//!
//! What is given up has an order ([`Worth`]): new calls and what else opens something new, then registrations, then
//! messages of calls that are on. An emergency call is never given up here. Each class is thinned out until nothing of it
//! is let in, and only then the next one is touched. How much is let in falls and rises the faster, the farther the wait is
//! from the target: it settles at what can be done, whatever that is.
//!
//! Which messages pass is a matter of a keyed hash, not of luck: a repeated request is judged as it was before.

use std::time::Duration;

use offhook_base::Instant;

/// How often the share that is let in changes. A third of the shortest retransmission (T1 of RFC 3261 is 500 ms), so that
/// a rush is met before its senders repeat themselves.
const INTERVAL: Duration = Duration::from_millis(100);

/// A class is shut when less than so much of it would be let in, in thousandths; and reopens with so much.
const SHARE_MIN: u32 = 10;

/// All of a class, in thousandths.
pub(crate) const SHARE_MAX: u32 = 1000;

/// The least that is let in of the messages of calls that are on. They are sent again when they get lost, up to eleven
/// times (RFC 3261 §17.1.2.2), so half of them is enough to end every call; without them no load would ever go away.
const ESTABLISHED_MIN: u32 = 500;

/// The excess over the target that counts, in thousandths of it.
const EXCESS_MAX: u32 = 2000;

/// An excess of a whole target takes an eighth off what is let in.
const STEP_DOWN: u32 = 8000;

/// No wait at all lets in a sixth more.
const STEP_UP: u32 = 6000;

/// An episode is over when nothing was given up for so long: one rush an hour is one line in the log, not sixty.
const CALM: Duration = Duration::from_secs(10);

/// Shortest and longest wait that who is refused is asked for. The longest stays below a minute: phones of this kind of
/// crowd are people who dial again.
const RETRY_AFTER_SECS: (u32, u32) = (2, 20);

/// What a message is worth, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Worth {
    /// A new call, a message or a question outside of calls: nobody has anything yet that could be lost.
    New,
    /// A registration. Given up for long, devices are no longer reached.
    Registration,
    /// A request within a call, or a response.
    Established,
    /// A call to an emergency number.
    Emergency,
}

/// The classes that may be given up, the first one first.
const CLASSES: [Worth; 3] = [Worth::New, Worth::Registration, Worth::Established];

/// Bounds of the waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverloadLimits {
    /// The wait that is fine. Default 50 ms: nobody hears it, and it is far below the 500 ms after which a sender repeats
    /// itself. Zero: nothing is ever given up.
    pub wait_target: Duration,
}

impl Default for OverloadLimits {
    fn default() -> Self {
        Self { wait_target: Duration::from_millis(50) }
    }
}

/// What became of an episode of overload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Episode {
    /// The first message was given up.
    Began,
    /// None was for a while.
    Ended {
        /// From the first to the last message that was given up.
        lasted: Duration,
        /// How many were given up: new calls and their like, registrations, messages of calls.
        given_up: [u64; CLASSES.len()],
    },
}

/// An episode that is on.
#[derive(Clone, Copy, Debug)]
struct Running {
    since: Instant,
    last: Instant,
    /// [`Overload::given_up`] when it began.
    before: [u64; CLASSES.len()],
    told: bool,
}

/// The guard against more work than there is time for.
#[derive(Debug)]
pub struct Overload {
    wait_target: Duration,
    /// Keeps senders from choosing what passes.
    key: u64,
    /// The class that is being thinned out; those before it are shut.
    class: usize,
    /// How much of it is let in, in thousandths.
    share: u32,
    interval_ends: Instant,
    least_wait: Option<Duration>,
    /// That of the interval before.
    last_least: Duration,
    episode: Option<Running>,
    given_up: [u64; CLASSES.len()],
    /// Messages of calls that were judged.
    drawn: u64,
}

impl Overload {
    /// A guard that gives up nothing yet. `key` is random, so that nobody can choose what passes.
    pub fn new(limits: &OverloadLimits, key: u64) -> Self {
        Self {
            wait_target: limits.wait_target,
            key,
            class: 0,
            share: SHARE_MAX,
            interval_ends: Instant::default(),
            least_wait: None,
            last_least: Duration::ZERO,
            episode: None,
            given_up: [0; CLASSES.len()],
            drawn: 0,
        }
    }

    /// The oldest message that waits now has waited for at most `waited`. To be told at every turn, also when nothing
    /// waits. Says if an episode begins or ends.
    pub fn observe(&mut self, waited: Duration, now: Instant) -> Option<Episode> {
        if self.wait_target.is_zero() {
            return None;
        }
        let least = self.least_wait.map_or(waited, |least| least.min(waited));
        if now < self.interval_ends {
            self.least_wait = Some(least);
        } else {
            // An interval in which nothing came has no turns: what is seen at its end is all there is to know.
            self.adapt(least);
            self.interval_ends = now + INTERVAL;
            self.least_wait = None;
        }
        self.follow_episode(now)
    }

    /// Whether a message is to be given up. `identity` is what its repetitions have in common with it, such as a branch. Those
    /// of calls that are on are judged anew each time instead, so that one of the repetitions gets through.
    pub fn gives_up(&mut self, worth: Worth, identity: &[u8], now: Instant) -> bool {
        let Some(class) = CLASSES.iter().position(|&class| class == worth) else { return false };
        let share = self.share_of(class);
        if share == SHARE_MAX {
            return false;
        }
        let drawn = if worth == Worth::Established {
            self.drawn += 1;
            draw(self.key, &self.drawn.to_ne_bytes())
        } else {
            draw(self.key, identity)
        };
        if drawn < share {
            return false;
        }
        self.given_up[class] += 1;
        let before = self.given_up;
        let episode = self.episode.get_or_insert_with(|| {
            let mut before = before;
            before[class] -= 1;
            Running { since: now, last: now, before, told: false }
        });
        episode.last = now;
        true
    }

    /// Whether anything is being given up now.
    pub const fn is_on(&self) -> bool {
        self.class > 0 || self.share < SHARE_MAX
    }

    /// How much of the new calls is given up now, in percent: what RFC 7339 §4.1 calls `oc`.
    pub fn new_calls_given_up_percent(&self) -> u8 {
        u8::try_from((SHARE_MAX - self.share_of(0)).div_ceil(SHARE_MAX / 100)).unwrap_or(100)
    }

    /// How much is let in of each class that may be given up, in thousandths.
    pub fn shares(&self) -> [u32; CLASSES.len()] {
        std::array::from_fn(|class| self.share_of(class))
    }

    /// How many messages of each class were given up since the start.
    pub const fn given_up(&self) -> [u64; CLASSES.len()] {
        self.given_up
    }

    /// The value of `Retry-After` for who sent `identity`: longer the less is let in, and not the same for all, so that
    /// they do not come back together.
    pub fn retry_after_secs(&self, identity: &[u8]) -> u32 {
        let (least, most) = RETRY_AFTER_SECS;
        let range = 1 + (most - least) * (SHARE_MAX - self.share_of(0)) / SHARE_MAX;
        // Another hash than the one that decides: those who are refused all drew high.
        least + draw(!self.key, identity) * range / SHARE_MAX
    }

    const fn share_of(&self, class: usize) -> u32 {
        if class < self.class {
            0
        } else if class == self.class {
            self.share
        } else {
            SHARE_MAX
        }
    }

    /// One interval has passed in which every message waited for `least` or longer. The farther from the target, the larger
    /// the step.
    fn adapt(&mut self, least: Duration) {
        let shrinks = least < self.last_least * 7 / 8;
        self.last_least = least;
        let per_mille = |wait: Duration| {
            u32::try_from(wait.as_nanos() * 1000 / self.wait_target.as_nanos()).unwrap_or(u32::MAX)
        };
        if least > self.wait_target {
            // Where the wait shrinks, enough was given up: what piled up before is being worked off, and giving up more
            // would leave time unused afterwards.
            if !shrinks {
                let excess = per_mille(least - self.wait_target).min(EXCESS_MAX);
                self.let_in_less((self.share * excess).div_ceil(STEP_DOWN));
            }
        } else if self.is_on() {
            let room = per_mille(self.wait_target - least);
            self.let_in_more((self.share * room / STEP_UP).max(1));
        }
    }

    fn let_in_less(&mut self, step: u32) {
        self.share -= step.min(self.share);
        let last = CLASSES.len() - 1;
        if self.class == last {
            self.share = self.share.max(ESTABLISHED_MIN);
        } else if self.share < SHARE_MIN {
            (self.class, self.share) = (self.class + 1, SHARE_MAX);
        }
    }

    fn let_in_more(&mut self, step: u32) {
        self.share = SHARE_MAX.min(self.share + step);
        if self.share == SHARE_MAX && self.class > 0 {
            (self.class, self.share) = (self.class - 1, SHARE_MIN);
        }
    }

    fn follow_episode(&mut self, now: Instant) -> Option<Episode> {
        let running = self.episode.as_mut()?;
        if !running.told {
            running.told = true;
            return Some(Episode::Began);
        }
        if now < running.last + CALM {
            return None;
        }
        let Running { since, last, before, .. } = *running;
        self.episode = None;
        let given_up = std::array::from_fn(|class| self.given_up[class] - before[class]);
        Some(Episode::Ended { lasted: last.saturating_since(since), given_up })
    }
}

/// A number in `0..1000` that follows from `identity`: FNV-1a with a key, and a last stir (by SplitMix64) for the upper bits.
pub(crate) fn draw(key: u64, identity: &[u8]) -> u32 {
    let mut hash = 0xcbf2_9ce4_8422_2325 ^ key;
    for octet in identity {
        hash = (hash ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^= hash >> 31;
    ((u128::from(hash) * u128::from(SHARE_MAX)) >> 64) as u32
}
