/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Programs that do nothing, as many as the tracker's and at the same tracepoints. The time that the
 * kernel's statistics give for one of them is the statistics' own cost. Their cost for a disk's
 * writes is the least that any tracker of this form can have.
 */
#include "../../bpf/kernel.h"

#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

#define PROGRAMS(copy)                                                                             \
    SEC("tp_btf/block_bio_queue")                                                                  \
    int bio_queue_##copy(const void *context)                                                      \
    {                                                                                              \
        return context == 0;                                                                       \
    }                                                                                              \
    SEC("tp_btf/block_rq_complete")                                                                \
    int rq_complete_##copy(const void *context)                                                    \
    {                                                                                              \
        return context == 0;                                                                       \
    }                                                                                              \
    SEC("tp_btf/block_bio_complete")                                                               \
    int bio_complete_##copy(const void *context)                                                   \
    {                                                                                              \
        return context == 0;                                                                       \
    }

PROGRAMS(0)
PROGRAMS(1)
PROGRAMS(2)
