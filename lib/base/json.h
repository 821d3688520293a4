/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes JSON for --json: the caller gives objects, arrays and members in order, and commas,
 * indents and escapes are made here. It only writes, so a small writer of our own costs less than a
 * library would cost every user of libblxrep.
 *
 *     struct blx_json json = {.out = stdout};
 *     blx_json_open(&json, NULL, '[');
 *     blx_json_open(&json, NULL, '{');
 *     blx_json_string(&json, "checkpoint", "20261122203600");
 *     blx_json_close(&json, '}');
 *     blx_json_close(&json, ']');
 *
 * `key` is NULL inside an array and at the top. Threads: one at a time. Errors are the stream's:
 * check ferror(out).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct blx_json {
    FILE *out;
    unsigned depth;
    bool one_line;   /* everything stands in one line */
    bool has_member; /* something stands before the next member of the innermost object or array */
};

void blx_json_open(struct blx_json *json, const char *key, char bracket);
void blx_json_close(struct blx_json *json, char bracket);
void blx_json_string(struct blx_json *json, const char *key, const char *value);
void blx_json_number(struct blx_json *json, const char *key, uint64_t value);
void blx_json_bool(struct blx_json *json, const char *key, bool value);
void blx_json_null(struct blx_json *json, const char *key);
