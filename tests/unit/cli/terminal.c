/* SPDX-License-Identifier: Apache-2.0 */
/* What people see on terminals of 80, 100 and 140 columns: no row is wrapped by the terminal, no
 * word is cut, and nothing is left out of a bad agent's reason. */
#include "site.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/status_private.h"

enum { AGENTS = 3, COLUMNS = 3 };
static const unsigned widths[COLUMNS] = {80, 100, 140};
static const uint64_t cut_s = 1795380960;

/* Asserts that no line is longer than `width`. */
static void assert_fits(const char *text, unsigned width)
{
    for (const char *line = text; *line != '\0';) {
        size_t length = strcspn(line, "\n");
        if (length > width)
            fail_msg("%zu columns on a terminal of %u: '%.*s'\n%s", length, width, (int)length,
                     line, text);
        line += length + (line[length] == '\n');
    }
}

static bool has_word(const char *text, const char *word, size_t length)
{
    for (const char *at = text; *at != '\0';) {
        at += strspn(at, " \n");
        size_t here = strcspn(at, " \n");
        if (here == length && strncmp(at, word, length) == 0)
            return true;
        at += here;
    }
    return false;
}

/* Asserts that each word of `part` is a word of `whole`. */
static void assert_words(const char *part, const char *whole)
{
    for (const char *at = part; *at != '\0';) {
        at += strspn(at, " \n");
        size_t length = strcspn(at, " \n");
        if (length > 0 && !has_word(whole, at, length))
            fail_msg("'%.*s' is no word of:\n%s", (int)length, at, whole);
        at += length;
    }
}

static struct blx_control_agent make_agent(const char *id)
{
    struct blx_control_agent agent = {
        .status = {.state = BLX_AGENT_LIVE, .dirty_bytes = 123456789},
        .last_checkpoint = blx_timestamp_from_unix((int64_t)cut_s),
        .last_time = blx_timestamp_from_unix((int64_t)cut_s),
        .last_consistency = BLX_CONSISTENCY_FILESYSTEM,
        .sync_freq_ms = 180000,
        .rate_bytes_per_s = 12345678,
        .volume_bytes = UINT64_C(1) << 40,
        .freeze_ns = 41000000,
        .changed_bytes = 98765432,
        .stored_bytes = 45678901,
    };
    snprintf(agent.agent_id, sizeof(agent.agent_id), "%s", id);
    return agent;
}

static void fill_text(char text[BLX_TEXT_BYTES], const char *begin)
{
    size_t used = (size_t)snprintf(text, BLX_TEXT_BYTES, "%s", begin);
    for (unsigned i = 0; used + 12 < 180; i++)
        used += (size_t)snprintf(text + used, BLX_TEXT_BYTES - used, " word%u", i);
}

/* Makes the agent have this protection; false: that is a state of the whole program. */
static void spoil(struct blx_control_agent *agent, enum blx_protection protection)
{
    static const enum blx_trouble_kind full = BLX_TROUBLE_FULL;
    switch (protection) {
    case BLX_PROTECTED:
        fill_text(agent->failure, "the last try failed:");
        break;
    case BLX_PROTECTION_FIRST_SYNC:
        agent->last_checkpoint = 0;
        agent->status.state = BLX_AGENT_FULL_SYNC;
        agent->status.total_bytes = UINT64_C(80) << 30;
        agent->status.done_bytes = UINT64_C(20) << 30;
        agent->status.eta_seconds = 12345;
        fill_text(agent->status.reason, "nothing is stored yet:");
        break;
    case BLX_PROTECTION_ARCHIVED:
        agent->archived_since = agent->last_time;
        break;
    case BLX_PROTECTION_PAUSED:
        agent->paused_since = agent->last_time;
        break;
    case BLX_PROTECTION_REVOKED:
        agent->revoked = true;
        break;
    case BLX_PROTECTION_NEVER_JOINED:
        agent->last_checkpoint = 0;
        agent->status.state = BLX_AGENT_OFFLINE;
        agent->enrolled_since = agent->last_time;
        break;
    case BLX_PROTECTION_DAMAGED:
        agent->status.unreadable_bytes = 4096;
        fill_text(agent->status.reason, "'/dev/disk/by-id/a-long-name' is not protected:");
        break;
    case BLX_PROTECTION_INCONSISTENT:
        agent->last_consistency = BLX_CONSISTENCY_NONE;
        fill_text(agent->note, "something wrote meanwhile:");
        break;
    case BLX_PROTECTION_LATE:
        agent->last_time -= 100000000; /* a hundred days */
        fill_text(agent->failure, "it failed:");
        break;
    case BLX_PROTECTION_NOT_STORED:
        agent->trouble.kind = full;
        fill_text(agent->trouble.text, "the store '/var/lib/blxrep' is full:");
        break;
    case BLX_PROTECTION_LOST:
        agent->status.state = BLX_AGENT_OFFLINE;
        agent->away_ms = 3600000;
        break;
    }
}

static char *draw(struct cli_agents *agents, unsigned width, bool colours)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    const struct cli_screen screen = {
        .is_terminal = width > 0, .has_colours = colours, .columns = width, .rows = 50};
    assert_non_null(out);
    assert_int_equal(cli_status_print(agents, &screen, 0, out, NULL), 0);
    fclose(out);
    return text;
}

static void status_fits_in_every_state_and_tells_all(void **state)
{
    (void)state;
    for (int p = BLX_PROTECTED; p < BLX_PROTECTIONS; p++) {
        struct blx_control_agent list[AGENTS] = {
            make_agent("web1"), make_agent("a-database-with-a-long-name"), make_agent("mail")};
        struct cli_agents agents = {
            .running = true,
            .dispatcher = {.data_bytes = UINT64_C(4) << 40, .data_free_bytes = UINT64_C(1) << 40},
            .list = list,
            .count = AGENTS,
            .now_realtime_ns = (cut_s + 60) * BLX_NS_PER_S,
        };
        for (size_t i = 0; i + 1 < AGENTS; i++)
            spoil(&list[i], (enum blx_protection)p);
        assert_int_equal(blx_protection_judge(&list[0], agents.now_realtime_ns), p);
        for (size_t w = 0; w < COLUMNS; w++) {
            struct blx_judgement judgement;
            char why[BLX_JUDGEMENT_TEXT_BYTES];
            char *text = draw(&agents, widths[w], false);
            assert_fits(text, widths[w]);
            assert_null(strchr(text, '\033'));
            for (size_t i = 0; i < AGENTS; i++) {
                blx_protection_examine(&list[i], agents.now_realtime_ns, &judgement);
                assert_words(list[i].agent_id, text);
                assert_words(judgement.protection == BLX_PROTECTED
                                 ? judgement.text
                                 : blx_judgement_format(&judgement, why),
                             text);
            }
            free(text);
        }
        char *plain = draw(&agents, 0, false); /* a pipe: a line for each agent */
        size_t lines = 0;
        for (const char *at = plain; (at = strchr(at, '\n')) != NULL; at++)
            lines++;
        assert_int_equal(lines, 3 + AGENTS);
        free(plain);
        char *painted = draw(&agents, 80, true);
        assert_non_null(strstr(painted, p == BLX_PROTECTED ? CLI_GREEN : CLI_BOLD));
        free(painted);
    }
}

static void status_of_this_server_fits_and_tells_all(void **state)
{
    (void)state;
    for (int p = BLX_PROTECTED; p < BLX_PROTECTIONS; p++) {
        struct blx_control_disk disks[] = {
            {.state = BLX_DISK_PROTECTED,
             .path = "/dev/disk/by-id/scsi-a-disk-with-a-long-name",
             .size_bytes = UINT64_C(1) << 40,
             .dirty_bytes = 123456789,
             .done_bytes = 1 << 20,
             .total_bytes = 1 << 30,
             .tracked_events = 1234567890,
             .missed_events = 3},
            {.state = BLX_DISK_REFUSED, .path = "/dev/vdb"},
            {.state = BLX_DISK_EXCLUDED, .path = "/dev/vdc", .size_bytes = 4096}};
        fill_text(disks[0].text, "nobody tracked the writes before now:");
        fill_text(disks[1].text, "'/dev/vdb' cannot be opened:");
        struct cli_self self = {
            .agent = make_agent("a-database-with-a-long-name"),
            .more = {.dispatcher_addr = "backup.a-site-with-a-long-name.example.com:8080",
                     .knows_checkpoint = true,
                     .cert_ends_s = cut_s + 86400,
                     .refusal_ms = 123456,
                     .left_over = 2},
            .disks = disks,
            .disk_count = sizeof(disks) / sizeof(disks[0]),
            .now_realtime_ns = (cut_s + 60) * BLX_NS_PER_S,
        };
        spoil(&self.agent, (enum blx_protection)p);
        fill_text(self.more.refusal, "the dispatcher ended the session:");
        blx_protection_examine_self(&self.more, &self.agent, self.now_realtime_ns, &self.judgement);
        assert_int_equal(self.judgement.protection, p);
        for (size_t w = 0; w <= COLUMNS; w++) {
            const struct cli_screen screen = {.is_terminal = w < COLUMNS,
                                              .columns = w < COLUMNS ? widths[w] : 0};
            char why[BLX_JUDGEMENT_TEXT_BYTES], *text = NULL;
            size_t bytes = 0;
            FILE *out = open_memstream(&text, &bytes);
            assert_non_null(out);
            assert_int_equal(cli_status_print_self(&self, &screen, out, NULL), 0);
            fclose(out);
            assert_fits(text, w < COLUMNS ? widths[w] : UINT32_MAX);
            assert_null(strchr(text, '\033'));
            assert_words(blx_judgement_format(&self.judgement, why), text);
            assert_words(self.more.refusal, text);
            assert_words("SYNCING REFUSED excluded", text);
            for (size_t i = 0; i < self.disk_count; i++) {
                assert_words(disks[i].path, text);
                assert_words(disks[i].text, text);
            }
            free(text);
        }
    }
}

static void folded_rows_count_as_lines_of_the_screen(void **state)
{
    (void)state;
    struct blx_control_agent list[AGENTS] = {make_agent("web1"), make_agent("web2"),
                                             make_agent("web3")};
    struct cli_agents agents = {.running = true,
                                .list = list,
                                .count = AGENTS,
                                .now_realtime_ns = (cut_s + 60) * BLX_NS_PER_S};
    for (size_t i = 0; i < AGENTS; i++)
        spoil(&list[i], BLX_PROTECTION_NOT_STORED);
    const struct cli_screen screen = {.is_terminal = true, .columns = 80, .rows = 50};
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    assert_non_null(out);
    assert_int_equal(cli_status_print(&agents, &screen, 5, out, NULL), 0);
    fclose(out);
    assert_non_null(strstr(text, "\n... and 2 more\n"));
    free(text);
}

enum { WORDS = 6 };

/* A command line, and whether it says the same each time it is typed. */
struct capture {
    const char *words[WORDS];
    bool varies;
};

/* The same words on every terminal as in a pipe, apart from columns that give way. */
static void assert_capture_fits(struct site *site, const struct capture *capture)
{
    const char *argv[WORDS + 1] = {NULL};
    size_t count = 0;
    while (count < WORDS && capture->words[count] != NULL) {
        argv[count] = capture->words[count];
        count++;
    }
    if (strcmp(argv[0], "join") != 0) /* it needs no store, and refuses the option */
        argv[count] = site->data_dir;
    struct run plain;
    run_blxrep(&plain, argv[0], argv[1], argv[2], argv[3], argv[4], argv[5], argv[6], NULL);
    char *all = NULL;
    assert_true(asprintf(&all, "%s\n%s", plain.out, plain.err) > 0);
    for (size_t w = 0; w < COLUMNS; w++) {
        run_blxrep_on_terminal(&site->run, widths[w], argv[0], argv[1], argv[2], argv[3], argv[4],
                               argv[5], argv[6], NULL);
        if (site->run.status != plain.status)
            fail_msg("%s ended with %d, not %d: %s", argv[0], site->run.status, plain.status,
                     site->run.out);
        assert_true(site->run.out[0] != '\0');
        assert_fits(site->run.out, widths[w]);
        if (!capture->varies)
            assert_words(site->run.out, all);
    }
    free(all);
}

static void other_commands_fit(void **state)
{
    static const struct capture captures[] = {
        {.words = {"show", "--agent=web1"}},
        {.words = {"info", "--agent=web1", "--checkpoint=latest"}},
        {.words = {"prune", "--agent=web1", "--keep-last=1", "--dry-run"}},
        {.words = {"verify"}},
        {.words = {"status"}, .varies = true}, /* it says more on a terminal */
        {.words = {"log"}},
        {.words = {"log", "--verify"}},
        {.words = {"policy", "--agent=web1", "--policy-dir=/etc/blxrep/policies"}},
        {.words = {"restore", "--agent=web1", "--checkpoint=latest", "--dry-run"}, .varies = true},
        {.words = {"restore", "--agent=web1", "--checkpoint=20200101000000"}},
        {.words = {"checkpoint", "--agent=web1"}},
        {.words = {"rescan", "--agent=web1"}},
        {.words = {"mount", "--agent=web1", "--mountpoint=/nonexistent/a-mountpoint"}},
        {.words = {"join", "--dispatcher-addr=backup.a-site-with-a-long-name.example.com:8080",
                   "--token-file=/nonexistent/a-file-that-holds-a-token"}},
        {.words = {"enroll", "--agent=a-server-with-a-long-name",
                   "--output=/nonexistent/a-folder/a-server-with-a-long-name.pem"}},
        {.words = {"check", "--mode=dispatcher", "--sync-freq=1h", "--listen=127.0.0.1:0"},
         .varies = true},
        {.words = {"remove", "--agent=web1", "--dry-run"}},
        {.words = {"archive", "--agent=web1"}},
        {.words = {"archive", "--agent=web1", "--undo"}},
        {.words = {"pause", "--agent=web1"}},
        {.words = {"resume", "--agent=web1"}},
        {.words = {"test-event", "--on-event=true"}, .varies = true},
    };
    struct site *site = *state;
    for (size_t c = 0; c < sizeof(captures) / sizeof(captures[0]); c++)
        assert_capture_fits(site, &captures[c]);
}

/* A dispatcher of the site's store on a port of loopback, whose address it tells. */
static pid_t start_dispatcher(const struct site *site, char address[32])
{
    char program[PATH_MAX], listening[64], path[PATH_MAX];
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(any);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&any, length), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&any, &length), 0);
    close(fd);
    snprintf(address, 32, "127.0.0.1:%u", ntohs(any.sin_port));
    snprintf(listening, sizeof(listening), "--listen=%s", address);
    snprintf(program, sizeof(program), "%s-dispatcher", run_program);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDERR_FILENO);
        execl(program, program, site->data_dir, "--sync-freq=1h", listening, NULL);
        _exit(127);
    }
    test_path(&site->store, path, "control.sock");
    while (access(path, F_OK) != 0) {
        assert_int_equal(waitpid(child, NULL, WNOHANG), 0);
        usleep(20000);
    }
    return child;
}

static void put_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0 && fclose(file) == 0);
}

/* The line to paste is one line on every terminal; what is told about it fits. Leaves the token. */
static void enroll_on(struct site *site, unsigned width, const char *address, char token[256])
{
    char dispatcher[64];
    snprintf(dispatcher, sizeof(dispatcher), "--dispatcher-addr=%s", address);
    run_blxrep_on_terminal(&site->run, width, "enroll", "--agent=a-server-with-a-long-name",
                           "--token", dispatcher, site->data_dir, NULL);
    assert_int_equal(site->run.status, 0);
    assert_int_equal(sscanf(site->run.out, "echo %255s | blxrep agent join", token), 1);
    assert_fits(strchr(site->run.out, '\n') + 1, width);
}

static void join_on(struct site *site, unsigned width, const char *address, const char *token)
{
    char dispatcher[64], file[128], credentials[128], config[128];
    snprintf(dispatcher, sizeof(dispatcher), "--dispatcher-addr=%s", address);
    site_option(site, file, "token-file", "token");
    site_option(site, credentials, "credentials", "agent.pem");
    site_option(site, config, "config", "agent.yaml");
    put_file(strchr(file, '=') + 1, token);
    put_file(strchr(config, '=') + 1, "");
    run_blxrep_on_terminal(&site->run, width, "join", file, dispatcher, credentials, config,
                           "--device=/dev/disk/by-id/a-disk-that-comes-later", "--force", NULL);
    if (site->run.status != 0)
        fail_msg("join ended with %d: %s", site->run.status, site->run.out);
    assert_non_null(strstr(site->run.out, "is now the agent"));
    assert_words("systemctl enable --now blxrep-agent", site->run.out);
    assert_fits(site->run.out, width);
}

static void joining_fits(void **state)
{
    struct site *site = *state;
    char address[32], token[256], output[128];
    blx_store_close(&site->store.store); /* a dispatcher takes the lock */
    pid_t dispatcher = start_dispatcher(site, address);
    for (size_t w = 0; w < COLUMNS; w++) {
        char name[32];
        enroll_on(site, widths[w], address, token);
        join_on(site, widths[w], address, token);
        snprintf(name, sizeof(name), "bundle-%u.pem", widths[w]);
        site_option(site, output, "output", name);
        run_blxrep_on_terminal(&site->run, widths[w], "enroll", "--agent=web2", output,
                               site->data_dir, NULL);
        assert_int_equal(site->run.status, 0);
        assert_fits(site->run.out, widths[w]);
    }
    kill(dispatcher, SIGTERM);
    assert_int_equal(waitpid(dispatcher, NULL, 0), dispatcher);
}

static void question_of_a_removal_fits(void **state)
{
    struct site *site = *state;
    run_question = "Type the agent's ID again: ";
    run_typed = "another\n";
    for (size_t w = 0; w < COLUMNS; w++) {
        run_blxrep_on_terminal(&site->run, widths[w], "remove", "--agent=web1", site->data_dir,
                               NULL);
        assert_int_equal(site->run.status, 1);
        assert_words("this removes all of 'web1': 3 checkpoints", site->run.out);
        assert_non_null(strstr(site->run.out, run_question));
        assert_words("nothing was removed: that was not 'web1'", site->run.out);
        assert_fits(site->run.out, widths[w]);
    }
    run_typed = "web1\n";
    run_blxrep_on_terminal(&site->run, 80, "remove", "--agent=web1", site->data_dir, NULL);
    run_typed = NULL;
    assert_int_equal(site->run.status, 0);
    assert_words("removed all of 'web1': 3 checkpoints", site->run.out);
    assert_fits(site->run.out, 80);
}

static void archived_agents_are_not_called_protected(void **state)
{
    (void)state;
    struct blx_control_agent agent = make_agent("web1");
    agent.archived_since = agent.last_checkpoint;
    struct cli_agents agents = {.running = true,
                                .list = &agent,
                                .count = 1,
                                .now_realtime_ns = (cut_s + 60) * BLX_NS_PER_S};
    const struct cli_screen screen = {.columns = 80};
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    assert_int_equal(cli_status_print(&agents, &screen, 0, out, NULL), 0);
    fclose(out);
    assert_ptr_equal(strstr(text, "NOTHING is being protected, every agent is archived\n"), text);
    free(text);
}

static void dry_run_of_a_prune_has_its_sum(void **state)
{
    struct site *site = *state;
    run_blxrep(&site->run, "prune", "--agent=web1", "--keep-last=1", "--dry-run", site->data_dir,
               NULL);
    run_ended(&site->run, 0, "2 of 3 checkpoints would be removed, which store ");
    assert_non_null(strstr(site->run.err, "the oldest that stays is of 2026-"));
    assert_null(strstr(site->run.err, "store 0 B"));
}

static void no_color_is_heard(void **state)
{
    struct site *site = *state;
    setenv("TERM", "xterm", 1);
    unsetenv("NO_COLOR");
    run_blxrep_on_terminal(&site->run, 80, "status", site->data_dir, NULL);
    assert_non_null(strchr(site->run.out, '\033'));
    setenv("NO_COLOR", "1", 1);
    run_blxrep_on_terminal(&site->run, 80, "status", site->data_dir, NULL);
    assert_null(strchr(site->run.out, '\033'));
    run_blxrep(&site->run, "status", site->data_dir, NULL);
    assert_null(strchr(site->run.out, '\033'));
}

int main(void)
{
    setenv("NO_COLOR", "1", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(status_fits_in_every_state_and_tells_all),
        cmocka_unit_test(status_of_this_server_fits_and_tells_all),
        cmocka_unit_test(folded_rows_count_as_lines_of_the_screen),
        cmocka_unit_test_setup_teardown(other_commands_fit, site_setup_two, site_teardown),
        cmocka_unit_test_setup_teardown(joining_fits, site_setup, site_teardown),
        cmocka_unit_test_setup_teardown(question_of_a_removal_fits, site_setup, site_teardown),
        cmocka_unit_test(archived_agents_are_not_called_protected),
        cmocka_unit_test_setup_teardown(dry_run_of_a_prune_has_its_sum, site_setup, site_teardown),
        cmocka_unit_test_setup_teardown(no_color_is_heard, site_setup, site_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
