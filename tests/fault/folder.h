/* SPDX-License-Identifier: Apache-2.0 */
/* A folder of its own for each turn, below $TMPDIR. */
#pragma once

enum { FOLDER_BYTES = 64 };

void folder_make(char dir[FOLDER_BYTES]);

/* With all that is in it. */
void folder_remove(const char *dir);

/* How many names are in it. */
unsigned folder_count(const char *dir);

/* Asserts that the file is there and says `text` alone. */
void folder_file_is(const char *path, const char *text);

/* The same, for one of two texts. */
void folder_file_is_either(const char *path, const char *text, const char *other);
