//! How hard the Opus encoders try: less where the media thread has little time left.
//!
//! A listener hears the last steps of effort hardly at all, and a late packet at once. So the effort goes down a step per
//! second while the thread is busy, and comes back when it has time again; between the two it stays.

use offhook_codec::voice::EFFORT_MAX;

/// A thread that is busy for more than this share of a second can be late for packets that come together.
const BUSY: f64 = 0.75;
/// Below this share a step more leaves it below [`BUSY`]: one step costs at most a fifth.
const IDLE: f64 = 0.55;

/// The effort now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort(u8);

impl Default for Effort {
    fn default() -> Self {
        Self(EFFORT_MAX)
    }
}

impl Effort {
    /// 0 to [`EFFORT_MAX`].
    pub const fn level(self) -> u8 {
        self.0
    }

    /// The effort after a second in which the thread was busy for this share of it.
    #[must_use]
    pub fn after(self, busy: f64) -> Self {
        match busy {
            busy if busy > BUSY => Self(self.0.saturating_sub(1)),
            busy if busy < IDLE => Self((self.0 + 1).min(EFFORT_MAX)),
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effort_falls_while_busy_and_returns_with_time() {
        let levels = |mut effort: Effort, busy: f64| -> Vec<u8> {
            (0..7)
                .map(|_| {
                    effort = effort.after(busy);
                    effort.level()
                })
                .collect()
        };
        assert_eq!(levels(Effort::default(), 0.9), [4, 3, 2, 1, 0, 0, 0]);
        assert_eq!(levels(Effort(0), 0.2), [1, 2, 3, 4, 5, 5, 5]);
        assert_eq!(levels(Effort(3), 0.65), [3; 7]);
    }
}
