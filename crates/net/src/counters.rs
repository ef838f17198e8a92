//! What the sockets count: read by the metrics endpoint, written from every thread.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows, or a level that goes up and down. Relaxed: each one is read alone.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds `amount`.
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// For levels: takes one away.
    pub fn decrement(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// Its value now.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[doc = $help:literal])+ $name:ident,)+) => {
        /// Everything the sockets count since the process began. One per process, shared by all workers and streams.
        #[derive(Debug, Default)]
        pub struct NetCounters {
            $($(#[doc = $help])+ pub $name: Counter,)+
        }

        impl NetCounters {
            /// Every counter as (name, help, value), in the order of the declaration: what a metrics endpoint prints.
            pub fn snapshot(&self) -> Vec<(&'static str, &'static str, u64)> {
                vec![$((stringify!($name), concat!($($help),+).trim_ascii(), self.$name.value()),)+]
            }
        }
    };
}

counters! {
    /// Datagrams received, keep-alives included.
    udp_received,
    /// Datagrams handed to the kernel.
    udp_sent,
    /// UDP octets received.
    udp_received_bytes,
    /// UDP octets handed to the kernel.
    udp_sent_bytes,
    /// CRLF and empty datagrams dropped: they only keep a NAT open.
    udp_keepalives,
    /// Datagrams dropped because the kernel cut them.
    udp_truncated,
    /// Errors on reading a UDP socket.
    udp_receive_errors,
    /// Datagrams the kernel refused to send.
    udp_send_errors,
    /// Datagrams refused because the send queue was full.
    udp_queue_full,
    /// STUN binding requests answered (RFC 5626 section 3.5.2).
    stun_answered,
    /// STUN messages that were no proper binding request; dropped.
    stun_dropped,
    /// Stream connections accepted.
    connections_accepted,
    /// Stream connections opened by us.
    connections_opened,
    /// Stream connections closed, for whatever reason.
    connections_closed,
    /// Stream connections open now (a level).
    connections_open,
    /// Times that a connection could not be accepted for want of descriptors or memory.
    accept_failures,
    /// Connections refused because the total limit was reached.
    refused_total_limit,
    /// Connections refused because their source holds too many.
    refused_source_limit,
    /// Connections refused because their source is denied or banned.
    refused_shut_out,
    /// TLS or WebSocket handshakes that failed.
    handshake_failures,
    /// TLS or WebSocket handshakes that took too long.
    handshake_timeouts,
    /// Outgoing connections that could not be opened.
    connect_failures,
    /// Connections closed because they were silent for too long.
    closed_idle,
    /// Connections closed because a message stayed incomplete for too long.
    closed_partial_message,
    /// Connections closed because a message was over the size limit.
    closed_too_large,
    /// Connections closed because what came could not be split into messages.
    closed_malformed,
    /// Connections closed because the peer did not read fast enough.
    closed_slow_reader,
    /// Messages received over streams.
    stream_received,
    /// Messages written to streams.
    stream_sent,
    /// CRLF keep-alive pings answered on streams (RFC 5626 section 3.5.1).
    stream_keepalives,
    /// Messages for streams that failed before they were written.
    stream_send_errors,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_snapshot_names_each_counter_with_its_value() {
        let counters = NetCounters::default();
        counters.udp_received.add(3);
        let snapshot = counters.snapshot();
        assert_eq!(snapshot[0].0, "udp_received");
        assert_eq!(snapshot[0].1, "Datagrams received, keep-alives included.");
        assert_eq!(snapshot[0].2, 3);
    }
}
