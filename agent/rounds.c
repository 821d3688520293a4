#include "agent/rounds.h"

#include "base/progress.h"
#include "base/units.h"

enum { STATE_NS = 1000 * 1000 * 1000 };

/* What a long round says meanwhile: to the dispatcher's status, and to a terminal. */
struct report {
    struct blx_session *session;
    struct blx_progress progress;
    uint64_t told_ns;
};

static void report_init(struct report *report, struct blx_session *session)
{
    *report = (struct report){.session = session, .told_ns = blx_clock_ns()};
    blx_progress_init(&report->progress, "sending", blx_round_marked_bytes(session->agent));
}

static void report_update(struct report *report)
{
    uint64_t now = blx_clock_ns();
    if (now - report->told_ns < STATE_NS)
        return;
    report->told_ns = now;
    struct blx_session *session = report->session;
    blx_session_set_state(session, session->status.state);
    uint64_t left = blx_round_marked_bytes(session->agent);
    uint64_t total = report->progress.total_bytes;
    blx_progress_update(&report->progress, total > left ? total - left : 0);
}

static bool is_wanted_elsewhere(struct blx_session *session)
{
    pthread_mutex_lock(&session->agent->lock);
    bool wanted = session->request != 0 && session->committing == 0;
    pthread_mutex_unlock(&session->agent->lock);
    return wanted;
}

static void send_volume(struct blx_session *session, struct blx_volume *volume, enum blx_claim kind,
                        bool yield, struct report *report)
{
    struct blx_pipeline *pipeline = session->agent->pipeline;
    uint64_t cursor = 0;
    while (blx_session_alive(session) && !(yield && is_wanted_elsewhere(session))) {
        blx_watchdog_turn(&session->agent->watchdog, 0);
        struct blx_job *job = blx_session_take_job(session);
        if (job == NULL)
            break;
        if (!blx_batch_claim(&job->batch, volume, kind, &cursor)) {
            blx_pipeline_release(pipeline, job);
            break;
        }
        blx_session_submit(session, job);
        report_update(report);
    }
}

int blx_round_send(struct blx_session *session, enum blx_claim kind, bool yield,
                   struct blx_error *err)
{
    struct blx_agent *agent = session->agent;
    struct report report;
    report_init(&report, session);
    for (size_t i = 0; i < agent->volume_count; i++)
        send_volume(session, &agent->volumes[i], kind, yield, &report);
    blx_progress_done(&report.progress);

    pthread_mutex_lock(&agent->lock);
    int rc = session->rc;
    if (rc < 0)
        *err = session->error;
    pthread_mutex_unlock(&agent->lock);
    return rc;
}

uint64_t blx_round_marked_bytes(const struct blx_agent *agent)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < agent->volume_count; i++)
        bytes += blx_volume_marked(&agent->volumes[i]) << agent->volumes[i].block_shift;
    return bytes;
}
