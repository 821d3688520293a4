/* SPDX-License-Identifier: Apache-2.0 */
#include "page/route.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "base/version.h"
#include "page/act.h"
#include "page/files.h"
#include "page/gate.h"
#include "page/html.h"
#include "page/image.h"
#include "page/reply.h"
#include "page/token.h"
#include "page/view.h"
#include "store/audit.h"

enum { WORD_BYTES = 256 };

/* A question with its words, which stand in a buffer each. */
struct question {
    struct page_question asked;
    char agent[WORD_BYTES], checkpoint[WORD_BYTES];
};

static enum MHD_Result fail(const struct page_request *request, const struct blx_error *err)
{
    return page_reply_error(request, page_status_of(err), err);
}

static int ask_status(const struct page_request *request, struct question *question,
                      struct blx_error *err)
{
    (void)request;
    (void)err;
    question->asked = (struct page_question){.words = {"status", "--json"}};
    return 0;
}

static int add_agent(const struct page_request *request, const char *word,
                     struct question *question, struct blx_error *err)
{
    char agent[BLX_NAME_BYTES];
    int rc = page_request_agent(request, word, agent, err);
    if (rc == 0)
        snprintf(question->agent, sizeof(question->agent), "--agent=%s", agent);
    return rc;
}

static int ask_show(const struct page_request *request, struct question *question,
                    struct blx_error *err)
{
    const char *word = strcmp(request->url, "/agent") == 0 ? "id" : "agent";
    question->asked =
        (struct page_question){.words = {"show", "--json", question->agent}, .may_find = true};
    return add_agent(request, word, question, err);
}

static int ask_info(const struct page_request *request, struct question *question,
                    struct blx_error *err)
{
    char checkpoint[BLX_TIMESTAMP_TEXT_BYTES];
    question->asked =
        (struct page_question){.words = {"info", "--json", question->agent, question->checkpoint}};
    int rc = add_agent(request, "agent", question, err);
    if (rc == 0)
        rc = page_request_checkpoint(request, checkpoint, err);
    if (rc == 0)
        snprintf(question->checkpoint, sizeof(question->checkpoint), "--checkpoint=%s", checkpoint);
    return rc;
}

static int ask_log(const struct page_request *request, struct question *question,
                   struct blx_error *err)
{
    if (page_request_word(request, "agent") == NULL) {
        question->asked = (struct page_question){.words = {"log", "--json"}, .may_find = true};
        return 0;
    }
    question->asked =
        (struct page_question){.words = {"log", "--json", question->agent}, .may_find = true};
    return add_agent(request, "agent", question, err);
}

static int ask_check(const struct page_request *request, struct question *question,
                     struct blx_error *err)
{
    (void)request;
    (void)err;
    question->asked = (struct page_question){.words = {"check", "--json"}, .may_find = true};
    return 0;
}

typedef int ask_it(const struct page_request *request, struct question *question,
                   struct blx_error *err);

static enum MHD_Result answer_question(const struct page_request *request,
                                       const struct page_question *question)
{
    struct page_answer *answer = NULL;
    struct blx_error err = {0};
    if (page_ask(request->page->ask, question, &answer, &err) < 0)
        return fail(request, &err);
    enum MHD_Result result = page_reply_answer(request, answer);
    page_ask_drop(request->page->ask, answer);
    return result;
}

static enum MHD_Result view_question(const struct page_request *request,
                                     const struct page_question *question,
                                     void (*write)(FILE *out, const struct page_request *request,
                                                   const json_t *answer))
{
    struct page_answer *answer = NULL;
    struct blx_error err = {0};
    if (page_ask(request->page->ask, question, &answer, &err) < 0)
        return fail(request, &err);
    char note[PAGE_ASK_NOTE_BYTES];
    json_t *parsed = json_loadb(answer->text, answer->bytes, 0, NULL);
    blx_text_set(note, answer->note);
    page_ask_drop(request->page->ask, answer);
    if (parsed == NULL) {
        blx_error_set(&err, -EIO,
                      "the command printed no JSON: have blxrep and blxrep-page the same version?");
        return fail(request, &err);
    }
    enum MHD_Result result = page_html_send(request, write, parsed, note);
    json_decref(parsed);
    return result;
}

static enum MHD_Result serve_answer(const struct page_request *request, ask_it *prepare)
{
    struct question question;
    struct blx_error err = {0};
    if (prepare(request, &question, &err) < 0)
        return fail(request, &err);
    question.asked.fresh_ms = PAGE_ASK_KEPT_MS;
    return answer_question(request, &question.asked);
}

static enum MHD_Result serve_view(const struct page_request *request, ask_it *prepare,
                                  void (*write)(FILE *out, const struct page_request *request,
                                                const json_t *answer))
{
    struct question question;
    struct blx_error err = {0};
    if (prepare(request, &question, &err) < 0)
        return fail(request, &err);
    question.asked.fresh_ms = PAGE_ASK_KEPT_MS;
    return view_question(request, &question.asked, write);
}

static enum MHD_Result serve_overview(const struct page_request *request)
{
    return serve_view(request, ask_status, page_view_overview);
}

static enum MHD_Result serve_agent(const struct page_request *request)
{
    return serve_view(request, ask_show, page_view_agent);
}

static enum MHD_Result serve_checkpoint(const struct page_request *request)
{
    return serve_view(request, ask_info, page_view_checkpoint);
}

static enum MHD_Result serve_status(const struct page_request *request)
{
    return serve_answer(request, ask_status);
}

static enum MHD_Result serve_show(const struct page_request *request)
{
    return serve_answer(request, ask_show);
}

static enum MHD_Result serve_info(const struct page_request *request)
{
    return serve_answer(request, ask_info);
}

static enum MHD_Result serve_log(const struct page_request *request)
{
    return serve_answer(request, ask_log);
}

static enum MHD_Result serve_check(const struct page_request *request)
{
    return serve_answer(request, ask_check);
}

static enum MHD_Result serve_events(const struct page_request *request)
{
    return page_feed_serve(request->page->feed, request);
}

static enum MHD_Result serve_session(const struct page_request *request)
{
    char ends[BLX_RFC3339_TEXT_BYTES];
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    if (out == NULL)
        return MHD_NO;
    struct blx_json json = {.out = out};
    blx_timestamp_format_rfc3339(blx_timestamp_from_unix(request->session.ends_s), ends);
    blx_json_open(&json, NULL, '{');
    blx_json_string(&json, "role", page_role_name(request->session.role));
    blx_json_string(&json, "address", request->session.address);
    blx_json_string(&json, "csrf", request->session.csrf);
    blx_json_string(&json, "ends", ends);
    blx_json_string(&json, "data_dir", request->page->data_dir);
    blx_json_string(&json, "version", BLX_VERSION);
    blx_json_close(&json, '}');
    if (fclose(out) != 0) {
        free(text);
        return MHD_NO;
    }
    const struct page_reply reply = {
        .status = MHD_HTTP_OK, .type = PAGE_TYPE_JSON, .text = text, .bytes = bytes};
    return page_reply_send(request, &reply);
}

/* Somebody may have taken the token: so the audit log has who came. */
static void note_entry(const struct page_request *request, enum page_role role)
{
    char text[WORD_BYTES];
    struct blx_error err = {0};
    snprintf(text, sizeof(text), "%s at %s", page_role_name(role), request->address);
    blx_log_info("a session of the page began: %s", text);
    const struct blx_audit_entry entry = {.uid = getuid(), .event = "page-session", .text = text};
    if (blx_audit_append(request->page->data_dir, &entry, &err) < 0)
        blx_log_warning("the audit log lacks this session: %s", err.message);
}

/* The next page is asked for by this one, because a browser that came from a mail or a chat sends
 * no strict cookie with a redirect. */
static enum MHD_Result serve_enter(const struct page_request *request)
{
    static const char text[] =
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
        "<meta http-equiv=\"refresh\" content=\"0; url=/\"><title>blxrep</title></head>\n"
        "<body><p>You are in: <a href=\"/\">open the page</a>.</p></body></html>\n";
    char cookie[PAGE_SECRET_TEXT_BYTES], header[WORD_BYTES];
    const char *token = page_request_word(request, "token");
    enum page_role role;
    struct blx_error err = {0};
    int rc = page_token_use(request->page->data_dir, token != NULL ? token : "", &role, &err);
    if (rc == 0)
        rc = page_session_begin(request->page->sessions, role, request->address, cookie, &err);
    if (rc < 0) {
        blx_log_warning("nobody was let in from %s: %s", request->address, err.message);
        return fail(request, &err);
    }
    note_entry(request, role);
    snprintf(header, sizeof(header),
             PAGE_COOKIE "=%s; Path=/; HttpOnly; SameSite=Strict; "
                         "Max-Age=%d%s",
             cookie, PAGE_SESSION_MOST_S, request->page->tls != NULL ? "; Secure" : "");
    const struct page_reply reply = {.status = MHD_HTTP_OK,
                                     .type = PAGE_TYPE_HTML,
                                     .text = strdup(text),
                                     .bytes = sizeof(text) - 1,
                                     .cookie = header};
    return reply.text == NULL ? MHD_NO : page_reply_send(request, &reply);
}

static enum MHD_Result serve_files_list(const struct page_request *request,
                                        void (*write)(FILE *out, const struct page_request *request,
                                                      const json_t *answer))
{
    BLX_CLEANUP_FREE struct page_files_words *words = calloc(1, sizeof(*words));
    struct page_question asked;
    struct blx_error err = {0};
    if (words == NULL)
        return MHD_NO;
    if (page_files_ask(request, words, &asked, &err) < 0)
        return fail(request, &err);
    return write == NULL ? answer_question(request, &asked) : view_question(request, &asked, write);
}

static enum MHD_Result serve_files(const struct page_request *request)
{
    return serve_files_list(request, page_view_files);
}

static enum MHD_Result serve_files_json(const struct page_request *request)
{
    return serve_files_list(request, NULL);
}

/* What leaves no line in the audit log is not given out. */
static int note_download(const struct page_request *request, char agent[BLX_NAME_BYTES],
                         struct blx_error *err)
{
    char checkpoint[BLX_TIMESTAMP_TEXT_BYTES], device[PAGE_DEVICE_BYTES], path[PAGE_PATH_BYTES];
    char text[PAGE_DEVICE_BYTES + PAGE_PATH_BYTES + WORD_BYTES];
    int rc = page_request_agent(request, "agent", agent, err);
    if (rc == 0)
        rc = page_request_checkpoint(request, checkpoint, err);
    if (rc == 0)
        rc = page_request_device(request, device, err);
    if (rc == 0)
        rc = page_request_path(request, path, err);
    if (rc < 0)
        return rc;
    snprintf(text, sizeof(text), "%s of %s, %s %s, to %s", request->url + 1, checkpoint, device,
             path, request->address);
    const struct blx_audit_entry entry = {
        .uid = getuid(), .event = "page-download", .agent = agent, .text = text};
    return blx_audit_append(request->page->data_dir, &entry, err);
}

static enum MHD_Result serve_content(const struct page_request *request)
{
    char agent[BLX_NAME_BYTES];
    struct blx_error err = {0};
    if (note_download(request, agent, &err) < 0)
        return fail(request, &err);
    return strcmp(request->url, "/image") == 0 ? page_image_serve(request)
                                               : page_download_serve(request);
}

static const struct {
    const char *url;
    enum page_need need;
    enum MHD_Result (*serve)(const struct page_request *request);
} routes[] = {
    {"/", PAGE_NEEDS_SESSION, serve_overview},
    {"/agent", PAGE_NEEDS_SESSION, serve_agent},
    {"/checkpoint", PAGE_NEEDS_SESSION, serve_checkpoint},
    {"/enter", PAGE_NEEDS_NOTHING, serve_enter},
    {"/events", PAGE_NEEDS_SESSION, serve_events},
    {"/api/session", PAGE_NEEDS_SESSION, serve_session},
    {"/api/status", PAGE_NEEDS_SESSION, serve_status},
    {"/api/show", PAGE_NEEDS_SESSION, serve_show},
    {"/api/info", PAGE_NEEDS_SESSION, serve_info},
    {"/api/log", PAGE_NEEDS_SESSION, serve_log},
    {"/api/check", PAGE_NEEDS_SESSION, serve_check},
    {"/files", PAGE_NEEDS_OPERATOR, serve_files},
    {"/api/files", PAGE_NEEDS_OPERATOR, serve_files_json},
    {"/download", PAGE_NEEDS_OPERATOR, serve_content},
    {"/image", PAGE_NEEDS_OPERATOR, serve_content},
    {"/api/checkpoint", PAGE_NEEDS_ACT, page_act_serve},
    {"/api/pin", PAGE_NEEDS_ACT, page_act_serve},
    {"/api/token", PAGE_NEEDS_ACT, page_act_serve},
};

enum { ROUTES = sizeof(routes) / sizeof(routes[0]) };

static enum MHD_Result serve_other(struct page_request *request)
{
    struct blx_error err = {0};
    unsigned status = page_gate_pass(request, PAGE_NEEDS_NOTHING, &err);
    if (status == 0) {
        int served = page_assets_serve(request->page->assets, request);
        if (served > 0)
            return (enum MHD_Result)(served - 1);
        status = MHD_HTTP_NOT_FOUND;
        blx_error_set(&err, -ENOENT, "there is nothing at this address");
    }
    return page_reply_error(request, status, &err);
}

enum MHD_Result page_route(struct page_request *request)
{
    struct blx_error err = {0};
    size_t at = 0;
    while (at < ROUTES && strcmp(routes[at].url, request->url) != 0)
        at++;
    if (at == ROUTES)
        return serve_other(request);
    unsigned status = page_gate_pass(request, routes[at].need, &err);
    if (status == 0 && request->method == PAGE_POST && routes[at].need != PAGE_NEEDS_ACT) {
        status = MHD_HTTP_METHOD_NOT_ALLOWED;
        blx_error_set(&err, -EINVAL, "this is no action: it takes GET");
    }
    return status == 0 ? routes[at].serve(request) : page_reply_error(request, status, &err);
}
