//! The form of a call: what a process that did not make the call must know to go on with it.
//!
//! Times are UTC, since no other clock is shared between two processes. Texts of SIP and SDP stand as they were on the wire:
//! whoever reads a form has their parsers.

use std::net::{IpAddr, SocketAddr};

use offhook_base::UtcMillis;
use offhook_sip::transport::Transport;

use super::shape::{numbered, part};
use crate::{
    call::LegState,
    directory::Srtp,
    media::StreamNote,
    record::{CallId, EndCause, EndedBy, LegRole},
};

part! {
    /// A call.
    KeptCall<'a> {
        /// Its id, as on log lines and in its record.
        id: CallId,
        /// How far it has come.
        stage: KeptStage,
        /// When it is given up: unanswered, or for lasting too long.
        until: UtcMillis,
        /// While devices ring: when the group that rings gives way to the next.
        ring_until: Option<UtcMillis>,
        /// The leg that has answered.
        callee: Option<u16>,
        /// Media goes through the node.
        anchored: bool,
        /// The caller left the offer to the callee.
        late: bool,
        /// Who calls.
        caller: KeptParty,
        /// The caller wants to stay unknown to the called side (RFC 3323).
        hidden: bool,
        /// The number or name that was called.
        callee_user: &'a str,
        /// Peers whose count of calls it is in, by number.
        peers: Vec<u64>,
        /// The caller's INVITE, until its 2xx is acknowledged.
        invite: Option<KeptInvite<'a>>,
        /// A re-INVITE that has no final response yet.
        reinvite: Option<KeptReinvite<'a>>,
        /// Ways that were not tried yet, in groups, best first.
        groups: Vec<Vec<KeptWay<'a>>>,
        /// Ways taken up in all.
        ways: u16,
        /// The best refusal so far, a SIP status.
        refusal: Option<u16>,
        /// What its record says.
        account: KeptAccount<'a>,
        /// The legs that are not over, the caller's first.
        legs: Vec<KeptLeg<'a>>,
    }
}

/// How far a call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptStage {
    /// Ways and ports are being found.
    Preparing,
    /// Devices ring.
    Hunting,
    /// Answered.
    Established,
    /// Over: its legs are being told.
    Over,
    /// Answered by the node itself; `callee_user` says as what.
    Served,
}

numbered! {
    /// How far a call has come.
    KeptStage {
        /// Ways and ports are being found.
        Preparing = 0,
        /// Devices ring.
        Hunting = 1,
        /// Answered.
        Established = 2,
        /// Over: its legs are being told.
        Over = 3,
        /// Answered by the node itself; `callee_user` says as what.
        Served = 4,
    }
}

part! {
    /// A line or a peer.
    KeptParty {
        /// It is a peer.
        is_peer: bool,
        /// Its number in the directory.
        number: u64,
    }
}

part! {
    /// The caller's INVITE.
    KeptInvite<'a> {
        /// As it was received.
        request: &'a [u8],
        /// It awaits its final response.
        is_pending: bool,
        /// The last provisional response to it.
        provisional: Option<&'a [u8]>,
    }
}

part! {
    /// A re-INVITE that is being worked on.
    KeptReinvite<'a> {
        /// The leg that sent it.
        leg: u16,
        /// As it was received.
        request: &'a [u8],
    }
}

part! {
    /// A way to a device or a peer.
    KeptWay<'a> {
        /// The Request-URI.
        request_uri: &'a str,
        /// Where the INVITE goes.
        destination: KeptDestination,
        /// Route values, nearest first.
        route: Vec<&'a str>,
        /// Who answers there.
        end: KeptParty,
    }
}

part! {
    /// Where messages go.
    KeptDestination {
        /// The listener they leave by, by its place in the configuration.
        listener: u16,
        /// What is spoken.
        transport: Transport,
        /// Our end.
        local: SocketAddr,
        /// Their end.
        remote: SocketAddr,
        /// It is the way their messages come by, which for a stream was a connection that is gone.
        is_flow: bool,
    }
}

part! {
    /// What the call's record says so far, or for good.
    KeptAccount<'a> {
        /// The tenant's name.
        tenant: &'a str,
        /// The caller's address of record or number.
        caller: &'a str,
        /// The name it showed.
        caller_name: Option<&'a str>,
        /// The address that was called.
        callee: &'a str,
        /// When the INVITE came.
        started: UtcMillis,
        /// When the first device rang.
        ringing: Option<UtcMillis>,
        /// When it was answered.
        answered: Option<UtcMillis>,
        /// How it ended, once that is decided.
        end: Option<KeptEnd>,
        /// The record is made: nothing is added to it.
        is_closed: bool,
        /// Every leg, those that are over included, the caller's first.
        legs: Vec<KeptLegAccount<'a>>,
    }
}

part! {
    /// How a call ended.
    KeptEnd {
        /// When.
        at: UtcMillis,
        /// Who ended it.
        by: EndedBy,
        /// Why.
        cause: EndCause,
        /// The SIP status behind it.
        status: u16,
    }
}

part! {
    /// What the record says of a leg.
    KeptLegAccount<'a> {
        /// Its part.
        role: LegRole,
        /// The line's name.
        line: Option<&'a str>,
        /// The peer's name.
        peer: Option<&'a str>,
        /// Address and port of its signalling.
        remote: &'a str,
        /// What it speaks.
        transport: &'a str,
        /// Its User-Agent or Server header.
        user_agent: Option<&'a str>,
        /// Its Call-ID header.
        sip_call_id: &'a str,
        /// When its INVITE came or went.
        started: UtcMillis,
        /// When it rang.
        ringing: Option<UtcMillis>,
        /// When it answered.
        answered: Option<UtcMillis>,
        /// When it ended.
        ended: UtcMillis,
        /// The final status of its INVITE.
        status: Option<u16>,
        /// The quality of its streams, once it was reported.
        streams: Vec<KeptQuality<'a>>,
    }
}

part! {
    /// The quality of one stream.
    KeptQuality<'a> {
        /// The codec of most packets.
        codec: &'a str,
        /// The codec it was transcoded to.
        transcoded_to: Option<&'a str>,
        /// Packets received.
        packets_received: u64,
        /// Payload octets received.
        octets_received: u64,
        /// Packets sent.
        packets_sent: u64,
        /// Packets missing.
        packets_lost: u64,
        /// Packets that came twice.
        packets_duplicate: u64,
        /// Packets that came late.
        packets_reordered: u64,
        /// Packets of strangers.
        packets_refused: u64,
        /// Interarrival jitter at the end, ms.
        jitter_ms: f64,
        /// Its highest value, ms.
        jitter_ms_max: f64,
        /// Round trip, ms.
        round_trip_ms: Option<f64>,
        /// Loss that the leg reported, 0..=1.
        remote_loss: Option<f64>,
        /// Mean opinion score, 1..=4.5.
        mos: Option<f64>,
    }
}

part! {
    /// A leg that is not over.
    KeptLeg<'a> {
        /// Its position in the call and in the record; the caller's is 0.
        index: u16,
        /// Where it stands.
        state: LegState,
        /// Where its signalling goes.
        destination: KeptDestination,
        /// Our tag.
        tag: &'a str,
        /// The dialog with it.
        dialog: Option<KeptDialog<'a>>,
        /// Its session timer.
        timer: Option<KeptTimer>,
        /// CSeq of our latest INVITE to it.
        invite_cseq: u32,
        /// Our latest ACK of a 2xx of it.
        ack: Option<KeptAck>,
        /// Our 2xx to its INVITE, while that is not acknowledged.
        accepted: Option<KeptAccepted<'a>>,
        /// It takes UPDATE (RFC 3311).
        allows_update: bool,
        /// It holds the other side.
        holds: bool,
        /// It has acknowledged a 2xx.
        acknowledged: bool,
        /// A BYE of ours has no answer yet.
        hanging_up: bool,
        /// The Reason of the BYE that waits for an ACK.
        farewell: Option<&'a str>,
        /// Its media.
        session: KeptSession<'a>,
        /// What only a called leg has.
        branch: Option<KeptBranch<'a>>,
    }
}

numbered! {
    /// Where a leg stands.
    LegState {
        /// No ports yet, or no provisional response.
        Starting = 0,
        /// It rings.
        Ringing = 1,
        /// It has answered, or was.
        Up = 2,
        /// It was given up; the final response to its INVITE is still to come.
        Cancelling = 3,
        /// It is over but for the ACK that our BYE waits for.
        Leaving = 4,
        /// It is over.
        Ended = 5,
    }
}

part! {
    /// A dialog (RFC 3261 §12).
    KeptDialog<'a> {
        /// Call-ID.
        call_id: &'a str,
        /// Our tag.
        local_tag: &'a str,
        /// Theirs.
        remote_tag: &'a str,
        /// Our From or To value without its tag.
        local_party: &'a str,
        /// Theirs.
        remote_party: &'a str,
        /// Their Contact URI.
        remote_target: &'a str,
        /// Route values in the order of our requests.
        route_set: Vec<&'a str>,
        /// The CSeq number of our last request. Whoever goes on with the dialog leaves a gap: one more may have been sent
        /// since this was written.
        local_cseq: u32,
        /// The CSeq number of their last request.
        remote_cseq: Option<u32>,
        /// All messages go over TLS (RFC 3261 §12.1).
        is_secure: bool,
        /// A 2xx has confirmed it.
        is_confirmed: bool,
    }
}

part! {
    /// A session timer (RFC 4028).
    KeptTimer {
        /// The session interval, seconds.
        interval_secs: u32,
        /// The refreshes are ours.
        we_refresh: bool,
        /// When ours is due.
        refresh_at: Option<UtcMillis>,
        /// When the session ends without one.
        expires_at: Option<UtcMillis>,
    }
}

part! {
    /// An ACK of ours.
    KeptAck {
        /// The CSeq number of the INVITE whose 2xx it acknowledges.
        cseq: u32,
        /// It carries the answer to an offer in the 2xx: what the leg was told last.
        answers: bool,
    }
}

part! {
    /// A 2xx of ours that is not acknowledged.
    KeptAccepted<'a> {
        /// The CSeq number of the INVITE that it answers.
        cseq: u32,
        /// The response.
        response: &'a [u8],
    }
}

part! {
    /// A leg's half of the media session.
    KeptSession<'a> {
        /// It has an endpoint of the media engine.
        has_endpoint: bool,
        /// The address that it is told to send its media to.
        address: IpAddr,
        /// Our RTP port per stream; RTCP is the next one.
        ports: Vec<u16>,
        /// The origin of our latest description: session id, version.
        origin: Option<KeptOrigin>,
        /// Its latest description in force.
        theirs: Option<&'a [u8]>,
        /// Our latest description to it.
        ours: Option<KeptTold<'a>>,
        /// How its line or peer wants its media protected.
        srtp: Srtp,
        /// How it was asked after it had refused the other way.
        asked: Option<Srtp>,
        /// What the media engine has noted per stream.
        notes: Vec<StreamNote>,
        /// It is offered the node's own codecs too.
        extends: bool,
        /// It was told of another codec than the other leg has answered with.
        recodes: bool,
    }
}

part! {
    /// The origin of our descriptions (RFC 8866 §5.2).
    KeptOrigin {
        /// The session id.
        session_id: u64,
        /// The version of the latest description.
        version: u64,
        /// Our address.
        address: IpAddr,
    }
}

part! {
    /// A description that a leg was given.
    KeptTold<'a> {
        /// As it was written.
        text: &'a [u8],
        /// What it said of the protection of each stream.
        protection: Vec<KeptProtection>,
    }
}

part! {
    /// The protection of one stream.
    KeptProtection {
        /// What the other side wrote was taken out.
        is_plain: bool,
        /// The value of our `a=crypto` line, where SRTP ends with the node.
        key: Option<String>,
    }
}

numbered! {
    /// How media is protected.
    Srtp {
        /// As the other side has it.
        Auto = 0,
        /// Not at all.
        Never = 1,
        /// By SRTP.
        Always = 2,
    }
}

part! {
    /// A leg that was rung.
    KeptBranch<'a> {
        /// How it is reached.
        way: KeptWay<'a>,
        /// Our INVITE, while its transaction waits for a final response.
        invite: Option<&'a [u8]>,
        /// It has had a provisional response, so that a CANCEL may be sent.
        has_progressed: bool,
        /// The CSeq number of our INVITE.
        cseq: u32,
        /// Times it was sent again with another header.
        attempts: u8,
        /// The Call-ID of its dialog.
        call_id: &'a str,
        /// Where the INVITE goes over UDP, should TCP fail that it took for its size.
        udp: Option<KeptDestination>,
        /// TCP has failed.
        keeps_udp: bool,
        /// What our INVITE says of session timers.
        session_offer: KeptSessionOffer,
        /// The RSeq of its last reliable response (RFC 3262).
        last_rseq: Option<u32>,
        /// The early dialog that the caller sees for it.
        facing: Option<KeptFacing<'a>>,
        /// Its 2xx, which waits for a PRACK of the caller.
        answer_waits: Option<&'a [u8]>,
        /// An early answer was heard from it.
        early_answer: bool,
    }
}

part! {
    /// What an INVITE of ours says of session timers.
    KeptSessionOffer {
        /// Session-Expires, seconds.
        seconds: u32,
        /// It names the client as the refresher.
        by_client: bool,
        /// It names the server as the refresher.
        by_server: bool,
        /// Min-SE, seconds.
        min_se_secs: u32,
    }
}

part! {
    /// The early dialog that the caller sees for a branch.
    KeptFacing<'a> {
        /// The dialog.
        dialog: KeptDialog<'a>,
        /// The CSeq number of the caller's INVITE.
        invite_cseq: u32,
        /// The RSeq of the next reliable response.
        next_rseq: u32,
        /// Reliable responses that wait for a PRACK, the one that was sent first.
        unacknowledged: Vec<KeptReliable<'a>>,
        /// The branch's answer, as the caller has had it for good.
        described: Option<KeptTold<'a>>,
    }
}

part! {
    /// A reliable provisional response.
    KeptReliable<'a> {
        /// Its RSeq.
        rseq: u32,
        /// The response; empty where it is not repeated any more.
        response: &'a [u8],
    }
}

numbered! {
    /// A SIP transport.
    Transport {
        /// Datagrams.
        Udp = 0,
        /// A stream.
        Tcp = 1,
        /// TLS.
        Tls = 2,
        /// WebSocket.
        Ws = 3,
        /// Secure WebSocket.
        Wss = 4,
    }
}

numbered! {
    /// A leg's part.
    LegRole {
        /// It placed the call.
        Caller = 0,
        /// It was rung.
        Callee = 1,
    }
}

numbered! {
    /// Who ended a call.
    EndedBy {
        /// The caller.
        Caller = 0,
        /// The callee.
        Callee = 1,
        /// The node.
        Node = 2,
    }
}

numbered! {
    /// Why a call ended.
    EndCause {
        /// A party hung up.
        HungUp = 0,
        /// The caller gave up.
        Cancelled = 1,
        /// Busy.
        Busy = 2,
        /// Declined.
        Declined = 3,
        /// Nobody answered.
        NoAnswer = 4,
        /// No contact.
        NotRegistered = 5,
        /// No such number.
        NotFound = 6,
        /// Not allowed.
        NotPermitted = 7,
        /// No media in common.
        Incompatible = 8,
        /// A side failed.
        Failed = 9,
        /// A phone vanished.
        Vanished = 10,
        /// No media for too long.
        MediaSilence = 11,
        /// It lasted too long.
        TooLong = 12,
        /// The operator ended it.
        Shutdown = 13,
        /// No room.
        Overloaded = 14,
        /// The node was down, and the call could not be gone on with.
        Outage = 15,
    }
}
