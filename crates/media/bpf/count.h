/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Counting a packet, step for step as crates/rtp/src/statistics does it: both planes must report the same. */
#pragma once

#include "flow.h"
#include "helpers.h"

#define SETTLE 64         /* packets behind the newest after which a missing one is lost */
#define DROPOUT_MAX 3000  /* a step ahead by as much is a leap: RFC 3550 appendix A.1 */
#define MISORDER_MAX 100  /* a step back by as much is one too */
#define SECOND_NS 1000000000ULL

/* What is needed of a packet. */
struct packet {
    __u32 timestamp;
    __u32 payload_len;
    __u32 datagram_len;
    __u16 sequence_number;
    __u8 slot; /* of its payload type */
};

INLINE void settle_lost(struct progress *p, __u64 count)
{
    p->expected += count;
    p->lost += count;
    if (p->run == 0 && count)
        p->bursts++;
    p->run += count;
    if (p->run > p->burst_max)
        p->burst_max = p->run;
}

INLINE void settle(struct progress *p, __u32 age)
{
    if (p->newest - p->first < age)
        return; /* from before the first packet */
    if (p->seen >> age & 1) {
        p->expected++;
        p->run = 0;
    } else {
        settle_lost(p, 1);
    }
}

INLINE void advance(struct progress *p, __u32 steps)
{
    if (steps == 1) {
        settle(p, SETTLE - 1);
        p->seen = p->seen << 1 | 1;
        p->newest++;
        return;
    }
#pragma clang loop unroll(disable)
    for (__u32 n = 0; n < SETTLE; n++) {
        if (n < steps)
            settle(p, SETTLE - 1 - n);
    }
    if (steps > SETTLE)
        settle_lost(p, steps - SETTLE);
    p->seen = steps < SETTLE ? p->seen << (steps & 63) | 1 : 1;
    p->newest += steps;
}

INLINE void keep_time(struct flow *f, __u32 timestamp, __u64 now)
{
    struct progress *p = &f->progress;
    /* In two parts: nanoseconds times the clock rate do not fit 64 bits after some days. */
    __u64 arrival = now / SECOND_NS * f->clock_rate + now % SECOND_NS * f->clock_rate / SECOND_NS;
    __u32 transit = (__u32)arrival - timestamp;
    if (p->has_transit) {
        __s32 difference = (__s32)(transit - p->transit);
        __u64 distance = difference < 0 ? -(__s64)difference : difference;
        p->jitter = p->jitter + distance - (p->jitter + 8) / 16; /* RFC 3550 appendix A.8 */
        if (p->jitter > p->jitter_max)
            p->jitter_max = p->jitter;
    }
    p->transit = transit;
    p->has_transit = 1;
}

/* False if the sequence number leapt: then nothing was counted, and user space is to judge. The lock is held. */
INLINE int count_locked(struct flow *f, const struct packet *packet, __u64 now)
{
    struct progress *p = &f->progress;
    __u16 ahead = packet->sequence_number - (__u16)p->newest;
    __u16 behind = -ahead;
    int is_new = 1;

    if (ahead == 0) {
        p->duplicates++;
        is_new = 0;
    } else if (ahead < DROPOUT_MAX) {
        advance(p, ahead);
        p->received++;
    } else if (behind >= MISORDER_MAX) {
        return 0;
    } else if (behind >= SETTLE) {
        p->late++;
    } else if (p->seen >> (behind & 63) & 1) {
        p->duplicates++;
        is_new = 0;
    } else {
        p->seen |= 1ULL << (behind & 63);
        if (p->newest - behind < p->first)
            p->first = p->newest - behind;
        p->reordered++;
        p->received++;
    }
    p->packets++;
    p->octets += packet->payload_len;
    p->payload_packets[packet->slot & (PAYLOAD_TYPES - 1)]++;
    if (now > p->last_arrival && now - p->last_arrival > p->gap_max)
        p->gap_max = now - p->last_arrival;
    p->last_arrival = now;
    if (is_new && !(f->held >> (packet->slot & (PAYLOAD_TYPES - 1)) & 1))
        keep_time(f, packet->timestamp, now);
    return 1;
}

INLINE int count(struct flow *f, const struct packet *packet)
{
    __u64 now = monotonic_ns() - f->epoch;
    int counted;

    lock(&f->lock);
    counted = count_locked(f, packet, now);
    unlock(&f->lock);
    return counted;
}
