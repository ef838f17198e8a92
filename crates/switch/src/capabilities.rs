//! What the node says of itself: the methods, extensions and bodies it takes.

/// The Allow header. REFER, SUBSCRIBE, NOTIFY and PUBLISH join it when they are built.
pub const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER, PRACK, UPDATE, INFO, MESSAGE";

/// The Supported header: PRACK (RFC 3262), session timers (RFC 4028), and for registrations Path (RFC 3327), outbound
/// (RFC 5626) and GRUU (RFC 5627).
pub const SUPPORTED: &str = "100rel, timer, path, outbound, gruu";

/// Extensions a peer may require of the node, for RFC 3261 §8.2.2.3.
pub const REQUIRABLE: &[&str] = &["100rel", "timer", "path", "outbound", "gruu"];

/// The Accept header.
pub const ACCEPT: &str = "application/sdp, multipart/mixed, text/plain";

/// Bodies an INVITE may have to carry, for RFC 3261 §8.2.3.
pub const INVITE_BODIES: &[&str] =
    &["application/sdp", "multipart/mixed", "multipart/alternative", "multipart/related"];
