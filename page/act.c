/* SPDX-License-Identifier: Apache-2.0 */
#include "page/act.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/log.h"
#include "page/reply.h"
#include "store/audit.h"

enum {
    WORD_BYTES = PAGE_DEVICE_BYTES + 16,
    LINE_BYTES = 2 * PATH_MAX,
    TEXT_BYTES = LINE_BYTES + 256
};

/* An action with its words. */
struct act {
    struct page_question question;
    char agent_id[BLX_NAME_BYTES];
    char line[LINE_BYTES]; /* the command */
    char agent[WORD_BYTES], checkpoint[WORD_BYTES], device[WORD_BYTES];
};

static int add_agent(const struct page_request *request, struct act *act, struct blx_error *err)
{
    int rc = page_request_agent(request, "agent", act->agent_id, err);
    if (rc == 0)
        snprintf(act->agent, sizeof(act->agent), "--agent=%s", act->agent_id);
    return rc;
}

static int add_checkpoint(const struct page_request *request, struct act *act,
                          struct blx_error *err)
{
    char checkpoint[BLX_TIMESTAMP_TEXT_BYTES];
    int rc = page_request_checkpoint(request, checkpoint, err);
    if (rc == 0)
        snprintf(act->checkpoint, sizeof(act->checkpoint), "--checkpoint=%s", checkpoint);
    return rc;
}

static int prepare_checkpoint(const struct page_request *request, struct act *act,
                              struct blx_error *err)
{
    act->question =
        (struct page_question){.words = {"checkpoint", act->agent}, .timeout_ms = PAGE_ACT_MS};
    return add_agent(request, act, err);
}

static int prepare_pin(const struct page_request *request, struct act *act, struct blx_error *err)
{
    act->question = (struct page_question){.words = {"pin", act->agent, act->checkpoint}};
    int rc = add_agent(request, act, err);
    return rc == 0 ? add_checkpoint(request, act, err) : rc;
}

static int prepare_token(const struct page_request *request, struct act *act, struct blx_error *err)
{
    char device[PAGE_DEVICE_BYTES];
    act->question =
        (struct page_question){.words = {"restore", "--token", act->agent, act->checkpoint}};
    int rc = add_agent(request, act, err);
    if (rc == 0)
        rc = add_checkpoint(request, act, err);
    if (rc == 0)
        rc = page_request_device(request, device, err);
    if (rc < 0 || device[0] == '\0')
        return rc;
    snprintf(act->device, sizeof(act->device), "--device=%s", device);
    act->question.words[4] = act->device;
    return 0;
}

static int prepare(const struct page_request *request, struct act *act, struct blx_error *err)
{
    static const struct {
        const char *url;
        int (*prepare)(const struct page_request *request, struct act *act, struct blx_error *err);
    } acts[] = {{"/api/checkpoint", prepare_checkpoint},
                {"/api/pin", prepare_pin},
                {"/api/token", prepare_token}};
    size_t at = 0;
    while (strcmp(acts[at].url, request->url) != 0)
        at++; /* the routes have no others */
    int rc = acts[at].prepare(request, act, err);
    if (rc == 0)
        page_ask_format(request->page->ask, &act->question, act->line, sizeof(act->line));
    return rc;
}

/* What leaves no line is not done. */
static int note_down(const struct page_request *request, const struct act *act,
                     struct blx_error *err)
{
    char text[TEXT_BYTES];
    snprintf(text, sizeof(text), "an %s at %s: %s", page_role_name(request->session.role),
             request->address, act->line);
    const struct blx_audit_entry entry = {
        .uid = getuid(), .event = "page", .agent = act->agent_id, .text = text};
    return blx_audit_append(request->page->data_dir, &entry, err);
}

/* `answer` NULL: it goes on without us. */
static enum MHD_Result tell(const struct page_request *request, const struct act *act,
                            struct page_answer *answer)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    if (out == NULL)
        return MHD_NO;
    struct blx_json json = {.out = out};
    if (answer != NULL && answer->bytes > 0 && answer->text[answer->bytes - 1] == '\n')
        answer->text[answer->bytes - 1] = '\0';
    blx_json_open(&json, NULL, '{');
    blx_json_string(&json, "command", act->line);
    blx_json_bool(&json, "done", answer != NULL);
    blx_json_string(&json, "output", answer != NULL && answer->text != NULL ? answer->text : "");
    blx_json_close(&json, '}');
    if (fclose(out) != 0) {
        free(text);
        return MHD_NO;
    }
    const struct page_reply reply = {.status = answer != NULL ? MHD_HTTP_OK : MHD_HTTP_ACCEPTED,
                                     .type = PAGE_TYPE_JSON,
                                     .text = text,
                                     .bytes = bytes};
    return page_reply_send(request, &reply);
}

enum MHD_Result page_act_serve(const struct page_request *request)
{
    struct page_answer *answer = NULL;
    struct blx_error err = {0};
    BLX_CLEANUP_FREE struct act *act = calloc(1, sizeof(*act));
    if (act == NULL)
        return MHD_NO;
    int rc = prepare(request, act, &err);
    if (rc == 0)
        rc = note_down(request, act, &err);
    if (rc == 0)
        rc = page_ask_alone(request->page->ask, &act->question, &answer, &err);
    if (rc == -ETIMEDOUT && strcmp(request->url, "/api/checkpoint") == 0)
        return tell(request, act, NULL); /* the dispatcher has the order, and keeps it */
    if (rc < 0) {
        blx_log_warning("`%s` failed for an operator at %s: %s", act->line, request->address,
                        err.message);
        return page_reply_error(request, page_status_of(&err), &err);
    }
    blx_log_info("`%s` for an operator at %s", act->line, request->address);
    enum MHD_Result result = tell(request, act, answer);
    page_ask_drop(request->page->ask, answer);
    return result;
}
