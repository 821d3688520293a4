/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"

#include <inttypes.h>

#include "base/assert.h"

static void write_text(FILE *out, const char *text)
{
    fputc('"', out);
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at++) {
        if (*at == '"' || *at == '\\')
            fprintf(out, "\\%c", *at);
        else if (*at < 0x20)
            fprintf(out, "\\u%04x", *at);
        else
            fputc(*at, out);
    }
    fputc('"', out);
}

/* A line of its own, or `gap`. */
static void begin_line(const struct blx_json *json, const char *gap)
{
    if (json->one_line)
        fputs(gap, json->out);
    else
        fprintf(json->out, "\n%*s", (int)json->depth * 2, "");
}

/* The comma, the line, the indent and the key of the next member. */
static void begin_member(struct blx_json *json, const char *key)
{
    if (json->has_member)
        fputc(',', json->out);
    if (json->depth > 0)
        begin_line(json, json->has_member ? " " : "");
    if (key != NULL) {
        write_text(json->out, key);
        fputs(": ", json->out);
    }
    json->has_member = true;
}

void blx_json_open(struct blx_json *json, const char *key, char bracket)
{
    begin_member(json, key);
    fputc(bracket, json->out);
    json->depth++;
    json->has_member = false;
}

void blx_json_close(struct blx_json *json, char bracket)
{
    blx_assert(json->depth > 0);
    json->depth--;
    if (json->has_member)
        begin_line(json, "");
    fputc(bracket, json->out);
    json->has_member = true;
    if (json->depth == 0)
        fputc('\n', json->out);
}

void blx_json_string(struct blx_json *json, const char *key, const char *value)
{
    begin_member(json, key);
    write_text(json->out, value);
}

void blx_json_number(struct blx_json *json, const char *key, uint64_t value)
{
    begin_member(json, key);
    fprintf(json->out, "%" PRIu64, value);
}

void blx_json_bool(struct blx_json *json, const char *key, bool value)
{
    begin_member(json, key);
    fputs(value ? "true" : "false", json->out);
}

void blx_json_null(struct blx_json *json, const char *key)
{
    begin_member(json, key);
    fputs("null", json->out);
}
