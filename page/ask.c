/* SPDX-License-Identifier: Apache-2.0 */
#include "page/ask.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/program.h"
#include "base/text.h"

enum { FIXED_WORDS = 4, KEY_BYTES = 8192, PIECE_BYTES = 64 * 1024, SAID_BYTES = 512 };

/* An answer that is kept, or a question that somebody is asking just now. */
struct kept {
    char key[KEY_BYTES]; /* "": free */
    bool asking;
    uint64_t asked_ns;          /* when it was begun */
    struct page_answer *answer; /* NULL while it is asked for the first time */
};

struct page_ask {
    const char *program, *data_dir, *config_path;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned running; /* the lock guards it and what follows */
    struct kept kept[PAGE_ASK_KEPT];
};

int page_ask_new(const char *program, const char *data_dir, const char *config_path,
                 struct page_ask **ask, struct blx_error *err)
{
    struct page_ask *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot ask the store");
    made->program = program;
    made->data_dir = data_dir;
    made->config_path = config_path;
    pthread_mutex_init(&made->lock, NULL);
    pthread_cond_init(&made->changed, NULL);
    *ask = made;
    return 0;
}

static void drop_locked(struct page_answer *answer)
{
    if (answer == NULL || --answer->holders > 0)
        return;
    free(answer->text);
    free(answer);
}

void page_ask_free(struct page_ask *ask)
{
    if (ask == NULL)
        return;
    for (size_t i = 0; i < PAGE_ASK_KEPT; i++)
        drop_locked(ask->kept[i].answer);
    pthread_cond_destroy(&ask->changed);
    pthread_mutex_destroy(&ask->lock);
    free(ask);
}

void page_ask_drop(struct page_ask *ask, struct page_answer *answer)
{
    pthread_mutex_lock(&ask->lock);
    drop_locked(answer);
    pthread_mutex_unlock(&ask->lock);
}

/* Reads what a descriptor has into `text`, of which `*used` bytes are used. If there is more than
 * `most` the first bytes go: the reason comes last. 0: that was all of it. */
static ssize_t take_said(int fd, char *text, size_t most, size_t *used)
{
    char piece[SAID_BYTES / 2];
    ssize_t got = read(fd, piece, sizeof(piece));
    if (got <= 0)
        return got < 0 && errno == EINTR ? 1 : got;
    if (*used + (size_t)got >= most) {
        size_t kept = most - 1 - (size_t)got;
        memmove(text, text + *used - kept, kept);
        *used = kept;
    }
    memcpy(text + *used, piece, (size_t)got);
    *used += (size_t)got;
    text[*used] = '\0';
    return got;
}

int page_ask_start(struct page_ask *ask, const struct page_question *question, struct page_run *run,
                   struct blx_error *err)
{
    char data_dir[KEY_BYTES], config[KEY_BYTES];
    const char *words[FIXED_WORDS + PAGE_ASK_MOST_WORDS + 1] = {ask->program, "dispatcher"};
    int out[2] = {-1, -1}, said[2] = {-1, -1};
    size_t count = 2;
    for (size_t i = 0; i < PAGE_ASK_MOST_WORDS && question->words[i] != NULL; i++)
        words[count++] = question->words[i];
    snprintf(data_dir, sizeof(data_dir), "--data-dir=%s", ask->data_dir);
    words[count++] = data_dir;
    snprintf(config, sizeof(config), "--config=%s", ask->config_path);
    if (ask->config_path != NULL)
        words[count++] = config;
    if (pipe2(out, O_CLOEXEC) != 0 || pipe2(said, O_CLOEXEC) != 0) {
        blx_cleanup_fd(&out[0]);
        blx_cleanup_fd(&out[1]);
        return blx_error_errno(err, -errno, "cannot start '%s'", ask->program);
    }
    /* A command never waits because nobody reads its remarks while its output is streamed. */
    fcntl(said[1], F_SETFL, O_NONBLOCK);
    const int fds[] = {-1, out[1], said[1]};
    const struct blx_program program = {.words = words, .fds = fds, .fd_count = 3};
    pid_t pid = 0;
    int rc = blx_program_start(&program, &pid, err);
    close(out[1]);
    close(said[1]);
    if (rc < 0) {
        close(out[0]);
        close(said[0]);
        return rc;
    }
    *run = (struct page_run){.pid = pid, .out_fd = out[0], .error_fd = said[0]};
    return 0;
}

/* The last line is the reason; the ones before are remarks. */
static void keep_reason(char *said, struct blx_error *err)
{
    size_t length = strlen(said);
    while (length > 0 && said[length - 1] == '\n')
        said[--length] = '\0';
    const char *line = strrchr(said, '\n');
    line = line != NULL ? line + 1 : said;
    if (strncmp(line, "blxrep: ", 8) == 0)
        line += 8;
    blx_error_set(err, -EIO, "%s", line[0] != '\0' ? line : "the command failed without a reason");
}

int page_ask_end(struct page_run *run, struct blx_error *err)
{
    char said[SAID_BYTES] = "";
    size_t used = 0;
    if (run->out_fd >= 0)
        close(run->out_fd); /* it is killed by SIGPIPE, if not here */
    run->out_fd = -1;
    struct pollfd waiting = {.fd = run->error_fd, .events = POLLIN};
    while (poll(&waiting, 1, 1000) > 0 && take_said(run->error_fd, said, sizeof(said), &used) > 0)
        ;
    close(run->error_fd);
    run->error_fd = -1;
    int status = BLX_PROGRAM_SIGNALLED + SIGKILL;
    if (waiting.revents == 0)
        blx_program_kill(run->pid);
    else
        status = blx_program_wait(run->pid);
    if (status != 0)
        keep_reason(said, err);
    return status;
}

struct output {
    char *text;
    size_t bytes, room;
};

static int take_output(int fd, struct output *output)
{
    if (output->room - output->bytes <= PIECE_BYTES) {
        size_t room = output->room == 0 ? 2 * PIECE_BYTES : 2 * output->room;
        char *more = room > 2 * PAGE_ASK_MOST_BYTES ? NULL : realloc(output->text, room);
        if (more == NULL)
            return -ENOMEM;
        output->text = more;
        output->room = room;
    }
    ssize_t got = read(fd, output->text + output->bytes, PIECE_BYTES);
    if (got < 0)
        return errno == EINTR ? 1 : -errno;
    output->bytes += (size_t)got;
    output->text[output->bytes] = '\0';
    return output->bytes > PAGE_ASK_MOST_BYTES ? -EFBIG : got > 0;
}

/* Reads both pipes until the output ends. */
static int collect(struct page_run *run, uint64_t timeout_ms, struct output *output, char *said,
                   size_t said_bytes)
{
    uint64_t deadline_ns = blx_deadline_in_ms(timeout_ms);
    size_t used = 0;
    int rc = 1;
    struct pollfd pipes[] = {{.fd = run->out_fd, .events = POLLIN},
                             {.fd = run->error_fd, .events = POLLIN}};
    while (rc > 0) {
        int ready = poll(pipes, 2, blx_deadline_poll_ms(deadline_ns));
        if (ready == 0)
            return -ETIMEDOUT;
        if (ready > 0 && pipes[1].revents != 0 &&
            take_said(run->error_fd, said, said_bytes, &used) <= 0)
            pipes[1].fd = -1;
        if (ready > 0 && pipes[0].revents != 0)
            rc = take_output(run->out_fd, output);
    }
    while (rc == 0 && pipes[1].fd >= 0 && poll(pipes + 1, 1, 1000) > 0 &&
           take_said(run->error_fd, said, said_bytes, &used) > 0)
        ;
    return rc;
}

static uint64_t find_timeout_ms(const struct page_question *question)
{
    return question->timeout_ms != 0 ? question->timeout_ms : PAGE_ASK_TIMEOUT_MS;
}

static int explain(const struct page_question *question, int rc, struct blx_error *err)
{
    const char *word = question->words[0];
    if (rc == -ETIMEDOUT)
        return blx_error_set(err, rc, "`blxrep dispatcher %s` has not answered for %" PRIu64 " s",
                             word, find_timeout_ms(question) / 1000);
    if (rc == -EFBIG)
        return blx_error_set(err, rc, "`blxrep dispatcher %s` prints more than %d MiB", word,
                             PAGE_ASK_MOST_BYTES >> 20);
    return blx_error_errno(err, rc, "cannot read what `blxrep dispatcher %s` prints", word);
}

static int run_it(struct page_ask *ask, const struct page_question *question,
                  struct page_answer **answer, struct blx_error *err)
{
    struct page_run run;
    char said[SAID_BYTES] = "";
    struct output output = {.text = NULL};
    BLX_CLEANUP_FREE struct page_answer *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot ask the store");
    int rc = page_ask_start(ask, question, &run, err);
    if (rc < 0)
        return rc;
    rc = collect(&run, find_timeout_ms(question), &output, said, sizeof(said));
    close(run.out_fd);
    close(run.error_fd);
    if (rc < 0)
        blx_program_kill(run.pid);
    int status = rc < 0 ? 0 : blx_program_wait(run.pid);
    const bool found =
        rc == 0 && question->may_find && status == BLX_EXIT_FAILED && output.bytes > 0;
    struct blx_error reason = {0};
    if (rc < 0)
        explain(question, rc, err);
    else if (status != 0)
        keep_reason(said, found ? &reason : err);
    if (rc < 0 || (status != 0 && !found)) {
        free(output.text);
        return rc < 0 ? rc : -EIO;
    }
    *made = (struct page_answer){.holders = 1, .bytes = output.bytes, .text = output.text};
    blx_text_set(made->note, reason.message);
    *answer = blx_take_ptr(made);
    return 0;
}

static int make_key(const struct page_question *question, char key[KEY_BYTES])
{
    size_t used = 0;
    for (size_t i = 0; i < PAGE_ASK_MOST_WORDS && question->words[i] != NULL; i++) {
        int wrote = snprintf(key + used, KEY_BYTES - used, "%s\n", question->words[i]);
        used += (size_t)wrote;
        if (used >= KEY_BYTES)
            return -ENAMETOOLONG;
    }
    return 0;
}

static struct kept *find_locked(struct page_ask *ask, const char *key)
{
    for (size_t i = 0; i < PAGE_ASK_KEPT; i++)
        if (strcmp(ask->kept[i].key, key) == 0)
            return &ask->kept[i];
    return NULL;
}

/* A place for another question: that of the oldest answer that nobody is just asking for. */
static struct kept *make_room_locked(struct page_ask *ask, const char *key)
{
    struct kept *oldest = NULL;
    for (size_t i = 0; i < PAGE_ASK_KEPT; i++) {
        struct kept *at = &ask->kept[i];
        if (!at->asking && (oldest == NULL || at->asked_ns < oldest->asked_ns))
            oldest = at;
    }
    if (oldest == NULL)
        return NULL;
    drop_locked(oldest->answer);
    *oldest = (struct kept){.answer = NULL};
    blx_text_set(oldest->key, key);
    return oldest;
}

static bool is_fresh(const struct kept *kept, const struct page_question *question,
                     uint64_t since_ns)
{
    if (kept->answer == NULL || kept->asking)
        return false;
    uint64_t age_ns = blx_clock_ns() - kept->asked_ns;
    return kept->asked_ns >= since_ns || age_ns < question->fresh_ms * BLX_NS_PER_MS;
}

/* Its place, when it is this thread's turn to ask; or the answer, if somebody else has asked. */
static struct kept *await_turn_locked(struct page_ask *ask, const struct page_question *question,
                                      const char *key, struct page_answer **answer)
{
    uint64_t since_ns = blx_clock_ns(); /* an answer that was asked for later is as good */
    for (;;) {
        struct kept *kept = find_locked(ask, key);
        if (kept != NULL && is_fresh(kept, question, since_ns)) {
            kept->answer->holders++;
            *answer = kept->answer;
            return NULL;
        }
        if (ask->running < PAGE_ASK_AT_ONCE && (kept == NULL || !kept->asking)) {
            kept = kept != NULL ? kept : make_room_locked(ask, key);
            if (kept != NULL)
                return kept;
        }
        pthread_cond_wait(&ask->changed, &ask->lock);
    }
}

int page_ask(struct page_ask *ask, const struct page_question *question,
             struct page_answer **answer, struct blx_error *err)
{
    char key[KEY_BYTES] = "";
    struct page_answer *made = NULL;
    if (make_key(question, key) < 0)
        return blx_error_set(err, -ENAMETOOLONG, "the question is too long");
    pthread_mutex_lock(&ask->lock);
    struct kept *kept = await_turn_locked(ask, question, key, answer);
    if (kept == NULL) {
        pthread_mutex_unlock(&ask->lock);
        return 0;
    }
    kept->asking = true;
    kept->asked_ns = blx_clock_ns();
    ask->running++;
    pthread_mutex_unlock(&ask->lock);
    int rc = run_it(ask, question, &made, err);
    pthread_mutex_lock(&ask->lock);
    ask->running--;
    kept->asking = false;
    drop_locked(kept->answer);
    kept->answer = made;
    if (made != NULL) {
        made->holders++;
        *answer = made;
    }
    pthread_cond_broadcast(&ask->changed);
    pthread_mutex_unlock(&ask->lock);
    return rc;
}

int page_ask_alone(struct page_ask *ask, const struct page_question *question,
                   struct page_answer **answer, struct blx_error *err)
{
    return run_it(ask, question, answer, err);
}

void page_ask_format(const struct page_ask *ask, const struct page_question *question, char *text,
                     size_t bytes)
{
    FILE *out = fmemopen(text, bytes, "w");
    text[0] = '\0';
    if (out == NULL)
        return;
    fputs("blxrep dispatcher", out);
    for (size_t i = 0; i < PAGE_ASK_MOST_WORDS && question->words[i] != NULL; i++)
        fprintf(out, " %s", question->words[i]);
    fprintf(out, " --data-dir=%s", ask->data_dir);
    fclose(out);
    text[bytes - 1] = '\0';
}
