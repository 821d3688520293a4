/* SPDX-License-Identifier: Apache-2.0 */
/* lib/store's readers of one segment, whole and damaged, by its index and by its frames. A good
 * frame is never called damaged, or left out, because something failed on the way. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loop.h"
#include "store/segment/segment_check_private.h"
#include "store/segment/segment_reader_private.h"
#include "store/segment/segment_scan_private.h"
#include "store_state.h"
#include "sys.h"

enum { OPEN_FRAMES = 2, SEALED = 2 }; /* in open.seg; the segment of the second checkpoint */

static char volume_dir[PATH_MAX], open_path[PATH_MAX];

struct reading {
    int fd; /* of open.seg */
    uint64_t file_bytes;
    unsigned visited;
    int found;
    uint64_t offset;
    uint32_t number;
    bool complete;
    struct blx_segment_reader *reader;
    struct blx_segment_reader bare; /* whose parts are read one by one */
    struct blx_segment_header_disk header;
    struct blx_segment_footer_disk footer;
};

/* open.seg itself. */

static void setup_open(void *arg)
{
    struct reading *reading = arg;
    struct stat st;
    *reading = (struct reading){.fd = open(open_path, O_RDONLY | O_CLOEXEC)};
    assert_true(reading->fd >= 0);
    assert_int_equal(fstat(reading->fd, &st), 0);
    reading->file_bytes = (uint64_t)st.st_size;
    fault_poison(&reading->offset, sizeof(reading->offset));
    fault_poison(&reading->number, sizeof(reading->number));
}

static void teardown_open(void *arg)
{
    close(((struct reading *)arg)->fd);
}

static int run_peek(void *arg, struct blx_error *err)
{
    return blx_segment_peek_number(open_path, &((struct reading *)arg)->number, err);
}

static void check_peek(void *arg, int rc)
{
    struct reading *reading = arg;
    if (rc < 0)
        fault_assert_poisoned(&reading->number, sizeof(reading->number));
    else
        assert_int_equal(reading->number, SEALED + 1);
    assert_int_not_equal(rc, -EBADMSG);
}

static int count_frame(void *arg, const struct blx_frame *frame, uint64_t offset,
                       struct blx_error *err)
{
    struct reading *reading = arg;
    (void)frame, (void)offset, (void)err;
    reading->visited++;
    return 0;
}

static int run_scan(void *arg, struct blx_error *err)
{
    struct reading *reading = arg;
    return blx_segment_scan(reading->fd, open_path, sizeof(reading->header), reading->file_bytes,
                            count_frame, reading, err);
}

/* A wrong end would cut off the frames after it. */
static void check_scan(void *arg, int rc)
{
    struct reading *reading = arg;
    if (rc == 0)
        assert_int_equal(reading->visited, OPEN_FRAMES);
}

/* From the header's first byte on, so that the frame is not where the search begins. */
static int run_find(void *arg, struct blx_error *err)
{
    struct reading *reading = arg;
    reading->found = blx_segment_find_frame(reading->fd, open_path, 0, reading->file_bytes,
                                            &reading->offset, err);
    return reading->found < 0 ? reading->found : 0;
}

static void check_find(void *arg, int rc)
{
    struct reading *reading = arg;
    if (rc < 0) {
        fault_assert_poisoned(&reading->offset, sizeof(reading->offset));
        return;
    }
    assert_int_equal(reading->found, 1);
    assert_int_equal(reading->offset, sizeof(reading->header));
}

static void no_frame_is_passed_over(void **state)
{
    (void)state;
    struct reading reading;
    fault_loop(&(struct fault_case){setup_open, run_peek, check_peek, teardown_open, 0}, &reading);
    fault_loop(&(struct fault_case){setup_open, run_scan, check_scan, teardown_open, 0}, &reading);
    fault_loop(&(struct fault_case){setup_open, run_find, check_find, teardown_open, 0}, &reading);
}

/* The parts of a sealed segment. */

static void setup_bare(void *arg)
{
    struct reading *reading = arg;
    struct stat st;
    memset(reading, 0, sizeof(*reading));
    struct blx_segment_reader *bare = &reading->bare;
    bare->summary.number = SEALED;
    assert_int_equal(blx_segment_reader_name(bare, volume_dir, SEALED, NULL), 0);
    bare->fd = open(bare->path, O_RDONLY | O_CLOEXEC);
    assert_true(bare->fd >= 0);
    assert_int_equal(fstat(bare->fd, &st), 0);
    reading->file_bytes = (uint64_t)st.st_size;
}

static void teardown_bare(void *arg)
{
    struct reading *reading = arg;
    blx_index_done(&reading->bare.index);
    free(reading->bare.path);
    close(reading->bare.fd);
}

static void setup_nothing(void *arg)
{
    memset(arg, 0, sizeof(struct reading));
}

static int run_name(void *arg, struct blx_error *err)
{
    struct reading *reading = arg;
    return blx_segment_reader_name(&reading->bare, volume_dir, SEALED, err);
}

static void check_name(void *arg, int rc)
{
    struct reading *reading = arg;
    assert_int_equal(reading->bare.path != NULL, rc == 0);
    free(reading->bare.path);
}

static int run_begin(void *arg, struct blx_error *err)
{
    struct reading *reading = arg;
    return blx_segment_reader_begin(volume_dir, SEALED, &reading->reader, &reading->footer, err);
}

static void check_begin(void *arg, int rc)
{
    struct reading *reading = arg;
    assert_int_not_equal(rc, -EBADMSG);
    assert_int_equal(reading->reader != NULL, rc == 0);
    if (rc == 0)
        assert_int_equal(blx_segment_reader_summary(reading->reader)->frame_count, 2);
    blx_segment_reader_close(reading->reader);
}

static int run_header(void *arg, struct blx_error *err)
{
    struct reading *reading = arg;
    return blx_segment_reader_header(&reading->bare, &reading->header, err);
}

static int run_footer(void *arg, struct blx_error *err)
{
    struct reading *reading = arg;
    return blx_segment_reader_footer(&reading->bare, reading->file_bytes, &reading->footer, err);
}

static void setup_entries(void *arg)
{
    setup_bare(arg);
    assert_int_equal(run_footer(arg, NULL), 0);
}

static int run_entries(void *arg, struct blx_error *err)
{
    struct reading *reading = arg;
    return blx_segment_reader_entries(&reading->bare, &reading->footer, err);
}

static void check_header(void *arg, int rc)
{
    struct reading *reading = arg;
    assert_int_not_equal(rc, -EBADMSG);
    if (rc < 0)
        assert_int_equal(run_header(arg, NULL), 0);
    assert_int_equal(blx_le32_get(reading->header.number), SEALED);
}

static void check_footer(void *arg, int rc)
{
    const struct blx_segment_reader *bare = &((struct reading *)arg)->bare;
    assert_int_not_equal(rc, -EBADMSG);
    assert_int_equal(bare->frames_end_bytes != 0, rc == 0);
    assert_int_equal(bare->summary.frame_count, rc == 0 ? 2 : 0);
}

static void check_entries(void *arg, int rc)
{
    const struct reading *reading = arg;
    assert_int_not_equal(rc, -EBADMSG);
    if (rc == 0)
        assert_int_equal(blx_index_blocks(&reading->bare.index),
                         reading->bare.summary.changed_blocks);
}

static void the_parts_of_a_segment_are_read_whole_or_not_at_all(void **state)
{
    (void)state;
    struct reading reading;
    fault_loop(&(struct fault_case){setup_nothing, run_name, check_name, NULL, 0}, &reading);
    fault_loop(&(struct fault_case){setup_nothing, run_begin, check_begin, NULL, 0}, &reading);
    fault_loop(&(struct fault_case){setup_bare, run_header, check_header, teardown_bare, 0},
               &reading);
    fault_loop(&(struct fault_case){setup_bare, run_footer, check_footer, teardown_bare, 0},
               &reading);
    fault_loop(&(struct fault_case){setup_entries, run_entries, check_entries, teardown_bare, 0},
               &reading);
}

/* A segment without its index. */

static int run_salvage(void *arg, struct blx_error *err)
{
    struct reading *reading = arg;
    return blx_segment_reader_salvage(volume_dir, SEALED, TEST_BLOCK_SHIFT, &reading->reader,
                                      &reading->complete, err);
}

/* It is called complete only if it has all that the index has. */
static void check_salvage(void *arg, int rc)
{
    struct reading *reading = arg;
    struct blx_segment_reader *whole = NULL;
    assert_int_equal(reading->reader != NULL, rc == 0);
    assert_true(rc == 0 || !reading->complete);
    assert_int_equal(blx_segment_reader_open(volume_dir, SEALED, &whole, NULL), 0);
    if (reading->complete)
        assert_int_equal(blx_index_blocks(blx_segment_reader_index(reading->reader)),
                         blx_index_blocks(blx_segment_reader_index(whole)));
    blx_segment_reader_close(whole);
    blx_segment_reader_close(reading->reader);
}

static void what_is_salvaged_is_complete_or_not_called_so(void **state)
{
    (void)state;
    struct reading reading;
    fault_loop(&(struct fault_case){setup_nothing, run_salvage, check_salvage, NULL, 0}, &reading);
}

static int make_store(void **state)
{
    (void)state;
    sys_use_fast();
    store_state_init(&store_state);
    test_path(&store_state.test, volume_dir, "agents/web1/volumes/vda");
    test_path(&store_state.test, open_path, "agents/web1/volumes/vda/open.seg");
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_frame_is_passed_over),
        cmocka_unit_test(the_parts_of_a_segment_are_read_whole_or_not_at_all),
        cmocka_unit_test(what_is_salvaged_is_complete_or_not_called_so),
    };
    return cmocka_run_group_tests(tests, make_store, store_state_teardown);
}
