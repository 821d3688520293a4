/* SPDX-License-Identifier: Apache-2.0 */
#include "site.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"

static void keep_images(struct site *site, size_t checkpoint, size_t volume_count)
{
    for (size_t v = 0; v < volume_count; v++) {
        site->images[checkpoint][v] = malloc(SITE_VOLUME_BYTES);
        assert_non_null(site->images[checkpoint][v]);
        memcpy(site->images[checkpoint][v], site->volumes[v].image, SITE_VOLUME_BYTES);
    }
}

static void site_init(struct site *site, size_t volume_count)
{
    static const char *const names[] = {"sda", "sdb"};
    struct test_volume *volumes[2] = {&site->volumes[0], &site->volumes[1]};
    *site = (struct site){0};
    test_store_init(&site->store);
    snprintf(site->data_dir, sizeof(site->data_dir), "--data-dir=%s", site->store.dir);
    for (size_t v = 0; v < volume_count; v++) {
        test_volume_init(&site->volumes[v], names[v], SITE_VOLUME_BYTES, (uint8_t)(v + 1));
        for (uint64_t block = 0; block < 32; block++)
            test_volume_write(&site->volumes[v], block, block + v + 1);
    }
    struct blx_agent_writer *writer = test_writer_open(&site->store, volumes, volume_count, NULL);
    for (uint32_t v = 0; v < volume_count; v++) {
        assert_int_equal(blx_agent_writer_begin(writer, v, BLX_PASS_FULL, NULL), 0);
        test_volume_send_all(&site->volumes[v], writer, 8);
    }
    for (size_t c = 0; c < SITE_CHECKPOINTS; c++) {
        for (size_t v = 0; c > 0 && v < volume_count; v++)
            test_volume_send(&site->volumes[v], writer, c, 100 * c + v);
        site->timestamps[c] =
            test_writer_commit(writer, volumes, volume_count, SITE_FIRST_SECOND + 3600 * c);
        keep_images(site, c, volume_count);
    }
    blx_agent_writer_close(writer);
}

static void site_done(struct site *site)
{
    for (size_t v = 0; v < 2; v++) {
        for (size_t c = 0; c < SITE_CHECKPOINTS; c++)
            free(site->images[c][v]);
        if (site->volumes[v].image != NULL)
            test_volume_done(&site->volumes[v]);
    }
    test_store_done(&site->store);
}

static int setup_with(void **state, size_t volume_count)
{
    *state = malloc(sizeof(struct site));
    assert_non_null(*state);
    site_init(*state, volume_count);
    return 0;
}

int site_setup(void **state)
{
    return setup_with(state, 1);
}

int site_setup_two(void **state)
{
    return setup_with(state, 2);
}

int site_teardown(void **state)
{
    site_done(*state);
    free(*state);
    return 0;
}

void site_option(const struct site *site, char option[128], const char *name, const char *text)
{
    snprintf(option, 128, "--%s=%s/%s", name, site->store.dir, text);
}

void site_image_is(const struct site *site, const char *path, size_t checkpoint, size_t volume)
{
    BLX_CLEANUP_FREE void *content = NULL;
    size_t bytes = 0;
    assert_int_equal(blx_file_read(path, 2 * SITE_VOLUME_BYTES, &content, &bytes, NULL), 0);
    assert_int_equal(bytes, SITE_VOLUME_BYTES);
    assert_memory_equal(content, site->images[checkpoint][volume], bytes);
}
