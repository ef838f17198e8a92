//! Randomness that is handed in: tags, branches, SSRCs and nonces come from one seeded generator.

use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};

/// A cryptographically strong generator. Production seeds it from the operating system, a test from its run's seed.
#[derive(Clone, Debug)]
pub struct Random(ChaCha12Rng);

/// Letters that are safe in every place a SIP token, tag, branch or Call-ID may stand: 32, so 5 bits each.
const TOKEN_LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

impl Random {
    /// A generator whose whole output follows from `seed`.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(ChaCha12Rng::from_seed(seed))
    }

    /// For tests: a generator from a small number that a person can type.
    pub fn from_number(seed: u64) -> Self {
        Self(ChaCha12Rng::seed_from_u64(seed))
    }

    /// A generator for a child that shall not share this one's stream.
    pub fn fork(&mut self) -> Self {
        let mut seed = [0; 32];
        self.fill(&mut seed);
        Self::from_seed(seed)
    }

    /// 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number in `0..bound`, without bias worth naming (below 2^-32 for bounds under 2^32).
    ///
    /// # Panics
    /// If `bound` is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "a range needs at least one value");
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// True in `parts` of 1,000,000 draws.
    pub fn chance_ppm(&mut self, parts: u32) -> bool {
        self.below(1_000_000) < u64::from(parts)
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    /// A token of `N` letters, 5 bits of randomness each.
    pub fn token<const N: usize>(&mut self) -> Token<N> {
        let mut letters = [0; N];
        self.fill(&mut letters);
        for letter in &mut letters {
            *letter = TOKEN_LETTERS[usize::from(*letter & 31)];
        }
        Token(letters)
    }
}

/// Random letters on the stack: a tag or branch is written without an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token<const N: usize>([u8; N]);

impl<const N: usize> Token<N> {
    /// The token that a number stands for, 5 of its bits to a letter: at most 12 of them differ from number to number.
    pub fn from_number(number: u64) -> Self {
        const { assert!(N <= 12, "64 bits are 12 letters") };
        let mut rest = number;
        Self([(); N].map(|()| {
            let letter = TOKEN_LETTERS[(rest & 31) as usize];
            rest >>= 5;
            letter
        }))
    }

    /// The letters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("token letters are ASCII")
    }
}

impl<const N: usize> std::fmt::Display for Token<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_stream_and_another_seed_another() {
        let draw = |seed| Random::from_number(seed).token::<16>();
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn a_number_makes_one_token_and_another_number_another() {
        assert_eq!(Token::<12>::from_number(1).as_str(), "baaaaaaaaaaa");
        assert_eq!(Token::<12>::from_number((1 << 60) - 1).as_str(), "999999999999");
    }

    #[test]
    fn below_reaches_every_value_and_never_the_bound() {
        let mut random = Random::from_number(1);
        let mut seen = [false; 6];
        for _ in 0..1000 {
            seen[random.below(6) as usize] = true;
        }
        assert_eq!(seen, [true; 6]);
    }
}
