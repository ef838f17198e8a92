//! What shall become of a message, and why.

use std::time::Duration;

/// Whose message it is, as far as the guard knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A peer, an allowed network, or a source that has proved itself not long ago.
    Trusted,
    /// Nobody that is known.
    Stranger,
}

/// What shall become of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Let it in.
    Pass(Standing),
    /// Throw it away without a word.
    Drop(Reason),
    /// If it is a request that may be answered, answer it with `status`; otherwise throw it away.
    Refuse {
        /// Why, for the counters and the fact.
        reason: Reason,
        /// The SIP status to answer with.
        status: u16,
        /// The value of `Retry-After`: whole seconds, at least 1.
        retry_after: Duration,
    },
}

/// Why a message did not pass: one counter each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Larger than [`crate::EdgeLimits::message_bytes_max`].
    TooLarge,
    /// Its network is on the list of the denied.
    Denied,
    /// Its source is banned.
    Banned,
    /// More than [`crate::EdgeLimits::messages_per_second`].
    Rate,
    /// More than [`crate::EdgeLimits::network_messages_per_second`].
    NetworkRate,
    /// More of this method than [`crate::EdgeLimits::method_rates`].
    MethodRate,
    /// More of this account than [`crate::EdgeLimits::account_requests_per_second`].
    AccountRate,
    /// Credentials while a penalty for wrong ones runs.
    AuthenticationRate,
    /// It calls itself a scanner.
    Scanner,
    /// A stranger's request that is nothing for us: no call, no registration, no domain of ours.
    Unwelcome,
    /// An answer to a stranger would be more than three times what he sent, and his address may be forged.
    Amplification,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::TooLarge,
        Self::Denied,
        Self::Banned,
        Self::Rate,
        Self::NetworkRate,
        Self::MethodRate,
        Self::AccountRate,
        Self::AuthenticationRate,
        Self::Scanner,
        Self::Unwelcome,
        Self::Amplification,
    ];

    /// Its name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Denied => "denied",
            Self::Banned => "banned",
            Self::Rate => "rate",
            Self::NetworkRate => "network_rate",
            Self::MethodRate => "method_rate",
            Self::AccountRate => "account_rate",
            Self::AuthenticationRate => "authentication_rate",
            Self::Scanner => "scanner",
            Self::Unwelcome => "unwelcome",
            Self::Amplification => "amplification",
        }
    }
}

/// How often each thing happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages let in.
    pub passed: u64,
    /// Messages dropped or refused, in the order of [`Reason::ALL`].
    pub refused: [u64; Reason::ALL.len()],
    /// Wrong credentials reported.
    pub authentication_failures: u64,
    /// Bans begun.
    pub bans: u64,
    /// Sources forgotten to make room for others.
    pub sources_forgotten: u64,
}

impl Counters {
    /// How many were dropped or refused for this reason.
    pub const fn refused(&self, reason: Reason) -> u64 {
        self.refused[reason as usize]
    }

    pub(crate) const fn count(&mut self, reason: Reason) {
        self.refused[reason as usize] += 1;
    }
}

/// Why a source is banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BanReason {
    /// It guessed passwords.
    Passwords,
    /// It calls itself a scanner.
    Scanner,
    /// It asked too much that was nothing for us, or never answered a challenge.
    Strays,
    /// An operator banned it.
    Operator,
}

impl BanReason {
    /// Its name in screens and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Passwords => "passwords",
            Self::Scanner => "scanner",
            Self::Strays => "strays",
            Self::Operator => "operator",
        }
    }
}
