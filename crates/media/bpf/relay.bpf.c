/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* The in-kernel relay plane: carries the RTP of established streams from one leg's port to the other leg, and hands
 * everything else up to user space unchanged. docs/decisions/0012-in-kernel-plane.md tells of the rest. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>

#include "count.h"
#include "flow.h"
#include "helpers.h"

#define FRAGMENT 0x3fff       /* of frag_off: more fragments follow, or this is not the first */
#define RTP_LEN 12            /* octets of the fixed header */
#define HEADERS_LEN_MAX 142   /* Ethernet, IPv6, UDP, RTP with 15 sources and the head of an extension */
#define TC_PASS (-1)          /* TCX_NEXT and TC_ACT_UNSPEC: whoever comes next decides */
#define AF_INET_ 2
#define AF_INET6_ 10

struct rtp {
    __u8 first;  /* version, padding, extension, number of sources */
    __u8 second; /* marker, payload type */
    __be16 sequence_number;
    __be32 timestamp;
    __be32 ssrc;
};

struct {
    MAP_NUMBER(type, BPF_MAP_TYPE_HASH);
    MAP_NUMBER(max_entries, FLOWS_MAX);
    MAP_NUMBER(map_flags, BPF_F_NO_PREALLOC);
    MAP_TYPE(key, struct key);
    MAP_TYPE(value, struct flow);
} flows SECTION(".maps");

struct {
    MAP_NUMBER(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    MAP_NUMBER(max_entries, 1);
    MAP_TYPE(key, __u32);
    MAP_TYPE(value, struct total);
} totals SECTION(".maps");

/* Where things lie, in octets from the start of the frame. */
struct frame {
    __u8 source[16] __attribute__((aligned(8)));
    struct key key;
    __be16 source_port;
    __u32 udp;
    __u32 datagram_len;
};

/* True if the frame is a whole UDP datagram over IPv4 or IPv6 that nothing speaks against. */
INLINE int parse(void *data, void *end, struct frame *frame)
{
    struct ethhdr *ethernet = data;
    struct udphdr *udp;
    __u32 len;

    if ((void *)(ethernet + 1) > end)
        return 0;
    if (ethernet->h_proto == NET16(ETH_P_IP)) {
        struct iphdr *ip = (void *)(ethernet + 1);

        if ((void *)(ip + 1) > end || ip->version != 4 || ip->ihl != 5 || ip->protocol != IPPROTO_UDP)
            return 0;
        if (ip->frag_off & NET16(FRAGMENT) || ip->ttl <= 1)
            return 0;
        __builtin_memcpy(frame->key.address, &ip->daddr, 4);
        __builtin_memcpy(frame->source, &ip->saddr, 4);
        frame->key.family = 4;
        len = NET16(ip->tot_len) - sizeof(*ip);
        udp = (void *)(ip + 1);
    } else if (ethernet->h_proto == NET16(ETH_P_IPV6)) {
        struct ipv6hdr *ip = (void *)(ethernet + 1);

        if ((void *)(ip + 1) > end || ip->version != 6 || ip->nexthdr != IPPROTO_UDP || ip->hop_limit <= 1)
            return 0;
        __builtin_memcpy(frame->key.address, &ip->daddr, 16);
        __builtin_memcpy(frame->source, &ip->saddr, 16);
        frame->key.family = 6;
        len = NET16(ip->payload_len);
        udp = (void *)(ip + 1);
    } else {
        return 0;
    }
    if ((void *)(udp + 1) > end || NET16(udp->len) != len || len < sizeof(*udp) + RTP_LEN)
        return 0;
    if (frame->key.family == 6 && !udp->check)
        return 0;
    frame->key.port = udp->dest;
    frame->source_port = udp->source;
    frame->udp = (void *)udp - data;
    frame->datagram_len = len - sizeof(*udp);
    return frame->datagram_len <= DATAGRAM_MAX;
}

INLINE int is_from(const struct flow *f, const struct frame *frame)
{
    const __u64 *expected = (const void *)f->source, *source = (const void *)frame->source;

    return f->source_port == frame->source_port && expected[0] == source[0] && expected[1] == source[1];
}

/* True if the datagram is RTP of this stream, of a payload type that crosses. `udp` points into the frame. */
INLINE int read_rtp(const struct flow *f, struct udphdr *udp, void *end, const struct frame *frame,
                    struct packet *packet)
{
    struct rtp *rtp = (void *)(udp + 1);
    __u32 header_len;

    if ((void *)(rtp + 1) > end)
        return 0;
    /* Version 2 alone: RFC 7983 leaves STUN and DTLS to user space. Padding hides how long the payload is. */
    if ((rtp->first & 0xe0) != 0x80 || rtp->ssrc != f->ssrc)
        return 0;
    /* RTCP has packet types where RTP has no payload types (RFC 5761), and no stream names those. */
    __u8 payload_type = rtp->second & 0x7f;
    packet->slot = NONE;
    for (int slot = 0; slot < PAYLOAD_TYPES; slot++) {
        if (f->payload_types[slot] == payload_type)
            packet->slot = slot;
    }
    if (packet->slot == NONE)
        return 0;
    header_len = RTP_LEN + 4 * (rtp->first & 0xf);
    if (rtp->first & 0x10) {
        __be16 *extension = (void *)rtp + header_len;

        if ((void *)(extension + 2) > end)
            return 0;
        header_len += 4 + 4 * (__u32)NET16(extension[1]);
    }
    if (header_len > frame->datagram_len)
        return 0;
    packet->sequence_number = NET16(rtp->sequence_number);
    packet->timestamp = NET32(rtp->timestamp);
    packet->payload_len = frame->datagram_len - header_len;
    packet->datagram_len = frame->datagram_len;
    return 1;
}

INLINE void add_total(const struct packet *packet)
{
    __u32 first = 0;
    struct total *total = map_lookup(&totals, &first);

    if (total) {
        total->packets++;
        total->octets += packet->datagram_len;
    }
}

/* RFC 1624: the checksum after a 16-bit word changed. */
INLINE __u16 replaced(__u16 checksum, __u16 from, __u16 to)
{
    __u32 sum = (__u16)~checksum + (__u16)~from + to;

    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return ~sum;
}

/* Writes the IP header's new addresses, class and hop count; the datagram's checksum is the caller's. */
INLINE int rewrite_ip(const struct flow *f, void *data, void *end)
{
    if (f->family == 4) {
        struct iphdr *ip = data + sizeof(struct ethhdr);
        __u16 *word = (void *)ip;
        __u16 checksum, before[2];
        const __u16 *from = (const void *)f->from, *to = (const void *)f->to;

        if ((void *)(ip + 1) > end)
            return 0;
        before[0] = word[0], before[1] = word[4];
        ip->tos = f->traffic_class;
        ip->ttl--;
        checksum = replaced(replaced(ip->check, before[0], word[0]), before[1], word[4]);
        checksum = replaced(replaced(checksum, word[6], from[0]), word[7], from[1]);
        checksum = replaced(replaced(checksum, word[8], to[0]), word[9], to[1]);
        ip->check = checksum;
        __builtin_memcpy(&ip->saddr, f->from, 4);
        __builtin_memcpy(&ip->daddr, f->to, 4);
    } else {
        struct ipv6hdr *ip = data + sizeof(struct ethhdr);

        if ((void *)(ip + 1) > end)
            return 0;
        ip->priority = f->traffic_class >> 4;
        ip->flow_lbl[0] = f->traffic_class << 4;
        ip->flow_lbl[1] = ip->flow_lbl[2] = 0;
        ip->hop_limit--;
        __builtin_memcpy(&ip->saddr, f->from, 16);
        __builtin_memcpy(&ip->daddr, f->to, 16);
    }
    return 1;
}

INLINE __u32 ports_of(const struct udphdr *udp)
{
    __u32 ports;

    __builtin_memcpy(&ports, udp, 4);
    return ports;
}

INLINE __u32 new_ports(const struct flow *f)
{
    __u16 ports[2] = {f->from_port, f->to_port};
    __u32 both;

    __builtin_memcpy(&both, ports, 4);
    return both;
}

/* How the addresses' part of the checksum changes. */
INLINE __s64 address_difference(const struct flow *f, const struct frame *frame)
{
    __s64 sum;

    if (f->family == 4) {
        __be32 before[2], after[2];

        __builtin_memcpy(&before[0], frame->source, 4);
        __builtin_memcpy(&before[1], frame->key.address, 4);
        __builtin_memcpy(&after[0], f->from, 4);
        __builtin_memcpy(&after[1], f->to, 4);
        return checksum_difference(before, 8, after, 8, 0);
    }
    sum = checksum_difference(frame->source, 16, f->from, 16, 0);
    return checksum_difference(frame->key.address, 16, f->to, 16, sum);
}

INLINE int relay_skb(struct __sk_buff *skb)
{
    void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
    struct frame frame = {};
    struct packet packet = {};
    struct udphdr *udp;
    struct flow *f;
    __s64 difference;

    if (skb->pkt_type != PACKET_HOST || skb->gso_segs > 1 || skb->vlan_present)
        return TC_PASS;
    if (end - data < HEADERS_LEN_MAX && end - data < skb->len) {
        /* Some drivers leave the headers in pages. */
        if (skb_pull(skb, skb->len < HEADERS_LEN_MAX ? skb->len : HEADERS_LEN_MAX))
            return TC_PASS;
        data = (void *)(long)skb->data, end = (void *)(long)skb->data_end;
    }
    if (!parse(data, end, &frame))
        return TC_PASS;
    f = map_lookup(&flows, &frame.key);
    if (!f || !is_from(f, &frame))
        return TC_PASS;
    udp = f->family == 4 ? data + sizeof(struct ethhdr) + sizeof(struct iphdr)
                         : data + sizeof(struct ethhdr) + sizeof(struct ipv6hdr);
    if ((void *)(udp + 1) > end || !read_rtp(f, udp, end, &frame, &packet))
        return TC_PASS;
    __u32 ports = ports_of(udp);
    if (!count(f, &packet))
        return TC_PASS;
    add_total(&packet);
    if (!rewrite_ip(f, data, end))
        return TC_PASS;
    udp->source = f->from_port;
    udp->dest = f->to_port;
    /* The helper knows of checksums that the sender left to its network card. */
    __u32 checksum = frame.udp + __builtin_offsetof(struct udphdr, check);
    difference = address_difference(f, &frame);
    skb_replace_checksum(skb, checksum, 0, difference, BPF_F_PSEUDO_HDR | BPF_F_MARK_MANGLED_0);
    skb_replace_checksum(skb, checksum, ports, new_ports(f), BPF_F_MARK_MANGLED_0 | 4);
    return redirect_to_neighbour(f->interface, 0, 0, 0);
}

SECTION("classifier")
int relay_tc(struct __sk_buff *skb)
{
    return relay_skb(skb);
}

/* The way to the other leg; false if the kernel knows none, or not without asking the network first. */
INLINE int find_way(struct xdp_md *xdp, const struct flow *f, const struct frame *frame,
                    struct bpf_fib_lookup *way)
{
    way->l4_protocol = IPPROTO_UDP;
    way->sport = f->from_port;
    way->dport = f->to_port;
    way->ifindex = xdp->ingress_ifindex;
    if (f->family == 4) {
        way->family = AF_INET_;
        way->tot_len = frame->datagram_len + sizeof(struct udphdr) + sizeof(struct iphdr);
        __builtin_memcpy(&way->ipv4_src, f->from, 4);
        __builtin_memcpy(&way->ipv4_dst, f->to, 4);
    } else {
        way->family = AF_INET6_;
        way->tot_len = frame->datagram_len + sizeof(struct udphdr) + sizeof(struct ipv6hdr);
        __builtin_memcpy(way->ipv6_src, f->from, 16);
        __builtin_memcpy(way->ipv6_dst, f->to, 16);
    }
    return look_up_route(xdp, way, sizeof(*way), 0) == BPF_FIB_LKUP_RET_SUCCESS &&
           way->ifindex == f->interface;
}

/* The datagram's checksum by hand. Zero says that there is none, so a sum of zero is sent as its twin. */
INLINE void rewrite_udp(const struct flow *f, const struct frame *frame, struct udphdr *udp)
{
    if (udp->check) {
        __u32 ports = ports_of(udp), after = new_ports(f);
        __u64 sum = (__u32)address_difference(f, frame);

        sum = (sum & 0xffff) + (sum >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        __u16 checksum = replaced(udp->check, 0, sum);
        checksum = replaced(checksum, ports & 0xffff, after & 0xffff);
        checksum = replaced(checksum, ports >> 16, after >> 16);
        udp->check = checksum ? checksum : 0xffff;
    }
    udp->source = f->from_port;
    udp->dest = f->to_port;
}

SECTION("xdp")
int relay_xdp(struct xdp_md *xdp)
{
    void *data = (void *)(long)xdp->data, *end = (void *)(long)xdp->data_end;
    struct bpf_fib_lookup way = {};
    struct ethhdr *ethernet = data;
    struct frame frame = {};
    struct packet packet = {};
    struct udphdr *udp;
    struct flow *f;

    if (!parse(data, end, &frame))
        return XDP_PASS;
    f = map_lookup(&flows, &frame.key);
    if (!f || !is_from(f, &frame))
        return XDP_PASS;
    udp = f->family == 4 ? data + sizeof(struct ethhdr) + sizeof(struct iphdr)
                         : data + sizeof(struct ethhdr) + sizeof(struct ipv6hdr);
    if ((void *)(udp + 1) > end || !read_rtp(f, udp, end, &frame, &packet))
        return XDP_PASS;
    if (!find_way(xdp, f, &frame, &way) || !count(f, &packet))
        return XDP_PASS;
    add_total(&packet);
    rewrite_udp(f, &frame, udp);
    rewrite_ip(f, data, end);
    __builtin_memcpy(ethernet->h_dest, way.dmac, ETH_ALEN);
    __builtin_memcpy(ethernet->h_source, way.smac, ETH_ALEN);
    return redirect(way.ifindex, 0);
}

char LICENCE[] SECTION("license") = "Dual MIT/GPL";
