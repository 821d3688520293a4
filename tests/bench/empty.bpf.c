/* A program that does nothing at each queued bio: what the kernel's statistics say that it takes is their own cost. */
#include "../../bpf/kernel.h"

#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

SEC("tp_btf/block_bio_queue")
int empty(const void *context)
{
    return context == 0;
}
