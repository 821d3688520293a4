/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "base/units.h"
#include "dispatcher/event_watch.h"
#include "dispatcher/exposition.h"
#include "dispatcher/events.h"
#include "fake_agent.h"
#include "fake_site.h"

enum { SECOND_NS = 1000000000, AGENTS = 3 };
static const uint64_t cut_s = 1795380960;

/* Looks at agents that the test makes, with a real roster for the damages. */
struct scene {
    struct fake_site *site;
    struct blx_control_agent agents[AGENTS];
    struct dispatcher_overview overview;
    struct dispatcher_event_watch watch;
    struct blx_event_list list;
};

static int setup(void **state)
{
    struct scene *scene = calloc(1, sizeof(*scene));
    assert_non_null(scene);
    scene->site = fake_site_start(DISPATCHER_HEARTBEAT_MS);
    for (size_t i = 0; i < AGENTS; i++) {
        struct blx_control_agent *agent = &scene->agents[i];
        snprintf(agent->agent_id, sizeof(agent->agent_id), "web%zu", i + 1);
        agent->status.state = BLX_AGENT_LIVE;
        agent->last_checkpoint = blx_timestamp_from_unix((int64_t)cut_s);
        agent->last_time = agent->last_checkpoint;
        agent->last_consistency = BLX_CONSISTENCY_FILESYSTEM;
        agent->sync_freq_ms = 180000;
    }
    scene->overview = (struct dispatcher_overview){
        .dispatcher = {.data_bytes = 1000, .data_free_bytes = 500},
        .agents = scene->agents,
        .agent_count = AGENTS,
    };
    *state = scene;
    return 0;
}

static int teardown(void **state)
{
    struct scene *scene = *state;
    dispatcher_event_watch_done(&scene->watch);
    blx_event_list_done(&scene->list);
    fake_site_stop(scene->site);
    free(scene);
    return 0;
}

/* A new list of the events that a look finds. */
static size_t look_after(struct scene *scene, uint64_t seconds)
{
    blx_event_list_done(&scene->list);
    assert_int_equal(dispatcher_event_watch_look(&scene->watch, &scene->site->dispatcher.roster,
                                                 &scene->overview, (cut_s + seconds) * SECOND_NS,
                                                 &scene->list),
                     0);
    return scene->list.count;
}

static void assert_event(const struct scene *scene, size_t index, enum blx_event_kind kind,
                         const char *agent_id, const char *part)
{
    const struct blx_event *event = &scene->list.events[index];
    assert_int_equal(event->kind, kind);
    assert_string_equal(event->agent_id, agent_id);
    if (strstr(event->text, part) == NULL)
        fail_msg("'%s' does not say '%s'", event->text, part);
}

static void trouble_is_told_once_and_its_end_too(void **state)
{
    struct scene *scene = *state;
    assert_int_equal(look_after(scene, 10), 0);
    scene->agents[1].status.state = BLX_AGENT_OFFLINE;
    scene->agents[1].away_ms = 61000;
    assert_int_equal(look_after(scene, 61), 1);
    assert_event(scene, 0, BLX_EVENT_AGENT_LOST, "web2", "not connected for 1 m 1 s");
    assert_int_equal(look_after(scene, 62), 0);
    scene->agents[1].status.state = BLX_AGENT_LIVE;
    assert_int_equal(look_after(scene, 70), 1);
    assert_event(scene, 0, BLX_EVENT_AGENT_PROTECTED, "web2", "the last checkpoint is 1 m 10 s");
    assert_int_equal(look_after(scene, 71), 0);
}

static char *expose(const struct scene *scene)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    assert_non_null(out);
    dispatcher_exposition_write(&scene->overview, (cut_s + 600) * SECOND_NS, out);
    fclose(out);
    return text;
}

static void copies_are_judged_by_the_clock_and_told_once(void **state)
{
    struct scene *scene = *state;
    const struct blx_config_object_store wish = {.url = (char *)(uintptr_t) "https://host/bucket",
                                                 .lock = BLX_OBJECT_LOCK_COMPLIANCE,
                                                 .every_ms = 3600 * 1000};
    struct blx_elsewhere record = {.newest = blx_timestamp_from_unix((int64_t)cut_s - 7200),
                                   .copied_s = (int64_t)cut_s - 7200,
                                   .locked_until_s = (int64_t)cut_s + 86400,
                                   .lock = BLX_COPIED_COMPLIANCE};
    struct blx_control_copy copy;
    const uint64_t now_ns = cut_s * SECOND_NS;
    blx_timestamp waiting = blx_timestamp_from_unix((int64_t)cut_s - 7000);
    dispatcher_copies_judge(&wish, &record, 0, now_ns, &copy);
    assert_true(!copy.late && copy.locked && copy.wants_lock && copy.waiting_s == 0);
    /* It is due an hour after the last one, and late an hour and some minutes later. */
    dispatcher_copies_judge(&wish, &record, waiting, now_ns, &copy);
    assert_true(!copy.late && copy.waiting_s == 3600);
    dispatcher_copies_judge(&wish, &record, waiting, (cut_s + 601) * SECOND_NS, &copy);
    assert_true(copy.late);
    blx_text_set(copy.agent_id, "web1");
    scene->overview.copies = &copy;
    scene->overview.copy_count = 1;
    assert_int_equal(look_after(scene, 10), 1);
    assert_event(scene, 0, BLX_EVENT_COPY_LATE, "web1", "has been waiting for its copy in");
    assert_int_equal(look_after(scene, 11), 0);
    char *text = expose(scene);
    assert_non_null(strstr(text, "blxrep_agent_copy_late{agent=\"web1\"} 1\n"));
    free(text);
    /* The lock has ended; the store was found to lie; a checkpoint of the future is strange. */
    record.locked_until_s = (int64_t)cut_s - 1;
    dispatcher_copies_judge(&wish, &record, 0, now_ns, &copy);
    assert_true(!copy.locked && strstr(copy.not_locked, "has ended") != NULL);
    record.locked_until_s = (int64_t)cut_s + 86400;
    blx_text_set(record.not_locked, "the store lies");
    record.strange_count = 2;
    dispatcher_copies_judge(&wish, &record, 0, now_ns, &copy);
    blx_text_set(copy.agent_id, "web1");
    assert_int_equal(look_after(scene, 12), 3);
    assert_event(scene, 0, BLX_EVENT_COPY_IN_TIME, "web1", "is copied to");
    assert_event(scene, 1, BLX_EVENT_COPY_NOT_LOCKED, "web1", "can be deleted: the store lies");
    assert_event(scene, 2, BLX_EVENT_COPY_STRANGE, "web1", "2 newer checkpoints");
    record.not_locked[0] = '\0';
    dispatcher_copies_judge(&wish, &record, 0, now_ns, &copy);
    blx_text_set(copy.agent_id, "web1");
    assert_int_equal(look_after(scene, 13), 1);
    assert_event(scene, 0, BLX_EVENT_COPY_LOCKED, "web1", "cannot be deleted");
    /* A clock that was wrong has given names of the future: the time of the copy counts. */
    record.newest = blx_timestamp_from_unix((int64_t)cut_s + 365 * 86400);
    waiting = blx_timestamp_from_unix((int64_t)cut_s + 365 * 86400 + 1);
    dispatcher_copies_judge(&wish, &record, waiting, (cut_s + 7200) * SECOND_NS, &copy);
    assert_true(copy.late);
    /* Never copied. */
    dispatcher_copies_judge(&wish, NULL, waiting, now_ns, &copy);
    assert_true(!copy.locked && copy.newest == 0);
    scene->overview.copies = NULL;
    scene->overview.copy_count = 0;
}

static void failed_test_is_told_once_and_measured(void **state)
{
    struct scene *scene = *state;
    struct dispatcher_proof proofs[AGENTS] = {{.is_tested = false}};
    scene->overview.proofs = proofs;
    assert_int_equal(look_after(scene, 10), 0);
    proofs[0] = (struct dispatcher_proof){
        .is_wanted = true,
        .is_tested = true,
        .is_proven = true,
        .newest = {.checkpoint = 20261122203600, .begun_realtime_ns = 2, .reason = "it panicked"},
        .proven = {.begun_realtime_ns = UINT64_C(1500) * SECOND_NS, .booted_ms = 41250}};
    proofs[0].newest.results[BLX_TEST_BOOT] = BLX_TEST_BAD;
    assert_int_equal(look_after(scene, 11), 1);
    assert_event(scene, 0, BLX_EVENT_TEST_FAILED, "web1",
                 "20261122203600 did not pass its test: "
                 "it panicked");
    assert_int_equal(look_after(scene, 12), 0);
    char *text = expose(scene);
    assert_non_null(strstr(text, "blxrep_agent_last_test_failed{agent=\"web1\"} 1\n"));
    assert_non_null(
        strstr(text, "blxrep_agent_last_proven_timestamp_seconds{agent=\"web1\"} 1500\n"));
    assert_non_null(strstr(text, "blxrep_agent_last_proven_boot_seconds{agent=\"web1\"} 41.25\n"));
    assert_null(strstr(text, "last_test_failed{agent=\"web2\"}"));
    assert_non_null(strstr(text, "blxrep_agent_tests_wanted{agent=\"web1\"} 1\n"));
    assert_non_null(strstr(text, "blxrep_agent_tests_wanted{agent=\"web2\"} 0\n"));
    free(text);
    /* A process before this one has told of it, but not of the next one. */
    scene->watch.agents[0].failed_test_ns = 0;
    proofs[0].is_told = true;
    assert_int_equal(look_after(scene, 13), 0);
    proofs[0].is_told = false;
    proofs[0].newest.begun_realtime_ns = 3;
    assert_int_equal(look_after(scene, 13), 1);
    proofs[0].newest.level = BLX_TEST_LEVEL_BOOT;
    proofs[0].newest.results[BLX_TEST_BOOT] = BLX_TEST_GOOD;
    assert_int_equal(look_after(scene, 14), 0);
    scene->overview.proofs = NULL;
}

static void a_signal_is_told_once_however_many_checkpoints_it_has(void **state)
{
    struct scene *scene = *state;
    struct dispatcher_proof proofs[AGENTS] = {{.is_tested = false}};
    scene->overview.proofs = proofs;
    assert_int_equal(look_after(scene, 10), 0);
    proofs[0] = (struct dispatcher_proof){.is_suspicious = true,
                                          .stands = true,
                                          .suspicious_count = 1,
                                          .suspicion = {.checkpoint = 20261122203600,
                                                        .since = 20261122203600,
                                                        .calm = 20261122203500,
                                                        .reason = "50.0 MiB of data"}};
    assert_int_equal(look_after(scene, 11), 1);
    assert_event(scene, 0, BLX_EVENT_SUSPICIOUS, "web1",
                 "20261122203600 looks as if data had been encrypted (a signal, no verdict): 50.0 "
                 "MiB of data; the last calm one, 20261122203500, is pinned");
    proofs[0].suspicion.checkpoint = 20261122203700;
    proofs[0].suspicious_count = 2;
    assert_int_equal(look_after(scene, 12), 0);
    char *text = expose(scene);
    assert_non_null(strstr(text, "blxrep_agent_suspicious{agent=\"web1\"} 1\n"));
    assert_non_null(strstr(text, "blxrep_agent_suspicious{agent=\"web2\"} 0\n"));
    assert_non_null(strstr(text, "blxrep_agent_suspicious_checkpoints{agent=\"web1\"} 2\n"));
    free(text);
    proofs[0].suspicion.since = proofs[0].suspicion.checkpoint;
    proofs[0].suspicion.calm = 0;
    assert_int_equal(look_after(scene, 13), 1);
    assert_event(scene, 0, BLX_EVENT_SUSPICIOUS, "web1", "no calm checkpoint is left to pin");
    scene->overview.proofs = NULL;
}

static void records_are_read_again_if_the_folder_changes(void **state)
{
    struct scene *scene = *state;
    struct dispatcher_proofs *proofs = &scene->site->dispatcher.proofs;
    const struct blx_agent_store web1 = blx_store_agent(&scene->site->store, "web1");
    struct dispatcher_proof proof;
    char command[512];
    dispatcher_proofs_look(proofs, web1, &proof);
    assert_false(proof.is_tested);
    snprintf(command, sizeof(command),
             "d=%s/agents/web1/checkpoints; mkdir -p $d && touch $d/20261122203600",
             scene->site->data_dir);
    assert_int_equal(system(command), 0);
    dispatcher_proofs_look(proofs, web1, &proof);
    assert_false(proof.is_tested);
    struct blx_tested tested = {.checkpoint = 20261122203600,
                                .level = BLX_TEST_LEVEL_FILESYSTEM,
                                .results = {[BLX_TEST_FILESYSTEM] = BLX_TEST_GOOD}};
    assert_int_equal(blx_tested_write(web1, &tested, NULL), 0);
    dispatcher_proofs_look(proofs, web1, &proof);
    assert_true(proof.is_tested && proof.is_proven);
    assert_int_equal(proof.proven.checkpoint, tested.checkpoint);
    assert_false(proof.is_suspicious);
    const struct blx_suspicion suspicion = {
        .checkpoint = tested.checkpoint, .since = tested.checkpoint, .kind = BLX_SIGNAL_HARDENED};
    assert_int_equal(blx_suspicion_write(web1, &suspicion, NULL), 0);
    dispatcher_proofs_look(proofs, web1, &proof);
    assert_true(proof.is_suspicious && proof.suspicious_count == 1 && !proof.stands);
    assert_int_equal(proof.suspicion.checkpoint, tested.checkpoint);
}

static void late_and_inconsistent_and_damaged_checkpoints_are_told(void **state)
{
    struct scene *scene = *state;
    scene->agents[1].last_unreadable_bytes = 4096;
    assert_int_equal(look_after(scene, 9), 1);
    assert_event(scene, 0, BLX_EVENT_CHECKPOINT_DAMAGED, "web2", "could not be read");
    scene->agents[2].last_consistency = BLX_CONSISTENCY_NONE;
    snprintf(scene->agents[2].note, sizeof(scene->agents[2].note), "somebody wrote meanwhile");
    assert_int_equal(look_after(scene, 10), 1);
    assert_event(scene, 0, BLX_EVENT_CHECKPOINT_INCONSISTENT, "web3", "somebody wrote meanwhile");
    assert_int_equal(look_after(scene, 421), AGENTS);
    assert_event(scene, 0, BLX_EVENT_CHECKPOINT_LATE, "web1", "one is due every 3 m");
}

static void trouble_of_the_store_is_one_event_for_all(void **state)
{
    struct scene *scene = *state;
    const struct blx_trouble full = {.kind = BLX_TROUBLE_FULL, .text = "the store is full"};
    scene->overview.dispatcher.trouble = full;
    for (size_t i = 0; i < AGENTS; i++)
        scene->agents[i].trouble = full;
    assert_int_equal(look_after(scene, 10), 1);
    assert_event(scene, 0, BLX_EVENT_STORE_FAILS, "", "the store is full");
    assert_int_equal(look_after(scene, 20), 0);
    scene->overview.dispatcher.trouble.kind = BLX_TROUBLE_NONE;
    scene->agents[0].trouble.kind = BLX_TROUBLE_NONE;
    scene->agents[2].trouble.kind = BLX_TROUBLE_NONE;
    snprintf(scene->agents[1].trouble.text, BLX_TEXT_BYTES, "'/data/agents/web2' is root's");
    scene->agents[1].trouble.kind = BLX_TROUBLE_DENIED;
    assert_int_equal(look_after(scene, 30), 2);
    assert_event(scene, 0, BLX_EVENT_STORE_WORKS, "", "takes data again");
    assert_event(scene, 1, BLX_EVENT_AGENT_NOT_STORED, "web2",
                 "store-denied: '/data/agents/web2' is root's: give the files");
    scene->agents[1].trouble.kind = BLX_TROUBLE_NONE;
    assert_int_equal(look_after(scene, 40), 1);
    assert_event(scene, 0, BLX_EVENT_AGENT_PROTECTED, "web2", "");
}

static void first_sync_is_no_news(void **state)
{
    struct scene *scene = *state;
    scene->agents[0].last_checkpoint = 0;
    assert_int_equal(look_after(scene, 10), 0);
    scene->agents[0].last_checkpoint = scene->agents[1].last_checkpoint;
    assert_int_equal(look_after(scene, 20), 0);
}

static void disk_and_damage_are_told(void **state)
{
    struct scene *scene = *state;
    struct fake_site *site = scene->site;
    scene->overview.dispatcher.data_free_bytes = 49;
    assert_int_equal(dispatcher_roster_note_damage(&site->dispatcher.roster, &site->store, "web1",
                                                   "a frame's checksum is wrong", NULL),
                     0);
    assert_int_equal(look_after(scene, 10), 2);
    assert_event(scene, 0, BLX_EVENT_DISK_NEARLY_FULL, "", "49 B of 1000 B free");
    assert_event(scene, 1, BLX_EVENT_DAMAGE_FOUND, "web1", "checksum is wrong");
    assert_int_equal(look_after(scene, 11), 0);
    scene->overview.dispatcher.data_free_bytes = 500;
    assert_int_equal(look_after(scene, 12), 1);
    assert_event(scene, 0, BLX_EVENT_DISK_HAS_ROOM, "", "500 B of 1000 B");
}

static void history_that_is_gone_is_told_each_time(void **state)
{
    struct scene *scene = *state;
    struct dispatcher_roster *roster = &scene->site->dispatcher.roster;
    struct dispatcher_roster_record *record = NULL;
    const struct blx_manifest none = {0}, had = {.timestamp = scene->agents[0].last_checkpoint};
    char text[BLX_TEXT_BYTES];
    assert_int_equal(dispatcher_roster_enter(roster, &scene->site->store, "web1", &record, NULL),
                     0);
    for (uint64_t time = 0; time < 2; time++) {
        dispatcher_roster_note_commit(roster, record, &had);
        assert_int_equal(look_after(scene, 10 + 2 * time), 0);
        assert_true(dispatcher_roster_note_history(roster, record, &none, text));
        assert_int_equal(look_after(scene, 11 + 2 * time), 1);
        assert_event(scene, 0, BLX_EVENT_HISTORY_GONE, "web1", "its history is gone");
    }
    dispatcher_roster_leave(roster, record, NULL);
}

static void hooks_that_fail_are_told_once(void **state)
{
    struct scene *scene = *state;
    for (uint64_t time = 0; time < 2; time++) {
        scene->agents[1].cut_flags = BLX_CUT_FLAGS_TOLD | BLX_CUT_POST_THAW_FAILED;
        assert_int_equal(look_after(scene, 10 + 4 * time), 1);
        assert_event(scene, 0, BLX_EVENT_HOOK_FAILED, "web2",
                     "the post-thaw command failed for the last checkpoint");
        assert_int_equal(look_after(scene, 11 + 4 * time), 0);
        scene->agents[1].cut_flags = BLX_CUT_FLAGS_TOLD;
        assert_int_equal(look_after(scene, 12 + 4 * time), 0);
    }
}

/* Each end once, and once more when it has come. A newer certificate is no event. */
static void certificates_that_end_are_told(void **state)
{
    struct scene *scene = *state;
    enum { DAY_S = 86400 };
    scene->agents[1].cert_ends_s = cut_s + 31 * DAY_S;
    scene->overview.dispatcher.cert_ends_s = cut_s + 400 * DAY_S;
    scene->overview.dispatcher.ca_ends_s = cut_s + 400 * DAY_S;
    assert_int_equal(look_after(scene, 1), 0);
    scene->agents[1].cert_ends_s = cut_s + 29 * DAY_S;
    scene->overview.dispatcher.ca_ends_s = cut_s + 300 * DAY_S;
    assert_int_equal(look_after(scene, 2), 2);
    assert_event(scene, 0, BLX_EVENT_CERTIFICATE_ENDS, "", "the CA ends in 299 days: make");
    assert_event(scene, 1, BLX_EVENT_CERTIFICATE_ENDS, "web2",
                 "its certificate ends in 28 days: an agent renews it by itself");
    assert_int_equal(look_after(scene, 3), 0);
    scene->overview.dispatcher.ca_ends_s = cut_s + 20 * DAY_S;
    scene->overview.dispatcher.cert_ends_s = cut_s + 20 * DAY_S;
    scene->agents[1].cert_ends_s = 0; /* it was renewed */
    assert_int_equal(look_after(scene, 4), 2);
    assert_event(scene, 0, BLX_EVENT_CERTIFICATE_ENDS, "", "the CA ends in 19 days");
    assert_event(scene, 1, BLX_EVENT_CERTIFICATE_ENDS, "",
                 "the dispatcher's certificate ends in 19 days");
    scene->agents[1].cert_ends_s = cut_s;
    assert_int_equal(look_after(scene, 5), 1);
    assert_event(scene, 0, BLX_EVENT_CERTIFICATE_ENDS, "web2", "its certificate has ended");
    assert_int_equal(look_after(scene, 6), 0);
}

static void each_kind_has_a_name_and_an_id_of_its_own(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < BLX_EVENT_KINDS; kind++) {
        const char *id = blx_event_message_id((enum blx_event_kind)kind);
        assert_non_null(blx_event_name((enum blx_event_kind)kind));
        assert_non_null(id);
        assert_int_equal(strlen(id), 32);
        for (unsigned before = 0; before < kind; before++)
            assert_string_not_equal(id, blx_event_message_id((enum blx_event_kind)before));
    }
}

static void few_inodes_are_told(void **state)
{
    struct scene *scene = *state;
    scene->overview.dispatcher.data_inodes = 1000;
    scene->overview.dispatcher.data_free_inodes = 49;
    assert_int_equal(look_after(scene, 10), 1);
    assert_event(scene, 0, BLX_EVENT_DISK_NEARLY_FULL, "", "and 49 of 1000 inodes");
    assert_int_equal(look_after(scene, 11), 0);
    scene->overview.dispatcher.data_free_inodes = 51;
    assert_int_equal(look_after(scene, 12), 1);
    assert_event(scene, 0, BLX_EVENT_DISK_HAS_ROOM, "", "and 51 of 1000 inodes");
}

static void agents_that_are_kept_out_are_told(void **state)
{
    struct scene *scene = *state;
    scene->overview.kept_out = 7;
    assert_int_equal(look_after(scene, 10), 1);
    assert_event(scene, 0, BLX_EVENT_AGENTS_KEPT_OUT, "", "7 connections were refused");
    scene->overview.kept_out = 9;
    assert_int_equal(look_after(scene, 20), 0);
    for (size_t i = 0; i < AGENTS; i++) /* nothing is late meanwhile */
        scene->agents[i].last_checkpoint = blx_timestamp_from_unix((int64_t)cut_s + 300);
    assert_int_equal(look_after(scene, 319), 0);
    assert_int_equal(look_after(scene, 321), 1);
    assert_event(scene, 0, BLX_EVENT_AGENTS_LET_IN, "", "five minutes");
    assert_int_equal(look_after(scene, 322), 0);
}

static void most_pressing_event_comes_first(void **state)
{
    struct scene *scene = *state;
    char *variables[BLX_EVENT_VARIABLES];
    scene->overview.dispatcher.data_free_bytes = 49;
    scene->agents[2].status.state = BLX_AGENT_OFFLINE;
    scene->agents[2].away_ms = 3600000;
    assert_int_equal(look_after(scene, 10), 2);
    assert_int_equal(blx_event_make_variables(&scene->list, "/srv", variables), 0);
    assert_string_equal(variables[0], "BLXREP_EVENT=agent-lost");
    assert_string_equal(variables[1], "BLXREP_AGENT=web3");
    assert_non_null(strstr(variables[2], "BLXREP_TEXT=the last checkpoint is 10.0 s old"));
    assert_string_equal(variables[3], "BLXREP_COUNT=2");
    assert_string_equal(variables[4], "BLXREP_DATA_DIR=/srv");
    assert_non_null(strstr(variables[5], "BLXREP_EVENTS=agent-lost web3 "));
    assert_non_null(strstr(variables[5], "\ndisk-nearly-full - 49 B of"));
    blx_event_free_variables(variables);
}

/* The lines of the file that commands append to; 0 if there is none yet. */
static size_t lines_of(const char *path, char last[256])
{
    size_t lines = 0;
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(last, 256, file) != NULL)
        lines++;
    if (file != NULL)
        fclose(file);
    return lines;
}

static void wait_for_line(const char *path, char last[256])
{
    for (int i = 0; i < 1000 && lines_of(path, last) == 0; i++)
        usleep(20000);
    assert_int_equal(lines_of(path, last), 1);
}

/* Ten damages of two agents within the time in which events settle. */
static void burst_makes_one_call(void **state)
{
    struct scene *scene = *state;
    struct fake_site *site = scene->site;
    struct dispatcher_events *events = NULL;
    char path[64], command[256], line[256] = "";
    static const char *const ids[] = {"web1", "web10"};
    for (size_t i = 0; i < 2; i++) {
        char dir[128];
        snprintf(dir, sizeof(dir), "mkdir -p %s/agents/%s", site->data_dir, ids[i]);
        assert_int_equal(system(dir), 0);
    }
    snprintf(path, sizeof(path), "%s/told", site->dir);
    snprintf(command, sizeof(command),
             "echo \"$BLXREP_EVENT $BLXREP_COUNT $(echo \"$BLXREP_EVENTS\" | wc -l)\" >> %s", path);
    const struct dispatcher_events_plan plan = {.command = command,
                                                .timeout_ms = 20000,
                                                .look_ms = 10,
                                                .settle_ms = 600,
                                                .apart_ms = 60000};
    assert_int_equal(dispatcher_events_start(&site->dispatcher, &plan, &events, NULL), 0);
    for (int i = 0; i < 10; i++) {
        dispatcher_roster_note_damage(&site->dispatcher.roster, &site->store, ids[i % 2], "hurt",
                                      NULL);
        usleep(20000);
    }
    wait_for_line(path, line);
    int count = 0, listed = 0;
    assert_int_equal(sscanf(line, "damage-found %d %d", &count, &listed), 2);
    assert_in_range(count, 2, 10);
    assert_int_equal(listed, count);
    assert_int_equal(dispatcher_events_stop(events, blx_clock_ns() + UINT64_C(20) * SECOND_NS), 0);
    assert_int_equal(lines_of(path, line), 1);
}

static void stopping_kills_a_command_that_hangs(void **state)
{
    struct scene *scene = *state;
    struct fake_site *site = scene->site;
    struct dispatcher_events *events = NULL;
    char path[64], command[256], line[256] = "";
    snprintf(command, sizeof(command), "mkdir -p %s/agents/web1", site->data_dir);
    assert_int_equal(system(command), 0);
    snprintf(path, sizeof(path), "%s/told", site->dir);
    snprintf(command, sizeof(command), "echo begun >> %s; sleep 600; echo done >> %s", path, path);
    const struct dispatcher_events_plan plan = {
        .command = command, .timeout_ms = 600000, .look_ms = 10, .settle_ms = 10, .apart_ms = 10};
    assert_int_equal(dispatcher_events_start(&site->dispatcher, &plan, &events, NULL), 0);
    dispatcher_roster_note_damage(&site->dispatcher.roster, &site->store, "web1", "hurt", NULL);
    wait_for_line(path, line);
    /* It looks no more while the command runs, and nobody waits for it. */
    dispatcher_roster_note_damage(&site->dispatcher.roster, &site->store, "web1", "hurt again",
                                  NULL);
    uint64_t before_ns = blx_clock_ns();
    assert_int_equal(dispatcher_events_stop(events, before_ns + UINT64_C(20) * SECOND_NS), 0);
    assert_true(blx_clock_ns() - before_ns < UINT64_C(10) * SECOND_NS);
    assert_int_equal(lines_of(path, line), 1);
}

/* It begins when every agent is protected, and ends when the command is taken away. */
static void heart_beats_while_all_agents_are_protected(void **state)
{
    struct scene *scene = *state;
    struct fake_site *site = scene->site;
    struct dispatcher_events *events = NULL;
    struct dispatcher_registry_waiter waiter;
    char path[64], command[256], line[256] = "";
    snprintf(path, sizeof(path), "%s/beats", site->dir);
    snprintf(command, sizeof(command), "echo \"$BLXREP_COUNT\" >> %s", path);
    const struct dispatcher_events_plan plan = {.heartbeat = command,
                                                .heartbeat_ms = 20,
                                                .timeout_ms = 20000,
                                                .look_ms = 10,
                                                .settle_ms = 10,
                                                .apart_ms = 10};
    assert_int_equal(dispatcher_events_start(&site->dispatcher, &plan, &events, NULL), 0);
    struct fake_agent *agent = fake_agent_online(site, "web1");
    usleep(200000);
    assert_int_equal(lines_of(path, line), 0); /* nothing is stored yet */
    fake_agent_write(agent, 0, 8, 0x11);
    fake_site_ask(site, "web1", &waiter);
    fake_agent_checkpoint(agent);
    assert_true(fake_site_outcome(site, &waiter).ok);
    for (int i = 0; i < 1000 && lines_of(path, line) < 3; i++)
        usleep(20000);
    assert_true(lines_of(path, line) >= 3);
    assert_string_equal(line, "1\n");
    assert_true(dispatcher_events_set_commands(events, &(struct dispatcher_events_plan){0}));
    assert_false(dispatcher_events_set_commands(events, &(struct dispatcher_events_plan){0}));
    assert_int_equal(dispatcher_events_stop(events, blx_clock_ns() + UINT64_C(20) * SECOND_NS), 0);
    fake_agent_close(agent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(trouble_is_told_once_and_its_end_too),
        TEST(copies_are_judged_by_the_clock_and_told_once),
        TEST(failed_test_is_told_once_and_measured),
        TEST(a_signal_is_told_once_however_many_checkpoints_it_has),
        TEST(records_are_read_again_if_the_folder_changes),
        TEST(late_and_inconsistent_and_damaged_checkpoints_are_told),
        TEST(trouble_of_the_store_is_one_event_for_all),
        TEST(first_sync_is_no_news),
        TEST(disk_and_damage_are_told),
        TEST(history_that_is_gone_is_told_each_time),
        TEST(hooks_that_fail_are_told_once),
        TEST(certificates_that_end_are_told),
        TEST(each_kind_has_a_name_and_an_id_of_its_own),
        TEST(few_inodes_are_told),
        TEST(agents_that_are_kept_out_are_told),
        TEST(most_pressing_event_comes_first),
        TEST(burst_makes_one_call),
        TEST(stopping_kills_a_command_that_hangs),
        TEST(heart_beats_while_all_agents_are_protected),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
