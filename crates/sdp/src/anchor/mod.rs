//! Rewriting a description for the other leg of a call whose media we relay.
//!
//! Think of a customs house: what the other side needs to know (codecs, their parameters, packet lengths,
//! direction, bandwidth, attributes we have never heard of) passes in order and untouched; what tells who or where
//! the writer is stops here and is replaced by our own.
//!
//! | Line | What becomes of it |
//! |---|---|
//! | `v=` `t=` `r=` `z=` `b=` | pass; a missing `t=` becomes `t=0 0` |
//! | `o=` | ours: user `node`, our session id and version, our address |
//! | `s=` | `-`: a subject may name people |
//! | `i=` `u=` `e=` `p=` | dropped, of the session and of the streams: free text, links, mail, telephone numbers |
//! | `k=` | dropped: keys in clear, obsolete (RFC 8866 §5.12) |
//! | `c=` | ours for the session, and for each stream that needs another than the session's |
//! | `m=` | our port, the planned profile; kind and formats pass; a port count becomes one |
//! | `a=` | see [`filter`] |
//! | unknown letters | pass unless they hold an address |
//!
//! An unspecified address (`c=0.0.0.0`, the hold of RFC 2543) cannot survive the replacement of `c=`; it is said by
//! the direction instead: `sendrecv` becomes `sendonly`, `recvonly` becomes `inactive`.
//! Lines end with CRLF, whatever they ended with.
//!
//! ```
//! use offhook_sdp::{AnchorPlan, MediaPlan, OwnOrigin, SessionDescription, anchor};
//! let offer = SessionDescription::parse(
//!     "v=0\no=jane 7 1 IN IP4 192.0.2.1\ns=Jane\nc=IN IP4 192.0.2.1\nt=0 0\nm=audio 4000 RTP/AVP 8\na=ptime:20\n",
//! )?;
//! let origin = OwnOrigin { session_id: 77, version: 1, address: "203.0.113.10".parse().unwrap() };
//! let media = vec![MediaPlan::relay("203.0.113.10:30000".parse().unwrap())];
//! assert_eq!(
//!     anchor(&offer, &AnchorPlan { origin, media }),
//!     "v=0\r\no=node 77 1 IN IP4 203.0.113.10\r\ns=-\r\nc=IN IP4 203.0.113.10\r\nt=0 0\r\n\
//!      m=audio 30000 RTP/AVP 8\r\na=ptime:20\r\n"
//! );
//! # Ok::<(), offhook_sdp::SdpError>(())
//! ```

pub mod filter;
mod plan;
mod rewrite;

pub use plan::{AnchorPlan, CryptoPlan, MediaPlan, RtcpMuxPlan};
pub use rewrite::{anchor, anchored};
