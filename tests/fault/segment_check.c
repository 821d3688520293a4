/* SPDX-License-Identifier: Apache-2.0 */
/* The judge of one segment, whole and in its parts. Memory that runs short is never called a fault
 * of the file, and damage never passes. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loop.h"
#include "store/segment/segment_check_private.h"
#include "store/segment/segment_walk_private.h"
#include "store_state.h"
#include "sys.h"

enum { BASE = 1 }; /* the segment that is damaged, or not */

static char volume_dir[PATH_MAX];

struct checking {
    bool damaged; /* as it is made */
    uint32_t number;
    struct blx_segment_request request;
    struct blx_segment_findings findings;
    struct blx_segment_walk walk;
    uint64_t frames_end, walked_end;
};

/* Flips the bit, or flips it back: in a frame's data. */
static void flip(void)
{
    char path[PATH_MAX];
    uint8_t byte;
    assert_int_equal(blx_segment_path(volume_dir, BASE, path, NULL), 0);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, 200), 1);
    byte ^= 4;
    assert_int_equal(pwrite(fd, &byte, 1, 200), 1);
    close(fd);
}

static void setup_check(void *arg)
{
    struct checking *checking = arg;
    bool damaged = checking->damaged;
    uint32_t number = checking->number;
    memset(checking, 0, sizeof(*checking));
    checking->damaged = damaged;
    checking->number = number;
    checking->request = (struct blx_segment_request){.volume_dir = volume_dir,
                                                     .number = number,
                                                     .block_shift = TEST_BLOCK_SHIFT,
                                                     .blocks = STATE_BLOCKS};
    if (damaged)
        flip();
}

static int run_check(void *arg, struct blx_error *err)
{
    struct checking *checking = arg;
    return blx_segment_check(&checking->request, &checking->findings, err);
}

static bool has_fault_in_frame(const struct blx_segment_findings *findings)
{
    for (size_t i = 0; i < findings->fault_count; i++)
        if (findings->faults[i].offset_bytes <= 200 &&
            findings->faults[i].offset_bytes + findings->faults[i].bytes > 200)
            return true;
    return false;
}

/* A disk error is a fault; damage is one in any case. */
static void check_check(void *arg, int rc)
{
    struct checking *checking = arg;
    struct blx_error err = {0};
    const struct blx_segment_findings *findings = &checking->findings;
    for (size_t i = 0; i < findings->fault_count; i++)
        assert_null(strstr(findings->faults[i].what, "memory"));
    if (rc == 0 && checking->damaged)
        assert_true(has_fault_in_frame(findings) || findings->faults[0].whole);
    blx_segment_findings_done(&checking->findings);
    test_ok(run_check(arg, &err), &err);
    assert_int_equal(findings->fault_count > 0, checking->damaged);
    assert_int_equal(findings->torn_bytes, 0);
}

static void teardown_check(void *arg)
{
    struct checking *checking = arg;
    blx_segment_findings_done(&checking->findings);
    if (checking->damaged)
        flip();
}

static void a_segment_is_judged_right_or_not_at_all(void **state)
{
    (void)state;
    static struct checking checking;
    const struct fault_case loop = {setup_check, run_check, check_check, teardown_check, 0};
    static const struct {
        bool damaged;
        uint32_t number;
    } cases[] = {{false, BASE}, {true, BASE}, {false, 0}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        checking.damaged = cases[i].damaged;
        checking.number = cases[i].number;
        fault_loop(&loop, &checking);
    }
}

/* What a check is filled with. */

static __attribute__((format(printf, 2, 3))) int note(struct blx_segment_findings *findings,
                                                      const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int rc = blx_segment_findings_add_fault(findings, 32, 64, BLX_HARM_FRAMES, format, args);
    va_end(args);
    return rc;
}

static int run_notes(void *arg, struct blx_error *err)
{
    (void)err;
    struct checking *checking = arg;
    int rc = note(&checking->findings, "fault %d", 1);
    for (uint64_t i = 0; rc == 0 && i < 3; i++)
        rc = blx_segment_findings_add_extent(&checking->findings, (struct blx_extent){i * 4, 2});
    return rc;
}

static void check_notes(void *arg, int rc)
{
    const struct blx_segment_findings *findings = &((struct checking *)arg)->findings;
    assert_true(rc == 0 || rc == -ENOMEM);
    assert_int_equal(findings->fault_count == 1 && findings->extent_count == 3, rc == 0);
    for (size_t i = 0; i < findings->fault_count; i++) {
        assert_string_equal(findings->faults[i].what, "fault 1");
        assert_int_equal(findings->faults[i].extent_count, findings->extent_count);
    }
    for (size_t i = 0; i < findings->extent_count; i++)
        assert_int_equal(findings->extents[i].start_block, i * 4);
}

/* A walk, step by step. */

static void setup_walk(void *arg)
{
    struct checking *checking = arg;
    struct blx_segment_walk *walk = &checking->walk;
    struct blx_segment_footer_disk footer;
    struct stat st;
    setup_check(arg);
    *walk = (struct blx_segment_walk){.request = &checking->request,
                                      .findings = &checking->findings,
                                      .reader = {.summary.number = checking->number},
                                      .rebuilt = {.fd = -1}};
    assert_int_equal(blx_segment_reader_name(&walk->reader, volume_dir, checking->number, NULL), 0);
    walk->reader.fd = open(walk->reader.path, O_RDONLY | O_CLOEXEC);
    assert_true(walk->reader.fd >= 0);
    assert_int_equal(fstat(walk->reader.fd, &st), 0);
    checking->findings.file_bytes = (uint64_t)st.st_size;
    assert_int_equal(blx_segment_reader_footer(&walk->reader, (uint64_t)st.st_size, &footer, NULL),
                     0);
    assert_int_equal(blx_segment_reader_entries(&walk->reader, &footer, NULL), 0);
    walk->footer_good = walk->index_good = true;
    walk->rebuilt.summary.block_shift = TEST_BLOCK_SHIFT;
    walk->frame = malloc((size_t)st.st_size + 1);
    assert_non_null(walk->frame);
}

static int run_prepare(void *arg, struct blx_error *err)
{
    (void)err;
    return blx_segment_walk_prepare(&((struct checking *)arg)->walk);
}

static int run_frames(void *arg, struct blx_error *err)
{
    struct checking *checking = arg;
    (void)err;
    return blx_segment_walk_frames(&checking->walk, checking->walk.reader.frames_end_bytes,
                                   &checking->walked_end);
}

static int run_judge(void *arg, struct blx_error *err)
{
    (void)err;
    return blx_segment_walk_judge(&((struct checking *)arg)->walk);
}

static int run_fault(void *arg, struct blx_error *err)
{
    (void)err;
    return blx_segment_walk_fault(&((struct checking *)arg)->walk, 32, 64, BLX_HARM_WHOLE,
                                  "fault %d", 2);
}

static void setup_frames(void *arg)
{
    setup_walk(arg);
    assert_int_equal(run_prepare(arg, NULL), 0);
}

/* Of an index that does not agree with the frames, so that there is something to note. */
static void setup_judge(void *arg)
{
    struct checking *checking = arg;
    setup_frames(arg);
    assert_int_equal(run_frames(arg, NULL), 0);
    checking->walk.reader.index.entries[0].frame_offset += 8;
}

static void check_prepare(void *arg, int rc)
{
    const struct blx_segment_walk *walk = &((struct checking *)arg)->walk;
    assert_true(rc == 0 || rc == -ENOMEM);
    assert_int_equal(walk->named.count, rc == 0 ? walk->reader.index.count : 0);
}

static void check_frames(void *arg, int rc)
{
    const struct checking *checking = arg;
    assert_true(rc == 0 || rc == -ENOMEM);
    if (rc < 0)
        return;
    assert_int_equal(checking->walked_end, checking->walk.reader.frames_end_bytes);
    /* Each frame is good, or there is a fault in its place. */
    assert_int_equal(checking->findings.frame_count + checking->findings.fault_count,
                     checking->walk.reader.summary.frame_count);
}

static void check_judge(void *arg, int rc)
{
    const struct checking *checking = arg;
    assert_true(rc == 0 || rc == -ENOMEM);
    assert_true(rc < 0 || checking->findings.fault_count == 1);
    assert_true(rc < 0 || checking->findings.extent_count > 0);
}

static void check_fault(void *arg, int rc)
{
    const struct blx_segment_findings *findings = &((struct checking *)arg)->findings;
    assert_true(rc == 0 || rc == -ENOMEM);
    assert_int_equal(findings->fault_count, rc == 0 ? 1 : 0);
}

static void teardown_walk(void *arg)
{
    struct blx_segment_walk *walk = &((struct checking *)arg)->walk;
    blx_index_done(&walk->reader.index);
    blx_index_done(&walk->named);
    blx_index_done(&walk->rebuilt.index);
    free(walk->frame);
    free(walk->data);
    close(walk->reader.fd);
    free(walk->reader.path);
    teardown_check(arg);
}

static void each_step_of_a_judgement_is_done_or_fails(void **state)
{
    (void)state;
    static struct checking checking = {.number = BASE};
    checking.damaged = false;
    fault_loop(&(struct fault_case){setup_check, run_notes, check_notes, teardown_check, 1},
               &checking);
    fault_loop(&(struct fault_case){setup_walk, run_prepare, check_prepare, teardown_walk, 1},
               &checking);
    fault_loop(&(struct fault_case){setup_frames, run_frames, check_frames, teardown_walk, 1},
               &checking);
    fault_loop(&(struct fault_case){setup_judge, run_judge, check_judge, teardown_walk, 1},
               &checking);
    fault_loop(&(struct fault_case){setup_walk, run_fault, check_fault, teardown_walk, 1},
               &checking);
}

static int make_store(void **state)
{
    (void)state;
    sys_use_fast();
    store_state_init(&store_state);
    test_path(&store_state.test, volume_dir, "agents/web1/volumes/vda");
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_segment_is_judged_right_or_not_at_all),
        cmocka_unit_test(each_step_of_a_judgement_is_done_or_fails),
    };
    return cmocka_run_group_tests(tests, make_store, store_state_teardown);
}
