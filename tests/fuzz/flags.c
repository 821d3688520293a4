/* SPDX-License-Identifier: Apache-2.0 */
/* A command line: the first byte chooses the command, NULs or newlines divide the words. Flags that
 * are taken are taken again. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/option_private.h"
#include "fuzz.h"

enum { MAX_WORDS = 64 };

struct words {
    char *text;
    char *argv[MAX_WORDS + 1];
    int argc;
};

static void words_split(struct words *words, const uint8_t *data, size_t size)
{
    static char program[] = "blxrep";
    words->text = malloc(size + 1);
    FUZZ_ASSERT(words->text != NULL);
    memcpy(words->text, data, size);
    words->text[size] = '\0';
    words->argv[words->argc++] = program;
    char *word = words->text;
    for (size_t i = 0; i <= size && words->argc < MAX_WORDS; i++) {
        if (words->text[i] != '\0' && words->text[i] != '\n')
            continue;
        words->text[i] = '\0';
        words->argv[words->argc++] = word;
        word = words->text + i + 1;
    }
    words->argv[words->argc] = NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    BLX_CLEANUP_CONFIG struct blx_config config = {0};
    struct words words = {0};
    struct blx_error err = {0};
    enum blx_config_result result = BLX_CONFIG_RUN, again = BLX_CONFIG_RUN;
    if (size == 0)
        return 0;
    words_split(&words, data + 1, size - 1);
    const struct blx_flags flags = {
        .command = (enum blx_command)(1 << data[0] % 8), .argc = words.argc, .argv = words.argv};
    int rc = blx_flags_apply(&flags, &config, &result, &err);
    if (rc < 0) {
        fuzz_assert_refusal(rc, &err);
        FUZZ_ASSERT(rc == -EINVAL);
    } else {
        size_t devices = config.device_count;
        FUZZ_ASSERT(blx_flags_apply(&flags, &config, &again, NULL) == 0);
        FUZZ_ASSERT(again == result);
        FUZZ_ASSERT(result != BLX_CONFIG_RUN || config.device_count == devices);
        FUZZ_ASSERT(config.device_count <= BLX_MAX_VOLUMES);
    }
    free(words.text);
    return 0;
}
