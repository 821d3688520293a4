/* SPDX-License-Identifier: Apache-2.0 */
#include "folder.h"

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "loop.h"

void folder_make(char dir[FOLDER_BYTES])
{
    const char *parent = getenv("TMPDIR");
    snprintf(dir, FOLDER_BYTES, "%s/blx-fault-XXXXXX", parent != NULL ? parent : "/tmp");
    assert_non_null(mkdtemp(dir));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

void folder_remove(const char *dir)
{
    assert_int_equal(nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

unsigned folder_count(const char *dir)
{
    DIR *open = opendir(dir);
    unsigned count = 0;
    assert_non_null(open);
    for (const struct dirent *entry; (entry = readdir(open)) != NULL;)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(open);
    return count;
}

void folder_file_is_either(const char *path, const char *text, const char *other)
{
    char found[4096] = "";
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    size_t bytes = fread(found, 1, sizeof(found) - 1, file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(bytes, strlen(found));
    if (strcmp(found, text) != 0)
        assert_string_equal(found, other);
}

void folder_file_is(const char *path, const char *text)
{
    folder_file_is_either(path, text, text);
}
