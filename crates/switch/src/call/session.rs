//! One leg's half of the media session: what the leg said last, what we told it last, and where its media runs.
//!
//! The node never invents a description: what one leg offers or answers is anchored at the other leg's ports and passed
//! on. So codecs and directions are settled between the endpoints, and so are keys, but where only one leg has them
//! (see [`keys`]).

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use offhook_base::Random;
use offhook_sdp::{
    MediaDescription, OwnOrigin, Protocol, SessionDescription,
    anchor::{AnchorPlan, MediaPlan, RtcpMuxPlan, anchor},
};

use super::{
    keys::{self, Choice, Protection, Side, Told, Writer},
    transcode,
};
use crate::{
    directory::Srtp,
    media::{
        EndpointId, PayloadName, RemoteMedia, STREAMS_MAX, StreamConfig, StreamCrypto, StreamNote,
        VoiceConfig,
    },
    settings::Transcoding,
};

/// The half session of one leg.
#[derive(Debug)]
pub struct LegSession {
    /// The media endpoint; `None` where media goes straight between the endpoints.
    endpoint: Option<EndpointId>,
    /// Where we take its media.
    address: IpAddr,
    /// RTP port per stream, once the engine has opened them.
    ports: Vec<u16>,
    origin: Option<OwnOrigin>,
    /// The last description of the leg that took effect.
    theirs: Option<SessionDescription>,
    /// The last description we gave it.
    ours: Option<Told>,
    /// How its line or peer wants its media protected.
    srtp: Srtp,
    /// How it is asked, after it has refused the other way.
    asked: Option<Srtp>,
    transcoding: Transcoding,
    /// It is offered the node's own codecs too.
    extends: bool,
    /// It was told of another codec than the other leg has answered with.
    recodes: bool,
    /// What the media engine has noted of its streams.
    notes: Vec<StreamNote>,
    /// Counts what was said and opened, so that whoever keeps it elsewhere knows that it has changed.
    revision: u32,
}

/// What was said by both sides of a half session that another process had.
#[derive(Debug, Default)]
pub struct Said {
    /// The origin of our descriptions.
    pub origin: Option<OwnOrigin>,
    /// The last description of the leg that took effect.
    pub theirs: Option<SessionDescription>,
    /// The last description we gave it.
    pub ours: Option<Told>,
    /// What the media engine has noted of its streams.
    pub notes: Vec<StreamNote>,
    /// It is offered the node's own codecs too.
    pub extends: bool,
    /// It was told of another codec than the other leg has answered with.
    pub recodes: bool,
}

impl LegSession {
    /// A session whose media, if anchored, is taken at `address` and protected as `srtp` says.
    pub const fn new(endpoint: Option<EndpointId>, address: IpAddr, srtp: Srtp) -> Self {
        Self {
            endpoint,
            address,
            ports: Vec::new(),
            origin: None,
            theirs: None,
            ours: None,
            srtp,
            asked: None,
            transcoding: Transcoding::Never,
            extends: false,
            recodes: false,
            notes: Vec::new(),
            revision: 0,
        }
    }

    /// The same, with codecs of the node where `transcoding` says so.
    pub const fn transcoding(mut self, transcoding: Transcoding) -> Self {
        self.transcoding = transcoding;
        self.extends |= matches!(transcoding, Transcoding::Always);
        self
    }

    /// The same of a leg that another process had.
    pub fn resume(
        endpoint: Option<EndpointId>,
        address: IpAddr,
        srtp: (Srtp, Option<Srtp>),
        ports: Vec<u16>,
        said: Said,
    ) -> Self {
        let Said { origin, theirs, ours, notes, extends, recodes } = said;
        Self {
            endpoint,
            address,
            ports,
            origin,
            theirs,
            ours,
            srtp: srtp.0,
            asked: srtp.1,
            transcoding: Transcoding::Never,
            extends,
            recodes,
            notes,
            revision: 0,
        }
    }

    /// Where we take its media.
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// RTP port per stream, once the engine has opened them.
    pub fn ports(&self) -> &[u16] {
        &self.ports
    }

    /// The origin of our descriptions, once there was one.
    pub const fn origin(&self) -> Option<OwnOrigin> {
        self.origin
    }

    /// How it wants its media protected, and how it is asked after it has refused the other way.
    pub const fn protection_wanted(&self) -> (Srtp, Option<Srtp>) {
        (self.srtp, self.asked)
    }

    /// What the media engine has noted of its streams.
    pub fn notes(&self) -> &[StreamNote] {
        &self.notes
    }

    /// Whether it is offered the node's own codecs, and was told of another codec than the other leg has answered with.
    pub const fn transcodes(&self) -> (bool, bool) {
        (self.extends, self.recodes)
    }

    /// How often it has changed.
    pub const fn revision(&self) -> u32 {
        self.revision
    }

    /// The media engine has noted something.
    pub fn noted(&mut self, notes: Vec<StreamNote>) {
        self.revision += 1;
        self.notes = notes;
    }

    /// The media endpoint.
    pub const fn endpoint(&self) -> Option<EndpointId> {
        self.endpoint
    }

    /// Takes the endpoint away, to be closed once.
    pub const fn take_endpoint(&mut self) -> Option<EndpointId> {
        self.endpoint.take()
    }

    /// Whether the ports are there, or none are needed.
    pub const fn is_open(&self) -> bool {
        self.endpoint.is_none() || !self.ports.is_empty()
    }

    /// Whether `streams` media sections find ports.
    pub const fn has_ports_for(&self, streams: usize) -> bool {
        self.endpoint.is_none() || self.ports.len() >= streams
    }

    /// The answer that takes nothing of an offer, for an ACK that must bring one before a BYE (RFC 3261 §13.2.2.4).
    pub fn decline(&mut self, offer: &SessionDescription, random: &mut Random) -> Bytes {
        let origin = self.origin.unwrap_or_else(|| OwnOrigin::new(random, self.address)).next_version();
        let media = (0..offer.media().len()).map(|_| MediaPlan::reject()).collect();
        self.origin = Some(origin);
        self.revision += 1;
        anchor(offer, &AnchorPlan { origin, media })
    }

    /// Whether the engine has ever opened ports for it.
    pub const fn was_opened(&self) -> bool {
        !self.ports.is_empty()
    }

    /// Takes back the last description: it was refused, what was said before is in force again.
    pub fn take_back(&mut self, before: Option<Told>) {
        self.revision += 1;
        self.ours = before;
    }

    /// The engine has opened the ports.
    pub fn opened(&mut self, ports: Vec<u16>) {
        self.revision += u32::from(self.ports != ports);
        self.ports = ports;
    }

    /// The leg's own description in force.
    pub const fn theirs(&self) -> Option<&SessionDescription> {
        self.theirs.as_ref()
    }

    /// The description we gave last, for refreshes that change nothing.
    pub fn ours(&self) -> Option<&Bytes> {
        self.ours.as_ref().map(|told| &told.text)
    }

    /// The same with its keys, to be taken back to.
    pub const fn told(&self) -> Option<&Told> {
        self.ours.as_ref()
    }

    /// The leg's description took effect.
    pub fn accept(&mut self, theirs: SessionDescription) {
        self.revision += 1;
        self.theirs = Some(theirs);
    }

    /// What the other leg must know of this one to read its description.
    pub fn as_writer(&self) -> Writer {
        let mut streams = [Side::default(); STREAMS_MAX];
        for (side, told) in streams.iter_mut().zip(self.ours.iter().flat_map(|told| &told.protection)) {
            *side = told.into();
        }
        Writer { needs_keys: self.srtp == Srtp::Always, streams }
    }

    /// Whether this leg may make `offer`: one that needs keys has some for every stream.
    pub fn may_offer(&self, offer: &SessionDescription) -> bool {
        let has_keys = |media: MediaDescription<'_>| {
            media.has_crypto() || media.is_rejected() || !media.protocol().is_rtp()
        };
        self.srtp != Srtp::Always || offer.media().all(has_keys)
    }

    /// Whether this leg can be told of `offer`, which `writer` made: its keys are such as the settings of both ask for.
    pub fn takes_offer(&self, offer: &SessionDescription, writer: &Writer) -> bool {
        self.endpoint.is_none() || offer.media().all(|media| self.choose(&media, writer).is_some())
    }

    /// Whether the keys in `answer` belong to what this leg was told of `offer`.
    pub fn takes_answer(&self, answer: &SessionDescription, offer: &SessionDescription) -> bool {
        let Some(told) = self.ours.as_ref().filter(|_| self.endpoint.is_some()) else { return true };
        let needed = self.wanted() == Srtp::Always;
        answer.media().all(|media| {
            let index = media.index();
            keys::fits(offer.media_at(index), told.protection(index), &media, needed)
        })
    }

    /// This leg has refused `offer` as it was told of it. Whether it may be asked once more, with plain RTP in place of
    /// SRTP or the other way round; if so, the next description says it.
    pub fn ask_otherwise(&mut self, offer: &SessionDescription) -> bool {
        // Whoever has answered once, early, was content with what it was told.
        let is_open = self.asked.is_none() && self.theirs.is_none();
        if self.endpoint.is_none() || self.srtp != Srtp::Auto || !is_open {
            return false;
        }
        let mut rtp =
            offer.media().filter(|media| !media.is_rejected() && media.protocol().is_rtp()).peekable();
        if rtp.peek().is_none() {
            return false;
        }
        let asked = if rtp.any(|media| media.has_crypto()) { Srtp::Never } else { Srtp::Always };
        self.asked = Some(asked);
        self.revision += 1;
        if let Some(told) = &mut self.ours {
            told.protection.clear();
        }
        let writer = Writer { needs_keys: false, streams: [Side::default(); STREAMS_MAX] };
        self.takes_offer(offer, &writer)
    }

    /// This leg has refused `offer` as it was told of it. Whether it may be asked once more, with the codecs of the node; if
    /// so, the next description has them.
    pub fn ask_in_other_codecs(&mut self, offer: &SessionDescription) -> bool {
        let may = self.endpoint.is_some() && self.theirs.is_none() && !self.extends;
        if !may || self.transcoding == Transcoding::Never || transcode::extended(offer, true).is_none() {
            return false;
        }
        self.extends = true;
        // Asking with other keys did not help: back to the first way.
        self.asked = None;
        if let Some(told) = &mut self.ours {
            told.protection.clear();
        }
        true
    }

    fn wanted(&self) -> Srtp {
        self.asked.unwrap_or(self.srtp)
    }

    fn protection(&self, index: usize) -> &Protection {
        self.ours.as_ref().map_or(&Protection::Passed, |told| told.protection(index))
    }

    fn choose(&self, offered: &MediaDescription<'_>, writer: &Writer) -> Option<Choice> {
        let index = offered.index();
        let has_our_key = matches!(self.protection(index), Protection::Ours(_));
        let want = match writer.streams.get(index) {
            _ if has_our_key => Srtp::Always,
            // In a running session the plain side stays the plain side.
            Some(Side::Ours) if self.theirs.is_some() => Srtp::Never,
            _ => self.wanted(),
        };
        keys::choose(offered, writer.needs_keys, want, has_our_key)
    }

    /// What this leg is told of the other leg's `offer`, anchored at our ports for this leg. `takes_offer` has passed
    /// it; a stream that it would not pass is refused.
    pub fn describe_offer(
        &mut self,
        offer: &SessionDescription,
        writer: &Writer,
        random: &mut Random,
    ) -> Bytes {
        // Of what is offered on a refusal one is sure to be needed; otherwise the sides may share a codec.
        let recodes = self.transcoding != Transcoding::Always || self.recodes;
        let extended = if self.extends { transcode::extended(offer, recodes) } else { None };
        let offer = extended.as_ref().unwrap_or(offer);
        let mut decided = Vec::with_capacity(offer.media().len().min(STREAMS_MAX));
        for media in offer.media().take(STREAMS_MAX) {
            let (index, written) = (media.index(), media.protocol());
            decided.push(self.choose(&media, writer).map(|choice| match choice {
                Choice::Pass => (Protection::Passed, None),
                Choice::PassSecured => (Protection::Passed, Some(written.with_sdes())),
                Choice::Plain => (Protection::Plain, None),
                Choice::Ours => {
                    let protocol = keys::profile_of(self.theirs.as_ref(), index, written);
                    let ours = match self.protection(index) {
                        ours @ Protection::Ours(_) => ours.clone(),
                        _ => Protection::Ours(keys::fresh(random)),
                    };
                    (ours, protocol.filter(|_| self.theirs.is_some()))
                }
            }));
        }
        self.describe(offer, decided, random)
    }

    /// What this leg is told of `answer`, by which `writer` answers the `offer` that this leg made.
    pub fn describe_answer(
        &mut self,
        answer: &SessionDescription,
        offer: &SessionDescription,
        writer: &Writer,
        random: &mut Random,
    ) -> Bytes {
        let settled = match self.transcoding {
            Transcoding::Never => None,
            Transcoding::OnRefusal | Transcoding::Always => Some(transcode::settled(answer, offer)),
        };
        self.recodes = settled.as_ref().is_some_and(|settled| settled.recodes);
        // From now on each side is offered what it speaks, whoever changes the session.
        self.extends |= self.recodes;
        let settled = settled.and_then(|settled| settled.answer);
        let answer = settled.as_ref().unwrap_or(answer);
        let mut decided = Vec::with_capacity(answer.media().len().min(STREAMS_MAX));
        for media in answer.media().take(STREAMS_MAX) {
            let index = media.index();
            let asked = offer.media_at(index).filter(|_| !media.is_rejected() && media.protocol().is_rtp());
            let Some(asked) = asked else {
                decided.push(Some((Protection::Passed, None)));
                continue;
            };
            let side = writer.streams.get(index).copied().unwrap_or_default();
            let passes = media.has_crypto() || media.protocol().is_secure() || !asked.has_crypto();
            let protection = match keys::usable(&asked) {
                _ if side == Side::Passed && passes => Protection::Passed,
                // Whoever brings keys is answered with keys, even where plain RTP would have done.
                Some(offered) => {
                    let then = self.theirs.as_ref().and_then(|theirs| theirs.media_at(index));
                    Protection::Ours(keys::answer(&offered, self.protection(index), then, random))
                }
                None => Protection::Plain,
            };
            decided.push(Some((protection, keys::profile_of(Some(offer), index, media.protocol()))));
        }
        self.describe(answer, decided, random)
    }

    /// Writes `other` for this leg. The version counts up whenever the text changes (RFC 3264 §8).
    fn describe(
        &mut self,
        other: &SessionDescription,
        decided: Vec<Option<(Protection, Option<Protocol>)>>,
        random: &mut Random,
    ) -> Bytes {
        self.revision += 1;
        if self.endpoint.is_none() {
            let mut text = bytes::BytesMut::new();
            other.write(&mut text);
            let text = text.freeze();
            self.ours = Some(Told { text: text.clone(), protection: Vec::new() });
            return text;
        }
        let origin = self.origin.unwrap_or_else(|| OwnOrigin::new(random, self.address));
        let plan = AnchorPlan { origin, media: self.plan(&decided) };
        let mut text = anchor(other, &plan);
        let mut origin_used = origin;
        if self.ours.as_ref().is_some_and(|before| before.text != text) {
            origin_used = origin.next_version();
            text = anchor(other, &AnchorPlan { origin: origin_used, ..plan });
        }
        self.origin = Some(origin_used);
        let protection = decided
            .into_iter()
            .map(|decided| decided.map_or(Protection::Plain, |(known, _)| known))
            .collect();
        self.ours = Some(Told { text: text.clone(), protection });
        text
    }

    fn plan(&self, decided: &[Option<(Protection, Option<Protocol>)>]) -> Vec<MediaPlan> {
        decided
            .iter()
            .enumerate()
            .map(|(index, decided)| match (self.ports.get(index), decided) {
                (Some(&port), Some((protection, protocol))) => {
                    let relay = MediaPlan {
                        rtcp_mux: RtcpMuxPlan::Keep,
                        ..MediaPlan::relay(SocketAddr::new(self.address, port))
                    };
                    keys::planned(relay, protection, *protocol)
                }
                _ => MediaPlan::reject(),
            })
            .collect()
    }

    /// The leg has repeated what it said but for its keys, in the answer to a refresh: takes them, and tells whether the
    /// media engine must know.
    pub fn rekeyed(&mut self, answer: &SessionDescription) -> bool {
        let ends_here = self.ours.iter().flat_map(|told| &told.protection);
        let ends_here = ends_here.clone().any(|told| matches!(told, Protection::Ours(_)));
        let known = self.theirs.as_ref();
        if !ends_here || known.is_none_or(|theirs| theirs == answer || !self.takes_answer(answer, theirs)) {
            return false;
        }
        self.theirs = Some(answer.clone());
        self.revision += 1;
        true
    }

    /// What the media engine must know of this leg, given the leg at the bridge's other end.
    pub fn stream_configs(&self, other: &Self) -> Vec<StreamConfig> {
        let Some(theirs) = &self.theirs else { return Vec::new() };
        theirs.media().take(self.ports.len()).map(|media| self.stream_config(&media, other)).collect()
    }

    fn stream_config(&self, media: &MediaDescription<'_>, other: &Self) -> StreamConfig {
        let resolved = media.rtp_address().and_then(|address| address.socket_addr());
        let (Some(rtp), false) = (resolved, media.is_rejected()) else { return StreamConfig::default() };
        let rtcp = media.rtcp_address().and_then(|address| address.socket_addr());
        let other_muxes = other
            .theirs
            .as_ref()
            .and_then(|theirs| theirs.media_at(media.index()))
            .is_some_and(|media| media.rtcp_mux());
        let Some(crypto) = self.crypto(media) else { return StreamConfig::default() };
        let direction = media.effective_direction();
        StreamConfig {
            remote: Some(RemoteMedia {
                rtp,
                rtcp: rtcp.unwrap_or(SocketAddr::new(rtp.ip(), rtp.port().saturating_add(1))),
            }),
            receives: direction.sends(),
            sends: direction.receives(),
            rtcp_mux: media.rtcp_mux() && other_muxes,
            crypto,
            payloads: media
                .codecs()
                .map(|map| PayloadName {
                    payload_type: map.payload_type.number(),
                    codec: map.codec.name.into(),
                    clock_rate: map.codec.clock_rate,
                })
                .collect(),
            voice: self.voice(media, other).map(Box::new),
        }
    }

    /// What the media engine must know of this leg where the node itself talks with it.
    pub fn stream_configs_alone(&self) -> Vec<StreamConfig> {
        let (Some(theirs), Some(ours)) = (&self.theirs, &self.ours) else { return Vec::new() };
        let Ok(ours) = SessionDescription::parse(ours.text.clone()) else { return Vec::new() };
        let streams = theirs.media().take(self.ports.len());
        streams
            .map(|media| {
                let told = ours.media_at(media.index()).filter(|told| !told.is_rejected());
                let Some(told) = told else { return StreamConfig::default() };
                let mut config = self.stream_config(&media, self);
                config.rtcp_mux = media.rtcp_mux() && told.rtcp_mux();
                config.voice = transcode::voice_alone([&media, &told]).map(Box::new);
                config
            })
            .collect()
    }

    /// How to recode a stream, where the legs share no codec.
    fn voice(&self, theirs: &MediaDescription<'_>, other: &Self) -> Option<VoiceConfig> {
        if !self.recodes && !other.recodes {
            return None;
        }
        let told = |session: &Self| SessionDescription::parse(session.ours.as_ref()?.text.clone()).ok();
        let (ours, other_ours, index) = (told(self)?, told(other)?, theirs.index());
        let other_theirs = other.theirs.as_ref()?.media_at(index)?;
        let (ours, other_ours) = (ours.media_at(index)?, other_ours.media_at(index)?);
        transcode::voice([theirs, &ours], [&other_theirs, &other_ours])
    }

    /// The keys that end here, if any do; `None` if the leg has said no key of its own for them: nothing may flow then,
    /// least of all in clear.
    fn crypto(&self, media: &MediaDescription<'_>) -> Option<Option<Box<StreamCrypto>>> {
        match self.protection(media.index()) {
            Protection::Passed | Protection::Plain => Some(None),
            Protection::Ours(ours) => keys::pair(media, ours).map(Box::new).map(Some),
        }
    }
}
