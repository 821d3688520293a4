/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blxrep-page: the page to look at. With the word "invite" it is what `blxrep dispatcher page`
 * becomes. A program of its own, so that whatever a stranger's browser sends reaches neither the
 * dispatcher nor the store's locks.
 */
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/become.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/version.h"
#include "page/address.h"
#include "page/invite.h"
#include "page/server.h"
#include "store/owner.h"

static const struct blx_config_program server_program = {
    .name = "blxrep-page",
    .command = BLX_COMMAND_PAGE_SERVER,
    .help = {.usage = "blxrep-page --data-dir=DIR [--page-listen=HOST:PORT]",
             .description = "Serves the page that shows whether every server is protected. "
                            "`blxrep dispatcher page` prints an address that opens it."}};

static const struct blx_config_program invite_program = {
    .name = "blxrep-page",
    .command = BLX_COMMAND_PAGE,
    .help = {.usage =
                 "blxrep dispatcher page --data-dir=DIR [--page-listen=HOST:PORT] [--role=ROLE]",
             .description = "Prints an address that opens the page, once."}};

static int fail(enum blx_exit code, const struct blx_error *err)
{
    fprintf(stderr, "blxrep-page: %s\n", err->message);
    return (int)code;
}

/* Blocked before the first thread, so that all threads have them blocked. */
static int block_signals(struct blx_error *err)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    signal(SIGPIPE, SIG_IGN);
    if (sigprocmask(SIG_BLOCK, &signals, NULL) < 0)
        return blx_error_errno(err, -errno, "blocking signals");
    int fd = signalfd(-1, &signals, SFD_CLOEXEC);
    return fd < 0 ? blx_error_errno(err, -errno, "making a descriptor for signals") : fd;
}

/* The files are the owner's, and the page shall not be more than that. */
static int find_places(struct page *page, struct blx_error *err)
{
    char folder[PATH_MAX];
    enum blx_owner owner = BLX_OWNER_KEPT;
    int rc = blx_owner_become(page->config->data_dir, &owner, err);
    if (rc == 0 && realpath(page->config->data_dir, page->data_dir) == NULL)
        rc = blx_error_errno(err, -errno, "cannot find '%s'", page->config->data_dir);
    if (rc == 0)
        rc = blx_own_folder(folder, err);
    return rc < 0 ? rc
                  : blx_path_format(page->program, sizeof(page->program), err, "%s/blxrep", folder);
}

static int make_parts(struct page *page, struct blx_error *err)
{
    int rc = find_places(page, err);
    if (rc == 0)
        rc =
            page_ask_new(page->program, page->data_dir, page->config->config_path, &page->ask, err);
    if (rc == 0)
        rc = page_sessions_new(&page->sessions, err);
    if (rc == 0)
        rc = page_assets_new(&page->assets, err);
    if (rc == 0 && !page_address_is_loopback(page->config->page_listen))
        rc = page_tls_load(page->config, &page->tls, err);
    return rc == 0 ? page_feed_new(page->ask, &page->feed, err) : rc;
}

static void await_signal(int signal_fd)
{
    struct signalfd_siginfo info;
    while (read(signal_fd, &info, sizeof(info)) < 0 && errno == EINTR)
        ;
}

static int run(const struct blx_config *config, int signal_fd, struct blx_error *err)
{
    struct page page = {.config = config};
    struct page_server *server = NULL;
    int rc = make_parts(&page, err);
    if (rc == 0)
        rc = page_server_start(&page, &server, err);
    if (rc == 0) {
        char name[PAGE_HOST_BYTES];
        page_address_name(config->page_listen, name);
        blx_log_info("the page is at %s://%s/: `blxrep dispatcher page` opens it "
                     "(blxrep-page %s)",
                     page.tls != NULL ? "https" : "http", name, BLX_VERSION);
        blx_notify("READY=1");
        await_signal(signal_fd);
        blx_log_info("stopping");
        blx_notify("STOPPING=1");
    }
    page_feed_stop(page.feed);
    page_server_stop(server);
    page_feed_free(page.feed);
    page_assets_free(page.assets);
    page_sessions_free(page.sessions);
    page_ask_free(page.ask);
    page_tls_free(page.tls);
    return rc;
}

static int serve(const struct blx_config *config)
{
    struct blx_error err = {0};
    blx_log_set_format(config->log_format);
    if (config->verbose)
        blx_log_set_level(BLX_LOG_DEBUG);
    blx_raise_file_limit();
    int signals = block_signals(&err);
    if (signals < 0)
        return fail(BLX_EXIT_FAILED, &err);
    BLX_CLEANUP_FD int signal_fd = signals;
    return run(config, signal_fd, &err) < 0 ? fail(BLX_EXIT_FAILED, &err) : BLX_EXIT_OK;
}

int main(int argc, char **argv)
{
    const bool invites = argc > 1 && strcmp(argv[1], "invite") == 0;
    const int words = invites ? 1 : 0;
    BLX_CLEANUP_CONFIG struct blx_config config = {0};
    struct blx_error err = {0};
    enum blx_config_result result;
    blx_log_begin();
    setlocale(LC_CTYPE, "C.UTF-8"); /* without it the names in an archive are bytes */
    if (blx_config_begin(invites ? &invite_program : &server_program, argc - words, argv + words,
                         stdout, &config, &result, &err) < 0)
        return fail(BLX_EXIT_USAGE, &err);
    if (result != BLX_CONFIG_RUN)
        return BLX_EXIT_OK;
    if (!invites)
        return serve(&config);
    return page_invite(&config, &err) < 0 ? fail(BLX_EXIT_FAILED, &err) : BLX_EXIT_OK;
}
