/* SPDX-License-Identifier: Apache-2.0 */
/* Holds the programs that do nothing (empty.bpf.c) attached until its standard input ends; prints
 * the ID of one of them. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include "empty_bpf.skel.h"

int main(void)
{
    struct bpf_prog_info info = {0};
    uint32_t bytes = sizeof(info);
    char byte;
    struct empty_bpf *skeleton = empty_bpf__open_and_load();
    int rc = skeleton == NULL ? -1 : empty_bpf__attach(skeleton);
    if (rc == 0)
        rc = bpf_obj_get_info_by_fd(bpf_program__fd(skeleton->progs.bio_queue_0), &info, &bytes);
    if (rc == 0) {
        printf("%u\n", info.id);
        fflush(stdout);
        while (read(STDIN_FILENO, &byte, 1) > 0)
            continue;
    }
    empty_bpf__destroy(skeleton);
    return rc == 0 ? 0 : 1;
}
