//! A conversation over TCP or TLS: octets that must be split into messages.

use std::{io, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use offhook_sip::transport::Flow;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, timeout, timeout_at},
};

use super::{
    Streams,
    framing::{Frame, Framer, FramingError},
    session::{Pong, Queue, lost},
};
use crate::CloseReason;

/// Room made for each read, in bytes: a usual message with some to spare.
const READ_BYTES: usize = 4096;

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
    let mut framer = Framer::default();
    // When the message that stands in the buffer must be whole; trickling octets do not move it.
    let mut complete_by = None;
    loop {
        match framer.next(&buffer, limits.message_bytes_max) {
            Ok(Frame::Message(length)) => {
                complete_by = None;
                // A copy of its own size: a message that is kept shall not keep the buffer.
                let bytes = Bytes::copy_from_slice(&buffer[..length]);
                buffer.advance(length);
                streams.received(flow, bytes).await;
            }
            Ok(Frame::Ping(length)) => {
                buffer.advance(length);
                pong.owe();
                streams.counters().stream_keepalives.increment();
            }
            Ok(Frame::Filler(length)) => buffer.advance(length),
            Ok(frame @ (Frame::Partial | Frame::Empty)) => {
                let partial = frame == Frame::Partial;
                let by = partial.then(|| {
                    *complete_by.get_or_insert_with(|| Instant::now() + limits.partial_message_timeout)
                });
                if let Err(reason) = fill(&mut io, &mut buffer, by, limits.idle_timeout).await {
                    return reason;
                }
            }
            Err(FramingError::TooLarge) => return CloseReason::TooLarge,
            Err(FramingError::ContentLength) => return CloseReason::Malformed,
        }
    }
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
        let octets = tokio::select! {
            outbound = queue.next() => match outbound {
                Some(outbound) => outbound.bytes,
                None => break,
            },
            () = pong.owed() => Bytes::from_static(b"\r\n"),
        };
        let is_message = octets.len() > 2;
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
