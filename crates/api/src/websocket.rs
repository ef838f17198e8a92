//! The door for SIP over WebSocket (RFC 7118): the HTTP handshake happens here, the stream then belongs to the node.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use aws_lc_rs::digest;
use axum::{
    body::Body,
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::Response,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper::{
    rt::{Read as _, Write as _},
    upgrade::{OnUpgrade, Upgraded},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{Api, Problem, ends::Ends};

/// What every handshake's key is hashed with (RFC 6455 §1.3).
const HANDSHAKE_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The subprotocol of SIP (RFC 7118 §4).
const SUBPROTOCOL: &str = "sip";

/// Takes every stream whose handshake is done.
pub type SipWebSocketHook = Arc<dyn Fn(SipWebSocket) + Send + Sync>;

/// A connection on which WebSocket frames follow; the node is the server.
pub struct SipWebSocket {
    /// The bytes.
    pub stream: UpgradedStream,
    /// Their end. Behind a reverse proxy it is the proxy's.
    pub remote: SocketAddr,
    /// Our end.
    pub local: SocketAddr,
}

/// Answers the handshake of RFC 6455 §4.2.2 and hands the stream on.
pub(crate) async fn upgrade(
    State(api): State<Api>,
    ConnectInfo(ends): ConnectInfo<Ends>,
    mut request: Request,
) -> Result<Response, Problem> {
    let Some(hook) = api.sip_websocket().cloned() else {
        return Err(Problem::missing(
            "SIP over WebSocket here",
            "set http.websocket_sip = true in offhook.toml",
        ));
    };
    let headers = request.headers();
    if !lists(headers, &header::CONNECTION, "upgrade") || !lists(headers, &header::UPGRADE, "websocket") {
        return Err(Problem::upgrade_required("this address speaks WebSocket only"));
    }
    if !lists(headers, &header::SEC_WEBSOCKET_VERSION, "13") {
        return Err(Problem::upgrade_required("only version 13 of WebSocket is spoken"));
    }
    if !lists(headers, &header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL) {
        return Err(Problem::malformed("the subprotocol `sip` must be offered (RFC 7118 §4)"));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).and_then(|key| key.to_str().ok());
    // The key is 16 octets in base64 (RFC 6455 §4.1).
    let key = key.filter(|key| STANDARD.decode(key).is_ok_and(|octets| octets.len() == 16));
    let accept =
        accept_of(key.ok_or_else(|| Problem::malformed("Sec-WebSocket-Key must be 16 octets in base64"))?);
    let Some(upgrading) = request.extensions_mut().remove::<OnUpgrade>() else {
        return Err(Problem::upgrade_required("this connection cannot be upgraded"));
    };
    tokio::spawn(async move {
        match upgrading.await {
            Ok(stream) => {
                hook(SipWebSocket { stream: UpgradedStream(stream), remote: ends.remote, local: ends.local })
            }
            Err(error) => tracing::debug!(%error, "a WebSocket client left during the handshake"),
        }
    });
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, accept)
        .header(header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL)
        .body(Body::empty())
        .map_err(|_| Problem::malformed("the handshake cannot be answered"))
}

/// Whether a comma-separated header names `token`, whatever its case.
fn lists(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|value| value.trim().eq_ignore_ascii_case(token))
}

fn accept_of(key: &str) -> String {
    let text = format!("{key}{HANDSHAKE_SUFFIX}");
    // RFC 6455 prescribes SHA-1; it only proves that the server understood the handshake.
    STANDARD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
}

/// hyper's upgraded connection as tokio's traits.
pub struct UpgradedStream(Upgraded);

impl AsyncRead for UpgradedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let length = {
            let mut theirs = hyper::rt::ReadBuf::new(buffer.initialize_unfilled());
            ready!(Pin::new(&mut self.0).poll_read(cx, theirs.unfilled()))?;
            theirs.filled().len()
        };
        buffer.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for UpgradedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_header_is_that_of_rfc_6455_section_1_3() {
        assert_eq!(accept_of("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
