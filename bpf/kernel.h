/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * The kernel's types that the tracker reads, cut down to the fields it reads. The whole file is
 * under preserve_access_index: the loader moves every access to the place where the running kernel
 * has the field. (Without it the verifier accepts the program, which then reads the wrong bytes.) A
 * name with three underscores is the same type in another version of the kernel.
 *
 * A generated vmlinux.h would be 3 MB, would fit one kernel, and would hide what we depend on.
 */
#pragma once

typedef signed char __s8;
typedef unsigned char __u8;
typedef short __s16;
typedef unsigned short __u16;
typedef int __s32;
typedef unsigned int __u32;
typedef long long __s64;
typedef unsigned long long __u64;
/* These three are only named by libbpf's list of helpers. */
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;

typedef _Bool bool;
#define true 1
#define false 0
#define NULL ((void *)0)

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

/* From linux/bpf.h, which needs headers that a cross compiler for BPF does not find. */
enum {
    BPF_MAP_TYPE_HASH = 1,
    BPF_MAP_TYPE_ARRAY = 2,
    BPF_MAP_TYPE_PERCPU_ARRAY = 6,
    BPF_F_MMAPABLE = 1 << 10,
    BPF_ANY = 0,
};

/* Only to ask whether the running kernel has the helper (5.17). */
enum bpf_func_id {
    BPF_FUNC_loop = 181,
};

/* blk_types.h: the same in every version that has BPF atomics. */
enum {
    REQ_OP_MASK = 0xff,
    REQ_OP_WRITE = 1,
    REQ_OP_DISCARD = 3,
    REQ_OP_FIRST_PASSTHROUGH = 32, /* SCSI_IN; 34 and 35 belong to the drivers */
};

struct gendisk {
    int major;
    int first_minor;
};

struct block_device {
    struct gendisk *bd_disk;
};

struct bvec_iter {
    __u64 bi_sector;
    __u32 bi_size;
    __u32 bi_idx;
    __u32 bi_bvec_done;
};

typedef struct {
    int counter;
} atomic_t;

struct bio {
    struct bio *bi_next;
    struct block_device *bi_bdev;
    __u32 bi_opf;
    __u16 bi_flags;
    atomic_t __bi_remaining;
    struct bvec_iter bi_iter;
    void *bi_end_io;
    void *bi_private;
};

struct request_queue {
    struct gendisk *disk; /* since 5.15 */
};

struct request {
    struct request_queue *q;
    __u32 cmd_flags;
    __u64 __sector;
    struct bio *bio;
};

/* Until 5.16. */
struct request___with_disk {
    struct gendisk *rq_disk;
};

#pragma clang attribute pop
