/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks the store and the dispatcher: runs `blxrep dispatcher WORD ... --json`, so that the page
 * shows what the commands print and nothing else. Words are an argument vector, never a shell's.
 *
 * A question that is being asked already is not asked again, and an answer that is young enough is
 * given to everybody: 200 open pages cost as much as one. At most PAGE_ASK_AT_ONCE commands run at
 * a time, each for PAGE_ASK_TIMEOUT_MS at most, and none may print more than PAGE_ASK_MOST_BYTES.
 *
 * Threads: any. Blocks until the command has ended.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum {
    PAGE_ASK_AT_ONCE = 4,
    PAGE_ASK_KEPT = 8, /* answers */
    PAGE_ASK_KEPT_MS = 1000,
    PAGE_ASK_TIMEOUT_MS = 60 * 1000,
    PAGE_ASK_MOST_BYTES = 32 << 20,
    PAGE_ASK_MOST_WORDS = 12,
    PAGE_ASK_NOTE_BYTES = 512,
};

/* What a command printed. Shared: it lives until as many have dropped it. */
struct page_answer {
    unsigned holders; /* the ask's lock guards it */
    size_t bytes;
    char *text;                     /* a NUL follows */
    char note[PAGE_ASK_NOTE_BYTES]; /* what it said last if it ended with 1; "": it ended well */
};

struct page_ask;

/* `program` is the path of `blxrep`; `config_path` NULL: the default one. Both are borrowed. */
int page_ask_new(const char *program, const char *data_dir, const char *config_path,
                 struct page_ask **ask, struct blx_error *err);

/* Nobody may be asking. NULL is allowed. */
void page_ask_free(struct page_ask *ask);

/* The words of a question: those after `blxrep dispatcher`, without the data directory. */
struct page_question {
    const char *words[PAGE_ASK_MOST_WORDS]; /* NULL ends them, if there are fewer */
    uint64_t fresh_ms;                      /* an answer this old will do; 0: only a new one */
    uint64_t timeout_ms;                    /* 0: PAGE_ASK_TIMEOUT_MS */
    bool may_find; /* what it prints is an answer also if it ends with 1: with a note then */
};

/* -EIO if the command failed: the message is its own. -ETIMEDOUT, -EFBIG, -ENOMEM. Give the answer
 * back with page_ask_drop(). */
int page_ask(struct page_ask *ask, const struct page_question *question,
             struct page_answer **answer, struct blx_error *err);
void page_ask_drop(struct page_ask *ask, struct page_answer *answer);

/* The same for a command that does something: it is run for this caller alone, takes no turn, and
 * its answer is not kept. */
int page_ask_alone(struct page_ask *ask, const struct page_question *question,
                   struct page_answer **answer, struct blx_error *err);

/* The command as somebody would type it, with the data directory. */
void page_ask_format(const struct page_ask *ask, const struct page_question *question, char *text,
                     size_t bytes);

/* Starts the command and leaves its output to the caller: for what is streamed. It is killed if the
 * calling thread dies; page_ask_end() waits for its end. Takes no turn. */
struct page_run {
    int pid;
    int out_fd, error_fd; /* -1: closed */
};
int page_ask_start(struct page_ask *ask, const struct page_question *question, struct page_run *run,
                   struct blx_error *err);

/* Kills it if it still runs. Its exit status, and what it said on stderr last in `err`. */
int page_ask_end(struct page_run *run, struct blx_error *err);
