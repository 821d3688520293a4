/* SPDX-License-Identifier: Apache-2.0 */
#include "config/source_private.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

unsigned blx_source_line_count(const char *text)
{
    unsigned count = 0;
    while (*text != '\0') {
        count++;
        const char *end = strchr(text, '\n');
        if (end == NULL)
            break;
        text = end + 1;
    }
    return count;
}

static const char *line_at(const char *text, unsigned line)
{
    for (; line > 1; line--) {
        const char *end = strchr(text, '\n');
        if (end == NULL)
            return "";
        text = end + 1;
    }
    return text;
}

/* The place where the comment begins; a '#' inside double quotes does not begin one. */
static size_t length_without_comment(const char *line)
{
    bool quoted = false;
    size_t at = 0;
    for (; line[at] != '\0' && line[at] != '\n'; at++) {
        if (quoted && line[at] == '\\' && line[at + 1] != '\0' && line[at + 1] != '\n')
            at++;
        else if (line[at] == '"')
            quoted = !quoted;
        else if (!quoted && line[at] == '#')
            break;
    }
    return at;
}

void blx_source_line(const char *text, unsigned line, struct blx_source_line *found)
{
    const char *start = line_at(text, line);
    size_t length = length_without_comment(start);
    found->indent = 0;
    while (found->indent < length && isblank((unsigned char)start[found->indent]))
        found->indent++;
    start += found->indent;
    length -= found->indent;
    while (length > 0 && isspace((unsigned char)start[length - 1]))
        length--;
    if (length >= sizeof(found->text))
        length = sizeof(found->text) - 1;
    memcpy(found->text, start, length);
    found->text[length] = '\0';
}

void blx_source_prefix(const char *path, const char *text, unsigned line, struct blx_error *err)
{
    struct blx_source_line found;
    blx_source_line(text, line, &found);
    size_t name = strcspn(found.text, " \t:=");
    size_t sign = name + strspn(found.text + name, " \t");
    bool has_key = name > 0 && name < BLX_SOURCE_KEY_BYTES &&
                   isalpha((unsigned char)found.text[0]) &&
                   (found.text[sign] == ':' || found.text[sign] == '=');
    if (has_key)
        blx_error_prefix(err, "'%s', line %u, key '%.*s'", path, line, (int)name, found.text);
    else
        blx_error_prefix(err, "'%s', line %u", path, line);
}

struct scan {
    const char *at;
    unsigned line;
    bool line_begins; /* nothing but blanks so far */
};

static int check_string(struct scan *scan, struct blx_error *err)
{
    for (scan->at++; *scan->at != '"'; scan->at++) {
        if (*scan->at == '\\' && scan->at[1] != '\0' && scan->at[1] != '\n')
            scan->at++;
        else if (*scan->at == '\0' || *scan->at == '\n')
            return blx_error_set(err, -EINVAL,
                                 "a text begins with '\"' and does not end on this line; close it "
                                 "with '\"' (inside a text write \\\")");
    }
    scan->at++;
    return 0;
}

static int check_number(struct scan *scan, struct blx_error *err)
{
    int base = scan->at[0] == '0' && (scan->at[1] == 'x' || scan->at[1] == 'X') ? 16 : 10;
    char *end;
    errno = 0;
    uint64_t value = strtoull(scan->at, &end, base);
    bool fraction = *end == '.' || *end == 'e' || *end == 'E';
    if (!fraction && (errno != 0 || value > INT32_MAX))
        return blx_error_set(err, -EINVAL,
                             "the number '%.*s' is too large; write it with a unit and in "
                             "quotes, such as \"64M\" or \"12h\"",
                             (int)(end - scan->at < 40 ? end - scan->at : 40), scan->at);
    scan->at = end;
    return 0;
}

static void skip_line(struct scan *scan)
{
    scan->at += strcspn(scan->at, "\n");
}

static void skip_block_comment(struct scan *scan)
{
    const char *end = strstr(scan->at + 2, "*/");
    end = end != NULL ? end + 2 : scan->at + strlen(scan->at);
    for (; scan->at < end; scan->at++)
        scan->line += *scan->at == '\n';
}

/* One token, comment or character. */
static int check_next(struct scan *scan, struct blx_error *err)
{
    char c = *scan->at;
    if (c == '"')
        return check_string(scan, err);
    if (isdigit((unsigned char)c))
        return check_number(scan, err);
    if (c == '#' || (c == '/' && scan->at[1] == '/'))
        skip_line(scan);
    else if (c == '/' && scan->at[1] == '*')
        skip_block_comment(scan);
    else if (isalpha((unsigned char)c) || c == '_')
        while (isalnum((unsigned char)*scan->at) || (*scan->at != '\0' && strchr("-_*", *scan->at)))
            scan->at++;
    else if (scan->line_begins && strncmp(scan->at, "@include", 8) == 0)
        return blx_error_set(err, -EINVAL,
                             "@include is not supported; write the keys into this file");
    else
        scan->at++;
    return 0;
}

int blx_source_check(const char *path, const char *text, size_t bytes, struct blx_error *err)
{
    struct scan scan = {.at = text, .line = 1, .line_begins = true};
    while (*scan.at != '\0') {
        char c = *scan.at;
        int rc = check_next(&scan, err);
        if (rc < 0) {
            blx_source_prefix(path, text, scan.line, err);
            return rc;
        }
        scan.line += c == '\n';
        scan.line_begins = c == '\n' || (scan.line_begins && isblank((unsigned char)c));
    }
    if (scan.at != text + bytes)
        return blx_error_set(err, -EINVAL, "'%s', line %u: a NUL byte; the file must be plain text",
                             path, scan.line);
    return 0;
}
