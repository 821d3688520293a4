/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/io.h"

int fixture_setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    assert_non_null(fixture);
    strcpy(fixture->folder, "/tmp/blxrep-config-XXXXXX");
    assert_non_null(mkdtemp(fixture->folder));
    snprintf(fixture->path, sizeof(fixture->path), "%s/config.yaml", fixture->folder);
    *state = fixture;
    return 0;
}

int fixture_teardown(void **state)
{
    struct fixture *fixture = *state;
    blx_config_done(&fixture->config);
    unlink(fixture->path);
    rmdir(fixture->folder);
    free(fixture);
    return 0;
}

void fixture_write(struct fixture *fixture, const char *content, size_t bytes)
{
    assert_int_equal(blx_file_replace(fixture->path, content, bytes, 0600, NULL), 0);
}

int fixture_load(struct fixture *fixture, enum blx_command command, enum fixture_source source, ...)
{
    char *argv[FIXTURE_MAX_WORDS] = {(char[]){"program"}};
    char option[128];
    int argc = 1;
    if (source == FIXTURE_FILE_AND_FLAGS) {
        snprintf(option, sizeof(option), "--config=%s", fixture->path);
        argv[argc++] = option;
    }
    va_list words;
    va_start(words, source);
    for (char *word = va_arg(words, char *); word != NULL; word = va_arg(words, char *))
        argv[argc++] = word;
    va_end(words);
    assert_true(argc < FIXTURE_MAX_WORDS);
    blx_config_done(&fixture->config);
    blx_error_clear(&fixture->err);
    fixture->result = BLX_CONFIG_RUN;
    return blx_config_load(command, argc, argv, &fixture->config, &fixture->result, &fixture->err);
}

void fixture_refused(struct fixture *fixture, enum blx_command command, const char *content, ...)
{
    fixture_write(fixture, content, strlen(content));
    int rc = fixture_load(fixture, command, FIXTURE_FILE_AND_FLAGS, NULL);
    if (rc == 0)
        rc = blx_config_require(command, &fixture->config, &fixture->err);
    assert_int_equal(rc, -EINVAL);
    assert_non_null(strstr(fixture->err.message, fixture->path));
    va_list texts;
    va_start(texts, content);
    for (const char *text = va_arg(texts, char *); text != NULL; text = va_arg(texts, char *)) {
        if (strstr(fixture->err.message, text) == NULL)
            fail_msg("'%s' is not in: %s", text, fixture->err.message);
    }
    va_end(texts);
}
