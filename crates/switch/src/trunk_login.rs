//! How the node proves itself to a peer that challenges it (RFC 3261 §22.2, RFC 7616).

use offhook_base::Random;
use offhook_sip::{
    digest::{DigestSession, HashFunction},
    message::{Method, Response, StatusCode},
};

use crate::directory::Peer;

/// The value of the header that answers the challenge in `response`, and whether it is Proxy-Authorization. `None` if the
/// peer has no credentials or challenges by nothing we know.
pub fn answer_challenge(
    peer: &Peer,
    response: &Response,
    method: &Method,
    uri: &str,
    body: &[u8],
    random: &mut Random,
) -> Option<(bool, Box<str>)> {
    let (username, secret) = (peer.username.as_deref()?, peer.secret.as_ref()?);
    let by_proxy = response.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED;
    let headers = response.headers();
    let ha1 = |hash: HashFunction, realm: &str| Some(hash.ha1(username, realm, secret.reveal()));
    let mut session = if by_proxy {
        DigestSession::answer_to(username, headers.proxy_authenticate(), ha1)
    } else {
        DigestSession::answer_to(username, headers.www_authenticate(), ha1)
    }?;
    Some((by_proxy, session.authorize(method, uri, body, random).into()))
}
