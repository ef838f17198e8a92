//! What crosses from one leg to the other: the one table for headers and bodies.
//!
//! The node is a back-to-back user agent (RFC 7092 §3.2, a media-plane B2BUA): each leg is a dialog of its own. So by
//! default nothing crosses; what does stands in [`CROSSING`]. `docs/reference/crossing.md` is made from this table.

use offhook_sip::header::HeaderName;

/// What happens to a header at the border between legs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Copied as it is.
    Crosses,
    /// Written by the node for the new leg from what it knows.
    MadeAnew,
    /// Ends here.
    Stops,
    /// Copied, but not from a line to a peer: outside it would pass for our word.
    StopsToPeers,
    /// Copied to lines only: what it names is inside, or another peer's.
    StopsOutwards,
    /// Copied from line to line only.
    StaysInside,
}

/// What is at one end of the border.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// A line of ours.
    Line,
    /// A peer: outside.
    Peer,
}

impl Fate {
    /// Whether a header with this fate is copied from what `from` sends to what `to` gets.
    const fn crosses(self, from: Party, to: Party) -> bool {
        match self {
            Self::Crosses => true,
            Self::MadeAnew | Self::Stops => false,
            Self::StopsToPeers => !matches!((from, to), (Party::Line, Party::Peer)),
            Self::StopsOutwards => matches!(to, Party::Line),
            Self::StaysInside => matches!((from, to), (Party::Line, Party::Line)),
        }
    }
}

/// The table: header, fate, and why.
pub const CROSSING: &[(HeaderName, Fate, &str)] = {
    use Fate::{Crosses, MadeAnew, StaysInside, Stops, StopsOutwards, StopsToPeers};
    use HeaderName as H;
    &[
        (H::Via, MadeAnew, "each leg has its own path"),
        (H::From, MadeAnew, "the proven identity of the caller, with a tag of ours"),
        (H::To, MadeAnew, "the address that was called; the tag belongs to the leg"),
        (H::CallId, MadeAnew, "each leg is a dialog of its own"),
        (H::CSeq, MadeAnew, "each leg counts for itself"),
        (H::Contact, MadeAnew, "requests in the dialog come to the node"),
        (H::MaxForwards, MadeAnew, "the received value less one, so that loops through the node end"),
        (H::Route, MadeAnew, "from the leg's own route set"),
        (H::RecordRoute, Stops, "describes the other leg's path"),
        (H::Path, Stops, "belongs to a registration"),
        (H::ContentLength, MadeAnew, "counted when the message is written"),
        (H::ContentType, MadeAnew, "of the body that is sent"),
        (H::Allow, MadeAnew, "what the node does"),
        (H::Supported, MadeAnew, "what the node supports"),
        (H::Require, MadeAnew, "what the node needs on this leg"),
        (H::ProxyRequire, Stops, "asked of proxies on the other leg's path"),
        (H::Unsupported, Stops, "answers this leg's Require"),
        (H::SessionExpires, MadeAnew, "each leg has its own session timer (RFC 4028)"),
        (H::MinSe, MadeAnew, "each leg has its own session timer (RFC 4028)"),
        (H::RSeq, MadeAnew, "each leg has its own reliable provisionals (RFC 3262)"),
        (H::RAck, MadeAnew, "each leg has its own reliable provisionals (RFC 3262)"),
        (H::UserAgent, MadeAnew, "the software behind a line is nobody's business"),
        (H::Server, MadeAnew, "the software behind a line is nobody's business"),
        (H::Authorization, Stops, "a proof towards the node"),
        (H::ProxyAuthorization, Stops, "a proof towards the node"),
        (H::WwwAuthenticate, Stops, "a challenge to the node"),
        (H::ProxyAuthenticate, Stops, "a challenge to the node"),
        (H::AuthenticationInfo, Stops, "a proof towards the node"),
        (H::PAssertedIdentity, MadeAnew, "the identity the node vouches for (RFC 3325 §5)"),
        (H::PPreferredIdentity, Stops, "a wish of the caller, decided by the node (RFC 3325 §5)"),
        (H::RemotePartyId, Stops, "an unproven claim; never standardised"),
        (H::Privacy, Crosses, "the caller's wish binds every hop (RFC 3323 §4.2)"),
        (H::Replaces, Stops, "names a dialog of the other leg; translated when transfers come"),
        (H::TargetDialog, Stops, "names a dialog of the other leg"),
        (H::Join, Stops, "names a dialog of the other leg"),
        (H::ReferTo, Stops, "transfers are refused for now"),
        (H::ReferredBy, Stops, "transfers are refused for now"),
        (H::Timestamp, Stops, "measures the other leg's hop"),
        (H::Date, Stops, "a clock beyond the node"),
        (H::Geolocation, Stops, "a location is given only where the law or the user says so"),
        (H::PAccessNetworkInfo, Stops, "tells where the caller is"),
        (H::SecurityClient, Stops, "agreed with the node"),
        (H::SecurityServer, Stops, "agreed with the node"),
        (H::SecurityVerify, Stops, "agreed with the node"),
        (H::Identity, Stops, "signs headers that the node writes anew"),
        (
            H::HistoryInfo,
            StopsToPeers,
            "tells how the call got here (RFC 7044); a line's word for it is unproven",
        ),
        (H::Diversion, StopsToPeers, "the same in the older form (RFC 5806)"),
        (H::Reason, Crosses, "why the other side ended it (RFC 3326)"),
        (H::Warning, StopsOutwards, "why the other side refused; names the host that says so"),
        (H::RetryAfter, Crosses, "when the other side can be reached"),
        (H::ErrorInfo, StopsOutwards, "more on a refusal, at an address"),
        (H::AlertInfo, StaysInside, "how to ring; phones fetch its address, or answer by themselves"),
        (
            H::CallInfo,
            StaysInside,
            "what the call is about; phones fetch its address, or answer by themselves",
        ),
        (H::Subject, Crosses, "what the call is about"),
        (H::Priority, Crosses, "how urgent it is"),
        (H::ResourcePriority, StopsToPeers, "how urgent it is (RFC 4412); networks make room for it"),
        (H::Organization, Crosses, "whose the caller is"),
        (H::ReplyTo, StopsOutwards, "where to call back, with a host"),
        (H::InReplyTo, Stops, "names calls of the other leg"),
        (H::AcceptLanguage, Crosses, "how to speak to the user"),
        (H::AcceptContact, Crosses, "which device the caller wants (RFC 3841)"),
        (H::RejectContact, Crosses, "which device the caller does not want (RFC 3841)"),
        (H::RequestDisposition, Crosses, "how the caller wants it handled (RFC 3841)"),
        (H::PEarlyMedia, Crosses, "whether early media is meant to be heard (RFC 5009)"),
        (H::UserToUser, Crosses, "data between the users (RFC 7433)"),
        (H::InfoPackage, Crosses, "what an INFO carries (RFC 6086)"),
        (H::RecvInfo, Crosses, "which INFO the other side takes (RFC 6086)"),
        (H::ContentDisposition, Crosses, "how to treat a body that crosses"),
        (H::ContentEncoding, Crosses, "how a body that crosses is packed"),
        (H::ContentLanguage, Crosses, "the language of a body that crosses"),
        (H::MimeVersion, Crosses, "the form of a body that crosses"),
    ]
};

/// The headers that cross from what `from` sends to what `to` gets, in the table's order.
pub fn crossing_headers(from: Party, to: Party) -> impl Iterator<Item = HeaderName> {
    CROSSING.iter().filter(move |(_, fate, _)| fate.crosses(from, to)).map(|&(name, _, _)| name)
}

/// The table as the page of the reference.
pub fn reference_page() -> String {
    let mut page = String::from(
        "# What crosses from leg to leg\n\nMade from `crates/switch/src/crossing.rs`. A header that is not listed stops.\n\n\
         | header | fate | why |\n| --- | --- | --- |\n",
    );
    for (name, fate, why) in CROSSING {
        let fate = match fate {
            Fate::Crosses => "crosses",
            Fate::MadeAnew => "made anew",
            Fate::Stops => "stops",
            Fate::StopsToPeers => "crosses, but not from a line to a peer",
            Fate::StopsOutwards => "crosses to lines, stops to peers",
            Fate::StaysInside => "crosses from line to line only",
        };
        page.push_str(&format!("| {} | {fate} | {why} |\n", name.as_str()));
    }
    page.push_str(
        "\n| body | fate |\n| --- | --- |\n\
         | `application/sdp` | made anew: the description is rewritten for the node's own media addresses |\n\
         | `multipart/*` with a description | the description alone, rewritten; other parts stop |\n\
         | of INFO and MESSAGE | crosses octet for octet, whatever its type |\n\
         | of other requests and responses | stops |\n",
    );
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_header_has_two_fates() {
        for (index, (name, _, _)) in CROSSING.iter().enumerate() {
            assert!(CROSSING[..index].iter().all(|(other, _, _)| other != name), "{name:?} stands twice");
        }
    }

    #[test]
    fn nothing_that_locates_or_proves_a_party_crosses() {
        use HeaderName as H;
        for name in [
            H::Via,
            H::RecordRoute,
            H::Contact,
            H::Authorization,
            H::PAccessNetworkInfo,
            H::UserAgent,
            H::CallId,
        ] {
            for from in [Party::Line, Party::Peer] {
                let mut crossing =
                    crossing_headers(from, Party::Peer).chain(crossing_headers(from, Party::Line));
                assert!(crossing.all(|crossing| crossing != name), "{name:?}");
            }
        }
    }

    #[test]
    fn outside_callers_ring_no_phone_their_way_and_lines_claim_nothing_outside() {
        use HeaderName as H;
        use Party::{Line, Peer};
        let crosses = |name, from, to| crossing_headers(from, to).any(|crossing| crossing == name);
        for name in [H::AlertInfo, H::CallInfo] {
            assert!(crosses(name, Line, Line) && !crosses(name, Peer, Line) && !crosses(name, Peer, Peer));
        }
        for name in [H::HistoryInfo, H::Diversion, H::ResourcePriority] {
            assert!(crosses(name, Line, Line) && crosses(name, Peer, Line) && crosses(name, Peer, Peer));
            assert!(!crosses(name, Line, Peer), "{name:?}");
        }
    }
}
