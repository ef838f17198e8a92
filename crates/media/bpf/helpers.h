/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* The kernel's helpers that are used here, by the numbers of linux/bpf.h, and how a map is declared. */
#pragma once

#include <linux/bpf.h>
#include <linux/types.h>

#define SECTION(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))

/* A map's declaration is read from the program's type information. */
#define MAP_NUMBER(name, value) int(*name)[value]
#define MAP_TYPE(name, type) __typeof__(type) *name

static void *(*const map_lookup)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static __u64 (*const monotonic_ns)(void) = (void *)BPF_FUNC_ktime_get_ns;
static void (*const lock)(struct bpf_spin_lock *) = (void *)BPF_FUNC_spin_lock;
static void (*const unlock)(struct bpf_spin_lock *) = (void *)BPF_FUNC_spin_unlock;
static __s64 (*const checksum_difference)(const void *from, __u32 from_len, const void *to, __u32 to_len,
                                          __u32 seed) = (void *)BPF_FUNC_csum_diff;
static long (*const skb_pull)(struct __sk_buff *, __u32 len) = (void *)BPF_FUNC_skb_pull_data;
static long (*const skb_replace_checksum)(struct __sk_buff *, __u32 offset, __u64 from, __u64 to,
                                          __u64 flags) = (void *)BPF_FUNC_l4_csum_replace;
static long (*const redirect)(__u32 interface, __u64 flags) = (void *)BPF_FUNC_redirect;
static long (*const redirect_to_neighbour)(__u32 interface, struct bpf_redir_neigh *, int len,
                                           __u64 flags) = (void *)BPF_FUNC_redirect_neigh;
static long (*const look_up_route)(void *context, struct bpf_fib_lookup *, int len,
                                   __u32 flags) = (void *)BPF_FUNC_fib_lookup;

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define NET16(value) ((__u16)__builtin_bswap16((__u16)(value)))
#define NET32(value) ((__u32)__builtin_bswap32((__u32)(value)))
#else
#define NET16(value) ((__u16)(value))
#define NET32(value) ((__u32)(value))
#endif
