//! Header names this crate knows, with their compact forms, found without an allocation.

use std::fmt;

/// Declares the enum, its canonical spellings and its compact letters from one list, so that they cannot disagree.
macro_rules! header_names {
    ($( $(#[$doc:meta])* $variant:ident = $text:literal $(/ $compact:literal)? ),* $(,)?) => {
        /// A header name this crate knows. Names it does not know are looked up by text: [`Headers::get`](super::Headers::get).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum HeaderName {
            $( $(#[$doc])* #[doc = concat!("`", $text, "`", $(" (compact `", $compact, "`)",)?)] $variant, )*
        }

        impl HeaderName {
            /// Every known name, in the order of the enum.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
        }

        /// Canonical spelling and compact form (0: none), indexed by discriminant.
        const SPELLINGS: &[(&str, u8)] = &[$(($text, 0 $(+ $compact.as_bytes()[0])?)),*];
    };
}

header_names! {
    Accept = "Accept",
    AcceptContact = "Accept-Contact" / "a",
    AcceptEncoding = "Accept-Encoding",
    AcceptLanguage = "Accept-Language",
    AlertInfo = "Alert-Info",
    Allow = "Allow",
    AllowEvents = "Allow-Events" / "u",
    AuthenticationInfo = "Authentication-Info",
    Authorization = "Authorization",
    CallId = "Call-ID" / "i",
    CallInfo = "Call-Info",
    Contact = "Contact" / "m",
    ContentDisposition = "Content-Disposition",
    ContentEncoding = "Content-Encoding" / "e",
    ContentId = "Content-ID",
    ContentLanguage = "Content-Language",
    ContentLength = "Content-Length" / "l",
    ContentType = "Content-Type" / "c",
    CSeq = "CSeq",
    Date = "Date",
    Diversion = "Diversion",
    ErrorInfo = "Error-Info",
    Event = "Event" / "o",
    Expires = "Expires",
    FeatureCaps = "Feature-Caps",
    FlowTimer = "Flow-Timer",
    From = "From" / "f",
    Geolocation = "Geolocation",
    HistoryInfo = "History-Info",
    Identity = "Identity" / "y",
    IdentityInfo = "Identity-Info" / "n",
    InfoPackage = "Info-Package",
    InReplyTo = "In-Reply-To",
    Join = "Join",
    MaxBreadth = "Max-Breadth",
    MaxForwards = "Max-Forwards",
    MimeVersion = "MIME-Version",
    MinExpires = "Min-Expires",
    MinSe = "Min-SE",
    Organization = "Organization",
    PAccessNetworkInfo = "P-Access-Network-Info",
    PAssertedIdentity = "P-Asserted-Identity",
    PAssociatedUri = "P-Associated-URI",
    PCalledPartyId = "P-Called-Party-ID",
    PEarlyMedia = "P-Early-Media",
    PPreferredIdentity = "P-Preferred-Identity",
    Path = "Path",
    Priority = "Priority",
    Privacy = "Privacy",
    ProxyAuthenticate = "Proxy-Authenticate",
    ProxyAuthenticationInfo = "Proxy-Authentication-Info",
    ProxyAuthorization = "Proxy-Authorization",
    ProxyRequire = "Proxy-Require",
    RAck = "RAck",
    Reason = "Reason",
    RecordRoute = "Record-Route",
    RecvInfo = "Recv-Info",
    ReferSub = "Refer-Sub",
    ReferTo = "Refer-To" / "r",
    ReferredBy = "Referred-By" / "b",
    RejectContact = "Reject-Contact" / "j",
    RemotePartyId = "Remote-Party-ID",
    Replaces = "Replaces",
    ReplyTo = "Reply-To",
    RequestDisposition = "Request-Disposition" / "d",
    Require = "Require",
    ResourcePriority = "Resource-Priority",
    RetryAfter = "Retry-After",
    Route = "Route",
    RSeq = "RSeq",
    SecurityClient = "Security-Client",
    SecurityServer = "Security-Server",
    SecurityVerify = "Security-Verify",
    Server = "Server",
    ServiceRoute = "Service-Route",
    SessionExpires = "Session-Expires" / "x",
    SipEtag = "SIP-ETag",
    SipIfMatch = "SIP-If-Match",
    Subject = "Subject" / "s",
    SubscriptionState = "Subscription-State",
    Supported = "Supported" / "k",
    SuppressIfMatch = "Suppress-If-Match",
    TargetDialog = "Target-Dialog",
    Timestamp = "Timestamp",
    To = "To" / "t",
    Unsupported = "Unsupported",
    UserAgent = "User-Agent",
    UserToUser = "User-to-User",
    Via = "Via" / "v",
    Warning = "Warning",
    WwwAuthenticate = "WWW-Authenticate",
}

impl HeaderName {
    /// The name behind `text`, in any case, long or compact (RFC 3261 §7.3.3 and the IANA registry of compact forms).
    pub fn parse(text: &str) -> Option<Self> {
        Self::from_bytes(text.as_bytes())
    }

    /// As [`HeaderName::parse`], for octets that have not been checked to be text.
    pub(crate) fn from_bytes(text: &[u8]) -> Option<Self> {
        let &first = text.first()?;
        if text.len() == 1 {
            return Self::from_discriminant(COMPACT[usize::from(first & 31)])
                .filter(|_| first.is_ascii_alphabetic());
        }
        let mut candidate = BUCKETS[bucket(first, text.len())];
        while candidate != NONE {
            let index = usize::from(candidate);
            let spelling = SPELLINGS[index].0.as_bytes();
            // Nearly everybody writes the canonical form.
            if spelling == text || spelling.eq_ignore_ascii_case(text) {
                return Self::from_discriminant(candidate);
            }
            candidate = CHAIN[index];
        }
        None
    }

    /// The canonical spelling.
    pub const fn as_str(self) -> &'static str {
        SPELLINGS[self as usize].0
    }

    /// The compact form, in lower case.
    pub const fn compact(self) -> Option<char> {
        match SPELLINGS[self as usize].1 {
            0 => None,
            letter => Some(letter as char),
        }
    }

    /// Its place in a set of names.
    pub(crate) const fn bit(self) -> u128 {
        1 << self as u32
    }

    /// The name whose discriminant is `index`.
    pub(crate) fn from_discriminant(index: u8) -> Option<Self> {
        Self::ALL.get(usize::from(index)).copied()
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Marks a slot whose name is not known, an empty bucket and the end of a chain.
pub(crate) const NONE: u8 = u8::MAX;

/// First name of each bucket of equal length and first letter: most buckets hold one name, so a lookup is one comparison.
const BUCKETS: [u8; 1024] = build_buckets().0;
/// The next name of the same bucket.
const CHAIN: [u8; SPELLINGS.len()] = build_buckets().1;
/// Names by compact letter.
const COMPACT: [u8; 32] = build_compact();

const fn bucket(first: u8, len: usize) -> usize {
    (len & 31) << 5 | (first & 31) as usize
}

const fn build_buckets() -> ([u8; 1024], [u8; SPELLINGS.len()]) {
    let (mut buckets, mut chain) = ([NONE; 1024], [NONE; SPELLINGS.len()]);
    let mut index = 0;
    while index < SPELLINGS.len() {
        let text = SPELLINGS[index].0.as_bytes();
        let slot = bucket(text[0], text.len());
        chain[index] = buckets[slot];
        buckets[slot] = index as u8;
        index += 1;
    }
    (buckets, chain)
}

const fn build_compact() -> [u8; 32] {
    let mut table = [NONE; 32];
    let mut index = 0;
    while index < SPELLINGS.len() {
        let letter = SPELLINGS[index].1;
        if letter != 0 {
            table[(letter & 31) as usize] = index as u8;
        }
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case_and_by_its_compact_form() {
        for &name in HeaderName::ALL {
            assert_eq!(HeaderName::parse(name.as_str()), Some(name));
            assert_eq!(HeaderName::parse(&name.as_str().to_uppercase()), Some(name));
            if let Some(letter) = name.compact() {
                assert_eq!(HeaderName::parse(&letter.to_string()), Some(name));
                assert_eq!(HeaderName::parse(&letter.to_uppercase().to_string()), Some(name));
            }
        }
        assert!(HeaderName::ALL.len() <= 128, "a set of names is 128 bits");
    }

    #[test]
    fn what_is_no_known_name_is_not_found() {
        for text in ["", "!", "6", "Vi", "Viaa", "Call_ID", "C%6Fntact", "g", "Å"] {
            assert_eq!(HeaderName::parse(text), None, "{text}");
        }
    }
}
