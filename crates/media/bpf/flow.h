/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What the maps hold. crates/media/src/kernel/layout.rs mirrors it octet for octet; change both, and LAYOUT there. */
#pragma once

#include <linux/bpf.h>
#include <linux/types.h>

/* Payload types of one stream that cross here; packets of any other go up. A call has a codec, events, perhaps noise. */
#define PAYLOAD_TYPES 4
/* In `payload_types`: no payload type. */
#define NONE 0xff
/* Octets of a datagram that fit every link of IPv6 unfragmented (RFC 8200 section 5). Longer ones go up: only a socket knows
 * how long a packet may be on the way out. */
#define DATAGRAM_MAX (1280 - 40 - 8)
/* Streams at once, each direction one: 32,768 anchored calls. The map grows as it is used. */
#define FLOWS_MAX 65536

/* Where a packet came to: one of our RTP ports. IPv4 uses the first four octets. */
struct key {
    __u8 address[16];
    __be16 port;
    __u16 family; /* 4 or 6 */
};

/* What RFC 3550 wants counted. Begins with what user space had counted, so that it is the whole stream's at any time. */
struct progress {
    __u64 packets;
    __u64 octets; /* of payload */
    __u64 payload_packets[PAYLOAD_TYPES];
    /* The window of sequence numbers: newest and first with their turns; bit n of `seen`: newest - n came. */
    __u64 newest, first, seen, received;
    /* What fell out of the window. */
    __u64 expected, lost, bursts, burst_max, run;
    __u64 reordered, late, duplicates;
    /* Nanoseconds since `epoch`. */
    __u64 last_arrival, gap_max;
    /* Sixteen times the jitter in units of the clock, now and at its highest since the stream came here. */
    __u64 jitter, jitter_max;
    __u32 transit, has_transit;
};

/* One direction of a stream. */
struct flow {
    struct bpf_spin_lock lock; /* of `progress` */
    __u32 interface;           /* to leave by */
    __u8 source[16];           /* who may send */
    __u8 from[16];             /* our address towards the other leg */
    __u8 to[16];               /* the other leg */
    __be16 source_port, from_port, to_port;
    __u8 family;
    __u8 traffic_class;
    __be32 ssrc;
    __u32 clock_rate; /* Hz */
    __u8 payload_types[PAYLOAD_TYPES];
    __u8 held; /* bit n: timestamps of payload_types[n] tell nothing of jitter */
    __u8 reserved[3];
    __u64 epoch; /* CLOCK_MONOTONIC of time zero, ns */
    struct progress progress;
};

/* Of all streams, per CPU. */
struct total {
    __u64 packets;
    __u64 octets; /* as sent, without IP and UDP headers */
};
