/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/console.h"

#include <errno.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

/*
 * ESC begins a sequence: one character, or after "[" parameters and a letter, or after "]" a text
 * up to BEL or another ESC.
 *
 *     TEXT ──ESC──► ESCAPED ──[──► CONTROL ──letter──► TEXT
 *                      │  ╲──]──► TITLE ──BEL, ESC \──► TEXT
 *                      └──any other──► TEXT
 */
enum state { TEXT, ESCAPED, CONTROL, TITLE };

enum { ESC = 0x1b, BEL = 0x07, BACKSPACE = 0x08, FIRST_PRINTABLE = 0x20, DEL = 0x7f };

struct boot_console {
    enum state state;
    char text[BOOT_CONSOLE_BYTES + 1]; /* ends with a NUL */
    size_t used;
    size_t line;   /* where the line under way begins */
    size_t looked; /* up to this line nothing was found; at most `line` */
    size_t heard;  /* bytes in all */
    size_t ended;  /* lines in all */
    bool returned; /* a carriage return came: the next character is a line's first */
    bool expecting, found;
    regex_t expression; /* if it is expecting */
};

struct boot_console *boot_console_new(void)
{
    return calloc(1, sizeof(struct boot_console));
}

void boot_console_free(struct boot_console *console)
{
    if (console != NULL)
        boot_console_expect(console, NULL, NULL);
    free(console);
}

/* The older half goes, at the end of a line if there is one. */
static void make_room(struct boot_console *console)
{
    if (console->used < BOOT_CONSOLE_BYTES)
        return;
    size_t gone = BOOT_CONSOLE_BYTES / 2;
    const char *end = memchr(console->text + gone, '\n', console->used - gone);
    if (end != NULL && (size_t)(end - console->text) < console->line)
        gone = (size_t)(end - console->text) + 1;
    memmove(console->text, console->text + gone, console->used - gone);
    console->used -= gone;
    console->line = console->line > gone ? console->line - gone : 0;
    console->looked = console->looked > gone ? console->looked - gone : 0;
}

static void put(struct boot_console *console, char character)
{
    make_room(console);
    console->text[console->used++] = character;
    console->text[console->used] = '\0';
}

/* Of a line that ends nobody needs what was written over. */
static void look(struct boot_console *console)
{
    const char *from = console->text + console->looked;
    if (console->expecting && !console->found)
        console->found = regexec(&console->expression, from, 0, NULL, 0) == 0;
    console->looked = console->line;
}

static void end_line(struct boot_console *console)
{
    put(console, '\n');
    console->line = console->used;
    console->returned = false;
    console->ended++;
}

static void put_text(struct boot_console *console, unsigned char character)
{
    if (character == '\n') {
        end_line(console);
    } else if (character == '\r') {
        console->returned = true;
    } else if (character == BACKSPACE) {
        console->used -= console->used > console->line;
        console->text[console->used] = '\0';
    } else if ((character >= FIRST_PRINTABLE && character != DEL) || character == '\t') {
        /* A line is often written over: a countdown, a progress. */
        if (console->returned)
            console->used = console->line;
        console->returned = false;
        if (console->used - console->line >= BOOT_CONSOLE_LINE_BYTES)
            end_line(console);
        put(console, character == '\t' ? ' ' : (char)character);
    }
}

static void take(struct boot_console *console, unsigned char character)
{
    switch (console->state) {
    case TEXT:
        if (character == ESC)
            console->state = ESCAPED;
        else
            put_text(console, character);
        break;
    case ESCAPED:
        console->state = character == '[' ? CONTROL : character == ']' ? TITLE : TEXT;
        break;
    case CONTROL:
        if (character >= '@' && character <= '~')
            console->state = TEXT;
        break;
    case TITLE:
        if (character == BEL || character == '\n')
            console->state = TEXT;
        else if (character == ESC)
            console->state = ESCAPED;
        break;
    }
}

void boot_console_hear(struct boot_console *console, const char *bytes, size_t count)
{
    console->heard += count;
    for (size_t i = 0; i < count; i++) {
        /* A line that is about to be written over is looked at first. */
        if (bytes[i] == '\r' && console->used > console->line)
            look(console);
        take(console, (unsigned char)bytes[i]);
        if (console->used - console->looked > BOOT_CONSOLE_BYTES / 4)
            look(console);
    }
    look(console);
}

int boot_console_expect(struct boot_console *console, const char *expression, struct blx_error *err)
{
    if (console->expecting)
        regfree(&console->expression);
    console->expecting = false;
    console->found = false;
    console->looked = console->line;
    if (expression == NULL)
        return 0;
    int code = regcomp(&console->expression, expression, REG_EXTENDED | REG_NOSUB | REG_NEWLINE);
    if (code != 0) {
        char cause[128];
        regerror(code, &console->expression, cause, sizeof(cause));
        return blx_error_set(err, -EINVAL, "'%.200s' is no extended regular expression: %s",
                             expression, cause);
    }
    console->expecting = true;
    look(console);
    return 0;
}

bool boot_console_found(const struct boot_console *console)
{
    return console->found;
}

const char *boot_console_tail(const struct boot_console *console, unsigned lines)
{
    size_t at = console->line;
    /* The line under way is one of them. */
    for (unsigned i = 1; i < lines && at > 0; i++) {
        at--;
        while (at > 0 && console->text[at - 1] != '\n')
            at--;
    }
    return console->text + at;
}

size_t boot_console_count(const struct boot_console *console)
{
    return console->heard;
}

size_t boot_console_count_lines(const struct boot_console *console)
{
    return console->ended;
}
