//! A conversation over TCP or TLS: octets that must be split into messages.

use std::{io, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use offhook_sip::{
    message::stream::{Framer, Framing, StreamError},
    transport::Flow,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, timeout, timeout_at},
};

use super::{
    Streams,
    session::{Pong, Queue, lost},
};
use crate::CloseReason;

/// Room made for each read, in bytes: a usual message with some to spare.
const READ_BYTES: usize = 4096;

/// How long a connection that cannot be read any further stays open for the answer that says so.
const LAST_WORD: Duration = Duration::from_millis(500);

/// Carries messages both ways until either side ends it.
pub(super) async fn converse(
    streams: &Streams,
    flow: Flow,
    io: impl AsyncRead + AsyncWrite,
    queue: &mut Queue,
) -> CloseReason {
    let (reader, writer) = tokio::io::split(io);
    let pong = Pong::default();
    let aborted = queue.aborted();
    tokio::select! {
        reason = read(streams, flow, reader, &pong) => reason,
        reason = write(streams, writer, queue, &pong) => reason,
        reason = aborted => reason,
    }
}

async fn read(streams: &Streams, flow: Flow, mut io: impl AsyncRead + Unpin, pong: &Pong) -> CloseReason {
    let limits = streams.limits();
    let mut buffer = BytesMut::new();
    let mut framer = Framer::new();
    // When the message that stands in the buffer must be whole; trickling octets do not move it.
    let mut complete_by = None;
    loop {
        match framer.poll(&buffer) {
            Framing::Frame(length) => {
                complete_by = None;
                streams.received(flow, take(&mut buffer, length)).await;
            }
            Framing::Ping(length) => {
                buffer.advance(length);
                pong.owe();
                streams.counters().stream_keepalives.increment();
            }
            Framing::Pong(length) => buffer.advance(length),
            Framing::Incomplete => {
                let by = begins_message(&buffer).then(|| {
                    *complete_by.get_or_insert_with(|| Instant::now() + limits.partial_message_timeout)
                });
                if let Err(reason) = fill(&mut io, &mut buffer, by, limits.idle_timeout).await {
                    return reason;
                }
            }
            Framing::Error(StreamError::TooLarge) => return CloseReason::TooLarge,
            Framing::Error(StreamError::ContentLength { head }) => {
                // The head alone is what the core can refuse with 400; then nobody knows where to read on.
                streams.received(flow, take(&mut buffer, head)).await;
                tokio::time::sleep(LAST_WORD).await;
                return CloseReason::Malformed;
            }
        }
    }
}

/// The first `length` octets, as a copy of their own size: a message that is kept shall not keep the buffer.
fn take(buffer: &mut BytesMut, length: usize) -> Bytes {
    let bytes = Bytes::copy_from_slice(&buffer[..length]);
    buffer.advance(length);
    bytes
}

/// Whether more than the line ends of keep-alives waits in the buffer.
fn begins_message(buffer: &[u8]) -> bool {
    !matches!(buffer.first(), None | Some(b'\r' | b'\n'))
}

/// Reads some octets.
async fn fill(
    io: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
    complete_by: Option<Instant>,
    idle_timeout: Duration,
) -> Result<(), CloseReason> {
    buffer.reserve(READ_BYTES);
    let reading = io.read_buf(buffer);
    let read = match complete_by {
        Some(by) => timeout_at(by, reading).await.map_err(|_| CloseReason::PartialMessage)?,
        None => timeout(idle_timeout, reading).await.map_err(|_| CloseReason::Idle)?,
    };
    match read {
        Ok(0) => Err(CloseReason::Peer),
        Ok(_) => Ok(()),
        Err(error) => Err(lost(&error)),
    }
}

async fn write(
    streams: &Streams,
    mut io: impl AsyncWrite + Unpin,
    queue: &mut Queue,
    pong: &Pong,
) -> CloseReason {
    let limit = streams.limits().write_timeout;
    loop {
        let (octets, is_message) = tokio::select! {
            outbound = queue.next() => match outbound {
                Some(outbound) => (outbound.bytes, true),
                None => break,
            },
            () = pong.owed() => (Bytes::from_static(b"\r\n"), false),
        };
        match timeout(limit, write_all(&mut io, &octets)).await {
            Ok(Ok(())) if is_message => streams.counters().stream_sent.increment(),
            Ok(Ok(())) => {}
            Ok(Err(error)) => return lost(&error),
            Err(_) => return CloseReason::SlowReader,
        }
    }
    // close_notify and FIN, so that the peer reads the last message to its end.
    let _ = timeout(limit, io.shutdown()).await;
    CloseReason::Local
}

async fn write_all(io: &mut (impl AsyncWrite + Unpin), octets: &[u8]) -> io::Result<()> {
    io.write_all(octets).await?;
    // TLS may still hold some.
    io.flush().await
}
