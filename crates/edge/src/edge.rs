//! The guard itself.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use offhook_base::{DataSubject, Instant, Personal};

use crate::{
    Prefix,
    bans::{Ban, Bans},
    bucket::Rate,
    limits::EdgeLimits,
    lists::{Listed, Lists},
    meter::Meter,
    penalty::{FailureRule, Failures},
    reason::{BanReason, Counters, Reason, Standing, Verdict},
    scanner::Scanners,
    source::Source,
    table::SourceTable,
    top::{Top, TopSource},
};

/// Refusals per second that one source over its rate is answered with, and how many at once; the rest is dropped, so
/// that a forged source is not flooded through us.
const REFUSALS_PER_SECOND: u32 = 1;
const REFUSALS_BURST: u32 = 10;

/// The least `Retry-After` we name: shorter waits only bring the crowd back at once.
const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);

/// The status of every refusal: the sender is to come back later (RFC 3261 §21.5.4).
const SERVICE_UNAVAILABLE: u16 = 503;

/// How many times its rate a limit lets through at once, where there is no setting for it.
const BURST_FACTOR: u32 = 4;

/// How long a source is trusted that has proved itself for a call: a conversation's refreshes renew it.
const PROOF_LIFETIME: Duration = Duration::from_secs(600);

/// Octets that may be answered for each octet from an address that may be forged, as in RFC 9000 §8.1.
const AMPLIFICATION_MAX: usize = 3;

/// What a stranger did that nobody does who has business here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stray {
    /// He was challenged. So is every phone once; who answers rightly has all points back.
    Challenged,
    /// He asked for what is not ours, or sent what is no SIP.
    Unwelcome,
    /// He calls himself a scanner.
    Scanner,
}

impl Stray {
    /// Points of [`EdgeLimits::stray_points`].
    const fn points(self) -> u32 {
        match self {
            Self::Challenged => 1,
            Self::Unwelcome => 10,
            Self::Scanner => 100,
        }
    }
}

/// The guard of one worker. Memory is bounded by [`EdgeLimits::sources_max`] and [`EdgeLimits::noted_max`].
#[derive(Debug)]
pub struct Edge {
    message_bytes_max: usize,
    answer_strangers: bool,
    scanners: Scanners,
    lists: Arc<Lists>,
    messages: Meter,
    networks: Meter,
    /// In the order of [`EdgeLimits::method_rates`].
    methods: Vec<(Box<str>, Meter)>,
    refusals: Meter,
    accounts: Meter,
    account_failures: Meter,
    strays: Meter,
    failure_rule: FailureRule,
    failures: SourceTable<Failures>,
    bans: Bans,
    /// Until when a registration or a proof from there is valid.
    proven: SourceTable<Instant>,
    top: Top,
    counters: Counters,
}

impl Edge {
    /// A guard that knows nobody yet. Nobody outside must know `seed`.
    pub fn new(limits: &EdgeLimits, seed: u64) -> Self {
        let sources = limits.sources_max;
        let meter = |tokens: u32, burst: u32| {
            Meter::new(Rate::new(tokens, Duration::from_secs(1), burst), sources, seed)
        };
        let usual = |tokens: u32| meter(tokens, tokens.saturating_mul(BURST_FACTOR));
        let failures = Rate::new(
            u32::from(limits.account_failures_burst > 0),
            limits.failure_forgiven_after,
            limits.account_failures_burst,
        );
        Self {
            message_bytes_max: if limits.message_bytes_max == 0 {
                usize::MAX
            } else {
                limits.message_bytes_max
            },
            answer_strangers: limits.answer_strangers,
            scanners: limits.scanners.clone(),
            lists: Arc::default(),
            messages: meter(limits.messages_per_second, limits.messages_burst),
            networks: usual(limits.network_messages_per_second),
            methods: limits.method_rates.iter().map(|(name, rate)| (name.clone(), usual(*rate))).collect(),
            refusals: meter(REFUSALS_PER_SECOND, REFUSALS_BURST),
            accounts: usual(limits.account_requests_per_second),
            account_failures: Meter::new(failures, limits.noted_max, seed),
            strays: meter(u32::from(limits.stray_points > 0), limits.stray_points),
            failure_rule: FailureRule::new(limits),
            failures: SourceTable::new(limits.noted_max),
            bans: Bans::new(limits),
            proven: SourceTable::new(limits.noted_max),
            top: Top::default(),
            counters: Counters::default(),
        }
    }

    /// Puts other lists into force.
    pub fn set_lists(&mut self, lists: Arc<Lists>) {
        self.lists = lists;
    }

    /// Judges a message before it is parsed. `is_peer` says whether `source` is a known peer; it is only asked when
    /// the answer matters. Keep-alives need not come here.
    pub fn admit(
        &mut self,
        message: &[u8],
        source: SocketAddr,
        is_peer: impl FnOnce() -> bool,
        now: Instant,
    ) -> Verdict {
        let party = Source::from(source.ip());
        self.top.message(party, now);
        if message.len() > self.message_bytes_max {
            return self.drop(Reason::TooLarge, party);
        }
        let listed = self.lists.of(source.ip());
        if listed == Listed::Denied {
            return self.drop(Reason::Denied, party);
        }
        if listed == Listed::Allowed || self.is_proven(party, now) || is_peer() {
            // What an operator has banned, he has banned.
            if self.bans.by_operator(party, now) {
                return self.drop(Reason::Banned, party);
            }
            self.counters.passed += 1;
            return Verdict::Pass(Standing::Trusted);
        }
        if self.bans.left(party, now).is_some() {
            return self.drop(Reason::Banned, party);
        }
        match self.take_tokens(message, party, now) {
            Ok(()) => {
                self.counters.passed += 1;
                Verdict::Pass(Standing::Stranger)
            }
            Err((reason, wait)) => {
                // An answer makes no sense to a response or an ACK (RFC 3261 §17.1.1.3).
                let may_answer = !message.starts_with(b"SIP/") && !message.starts_with(b"ACK ");
                if may_answer && self.refusals.take(party, now).is_ok() {
                    self.top.refused(party);
                    self.refuse(reason, wait)
                } else {
                    self.drop(reason, party)
                }
            }
        }
    }

    fn take_tokens(&mut self, message: &[u8], party: Source, now: Instant) -> Result<(), (Reason, Duration)> {
        self.messages.take(party, now).map_err(|wait| (Reason::Rate, wait))?;
        // A response is to a request of ours, or costs little to throw away; a carrier's network sends a great many.
        if message.starts_with(b"SIP/") {
            return Ok(());
        }
        let network = party.surroundings();
        self.networks.take(network, now).map_err(|wait| (Reason::NetworkRate, wait))?;
        let method = |name: &str| {
            message.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&b' '))
        };
        match self.methods.iter_mut().find(|(name, _)| method(name)) {
            Some((_, meter)) => meter.take(party, now).map_err(|wait| (Reason::MethodRate, wait)),
            None => Ok(()),
        }
    }

    fn is_proven(&self, party: Source, now: Instant) -> bool {
        self.proven.peek(party).is_some_and(|&until| now < until)
    }

    /// Whether one of these texts, in which a stranger says who he is, names a scanner. It is counted then.
    pub fn is_scanner<'t>(&mut self, source: SocketAddr, texts: impl IntoIterator<Item = &'t str>) -> bool {
        let is_scanner = texts.into_iter().any(|text| self.scanners.is_in(text));
        if is_scanner {
            self.note(Reason::Scanner, source);
        }
        is_scanner
    }

    /// Whether strangers hear what is wrong with their requests.
    pub const fn answers_strangers(&self) -> bool {
        self.answer_strangers
    }

    /// Whether a stranger may have an answer of so many octets to so many of his: `is_proven`, his address cannot be forged.
    /// It is counted if not.
    pub fn may_answer(
        &mut self,
        source: SocketAddr,
        received: usize,
        answer: usize,
        is_proven: bool,
    ) -> bool {
        let may = is_proven || self.answer_strangers || answer <= received.saturating_mul(AMPLIFICATION_MAX);
        if !may {
            self.note(Reason::Amplification, source);
        }
        may
    }

    /// Counts a message that was refused elsewhere.
    pub fn note(&mut self, reason: Reason, source: SocketAddr) {
        self.counters.count(reason);
        self.top.refused(source.ip().into());
    }

    /// Notes what a stranger did; the ban if it was too much. `is_proven`: his address cannot be forged, so bans may grow.
    /// Else the ban is a short one, for it may hit somebody else.
    pub fn strayed(
        &mut self,
        source: SocketAddr,
        stray: Stray,
        is_proven: bool,
        now: Instant,
    ) -> Option<BannedSource> {
        let party = Source::from(source.ip());
        if self.strays.charge(party, stray.points(), now) {
            return None;
        }
        let why = if stray == Stray::Scanner { BanReason::Scanner } else { BanReason::Strays };
        self.strays.forgive(party, now);
        Some(self.ban(party, why, is_proven, now))
    }

    fn ban(&mut self, party: Source, why: BanReason, is_proven: bool, now: Instant) -> BannedSource {
        let (ban, forgot) = self.bans.begin(party, why, is_proven, now);
        self.counters.bans += 1;
        self.counters.sources_forgotten += u64::from(forgot);
        self.banned(party, ban, now)
    }

    fn banned(&self, party: Source, ban: Ban, now: Instant) -> BannedSource {
        let is_spared = ban.why != BanReason::Operator
            && (self.is_proven(party, now) || self.lists.of(party.address()) == Listed::Allowed);
        BannedSource {
            source: Personal::new(party.prefix(), DataSubject::RemoteParty),
            why: ban.why,
            is_proven: ban.is_proven,
            is_spared,
            left: ban.until.saturating_since(now),
        }
    }

    /// Whether credentials of `account` from `source` may be checked now. Ask before checking any: what comes during a
    /// penalty must not be answered by whether it was right.
    pub fn admit_credentials(
        &mut self,
        source: SocketAddr,
        account: impl std::hash::Hash,
        now: Instant,
    ) -> Verdict {
        let party = Source::from(source.ip());
        let known = self.failures.peek(party);
        if let Some(left) = known.and_then(|failures| failures.penalty(now)) {
            self.top.refused(party);
            return self.refuse(Reason::AuthenticationRate, left);
        }
        // Many who guess one password together are kept from it; the phones that have it are not.
        if !self.is_proven(party, now) && !self.account_failures.has_token(account, now) {
            self.top.refused(party);
            return self.refuse(Reason::AuthenticationRate, RETRY_AFTER_MIN);
        }
        Verdict::Pass(Standing::Stranger)
    }

    /// Notes that credentials of `account` from `source` were wrong; the ban if it was once too often. A stale nonce with
    /// right credentials is not wrong.
    pub fn authentication_failed(
        &mut self,
        source: SocketAddr,
        account: impl std::hash::Hash,
        now: Instant,
    ) -> Option<BannedSource> {
        self.counters.authentication_failures += 1;
        self.account_failures.charge(account, 1, now);
        if self.failure_rule.is_off() {
            return None;
        }
        let party = Source::from(source.ip());
        let (failures, forgot) = self.failures.touch(party);
        self.counters.sources_forgotten += u64::from(forgot);
        let until = failures.count(&self.failure_rule, now)?;
        let (ban, forgot) = self.bans.begin_until(party, BanReason::Passwords, until, now);
        self.counters.bans += 1;
        self.counters.sources_forgotten += u64::from(forgot);
        Some(self.banned(party, ban, now))
    }

    /// Notes that `account` proved itself from `source`: it is trusted for a while. Whether its request may go on, by the rate
    /// of the account.
    pub fn authenticated(
        &mut self,
        source: SocketAddr,
        account: impl std::hash::Hash,
        now: Instant,
    ) -> Verdict {
        self.trust(source, now + PROOF_LIFETIME);
        self.strays.forgive(Source::from(source.ip()), now);
        match self.accounts.take(account, now) {
            Ok(()) => Verdict::Pass(Standing::Trusted),
            Err(wait) => self.refuse(Reason::AccountRate, wait),
        }
    }

    /// Notes that a device at `source` is registered until then, so that its messages are not limited.
    pub fn registered(&mut self, source: SocketAddr, until: Instant) {
        self.trust(source, until);
    }

    fn trust(&mut self, source: SocketAddr, until: Instant) {
        let (known, forgot) = self.proven.touch(source.ip().into());
        *known = until.max(*known);
        self.counters.sources_forgotten += u64::from(forgot);
    }

    /// Bans the source of `address` for as long as the operator says, whoever it is.
    pub fn ban_by_operator(&mut self, address: IpAddr, time: Duration, now: Instant) -> BannedSource {
        let party = Source::from(address);
        let (ban, forgot) = self.bans.begin_until(party, BanReason::Operator, now + time, now);
        self.counters.bans += 1;
        self.counters.sources_forgotten += u64::from(forgot);
        self.banned(party, ban, now)
    }

    /// Ends the ban and the penalties of the source of `address`; whether there was one.
    pub fn pardon(&mut self, address: IpAddr, now: Instant) -> bool {
        let party = Source::from(address);
        let was_penalised =
            self.failures.reset(party).is_some_and(|failures| failures.penalty(now).is_some());
        self.strays.forgive(party, now);
        self.bans.end(party, now) || was_penalised
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        let meters = [&self.messages, &self.networks, &self.accounts, &self.account_failures, &self.strays];
        let forgotten = meters.iter().map(|meter| meter.forgotten()).sum::<u64>();
        Counters { sources_forgotten: self.counters.sources_forgotten + forgotten, ..self.counters }
    }

    /// What is known of `address`.
    pub fn look_at(&self, address: IpAddr, now: Instant) -> SourceView {
        let party = Source::from(address);
        SourceView {
            listed: self.lists.of(address),
            proven: self.is_proven(party, now),
            ban: self.bans.get(party, now).map(|ban| self.banned(party, ban, now)),
            penalty: self.failures.peek(party).and_then(|failures| failures.penalty(now)),
        }
    }

    /// Who sends most, and who is banned, the latest first; at most `bans_max` of these. Also how many are banned in all.
    pub fn overview(&mut self, bans_max: usize, now: Instant) -> EdgeOverview {
        let bans = self.bans.iter(now).take(bans_max);
        let bans = bans.map(|(party, ban)| self.banned(party, ban, now)).collect();
        let (allowed, denied) = self.lists.sizes();
        EdgeOverview {
            top: self.top.list(now),
            bans,
            banned: self.bans.iter(now).count(),
            allowed,
            denied,
            counters: self.counters(),
        }
    }

    fn drop(&mut self, reason: Reason, party: Source) -> Verdict {
        self.counters.count(reason);
        self.top.refused(party);
        Verdict::Drop(reason)
    }

    fn refuse(&mut self, reason: Reason, wait: Duration) -> Verdict {
        self.counters.count(reason);
        // Rounded up: an obedient sender must not come back a moment too early.
        let whole = Duration::from_secs(wait.as_secs() + u64::from(wait.subsec_nanos() > 0));
        Verdict::Refuse { reason, status: SERVICE_UNAVAILABLE, retry_after: whole.max(RETRY_AFTER_MIN) }
    }
}

/// A source that is banned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BannedSource {
    /// Its address, or its /64.
    pub source: Personal<Prefix>,
    /// Why.
    pub why: BanReason,
    /// Whether its address was not forged.
    pub is_proven: bool,
    /// Whether the source is trusted, by a registration or a list: then only its credentials are refused.
    pub is_spared: bool,
    /// For how long yet.
    pub left: Duration,
}

/// What is known of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceView {
    /// What the lists say.
    pub listed: Listed,
    /// Whether it has proved itself, or is registered.
    pub proven: bool,
    /// Its ban.
    pub ban: Option<BannedSource>,
    /// How long its credentials are not looked at.
    pub penalty: Option<Duration>,
}

/// How the guard stands.
#[derive(Clone, Debug, PartialEq)]
pub struct EdgeOverview {
    /// Who sends most.
    pub top: Vec<TopSource>,
    /// Who is banned, the latest first: not all, if there are many.
    pub bans: Vec<BannedSource>,
    /// How many are banned.
    pub banned: usize,
    /// Networks that are allowed by the lists.
    pub allowed: usize,
    /// Networks that are denied by the lists.
    pub denied: usize,
    /// What happened so far.
    pub counters: Counters,
}
