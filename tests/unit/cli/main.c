/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of `blxrep`: usage errors, --help, `start` and `enroll` as whole programs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "run.h"

static void usage_errors_end_with_status_2_and_one_line(void **state)
{
    (void)state;
    struct run run;
    run_blxrep(&run, "frobnicate", NULL);
    run_ended(&run, 2, "unknown command 'frobnicate': `blxrep --help` lists");
    run_blxrep(&run, "stauts", "--data-dir=/x", NULL);
    run_ended(&run, 2, "did you mean `blxrep status`?");
    run_blxrep(&run, "help", "resore", NULL);
    run_ended(&run, 2, "did you mean `blxrep restore`?");
    run_blxrep(&run, "status", "--jsno", NULL);
    run_ended(&run, 2, "did you mean --json?");
    run_blxrep(&run, "show", "--agent=a", NULL);
    run_ended(&run, 2, "missing --data-dir");
    run_blxrep(&run, "dispatcher", "show", "--agent=a", "--data-dir=/x", "extra", NULL);
    run_ended(&run, 2, "'extra'");
    run_blxrep(&run, "show", "--agent=a", "--data-dir=/x", "--start=202611230000",
               "--end=202611220000", NULL);
    run_ended(&run, 2, "later than");
    run_blxrep(&run, "start", NULL);
    run_ended(&run, 2, "--mode");
    run_blxrep(&run, "show", "--agent=../x", "--data-dir=/x", NULL);
    run_ended(&run, 2, "'../x'");
    assert_string_equal(run.out, "");
}

static void no_command_prints_the_overview_on_stderr(void **state)
{
    (void)state;
    struct run run;
    run_blxrep(&run, NULL);
    assert_int_equal(run.status, 2);
    assert_string_equal(run.out, "");
    assert_non_null(strstr(run.err, "Commands:"));
}

static void help_and_version_go_to_stdout(void **state)
{
    (void)state;
    struct run run;
    run_blxrep(&run, "--help", NULL);
    run_ended(&run, 0, NULL);
    assert_non_null(strstr(run.out, "restore"));
    struct run asked;
    run_blxrep(&asked, "help", NULL);
    run_ended(&asked, 0, NULL);
    assert_string_equal(asked.out, run.out);
    run_blxrep(&asked, "help", "agent", NULL);
    run_ended(&asked, 0, NULL);
    assert_string_equal(asked.out, run.out);
    run_blxrep(&run, "--version", NULL);
    run_ended(&run, 0, NULL);
    assert_int_equal(strncmp(run.out, "blxrep ", 7), 0);
    run_blxrep(&run, "dispatcher", "--help", NULL);
    run_ended(&run, 0, NULL);
    static const char *const commands[] = {"start",   "enroll",     "show",
                                           "restore", "checkpoint", "status"};
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        run_blxrep(&run, commands[i], "--help", NULL);
        run_ended(&run, 0, NULL);
        assert_non_null(strstr(run.out, "Usage: blxrep "));
        run_blxrep(&asked, "help", commands[i], NULL);
        run_ended(&asked, 0, NULL);
        assert_string_equal(asked.out, run.out);
        run_blxrep(&asked, "help", "dispatcher", commands[i], NULL);
        run_ended(&asked, 0, NULL);
        assert_string_equal(asked.out, run.out);
        run_blxrep(&run, "dispatcher", commands[i], "--version", NULL);
        run_ended(&run, 0, NULL);
    }
}

static void missing_data_directory_fails_by_name(void **state)
{
    (void)state;
    struct run run;
    static const char *const commands[] = {"show", "restore", "checkpoint"};
    for (size_t i = 0; i < 3; i++) {
        run_blxrep(&run, commands[i], "--agent=a", "--data-dir=/nonexistent/d",
                   i == 1 ? "--checkpoint=latest" : NULL, NULL);
        run_ended(&run, 1, "'/nonexistent/d'");
    }
    run_blxrep(&run, "status", "--data-dir=/nonexistent/d", NULL);
    run_ended(&run, 1, "'/nonexistent/d'");
}

/* A copy of the program in a folder of its own, with daemons that print their arguments. */
struct folder {
    char path[32];
    char program[64], agent[64], dispatcher[64], config[64];
};

static void write_script(const char *path, const char *name)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fprintf(file, "#!/bin/sh\nprintf '%s'\nprintf ' %%s' \"$@\"\n", name);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, 0700), 0);
}

static int setup(void **state)
{
    struct folder *folder = calloc(1, sizeof(*folder));
    assert_non_null(folder);
    strcpy(folder->path, "/tmp/blxrep-cli-XXXXXX");
    assert_non_null(mkdtemp(folder->path));
    snprintf(folder->program, sizeof(folder->program), "%s/blxrep", folder->path);
    snprintf(folder->agent, sizeof(folder->agent), "%s/blxrep-agent", folder->path);
    snprintf(folder->dispatcher, sizeof(folder->dispatcher), "%s/blxrep-dispatcher", folder->path);
    snprintf(folder->config, sizeof(folder->config), "%s/config.yaml", folder->path);
    char command[512];
    snprintf(command, sizeof(command), "cp '%s' '%s'", BLXREP_PROGRAM, folder->program);
    assert_int_equal(system(command), 0);
    run_program = folder->program;
    *state = folder;
    return 0;
}

static int teardown(void **state)
{
    struct folder *folder = *state;
    run_program = BLXREP_PROGRAM;
    unlink(folder->program);
    unlink(folder->agent);
    unlink(folder->dispatcher);
    unlink(folder->config);
    rmdir(folder->path);
    free(folder);
    return 0;
}

static void start_becomes_the_daemon_with_all_words_but_the_mode(void **state)
{
    struct folder *folder = *state;
    struct run run;
    write_script(folder->agent, "agent");
    write_script(folder->dispatcher, "dispatcher");
    run_blxrep(&run, "start", "--mode=agent", "--run-dir=a b", "--device", "/dev/x", NULL);
    run_ended(&run, 0, NULL);
    assert_string_equal(run.out, "agent --run-dir=a b --device /dev/x");
    run_blxrep(&run, "start", "--data-dir", "/d", "--mode", "dispatcher", "--sync-freq=3", NULL);
    run_ended(&run, 0, NULL);
    assert_string_equal(run.out, "dispatcher --data-dir /d --sync-freq=3");
}

static void start_takes_the_mode_from_the_file_unless_a_flag_says_otherwise(void **state)
{
    struct folder *folder = *state;
    struct run run;
    char option[96], wanted[128];
    write_script(folder->agent, "agent");
    write_script(folder->dispatcher, "dispatcher");
    FILE *file = fopen(folder->config, "we");
    assert_non_null(file);
    fputs("mode: \"dispatcher\"\n", file);
    assert_int_equal(fclose(file), 0);
    snprintf(option, sizeof(option), "--config=%s", folder->config);
    run_blxrep(&run, "start", option, NULL);
    run_ended(&run, 0, NULL);
    snprintf(wanted, sizeof(wanted), "dispatcher %s", option);
    assert_string_equal(run.out, wanted);
    run_blxrep(&run, "start", option, "--mode=agent", NULL);
    snprintf(wanted, sizeof(wanted), "agent %s", option);
    assert_string_equal(run.out, wanted);
}

static void start_says_where_it_looked_for_the_daemon(void **state)
{
    struct folder *folder = *state;
    struct run run;
    char *path = strdup(getenv("PATH"));
    setenv("PATH", "/nonexistent/bin", 1);
    run_blxrep(&run, "start", "--mode=agent", NULL);
    setenv("PATH", path, 1);
    free(path);
    run_ended(&run, 1, folder->path);
    assert_non_null(strstr(run.err, "/nonexistent/bin"));
    assert_non_null(strstr(run.err, "'blxrep-agent'"));
}

static void enroll_writes_credentials_once_and_prints_their_path(void **state)
{
    struct folder *folder = *state;
    struct run run;
    char data[96], output[96], command[128];
    struct stat st;
    snprintf(data, sizeof(data), "--data-dir=%s/data", folder->path);
    snprintf(output, sizeof(output), "--output=%s", folder->config);
    run_blxrep(&run, "dispatcher", "enroll", "--agent=web1", data, output, NULL);
    run_ended(&run, 1, "--init");
    run_blxrep(&run, "dispatcher", "enroll", "--agent=web1", data, output, "--init", NULL);
    run_ended(&run, 0, NULL);
    assert_int_equal(strncmp(run.out, folder->config, strlen(folder->config)), 0);
    assert_int_equal(stat(folder->config, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    run_blxrep(&run, "enroll", "--agent=web1", data, output, NULL);
    run_ended(&run, 1, folder->config);
    assert_string_equal(run.out, "");

    char here[256];
    assert_non_null(getcwd(here, sizeof(here)));
    assert_int_equal(chdir(folder->path), 0);
    run_blxrep(&run, "enroll", "--agent=web2", data, NULL);
    run_ended(&run, 0, NULL);
    assert_string_equal(run.out, "web2.pem\n");
    assert_int_equal(unlink("web2.pem"), 0);
    assert_int_equal(chdir(here), 0);
    snprintf(command, sizeof(command), "rm -r '%s/data'", folder->path);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(usage_errors_end_with_status_2_and_one_line),
        cmocka_unit_test(no_command_prints_the_overview_on_stderr),
        cmocka_unit_test(help_and_version_go_to_stdout),
        cmocka_unit_test(missing_data_directory_fails_by_name),
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(start_becomes_the_daemon_with_all_words_but_the_mode),
        TEST(start_takes_the_mode_from_the_file_unless_a_flag_says_otherwise),
        TEST(start_says_where_it_looked_for_the_daemon),
        TEST(enroll_writes_credentials_once_and_prints_their_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
