/* SPDX-License-Identifier: Apache-2.0 */
/* Explains the block style of YAML, line by line: what was meant, and how to write it in flow
 * style. source_private.h declares it. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "config/option_private.h"
#include "config/source_private.h"

/* A line taken apart: "- item", "key: value" or neither. */
struct parts {
    size_t indent;
    bool item;
    char key[BLX_SOURCE_KEY_BYTES]; /* empty: none */
    char value[BLX_SOURCE_LINE_BYTES];
};

/* Text that grows up to its buffer's end and is cut there. */
struct draft {
    char *text;
    size_t bytes;
    size_t used;
};

static void draft_char(struct draft *draft, char c)
{
    if (draft->used + 1 < draft->bytes)
        draft->text[draft->used++] = c;
    draft->text[draft->used] = '\0';
}

static void draft_text(struct draft *draft, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        draft_char(draft, text[i]);
}

static bool is_item(const char *line)
{
    return line[0] == '-' && (line[1] == ' ' || line[1] == '\t' || line[1] == '\0');
}

static void split(const struct blx_source_line *line, struct parts *parts)
{
    static const char name_chars[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-*.";
    *parts = (struct parts){.indent = line->indent, .item = is_item(line->text)};
    const char *at = line->text;
    if (parts->item)
        at += 1 + strspn(at + 1, " \t");
    size_t name = strspn(at, name_chars);
    size_t colon = name + strspn(at + name, " \t");
    bool has_key = name > 0 && name < sizeof(parts->key) && at[colon] == ':' &&
                   (at[colon + 1] == '\0' || isblank((unsigned char)at[colon + 1]) ||
                    at[colon + 1] == '"' || at[colon + 1] == '\'');
    if (has_key && !parts->item) {
        memcpy(parts->key, at, name);
        at += colon + 1;
        at += strspn(at, " \t");
    }
    blx_text_set(parts->value, at);
}

/* The first line from `line` on that holds more than a comment; 0 if there is none. */
static unsigned significant_after(const char *text, unsigned line, struct parts *parts)
{
    for (unsigned count = blx_source_line_count(text); line <= count; line++) {
        struct blx_source_line found;
        blx_source_line(text, line, &found);
        if (found.text[0] == '\0')
            continue;
        split(&found, parts);
        return line;
    }
    return 0;
}

static unsigned significant_before(const char *text, unsigned line)
{
    while (line > 1) {
        struct blx_source_line found;
        blx_source_line(text, --line, &found);
        if (found.text[0] != '\0')
            return line;
    }
    return 0;
}

static bool is_number(const char *text, size_t length)
{
    char copy[48];
    if (length == 0 || length >= sizeof(copy))
        return false;
    memcpy(copy, text, length);
    copy[length] = '\0';
    if (strspn(copy, "0123456789+-.eE") != length)
        return false;
    char *end;
    strtod(copy, &end);
    return *end == '\0';
}

static bool is_bool_option(const char *key)
{
    const struct blx_option *option = blx_option_find(key, strlen(key));
    return option != NULL && option->kind == BLX_OPTION_BOOL;
}

/* A scalar in double quotes. */
static void draft_quoted(struct draft *draft, const char *text, size_t length)
{
    bool single = length >= 2 && text[0] == '\'' && text[length - 1] == '\'';
    if (single) {
        text++;
        length -= 2;
    }
    draft_char(draft, '"');
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '"' || text[i] == '\\')
            draft_char(draft, '\\');
        draft_char(draft, text[i]);
        if (single && text[i] == '\'' && i + 1 < length && text[i + 1] == '\'')
            i++;
    }
    draft_char(draft, '"');
}

/* A scalar as libconfig reads it: numbers and booleans stay as they are, everything else gets
 * double quotes. */
static void draft_scalar(struct draft *draft, const char *key, const char *text, size_t length)
{
    char word[8] = "";
    bool truth;
    if (length < sizeof(word))
        memcpy(word, text, length);
    if (is_number(text, length) || strcasecmp(word, "true") == 0 || strcasecmp(word, "false") == 0)
        draft_text(draft, text, length);
    else if (is_bool_option(key) && blx_bool_parse(word, &truth))
        draft_text(draft, truth ? "true" : "false", truth ? 4 : 5);
    else
        draft_quoted(draft, text, length);
}

static size_t string_length(const char *text)
{
    size_t at = 1;
    while (text[at] != '\0' && text[at] != '"')
        at += text[at] == '\\' && text[at + 1] != '\0' ? 2 : 1;
    return text[at] == '"' ? at + 1 : at;
}

/* The length of the scalar at `text`: inside of [ ] or { } up to the character that ends it,
 * outside of them the whole rest. */
static size_t scalar_length(const char *text, unsigned depth)
{
    size_t length = depth == 0 ? strlen(text) : strcspn(text, ",]}");
    if (text[0] == '\'') {
        const char *end = strchr(text + 1, '\'');
        while (end != NULL && end[1] == '\'')
            end = strchr(end + 2, '\'');
        if (end != NULL)
            return (size_t)(end - text) + 1;
    }
    /* Outside of brackets these can end a line of a group that began further up. */
    const char *enders = depth == 0 ? " \t;,]}" : " \t";
    while (length > 0 && strchr(enders, text[length - 1]) != NULL)
        length--;
    return length;
}

/* "ca: " at `text`: the length of the key with its colon and blanks; 0: no key. */
static size_t flow_key_length(const char *text)
{
    size_t name = 0;
    while (isalnum((unsigned char)text[name]) || (text[name] != '\0' && strchr("-_", text[name])))
        name++;
    if (name == 0 || text[name] != ':' || !isblank((unsigned char)text[name + 1]))
        return 0;
    return name + 1 + strspn(text + name + 1, " \t");
}

/* The value in flow style as libconfig takes it: scalars quoted, no comma before a closing bracket.
 */
static void draft_flow(struct draft *draft, const char *key, const char *value)
{
    unsigned depth = 0;
    while (*value != '\0') {
        size_t length = 1;
        size_t flow_key = depth > 0 ? flow_key_length(value) : 0;
        if (strchr("[{(", *value) != NULL) {
            depth++;
            draft_char(draft, *value);
        } else if (strchr("]})", *value) != NULL) {
            depth -= depth > 0;
            draft_char(draft, *value);
        } else if (*value == ',') {
            char next = value[1 + strspn(value + 1, " \t")];
            if (next == '\0' || strchr("]})", next) == NULL)
                draft_char(draft, ',');
        } else if (isspace((unsigned char)*value) || *value == ';') {
            draft_char(draft, *value);
        } else if (*value == '"') {
            length = string_length(value);
            draft_text(draft, value, length);
        } else if (flow_key > 0) {
            length = flow_key;
            draft_text(draft, value, length);
        } else {
            length = scalar_length(value, depth);
            length = length > 0 ? length : 1;
            draft_scalar(draft, key, value, length);
        }
        value += length;
    }
}

static struct draft hint_draft(struct blx_source_hint *hint)
{
    return (struct draft){.text = hint->corrected, .bytes = sizeof(hint->corrected)};
}

static void draft_key(struct draft *draft, const char *key)
{
    draft_text(draft, key, strlen(key));
    draft_text(draft, ": ", 2);
}

/* key: / - a / - b  ->  key: ["a", "b"] */
static void explain_items(const char *text, unsigned line, struct blx_source_hint *hint)
{
    struct draft draft = hint_draft(hint);
    hint->cause = "a list in the block style of YAML, with '- ' before each entry";
    draft_key(&draft, hint->key);
    draft_char(&draft, '[');
    struct parts entry;
    for (bool first = true; (line = significant_after(text, line, &entry)) > 0 && entry.item;
         line++) {
        if (!first)
            draft_text(&draft, ", ", 2);
        first = false;
        draft_flow(&draft, "", entry.value);
    }
    draft_char(&draft, ']');
}

/* key: / (indented) a: x / b: y  ->  key: { a: "x", b: "y" } */
static void explain_group(const char *text, unsigned line, size_t indent,
                          struct blx_source_hint *hint)
{
    struct draft draft = hint_draft(hint);
    hint->cause = "a group in the block style of YAML, marked by its indentation";
    draft_key(&draft, hint->key);
    draft_text(&draft, "{ ", 2);
    struct parts entry;
    for (bool first = true; (line = significant_after(text, line, &entry)) > 0 &&
                            entry.key[0] != '\0' && entry.indent > indent;
         line++) {
        if (!first)
            draft_text(&draft, ", ", 2);
        first = false;
        draft_key(&draft, entry.key);
        draft_flow(&draft, entry.key, entry.value);
    }
    draft_text(&draft, " }", 2);
}

/* A key with nothing after it on its line. */
static bool explain_empty(const char *text, unsigned line, const struct parts *parts,
                          struct blx_source_hint *hint)
{
    struct parts next;
    unsigned after = significant_after(text, line + 1, &next);
    if (after > 0 && next.item) {
        explain_items(text, after, hint);
    } else if (after > 0 && next.key[0] != '\0' && next.indent > parts->indent) {
        explain_group(text, after, parts->indent, hint);
    } else if (after > 0 && next.key[0] == '\0') {
        return false; /* libconfig lets a value begin on the next line */
    } else {
        const struct blx_option *option = blx_option_find(hint->key, strlen(hint->key));
        struct draft draft = hint_draft(hint);
        hint->cause = "a key without a value";
        draft_key(&draft, hint->key);
        const char *example =
            option != NULL && option->example != NULL ? option->example : "\"...\"";
        draft_text(&draft, example, strlen(example));
    }
    return true;
}

static const char *value_cause(const struct parts *parts)
{
    if (parts->value[0] == '\'')
        return "a text in single quotes";
    if (parts->value[0] == '[' || parts->value[0] == '{')
        return "texts inside it need double quotes, and a comma must not stand before the bracket";
    if (is_bool_option(parts->key))
        return "a boolean is written true or false";
    if (strchr("|>", parts->value[0]) != NULL)
        return "a text in the block style of YAML";
    return "a text without double quotes";
}

static bool explain_value(const struct parts *parts, struct blx_source_hint *hint)
{
    struct draft draft = hint_draft(hint);
    draft_key(&draft, parts->key);
    if (strchr("|>", parts->value[0]) != NULL)
        draft_text(&draft, "\"...\"", 5);
    else
        draft_flow(&draft, parts->key, parts->value);
    const char *after_key = hint->corrected + strlen(parts->key) + 2;
    if (strcmp(after_key, parts->value) == 0)
        return false;
    hint->cause = value_cause(parts);
    return true;
}

static bool explain_line(const char *text, unsigned line, struct blx_source_hint *hint)
{
    struct blx_source_line found;
    struct parts parts;
    blx_source_line(text, line, &found);
    split(&found, &parts);
    *hint = (struct blx_source_hint){.line = line};
    memcpy(hint->key, parts.key, sizeof(hint->key));
    if (strcmp(found.text, "---") == 0 || strcmp(found.text, "...") == 0 || found.text[0] == '%') {
        hint->cause = "a document mark of YAML";
        return true;
    }
    if (parts.item) {
        hint->cause = "an entry in the block style of YAML";
        blx_text_set(hint->corrected, "device: [\"/dev/xvda\", \"/dev/xvdb\"]");
        return true;
    }
    if (parts.key[0] == '\0')
        return false;
    return parts.value[0] == '\0' ? explain_empty(text, line, &parts, hint)
                                  : explain_value(&parts, hint);
}

bool blx_source_explain(const char *text, unsigned line, struct blx_source_hint *hint)
{
    unsigned before = significant_before(text, line);
    return (before > 0 && explain_line(text, before, hint)) || explain_line(text, line, hint);
}
