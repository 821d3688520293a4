/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the signal adds to a checkpoint: each round receives changes, commits them, and measures and
 * judges the checkpoint, so that each gives a pair of times of the same data.
 *
 *     bench_signal_cost DATA_DIR ROUNDS [SIZE]
 *
 * Prints medians: the commit, the signal, and how many times longer a commit and a whole checkpoint
 * (with what was received for it) take with it. The disk's flushes are real.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/sys.h"
#include "base/units.h"
#include "simulation.h"
#include "store/signal/signal.h"

enum { MOST_ROUNDS = 1000 };

struct round {
    double receive_ms, commit_ms, signal_ms;
};

static struct blx_simulation simulation;
static struct blx_agent_writer *writer;
static struct blx_store store = {.lock_fd = -1};

static void must(int rc, const struct blx_error *err)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "bench_signal_cost: %s\n", err->message);
    exit(1);
}

static double ms_since(uint64_t begun_ns)
{
    return (double)(blx_clock_ns() - begun_ns) / 1e6;
}

static void ignore(void *arg, uint32_t volume, uint64_t durable_seq)
{
    (void)arg, (void)volume, (void)durable_seq;
}

static void finish(struct round *round, uint64_t begun_ns)
{
    struct blx_error err = {0};
    struct blx_signal_outcome outcome;
    blx_timestamp timestamp;
    must(blx_agent_writer_sync(writer, ignore, NULL, &err), &err);
    round->receive_ms = ms_since(begun_ns);
    begun_ns = blx_clock_ns();
    must(blx_simulation_commit(&simulation, writer, &timestamp, &err), &err);
    round->commit_ms = ms_since(begun_ns);
    begun_ns = blx_clock_ns();
    must(blx_signal_take(blx_store_agent(&store, "sim"), blx_agent_writer_get_last(writer),
                         BLX_SENSITIVITY_DEFAULT, &outcome, &err),
         &err);
    round->signal_ms = ms_since(begun_ns);
}

static int compare(const void *a_arg, const void *b_arg)
{
    const double a = *(const double *)a_arg, b = *(const double *)b_arg;
    return (a > b) - (a < b);
}

static double median(double *values, size_t count)
{
    qsort(values, count, sizeof(*values), compare);
    return values[count / 2];
}

static void run(uint64_t change_bytes, size_t rounds)
{
    static double commit[MOST_ROUNDS], signal[MOST_ROUNDS], of_commit[MOST_ROUNDS],
        of_all[MOST_ROUNDS];
    struct blx_error err = {0};
    for (size_t i = 0; i < rounds; i++) {
        struct round round;
        must(blx_simulation_change(&simulation, change_bytes, 64 << 10, &err), &err);
        uint64_t begun_ns = blx_clock_ns();
        must(blx_simulation_send_changed(&simulation, writer, &err), &err);
        finish(&round, begun_ns);
        double all = round.receive_ms + round.commit_ms;
        commit[i] = round.commit_ms;
        signal[i] = round.signal_ms;
        of_commit[i] = (round.commit_ms + round.signal_ms) / round.commit_ms;
        of_all[i] = (all + round.signal_ms) / all;
    }
    printf("| %4" PRIu64 " MiB | %8.2f ms | %8.2f ms | %.3f | %.3f |\n", change_bytes >> 20,
           median(commit, rounds), median(signal, rounds), median(of_commit, rounds),
           median(of_all, rounds));
}

int main(int argc, char **argv)
{
    struct blx_error err = {0};
    struct round first;
    uint64_t size_bytes = UINT64_C(8) << 30;
    size_t rounds = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
    if (argc < 3 || rounds == 0 || rounds > MOST_ROUNDS ||
        (argc > 3 && blx_size_parse(argv[3], &size_bytes, &err) < 0)) {
        fprintf(stderr, "usage: bench_signal_cost DATA_DIR ROUNDS [SIZE]\n");
        return 2;
    }
    const struct blx_simulation_options options = {.size_bytes = size_bytes,
                                                   .used_percent = 60,
                                                   .block_shift = 12,
                                                   .random_percent = 40,
                                                   .codec = BLX_CODEC_ZSTD,
                                                   .seed = 1};
    must(blx_store_open(argv[1], BLX_STORE_INIT, &store, &err), &err);
    must(blx_simulation_init(&simulation, &options, &err), &err);
    blx_sys = &blx_sys_real;
    must(blx_simulation_connect(&simulation, &store, "sim", NULL, &writer, &err), &err);
    uint64_t begun_ns = blx_clock_ns();
    must(blx_simulation_send_all(&simulation, writer, &err), &err);
    finish(&first, begun_ns);
    printf("first checkpoint: received in %.0f ms, commit %.2f ms, signal %.2f ms\n\n",
           first.receive_ms, first.commit_ms, first.signal_ms);
    printf("| changes | commit | signal | commit with it | checkpoint with it |\n"
           "|---|---|---|---|---|\n");
    run(UINT64_C(1) << 20, rounds);
    run(UINT64_C(16) << 20, rounds);
    run(UINT64_C(256) << 20, rounds / 4 + 1);
    blx_agent_writer_close(writer);
    blx_simulation_done(&simulation);
    blx_store_close(&store);
    return 0;
}
