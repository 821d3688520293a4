/* SPDX-License-Identifier: Apache-2.0 */
/* The option table, and looking options up in it by name. */
#include "config/option_private.h"

#include <string.h>

#define FIELD(name) offsetof(struct blx_config, name)

enum {
    START = BLX_COMMAND_START,
    AGENT = BLX_COMMAND_AGENT | START,
    DISPATCHER = BLX_COMMAND_DISPATCHER | START,
    ENROLL = BLX_COMMAND_ENROLL,
    SHOW = BLX_COMMAND_SHOW,
    RESTORE = BLX_COMMAND_RESTORE,
    CHECKPOINT = BLX_COMMAND_CHECKPOINT,
    STATUS = BLX_COMMAND_STATUS,
    VERIFY = BLX_COMMAND_VERIFY,
    RESCAN = BLX_COMMAND_RESCAN,
    JOIN = BLX_COMMAND_JOIN,
    REVOKE = BLX_COMMAND_REVOKE,
    INFO = BLX_COMMAND_INFO,
    KEYGEN = BLX_COMMAND_KEYGEN,
    LOG = BLX_COMMAND_LOG,
    REMOVE = BLX_COMMAND_REMOVE,
    ARCHIVE = BLX_COMMAND_ARCHIVE,
    RETIRE = BLX_COMMAND_RETIRE_CA,
    RENEW = BLX_COMMAND_RENEW | BLX_COMMAND_RENEW_CA | RETIRE,
    MOUNT = BLX_COMMAND_MOUNT,
    PRUNE = BLX_COMMAND_PRUNE,
    PIN = BLX_COMMAND_PIN | BLX_COMMAND_UNPIN,
    POLICY = BLX_COMMAND_POLICY,
    PAUSE = BLX_COMMAND_PAUSE | BLX_COMMAND_RESUME,
    STORE = ENROLL | SHOW | RESTORE | CHECKPOINT | STATUS | VERIFY | RESCAN | PRUNE | PIN | REVOKE |
            PAUSE | INFO | LOG | RENEW | REMOVE | ARCHIVE | MOUNT | KEYGEN,
    ALL = AGENT | DISPATCHER | STORE | JOIN | POLICY | KEYGEN,
};

#define MS_SECOND UINT64_C(1000)
#define MS_MINUTE (60 * MS_SECOND)
#define MS_HOUR   (60 * MS_MINUTE)
#define MS_YEAR   (366 * 24 * MS_HOUR)
#define MEBIBYTE  (UINT64_C(1) << 20)

#define KEEP_TIME(name, rule, help)                                                                \
    {                                                                                              \
        .info = {name, "T", help, PRUNE, false}, .kind = BLX_OPTION_DURATION,                      \
        .offset = FIELD(keep.keep[rule]), .example = "\"30d\"", .unit_ms = 24 * MS_HOUR, .low = 1, \
        .high = 100 * MS_YEAR                                                                      \
    }

#define KEEP(name, rule, help)                                                                     \
    {                                                                                              \
        .info = {name, "N", help, PRUNE, false}, .kind = BLX_OPTION_COUNT,                         \
        .offset = FIELD(keep.keep[rule]), .example = "10", .high = BLX_KEEP_MOST                   \
    }

static const struct blx_option options[] = {
    {.info = {"config", "FILE", "read the configuration from FILE", ALL, false},
     .kind = BLX_OPTION_TEXT,
     .offset = FIELD(config_path),
     .example = "\"" BLX_DEFAULT_CONFIG_PATH "\""},
    {.info = {"mode", "agent|dispatcher", "which daemon to start", START, true},
     .kind = BLX_OPTION_MODE,
     .offset = FIELD(mode),
     .example = "\"dispatcher\""},
    {.info = {"id", "ID", "this agent's ID, as in its certificate", AGENT, true},
     .kind = BLX_OPTION_NAME,
     .offset = FIELD(id),
     .example = "\"agent1\""},
    {.info = {"dispatcher-addr", "HOST:PORT", "the address at which the dispatcher listens",
              AGENT | JOIN | ENROLL, true},
     .kind = BLX_OPTION_DIAL,
     .offset = FIELD(dispatcher_addr),
     .example = "\"localhost:8080\""},
    {.info = {"agent", "ID", "the agent",
              ENROLL | SHOW | RESTORE | CHECKPOINT | RESCAN | PIN | REVOKE | POLICY | PAUSE | INFO |
                  REMOVE | ARCHIVE | MOUNT,
              false},
     .kind = BLX_OPTION_NAME,
     .offset = FIELD(agent),
     .example = "\"agent1\""},
    {.info = {"agent", "ID", "only this agent; without it: all of them",
              VERIFY | PRUNE | LOG | KEYGEN, false},
     .kind = BLX_OPTION_NAME,
     .offset = FIELD(agent),
     .example = "\"agent1\""},
    {.info = {"checkpoint", "TIMESTAMP",
              "YYYYMMDDHHMMSS or YYYYMMDDHHMM (UTC), latest, or a time, which means the newest one "
              "until then: \"yesterday 18:00\"",
              RESTORE | PIN | INFO | MOUNT, false},
     .kind = BLX_OPTION_CHECKPOINT,
     .offset = FIELD(checkpoint),
     .example = "\"latest\""},
    {.info = {"checkpoint", "TIMESTAMP",
              "a pinned checkpoint that may go all the same; repeat it for more", REMOVE, false},
     .kind = BLX_OPTION_LIST,
     .offset = FIELD(pinned),
     .count_offset = FIELD(pinned_count),
     .too_many = "checkpoints: unpin them",
     .example = "\"20261122203600\""},
    {.info = {"device", "/dev/X",
              "a block device; an agent also takes a pattern of whole disks, or all; repeat it for "
              "more",
              AGENT | RESTORE | JOIN, true},
     .kind = BLX_OPTION_LIST,
     .offset = FIELD(devices),
     .count_offset = FIELD(device_count),
     .too_many = "devices: start a second agent for them",
     .example = "\"/dev/xvda\"",
     /* The file of a daemon names the devices to protect, which says nothing about what to restore.
        And if there is a file, joining has none to write. */
     .flag_only_for = RESTORE | JOIN},
    {.info = {"exclude", "PATTERN", "leave out devices with this name or path; repeat it for more",
              AGENT, true},
     .kind = BLX_OPTION_LIST,
     .offset = FIELD(excludes),
     .count_offset = FIELD(exclude_count),
     .too_many = "patterns: one can stand for several devices",
     .example = "[\"sd[x-z]\"]"},
    {.info = {"admit", "ID", "admit only agents with this ID or pattern of IDs; repeat it for more",
              DISPATCHER, true},
     .kind = BLX_OPTION_LIST,
     .offset = FIELD(admitted),
     .count_offset = FIELD(admit_count),
     .too_many = "patterns: one can stand for several agents",
     .example = "[\"web*\", \"db1\"]"},
    {.info = {"data-dir", "DIR", "the dispatcher's data directory", DISPATCHER | STORE, true},
     .kind = BLX_OPTION_TEXT,
     .offset = FIELD(data_dir),
     .example = "\"/var/lib/blxrep\""},
    {.info = {"init", NULL, "make the data directory a store if it is empty or missing",
              DISPATCHER | ENROLL, false},
     .kind = BLX_OPTION_BOOL,
     .offset = FIELD(init),
     .example = "true"},
    {.info = {"sync-freq", "N",
              "minutes between the checkpoints of an agent; a suffix s, m or h sets another unit",
              DISPATCHER, true},
     .kind = BLX_OPTION_DURATION,
     .offset = FIELD(sync_freq_ms),
     .example = "3",
     .unit_ms = MS_MINUTE,
     .low = MS_SECOND,
     .high = MS_YEAR},
    {.info = {"listen", "HOST:PORT", "the address at which to listen; without HOST: all addresses",
              DISPATCHER, true},
     .kind = BLX_OPTION_LISTEN,
     .offset = FIELD(listen),
     .fallback = ":8080",
     .example = "\":8080\""},
    {.info = {"credentials", "FILE", "the agent's key and certificates, made by join or enroll",
              AGENT | JOIN, true},
     .kind = BLX_OPTION_TEXT,
     .offset = FIELD(credentials),
     .fallback = BLX_DEFAULT_CREDENTIALS_PATH,
     .example = "\"" BLX_DEFAULT_CREDENTIALS_PATH "\""},
    {.info = {"encryption-key", "FILE",
              "encrypt all that is sent with this key, made by keygen; lose it and nothing can be "
              "restored",
              AGENT, true},
     .kind = BLX_OPTION_TEXT,
     .offset = FIELD(encryption_key),
     .example = "\"/etc/blxrep/blxrep.key\""},
    {.info = {"run-dir", "DIR",
              "the folder for state that survives a restart of the agent but no reboot", AGENT,
              true},
     .kind = BLX_OPTION_TEXT,
     .offset = FIELD(run_dir),
     .fallback = BLX_DEFAULT_RUN_DIR,
     .example = "\"" BLX_DEFAULT_RUN_DIR "\""},
    {.info = {"compression", "auto|zstd|zlib|none", "how blocks are compressed", AGENT, true},
     .kind = BLX_OPTION_CODEC,
     .offset = FIELD(compression),
     .fallback = "zstd",
     .example = "\"zstd\""},
    {.info = {"bandwidth-limit", "RATE|RULES",
              "the most bytes to send per second, such as 10M, or rules by time of day: "
              "\"mon-fri 08:00-18:00 2M, 20M\"",
              AGENT, true},
     .kind = BLX_OPTION_BANDWIDTH,
     .offset = FIELD(bandwidth_limit),
     .fallback = "none",
     .example = "\"mon-fri 08:00-18:00 2M, 20M\""},
    {.info = {"skip-free-space", "yes|no",
              "leave out of a full pass the blocks that mounted ext4 and xfs filesystems call free",
              AGENT, true},
     .kind = BLX_OPTION_BOOL,
     .offset = FIELD(skip_free_space),
     .fallback = "yes",
     .example = "true"},
    {.info = {"freeze", "yes|no",
              "freeze the filesystems for a checkpoint; with no it is crash-consistent at best",
              AGENT, true},
     .kind = BLX_OPTION_BOOL,
     .offset = FIELD(freeze),
     .fallback = "yes",
     .example = "true"},
    {.info = {"freeze-budget", "TIME", "how long reading may take while the filesystems are frozen",
              AGENT, true},
     .kind = BLX_OPTION_DURATION,
     .offset = FIELD(freeze_budget_ms),
     .fallback = "200ms",
     .example = "\"200ms\"",
     .unit_ms = MS_SECOND,
     .low = 1,
     .high = MS_MINUTE},
    {.info = {"freeze-limit", "TIME", "thaw the filesystems after this time, whatever happens",
              AGENT, true},
     .kind = BLX_OPTION_DURATION,
     .offset = FIELD(freeze_limit_ms),
     .fallback = "1s",
     .example = "\"1s\"",
     .unit_ms = MS_SECOND,
     .low = 10,
     .high = MS_MINUTE},
    {.info = {"disk-timeout", "TIME",
              "leave out a disk or filesystem that has not answered for this time, until it does",
              AGENT, true},
     .kind = BLX_OPTION_DURATION,
     .offset = FIELD(disk_timeout_ms),
     .fallback = "30s",
     .example = "\"30s\"",
     .unit_ms = MS_SECOND,
     .low = 100,
     .high = 60 * MS_MINUTE},
    {.info = {"freeze-buffer", "SIZE", "memory for the blocks read during a freeze", AGENT, true},
     .kind = BLX_OPTION_SIZE,
     .offset = FIELD(freeze_buffer_bytes),
     .fallback = "64M",
     .example = "\"64M\"",
     .low = MEBIBYTE,
     .high = 16384 * MEBIBYTE},
    {.info = {"pre-freeze", "COMMAND", "a command to run before the filesystems are frozen", AGENT,
              true},
     .kind = BLX_OPTION_TEXT,
     .offset = FIELD(pre_freeze),
     .example = "\"/usr/local/sbin/quiesce\""},
    {.info = {"post-thaw", "COMMAND", "a command to run after the filesystems are thawed", AGENT,
              true},
     .kind = BLX_OPTION_TEXT,
     .offset = FIELD(post_thaw),
     .example = "\"/usr/local/sbin/resume\""},
    {.info = {"hook-timeout", "TIME",
              "kill a pre-freeze, post-thaw or on-event command after this time",
              AGENT | DISPATCHER, true},
     .kind = BLX_OPTION_DURATION,
     .offset = FIELD(hook_timeout_ms),
     .fallback = "30s",
     .example = "\"30s\"",
     .unit_ms = MS_SECOND,
     .low = 100,
     .high = MS_HOUR},
    {.info = {"prune-grace", "TIME",
              "how long new rules of retention are announced before they remove anything",
              DISPATCHER, true},
     .kind = BLX_OPTION_DURATION,
     .offset = FIELD(prune_grace_ms),
     .fallback = "10m",
     .example = "\"10m\"",
     .unit_ms = MS_MINUTE,
     .low = MS_SECOND,
     .high = MS_YEAR},
    {.info = {"start", "TIME",
              "the first time to show: \"yesterday 18:00\", \"2h ago\", \"2026-11-28 18:00\" "
              "(local, or with Z), or YYYYMMDDHHMM (UTC)",
              SHOW, false},
     .kind = BLX_OPTION_TIME,
     .offset = FIELD(start),
     .example = "\"202611220000\""},
    {.info = {"end", "TIME", "the last time to show", SHOW, false},
     .kind = BLX_OPTION_TIME,
     .offset = FIELD(end),
     .example = "\"202611222359\""},
    {.info = {"since", "T", "show only the checkpoints of the last T, such as 2d", SHOW, false},
     .kind = BLX_OPTION_DURATION,
     .offset = FIELD(since_ms),
     .example = "\"2d\"",
     .unit_ms = 24 * MS_HOUR,
     .low = 1,
     .high = 100 * MS_YEAR},
    {.info = {"last", "N", "show only the newest N checkpoints", SHOW, false},
     .kind = BLX_OPTION_COUNT,
     .offset = FIELD(last_count),
     .example = "20",
     .low = 1,
     .high = BLX_KEEP_MOST},
    {.info = {"utc", NULL, "print times in UTC instead of local ones", SHOW | INFO | LOG, false},
     .kind = BLX_OPTION_BOOL,
     .offset = FIELD(utc),
     .example = "true"},
    {.info = {"output", "PATH", "where to write", ENROLL | RESTORE | KEYGEN, false},
     .kind = BLX_OPTION_TEXT,
     .offset = FIELD(output),
     .example = "\"disk.img\""},
    {.info = {"check", "FILE", "tell which checkpoints of the store this key opens; make none",
              KEYGEN, false},
     .kind = BLX_OPTION_TEXT,
     .offset = FIELD(check_key),
     .example = "\"blxrep.key\""},
    {.info = {"print", "FILE", "print this key for paper, with check sums; make none", KEYGEN,
              false},
     .kind = BLX_OPTION_TEXT,
     .offset = FIELD(print_key),
     .example = "\"blxrep.key\""},
    {.info = {"token", NULL, "print a line with which the server joins, instead of writing a file",
              ENROLL, false},
     .kind = BLX_OPTION_BOOL,
     .offset = FIELD(make_token),
     .example = "true"},
    {.info = {"token", "TOKEN", "the token itself: other users can see it; better use --token-file",
              JOIN, false},
     .kind = BLX_OPTION_TEXT,
     .offset = FIELD(token),
     .example = "\"blxrep1...\""},
    {.info = {"token-file", "FILE", "read the token from FILE; \"-\" is the standard input", JOIN,
              false},
     .kind = BLX_OPTION_TEXT,
     .offset = FIELD(token_file),
     .example = "\"-\""},
    {.info = {"key", "FILE", "the key that the checkpoint is encrypted with; repeat it for more",
              RESTORE | MOUNT, false},
     .kind = BLX_OPTION_LIST,
     .offset = FIELD(keys),
     .count_offset = FIELD(key_count),
     .too_many = "keys",
     .example = "\"blxrep.key\""},
    {.info =
         {"force", NULL,
          "replace a file, write to a device in use or with a filesystem, leave damaged parts zero",
          RESTORE, false},
     .kind = BLX_OPTION_BOOL,
     .offset = FIELD(force),
     .example = "true"},
    {.info = {"force", NULL, "replace an existing credentials file; also if a device is not there",
              JOIN, false},
     .kind = BLX_OPTION_BOOL,
     .offset = FIELD(force),
     .example = "true"},
    {.info = {"force", NULL, "revoke a name that no agent has had so far", REVOKE, false},
     .kind = BLX_OPTION_BOOL,
     .offset = FIELD(force),
     .example = "true"},
    {.info = {"force", NULL, "also if agents still need the old CA", RETIRE, false},
     .kind = BLX_OPTION_BOOL,
     .offset = FIELD(force),
     .example = "true"},
    {.info = {"delta", NULL,
              "bring an existing image or device up to date: write only the blocks that differ",
              RESTORE, false},
     .kind = BLX_OPTION_BOOL,
     .offset = FIELD(delta),
     .example = "true"},
    {.info = {"resume", NULL, "continue with the file that an interrupted restore left", RESTORE,
              false},
     .kind = BLX_OPTION_BOOL,
     .offset = FIELD(resume),
     .example = "true"},
    {.info = {"incomplete", NULL,
              "restore the other disks of a checkpoint that lacks one which was to be protected",
              RESTORE, false},
     .kind = BLX_OPTION_BOOL,
     .offset = FIELD(incomplete),
     .example = "true"},
    {.info = {"mountpoint", "MOUNTPOINT", "the empty folder to mount at; the name may be left out",
              MOUNT, false},
     .kind = BLX_OPTION_TEXT,
     .offset = FIELD(mountpoint),
     .word_for = MOUNT,
     .example = "\"/mnt\""},
    {.info = {"writable", "FILE",
              "let the files be written; what is written goes to FILE, or is lost at the end "
              "without one",
              MOUNT, false},
     .kind = BLX_OPTION_SPARE_TEXT,
     .offset = FIELD(writable),
     .example = "\"changes.overlay\""},
    {.info = {"foreground", NULL, "stay in the foreground", MOUNT, false},
     .kind = BLX_OPTION_BOOL,
     .offset = FIELD(foreground),
     .example = "true"},
    {.info = {"idle", "TIME", "end the mount if nobody has used it for this time", MOUNT, false},
     .kind = BLX_OPTION_DURATION,
     .offset = FIELD(idle_ms),
     .fallback = "24h",
     .example = "\"24h\"",
     .unit_ms = MS_HOUR,
     .low = MS_SECOND,
     .high = MS_YEAR},
    {.info = {"confirm", NULL,
              "prune by the configured rules even if they remove far more than usual", PRUNE,
              false},
     .kind = BLX_OPTION_BOOL,
     .offset = FIELD(confirm),
     .example = "true"},
    KEEP("keep-last", BLX_KEEP_LAST, "keep the newest N checkpoints"),
    KEEP("keep-hourly", BLX_KEEP_HOURLY, "keep the newest one of each of the last N hours"),
    KEEP("keep-daily", BLX_KEEP_DAILY, "keep the newest one of each of the last N days"),
    KEEP("keep-weekly", BLX_KEEP_WEEKLY, "keep the newest one of each of the last N ISO weeks"),
    KEEP("keep-monthly", BLX_KEEP_MONTHLY, "keep the newest one of each of the last N months"),
    KEEP("keep-yearly", BLX_KEEP_YEARLY, "keep the newest one of each of the last N years"),
    KEEP_TIME("keep-within", BLX_KEEP_WITHIN,
              "keep all that are at most T older than the newest one"),
    KEEP_TIME("min-age", BLX_KEEP_MIN_AGE, "keep all that are younger than T"),
    {.info = {"dry-run", NULL, "write nothing; print what would be written, and where to", RESTORE,
              false},
     .kind = BLX_OPTION_BOOL,
     .offset = FIELD(dry_run),
     .example = "true"},
    {.info = {"volume", "NAME", "only this volume, of every checkpoint", REMOVE, false},
     .kind = BLX_OPTION_NAME,
     .offset = FIELD(volume),
     .example = "\"vdb\""},
    {.info = {"uncommitted", NULL, "only what was received and is in no checkpoint", REMOVE, false},
     .kind = BLX_OPTION_BOOL,
     .offset = FIELD(uncommitted),
     .example = "true"},
    {.info = {"undo", NULL, "let the agent go on", ARCHIVE, false},
     .kind = BLX_OPTION_BOOL,
     .offset = FIELD(undo),
     .example = "true"},
    {.info = {"yes", NULL, "do not ask", REMOVE, false},
     .kind = BLX_OPTION_BOOL,
     .offset = FIELD(yes),
     .example = "true"},
    {.info = {"dry-run", NULL, "remove nothing; print what would be removed", PRUNE | REMOVE,
              false},
     .kind = BLX_OPTION_BOOL,
     .offset = FIELD(dry_run),
     .example = "true"},
    {.info = {"dry-run", NULL, "retire nothing; list the agents that need the old CA", RETIRE,
              false},
     .kind = BLX_OPTION_BOOL,
     .offset = FIELD(dry_run),
     .example = "true"},
    {.info = {"json", NULL, "print JSON", SHOW | STATUS | VERIFY | PRUNE | POLICY | INFO | LOG,
              false},
     .kind = BLX_OPTION_BOOL,
     .offset = FIELD(json),
     .example = "true"},
    {.info = {"verify", NULL, "check that no line was changed or taken out", LOG, false},
     .kind = BLX_OPTION_BOOL,
     .offset = FIELD(verify),
     .example = "true"},
    {.info = {"watch", NULL, "refresh every two seconds until q or Ctrl-C", STATUS, false},
     .kind = BLX_OPTION_BOOL,
     .offset = FIELD(watch),
     .example = "true"},
    {.info = {"check", NULL, "exit with status 1 unless every agent is protected", STATUS, false},
     .kind = BLX_OPTION_BOOL,
     .offset = FIELD(check),
     .example = "true"},
    {.info = {"metrics-listen", "HOST:PORT",
              "the address at which to serve Prometheus metrics; without HOST: this machine only",
              DISPATCHER, true},
     .kind = BLX_OPTION_LISTEN,
     .offset = FIELD(metrics_listen),
     .example = "\":9478\""},
    {.info = {"rewrite-rate", "SIZE",
              "the most bytes to copy per second to rewrite segments that are mostly dead",
              DISPATCHER, true},
     .kind = BLX_OPTION_SIZE,
     .offset = FIELD(rewrite_bytes_per_second),
     .fallback = "32M",
     .example = "\"32M\"",
     .high = 16384 * MEBIBYTE},
    {.info = {"on-event", "COMMAND",
              "a command to run when an agent, a checkpoint, the store or its disk needs attention",
              DISPATCHER, true},
     .kind = BLX_OPTION_TEXT,
     .offset = FIELD(on_event),
     .example = "\"/usr/local/sbin/tell\""},
    {.info = {"policy-dir", "DIR",
              "the folder of the policies, which give groups of agents their own settings",
              DISPATCHER | POLICY | PRUNE, true},
     .kind = BLX_OPTION_TEXT,
     .offset = FIELD(policy_dir),
     .fallback = BLX_DEFAULT_POLICY_DIR,
     .example = "\"" BLX_DEFAULT_POLICY_DIR "\""},
    {.info = {"log-format", "text|json", "how the log is written; each JSON line is an object",
              AGENT | DISPATCHER, true},
     .kind = BLX_OPTION_LOG_FORMAT,
     .offset = FIELD(log_format),
     .fallback = "text",
     .example = "\"json\""},
    {.info = {"verbose", NULL, "also log debug lines", AGENT | DISPATCHER, true},
     .kind = BLX_OPTION_BOOL,
     .offset = FIELD(verbose),
     .fallback = "no",
     .example = "true"},
    {.info = {"help", NULL, "print this help", ALL, false}, .kind = BLX_OPTION_HELP},
    {.info = {"version", NULL, "print the version", ALL, false}, .kind = BLX_OPTION_VERSION},
};

enum { OPTION_COUNT = sizeof(options) / sizeof(options[0]), NAME_MAX_LENGTH = 32 };

const struct blx_option *blx_option_at(size_t index)
{
    return index < OPTION_COUNT ? &options[index] : NULL;
}

const struct blx_option_info *blx_config_option(size_t index)
{
    return index < OPTION_COUNT ? &options[index].info : NULL;
}

const struct blx_option *blx_option_find(const char *name, size_t length)
{
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        if (strlen(options[i].info.name) == length &&
            memcmp(options[i].info.name, name, length) == 0)
            return &options[i];
    }
    return NULL;
}

const struct blx_option *blx_option_find_for(const char *name, size_t length, unsigned commands)
{
    const struct blx_option *found = blx_option_find(name, length);
    for (size_t i = 0; found != NULL && i < OPTION_COUNT; i++) {
        if (strcmp(options[i].info.name, found->info.name) == 0 &&
            (options[i].info.commands & commands) != 0)
            return &options[i];
    }
    return found;
}

static size_t smallest(size_t a, size_t b, size_t c)
{
    size_t ab = a < b ? a : b;
    return ab < c ? ab : c;
}

/* How many letters must be added, removed or changed to turn `b` into `a`. Both are at most
 * NAME_MAX_LENGTH long. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t row[NAME_MAX_LENGTH + 1];
    size_t b_length = strlen(b);
    for (size_t j = 0; j <= b_length; j++)
        row[j] = j;
    for (size_t i = 0; a[i] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < b_length; j++) {
            size_t changed = diagonal + (a[i] != b[j]);
            diagonal = row[j + 1];
            row[j + 1] = smallest(changed, row[j] + 1, diagonal + 1);
        }
    }
    return row[b_length];
}

/* Among the options that `commands` take, or, if there are none, that the file knows. */
static const char *nearest_of(const char *name, unsigned commands)
{
    size_t length = strlen(name);
    if (length < 2 || length > NAME_MAX_LENGTH)
        return NULL;
    const char *nearest = NULL;
    size_t nearest_distance = length / 3 + 2;
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const struct blx_option_info *info = &options[i].info;
        if (commands == 0 ? !info->in_file : (info->commands & commands) == 0)
            continue;
        bool begins_so = length > 2 && strncmp(info->name, name, length) == 0;
        size_t distance = begins_so ? 1 : edit_distance(name, info->name);
        if (distance < nearest_distance) {
            nearest = info->name;
            nearest_distance = distance;
        }
    }
    return nearest;
}

const char *blx_option_nearest_flag(const char *name, enum blx_command command)
{
    return nearest_of(name, command);
}

const char *blx_option_nearest_key(const char *name)
{
    return nearest_of(name, 0);
}
