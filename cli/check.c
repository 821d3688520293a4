/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `blxrep check`: looks at everything that a daemon needs, as the daemon would find it, and changes
 * nothing. Each check is a row of a table and a small function, which reports one finding or more.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/control.h"
#include "cli/describe.h"
#include "cli/screen.h"
#include "cli/self.h"
#include "config/encryption_mark.h"
#include "config/policy.h"
#include "crypt/key.h"
#include "store/checkpoint/manifest_file.h"
#include "store/trouble.h"
#include "tls/pki.h"
#include "wire/protection.h"

#define SERVICE_USER "blxrep"
#define BTF_PATH     "/sys/kernel/btf/vmlinux"

enum {
    CONNECT_MS = 10000,
    DAY_S = 24 * 3600,
    FEW_DAYS = 2, /* of room at the last day's rate */
    RESULT_WIDTH = 9,
    NAME_WIDTH = 15,
};

/* From good to bad. */
enum result { RESULT_OK, RESULT_SKIPPED, RESULT_WARN, RESULT_FAIL, RESULT_COUNT };

static const struct {
    const char *shown, *json, *colour;
} results[RESULT_COUNT] = {
    [RESULT_OK] = {"ok", "ok", CLI_GREEN},
    [RESULT_SKIPPED] = {"skipped", "skipped", NULL},
    [RESULT_WARN] = {"warn", "warn", CLI_YELLOW},
    [RESULT_FAIL] = {"FAIL", "fail", CLI_RED},
};

struct examination {
    const struct blx_config *config;
    const char *check; /* the name of the one that runs */
    struct blx_json json;
    struct cli_screen screen;
    size_t counts[RESULT_COUNT];

    /* What a check leaves for those after it. */
    struct blx_store store;
    bool store_is_open;
    bool dispatcher_runs;        /* ours */
    struct blx_tls_context *tls; /* owned; the agent's; NULL: its credentials cannot be used */
};

struct finding {
    enum result result;
    const char *object;  /* NULL: the check's name says it */
    const char *way_out; /* NULL: there is nothing to do, or the text says it */
};

static void print_line(const struct examination *x, const struct finding *finding, const char *text)
{
    char line[2 * BLX_ERROR_MESSAGE_BYTES];
    const char *colour = x->screen.has_colours ? results[finding->result].colour : NULL;
    /* The errors of lib name the object themselves. */
    bool named = finding->object == NULL || strstr(text, finding->object) != NULL;
    snprintf(line, sizeof(line), "%s%s%s%s%s", named ? "" : finding->object, named ? "" : ": ",
             text, finding->way_out != NULL ? ": " : "",
             finding->way_out != NULL ? finding->way_out : "");
    blx_text_clean(line);
    printf("%s%-*s%s%-*s", colour != NULL ? colour : "", RESULT_WIDTH,
           results[finding->result].shown, colour != NULL ? CLI_PLAIN : "", NAME_WIDTH, x->check);
    blx_text_wrap(stdout, line, RESULT_WIDTH + NAME_WIDTH, RESULT_WIDTH + NAME_WIDTH,
                  x->screen.columns);
}

static void print_json(struct blx_json *json, const char *check, const struct finding *finding,
                       const char *text)
{
    blx_json_open(json, NULL, '{');
    blx_json_string(json, "check", check);
    blx_json_string(json, "result", results[finding->result].json);
    if (finding->object != NULL)
        blx_json_string(json, "object", finding->object);
    else
        blx_json_null(json, "object");
    blx_json_string(json, "text", text);
    if (finding->way_out != NULL)
        blx_json_string(json, "way_out", finding->way_out);
    else
        blx_json_null(json, "way_out");
    blx_json_close(json, '}');
}

__attribute__((format(printf, 3, 4))) static void report(struct examination *x,
                                                         struct finding finding, const char *format,
                                                         ...)
{
    char text[BLX_ERROR_MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    x->counts[finding.result]++;
    if (x->config->json)
        print_json(&x->json, x->check, &finding, text);
    else
        print_line(x, &finding, text);
}

/* An error of lib names its object and its way out itself. */
static void report_error(struct examination *x, const char *object, const struct blx_error *err)
{
    report(x, (struct finding){.result = RESULT_FAIL, .object = object}, "%s", err->message);
}

static void report_ok(struct examination *x, const char *object, const char *text)
{
    report(x, (struct finding){.result = RESULT_OK, .object = object}, "%s", text);
}

static void skip(struct examination *x, const char *object, const char *reason)
{
    report(x, (struct finding){.result = RESULT_SKIPPED, .object = object}, "not checked: %s",
           reason);
}

/* ---- of both sides */

static void check_complete(struct examination *x, enum blx_command daemon)
{
    struct blx_error err = {0};
    if (blx_config_require(daemon, x->config, &err) < 0)
        report_error(x, x->config->config_path, &err);
    else
        report_ok(x, x->config->config_path, "nothing is missing");
}

/* Whether PATH has the program. */
static bool is_in_path(const char *word)
{
    const char *path = getenv("PATH");
    BLX_CLEANUP_FREE char *folders = strdup(path != NULL ? path : "/usr/bin:/bin");
    char *rest = folders, *folder;
    while (rest != NULL && (folder = strsep(&rest, ":")) != NULL) {
        BLX_CLEANUP_FREE char *file = NULL;
        if (asprintf(&file, "%s/%s", folder, word) < 0)
            file = NULL;
        if (file != NULL && access(file, X_OK) == 0)
            return true;
    }
    return false;
}

/* The shell runs the command. Its first word tells the most, unless the shell would change it. */
static void check_command(struct examination *x, const char *option, const char *command)
{
    if (command == NULL)
        return;
    size_t length = strcspn(command, " \t\n;&|<>()");
    BLX_CLEANUP_FREE char *word = strndup(command, length);
    if (word == NULL || length == 0 || strpbrk(word, "$`\\\"'*?[#~=%{!") != NULL) {
        skip(x, option, "the shell decides what its first word means");
        return;
    }
    bool is_path = strchr(word, '/') != NULL;
    struct stat st;
    struct finding finding = {
        .result = RESULT_FAIL, .object = option, .way_out = "make it executable (chmod +x)"};
    if (is_path && stat(word, &st) != 0) {
        finding.way_out = "give the path of a program";
        report(x, finding, "cannot find '%s': %s", word, strerror(errno));
    } else if (is_path &&
               (!S_ISREG(st.st_mode) || faccessat(AT_FDCWD, word, X_OK, AT_EACCESS) != 0)) {
        report(x, finding, "'%s' is not executable for the user %u", word, geteuid());
    } else if (!is_path && !is_in_path(word)) {
        finding.result = RESULT_WARN;
        finding.way_out = "give its whole path, unless it is a word of the shell";
        report(x, finding, "'%s' is in no folder of PATH", word);
    } else {
        report(x, (struct finding){.result = RESULT_OK, .object = option}, "'%s' is executable",
               word);
    }
}

static void report_days(struct examination *x, const char *object, uint64_t ends_s, int64_t few,
                        const char *way_out)
{
    const int64_t days = blx_days_until(ends_s, blx_clock_realtime_ns());
    struct finding finding = {.result = RESULT_OK, .object = object};
    if (days < few) {
        finding.result = days < 0 ? RESULT_FAIL : RESULT_WARN;
        finding.way_out = way_out;
    }
    if (days < 0)
        report(x, finding, "expired %" PRId64 " day%s ago, or the clock is wrong", -days,
               cli_plural((uint64_t)-days));
    else
        report(x, finding, "%" PRId64 " day%s left", days, cli_plural((uint64_t)days));
}

/* ---- of the dispatcher */

static void check_dispatcher_config(struct examination *x)
{
    check_complete(x, BLX_COMMAND_DISPATCHER);
}

static void look_for_dispatcher(struct examination *x)
{
    struct blx_conn *conn = NULL;
    struct blx_error err = {0};
    x->dispatcher_runs =
        x->config->data_dir != NULL && cli_control_connect(x->config->data_dir, &conn, &err) == 0;
    blx_conn_free(conn);
}

static void check_port(struct examination *x)
{
    const char *address = x->config->listen;
    struct blx_error err = {0};
    look_for_dispatcher(x);
    BLX_CLEANUP_FD int fd = blx_address_listen(address, &err);
    if (fd < 0 && x->dispatcher_runs && err.code == -EADDRINUSE)
        report_ok(x, address, "taken, and the dispatcher runs");
    else if (fd < 0)
        report_error(x, address, &err);
    else if (x->dispatcher_runs && x->config->standby)
        report_ok(x, address, "free, as it is until this standby takes over");
    else if (x->dispatcher_runs)
        report(x,
               (struct finding){.result = RESULT_WARN,
                                .object = address,
                                .way_out = "restart it, so that it listens here"},
               "free, although the dispatcher runs");
    else
        report_ok(x, address, "free");
}

/* From here on the command sees what the daemon would see, which runs as the owner too. */
static void check_owner(struct examination *x)
{
    const char *dir = x->config->data_dir;
    struct blx_error err = {0};
    struct stat st;
    if (dir == NULL)
        return;
    if (cli_become_owner(dir, &err) < 0) {
        report_error(x, dir, &err);
        return;
    }
    if (stat(dir, &st) != 0)
        return; /* the next check says so */
    const struct passwd *owner = getpwuid(st.st_uid);
    BLX_CLEANUP_FREE char *name = strdup(owner != NULL ? owner->pw_name : "no name");
    struct finding finding = {.result = RESULT_OK, .object = dir};
    if (st.st_uid == 0 && getpwnam(SERVICE_USER) != NULL) {
        finding.result = RESULT_WARN;
        finding.way_out =
            "chown -R " SERVICE_USER ": it, unless the dispatcher is meant to run as root";
    } else if (st.st_uid != geteuid()) {
        finding.result = RESULT_WARN;
        finding.way_out = "run this as root or as the owner, or else the rest means little";
    }
    report(x, finding, "belongs to the user %u (%s)", st.st_uid, name != NULL ? name : "no name");
}

static void check_data_dir(struct examination *x)
{
    struct blx_error err = {0};
    struct blx_trouble trouble;
    const char *dir = x->config->data_dir;
    if (dir == NULL) {
        skip(x, NULL, "no data-dir is given");
        return;
    }
    if (blx_store_open(dir, BLX_STORE_READ, &x->store, &err) < 0) {
        report_error(x, dir, &err);
        return;
    }
    x->store_is_open = true;
    blx_store_find_trouble(&x->store, &trouble);
    if (trouble.kind == BLX_TROUBLE_NONE)
        report_ok(x, dir, "a store, and writable");
    else
        report(x,
               (struct finding){.result = RESULT_FAIL,
                                .object = dir,
                                .way_out = blx_reason_way_out(blx_trouble_reason(trouble.kind))},
               "%s", trouble.text);
}

/* The folder that the data directory's filesystem is mounted at. */
static void check_mount(struct examination *x)
{
    struct stat here, above;
    if (!x->store_is_open) {
        skip(x, x->config->data_dir, "the data directory cannot be used");
        return;
    }
    BLX_CLEANUP_FREE char *path = realpath(x->config->data_dir, NULL);
    if (path == NULL || stat(path, &here) != 0) {
        skip(x, x->config->data_dir, strerror(errno));
        return;
    }
    for (char *slash; (slash = strrchr(path, '/')) != NULL && path[1] != '\0';) {
        char kept = slash == path ? path[1] : '/';
        slash[slash == path] = '\0';
        if (stat(path, &above) == 0 && above.st_dev == here.st_dev)
            continue;
        slash[slash == path] = kept;
        break;
    }
    report(x, (struct finding){.result = RESULT_OK, .object = x->config->data_dir},
           "on the filesystem that is mounted at '%s'", path);
}

static int add_stored(void *arg, const struct blx_manifest *manifest,
                      const struct blx_error *damage, struct blx_error *err)
{
    uint64_t *bytes = arg;
    (void)err;
    for (uint32_t i = 0; damage == NULL && i < manifest->volume_count; i++)
        *bytes += manifest->volumes[i].stored_bytes;
    return 0;
}

/* What the checkpoints of the last day have stored, of all agents. */
static int sum_last_day(const struct blx_store *store, uint64_t *bytes, struct blx_error *err)
{
    char **ids = NULL;
    size_t id_count = 0;
    const uint64_t now_s = blx_clock_realtime_ns() / BLX_NS_PER_S;
    const blx_timestamp first = blx_timestamp_from_unix((int64_t)now_s - DAY_S);
    *bytes = 0;
    int rc = blx_store_list_agents(store, &ids, &id_count, err);
    for (size_t i = 0; rc == 0 && i < id_count; i++) {
        BLX_CLEANUP_FREE blx_timestamp *timestamps = NULL;
        size_t count = 0;
        struct blx_agent_store agent = blx_store_agent(store, ids[i]);
        rc = blx_manifest_list(agent, first, UINT64_MAX, &timestamps, &count, err);
        if (rc == 0 && count > 0) /* an agent that never connected has no folder of them */
            rc = blx_manifest_each(agent, timestamps, count, add_stored, bytes, err);
    }
    blx_store_free_agents(ids, id_count);
    return rc;
}

static void check_room(struct examination *x)
{
    struct blx_error err = {0};
    struct blx_control_dispatcher room = {0};
    uint64_t bytes = 0;
    char text[BLX_TEXT_BYTES], rate[BLX_UNIT_TEXT_BYTES];
    const char *dir = x->config->data_dir;
    if (!x->store_is_open || !blx_store_measure(&x->store, &room)) {
        skip(x, dir, "the data directory cannot be used");
        return;
    }
    int rc = sum_last_day(&x->store, &bytes, &err);
    if (rc == -EACCES) { /* which the check of the data directory has told */
        skip(x, dir, err.message);
        return;
    }
    if (rc < 0) {
        report_error(x, dir, &err);
        return;
    }
    struct finding finding = {.result = RESULT_OK, .object = dir};
    const uint64_t days = bytes > 0 ? room.data_free_bytes / bytes : UINT64_MAX;
    if (days < FEW_DAYS || blx_data_is_nearly_full(&room)) {
        finding.result = RESULT_WARN;
        finding.way_out = blx_reason_way_out(BLX_REASON_STORE_FULL);
    }
    blx_data_explain(&room, BLX_DATA_INODES_ALWAYS, text);
    if (bytes == 0)
        report(x, finding, "%s; nothing was stored in the last day", text);
    else
        report(x, finding,
               "%s; the last day's checkpoints stored %s, so that is room for %" PRIu64
               " day%s without a prune",
               text, blx_size_format(bytes, rate), days, cli_plural(days));
}

static void check_site_certificate(struct examination *x)
{
    const struct blx_config_tls *tls = &x->config->tls;
    const struct blx_tls_files files = {.ca = tls->ca, .cert = tls->cert, .key = tls->key};
    BLX_CLEANUP_TLS_CONTEXT struct blx_tls_context *context = NULL;
    struct blx_error err = {0};
    if (blx_tls_context_new_server(&files, &context, &err) < 0)
        report_error(x, tls->cert, &err);
    else
        report_days(x, tls->cert, blx_tls_context_ends_s(context), BLX_CERT_WARNING_DAYS,
                    "the site's own authority has to renew it");
}

static void check_certificates(struct examination *x)
{
    struct blx_pki_server server = {.tls = NULL};
    struct blx_error err = {0};
    if (x->config->tls.ca != NULL) {
        check_site_certificate(x);
        return;
    }
    if (!x->store_is_open) {
        skip(x, NULL, "the data directory cannot be used");
        return;
    }
    int rc = blx_pki_look_server(x->config->data_dir, &server, &err);
    blx_tls_context_free(server.tls);
    if (rc == -ENOENT && server.ends_s == 0) {
        report(x,
               (struct finding){.result = RESULT_WARN,
                                .object = x->config->data_dir,
                                .way_out = "if there were agents already, put DIR/pki back first"},
               "its CA or the dispatcher's certificate is missing, and the next start makes it");
        return;
    }
    if (rc < 0)
        report_error(x, "dispatcher.pem", &err);
    else
        report_days(x, "dispatcher.pem", server.ends_s, BLX_CERT_WARNING_DAYS,
                    "blxrep dispatcher renew");
    if (server.ca_ends_s != 0)
        report_days(x, "ca.pem", server.ca_ends_s, BLX_CA_WARNING_DAYS,
                    "make its successor with `blxrep dispatcher renew-ca`");
}

static void check_policies(struct examination *x)
{
    BLX_CLEANUP_POLICIES struct blx_policies policies = {0};
    struct blx_error err = {0};
    const char *dir = x->config->policy_dir;
    if (blx_policies_read(dir, &policies, &err) < 0)
        report_error(x, dir, &err);
    else
        report(x, (struct finding){.result = RESULT_OK, .object = dir}, "%zu %s", policies.count,
               policies.count == 1 ? "policy" : "policies");
}

static void check_on_event(struct examination *x)
{
    check_command(x, "on-event", x->config->on_event);
    check_command(x, "on-heartbeat", x->config->on_heartbeat);
}

/* ---- of the agent */

static void check_agent_config(struct examination *x)
{
    check_complete(x, BLX_COMMAND_AGENT);
}

static void check_credentials(struct examination *x)
{
    struct blx_error err = {0};
    const struct blx_tls_files files = blx_config_agent_files(x->config);
    if (x->config->id == NULL)
        skip(x, files.cert, "no id is given");
    else if (blx_tls_context_new_agent(&files, x->config->id, &x->tls, &err) < 0)
        report_error(x, files.cert, &err);
    else
        report_days(x, files.cert, blx_tls_context_ends_s(x->tls), BLX_CERT_WARNING_DAYS,
                    x->config->tls.ca != NULL
                        ? "the site's own authority has to renew it"
                        : "an agent that runs renews it, or else join again with --force");
}

static void check_key(struct examination *x)
{
    BLX_CLEANUP_SECRET_KEY struct blx_key key = {.secret = {0}};
    struct blx_error err = {0};
    const char *path = x->config->encryption_key;
    if (blx_encryption_mark_check(x->config, &err) < 0)
        report_error(x, NULL, &err);
    else if (path == NULL || strcmp(path, "none") == 0)
        report_ok(x, NULL,
                  "no key is given: TLS protects what is sent, and the store has it as it is");
    else if (blx_key_read(path, &key, &err) < 0)
        report_error(x, path, &err);
    else
        report_ok(x, path, "a key; the dispatcher must not be the only place that has a copy");
}

static void check_btf(struct examination *x)
{
    if (access(BTF_PATH, R_OK) == 0)
        report_ok(x, BTF_PATH, "readable");
    else
        report(x,
               (struct finding){
                   .result = RESULT_FAIL,
                   .object = BTF_PATH,
                   .way_out = "boot a kernel with CONFIG_DEBUG_INFO_BTF=y, as distributions have"},
               "cannot be read: %s", strerror(errno));
}

static bool has_capability(const struct __user_cap_data_struct *data, unsigned capability)
{
    return (data[capability / 32].effective & (1U << (capability % 32))) != 0;
}

static void check_capabilities(struct examination *x)
{
    static const struct {
        unsigned number;
        const char *name;
    } needed[] = {
        {CAP_SYS_ADMIN, "CAP_SYS_ADMIN"}, {CAP_BPF, "CAP_BPF"}, {CAP_PERFMON, "CAP_PERFMON"}};
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{0}};
    if (syscall(SYS_capget, &header, data) != 0) {
        skip(x, NULL, strerror(errno));
        return;
    }
    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        if (has_capability(data, needed[i].number))
            continue;
        report(x,
               (struct finding){.result = RESULT_FAIL,
                                .object = needed[i].name,
                                .way_out = "run this, and the agent, as root"},
               "this process does not have it");
        return;
    }
    report_ok(x, NULL, "all that tracking and freezing need");
}

static void check_named_device(struct examination *x, const char *path)
{
    struct stat st;
    uint64_t bytes = 0;
    char size[BLX_UNIT_TEXT_BYTES];
    struct finding finding = {.result = RESULT_FAIL,
                              .object = path,
                              .way_out = "correct the configuration, or attach the disk: the "
                                         "agent takes it up when it appears"};
    if (stat(path, &st) != 0) {
        report(x, finding, "cannot be found: %s", strerror(errno));
        return;
    }
    if (!S_ISBLK(st.st_mode)) {
        finding.way_out = "name a disk, a partition or a volume";
        report(x, finding, "is no block device");
        return;
    }
    BLX_CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || ioctl(fd, BLKGETSIZE64, &bytes) != 0) {
        finding.way_out = "run this, and the agent, as root";
        report(x, finding, "cannot be read: %s", strerror(errno));
        return;
    }
    if (bytes == 0) {
        report(x, finding, "has the size 0");
        return;
    }
    report(x, (struct finding){.result = RESULT_OK, .object = path}, "a block device of %s",
           blx_size_format(bytes, size));
}

static void check_pattern(struct examination *x, const char *pattern)
{
    glob_t found = {0};
    size_t count = 0;
    struct stat st;
    int rc = glob(pattern, 0, NULL, &found);
    for (size_t i = 0; rc == 0 && i < found.gl_pathc; i++)
        count += stat(found.gl_pathv[i], &st) == 0 && S_ISBLK(st.st_mode);
    globfree(&found);
    struct finding finding = {.result = RESULT_OK, .object = pattern};
    if (count == 0) {
        finding.result = RESULT_WARN;
        finding.way_out = "correct the pattern, unless its disks come later";
    }
    report(x, finding, "matches %zu block device%s now", count, cli_plural(count));
}

static void check_devices(struct examination *x)
{
    for (size_t i = 0; i < x->config->device_count; i++) {
        const char *device = x->config->devices[i];
        if (strcmp(device, "all") == 0)
            skip(x, device, "the agent looks for the disks when it starts");
        else if (strpbrk(device, "*?[") != NULL)
            check_pattern(x, device);
        else
            check_named_device(x, device);
    }
}

static void check_run_dir(struct examination *x)
{
    const char *dir = x->config->run_dir;
    struct stat st;
    struct finding finding = {
        .result = RESULT_FAIL, .object = dir, .way_out = "remove it, or give another run-dir"};
    if (stat(dir, &st) != 0 && errno == ENOENT)
        report_ok(x, dir, "not there yet: the agent makes it");
    else if (stat(dir, &st) != 0)
        report(x, finding, "cannot be looked at: %s", strerror(errno));
    else if (!S_ISDIR(st.st_mode))
        report(x, finding, "is no folder");
    else if (st.st_uid != geteuid())
        report(x, finding, "belongs to the user %u, who could change what is sent", st.st_uid);
    else
        report_ok(x, dir, "belongs to this user");
}

/* What the agent that runs says of itself. */
/* A planned reboot keeps the tracking only if all of this is there. None of it keeps the agent from
 * working. */
static void check_reboot(struct examination *x)
{
    static const char unit[] = "/usr/lib/systemd/system/sysinit.target.wants/blxrep-reboot.service";
    static const char masked[] = "/etc/systemd/system/blxrep-reboot.service";
    static const char hook[] = "/usr/lib/systemd/system-shutdown/blxrep";
    const char *file = BLX_DEFAULT_SAVE_FILE;
    struct finding finding = {.result = RESULT_WARN, .object = file};
    struct stat st, root;
    if (access(unit, F_OK) != 0) {
        skip(x, NULL,
             "the package's units are not installed: each reboot is followed by a "
             "comparison of the disks");
    } else if (stat(masked, &st) == 0 && !S_ISREG(st.st_mode)) {
        finding.object = masked;
        finding.way_out = "systemctl unmask blxrep-reboot.service, or else each reboot is "
                          "followed by a comparison of the disks";
        report(x, finding, "the unit is masked");
    } else if (access(hook, X_OK) != 0) {
        finding.object = hook;
        finding.way_out = "install the package blxrep-agent again";
        report(x, finding, "cannot be run: %s", strerror(errno));
    } else if (stat(file, &st) != 0) {
        finding.way_out = "run blxrep agent arm, which makes it";
        report(x, finding, "cannot look at it: %s", strerror(errno));
    } else if (stat("/", &root) != 0 || st.st_dev != root.st_dev) {
        finding.way_out = "put the folder on the root filesystem, or else each reboot is followed "
                          "by a comparison of the disks";
        report(x, finding, "it is not on the root filesystem, and is not there when a boot begins");
    } else {
        report_ok(x, file, "a planned reboot keeps the tracking");
    }
}

static void check_session(struct examination *x)
{
    BLX_CLEANUP(cli_self_done) struct cli_self self = {.disks = NULL};
    struct blx_error err = {0};
    char text[BLX_TEXT_BYTES];
    int rc = cli_self_collect(x->config->run_dir, &self, &err);
    if (rc == -ENOTCONN || rc == -EACCES) {
        skip(x, NULL, err.message);
        return;
    }
    if (rc < 0) {
        report_error(x, x->config->run_dir, &err);
        return;
    }
    const struct blx_judgement *judgement = &self.judgement;
    const char *way_out = blx_reason_way_out(judgement->reason);
    struct finding finding = {.result = RESULT_OK, .object = judgement->object};
    /* The others work, and something is to be done all the same. */
    if (judgement->protection == BLX_PROTECTION_LOST)
        finding.result = RESULT_FAIL;
    else if (judgement->protection != BLX_PROTECTED)
        finding.result = RESULT_WARN;
    if (way_out[0] != '\0' && judgement->reason != BLX_REASON_NO_SESSION)
        finding.way_out = way_out;
    blx_text_set(text, judgement->text);
    report(x, finding, "%s%s%s", blx_protection_name(judgement->protection),
           text[0] != '\0' ? ": " : "", text);
}

/* True: it answers. */
static bool try_dispatcher(struct examination *x, const char *address, struct blx_error *err)
{
    struct blx_conn *conn = NULL;
    if (blx_tls_connect(x->tls, address, CONNECT_MS, &conn, err) < 0)
        return false;
    report_ok(x, address, "answers, and is the dispatcher that these credentials trust");
    blx_conn_free(conn);
    return true;
}

/* One that answers is enough: a standby listens only after it has taken over. */
static void check_dispatcher(struct examination *x)
{
    const char *list = x->config->dispatcher_addr;
    char address[BLX_ADDRESS_BYTES];
    bool answers = false;
    if (list == NULL || x->tls == NULL) {
        skip(x, list,
             list == NULL ? "no dispatcher-addr is given"
                          : "that needs credentials that can be used");
        return;
    }
    for (size_t i = 0; blx_address_pick(list, i, address); i++) {
        struct blx_error err = {0};
        const bool is_last = i + 1 == blx_address_count(list);
        if (try_dispatcher(x, address, &err))
            answers = true;
        else if (is_last && !answers)
            report_error(x, address, &err);
        else
            report(x, (struct finding){.result = RESULT_SKIPPED, .object = address},
                   "does not answer, as a standby does not: %s", err.message);
    }
}

/* Before a session the dispatcher says nothing, and TLS 1.3 tells no time. */
static void check_clock(struct examination *x)
{
    skip(
        x, NULL,
        "the dispatcher compares the clocks at each checkpoint, and an event tells if they differ");
}

static void check_hooks(struct examination *x)
{
    check_command(x, "pre-freeze", x->config->pre_freeze);
    check_command(x, "post-thaw", x->config->post_thaw);
}

/* ---- the tables */

struct check {
    const char *name;
    void (*run)(struct examination *x);
};

static const struct check dispatcher_checks[] = {
    {"configuration", check_dispatcher_config},
    {"port", check_port}, /* before the process becomes the owner: a port may be privileged */
    {"owner", check_owner},
    {"data-dir", check_data_dir},
    {"mount", check_mount},
    {"room", check_room},
    {"certificates", check_certificates},
    {"policies", check_policies},
    {"commands", check_on_event},
    {NULL, NULL},
};

static const struct check agent_checks[] = {
    {"configuration", check_agent_config},
    {"credentials", check_credentials},
    {"encryption", check_key},
    {"btf", check_btf},
    {"capabilities", check_capabilities},
    {"device", check_devices},
    {"run-dir", check_run_dir},
    {"reboot", check_reboot},
    {"session", check_session},
    {"dispatcher", check_dispatcher},
    {"clock", check_clock},
    {"commands", check_hooks},
    {NULL, NULL},
};

static void run_all(struct examination *x, const struct check *checks)
{
    for (const struct check *check = checks; check->name != NULL; check++) {
        x->check = check->name;
        check->run(x);
    }
}

static const char *worst_name(const struct examination *x)
{
    return x->counts[RESULT_FAIL] > 0   ? results[RESULT_FAIL].json
           : x->counts[RESULT_WARN] > 0 ? results[RESULT_WARN].json
                                        : results[RESULT_OK].json;
}

static void print_sum(struct examination *x)
{
    if (x->config->json) {
        blx_json_close(&x->json, ']');
        blx_json_string(&x->json, "result", worst_name(x));
        blx_json_close(&x->json, '}');
        return;
    }
    printf("%zu ok, %zu skipped, %zu warning%s, %zu FAIL\n", x->counts[RESULT_OK],
           x->counts[RESULT_SKIPPED], x->counts[RESULT_WARN], cli_plural(x->counts[RESULT_WARN]),
           x->counts[RESULT_FAIL]);
}

enum blx_exit cli_check(const struct cli_request *request, struct blx_error *err)
{
    struct examination x = {
        .config = request->config, .json = {.out = stdout}, .store = {.lock_fd = -1}};
    const enum blx_mode mode = cli_find_mode(request);
    if (mode == BLX_MODE_NONE) {
        blx_error_set(err, -EINVAL,
                      "the agent or the dispatcher? Type `blxrep agent check` or `blxrep "
                      "dispatcher check`, or give --mode");
        return BLX_EXIT_USAGE;
    }
    cli_screen_look(&x.screen);
    if (x.config->json) {
        blx_json_open(&x.json, NULL, '{');
        blx_json_number(&x.json, "version", 1);
        blx_json_string(&x.json, "mode", mode == BLX_MODE_AGENT ? "agent" : "dispatcher");
        blx_json_open(&x.json, "checks", '[');
    }
    run_all(&x, mode == BLX_MODE_AGENT ? agent_checks : dispatcher_checks);
    print_sum(&x);
    blx_tls_context_free(x.tls);
    blx_store_close(&x.store);
    return x.counts[RESULT_FAIL] > 0 ? BLX_EXIT_FAILED : BLX_EXIT_OK;
}
