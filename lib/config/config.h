/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program's configuration: flags override the file, and the file overrides the defaults. One
 * table (options.c) names every option once: its flag, which is also its key in the file, its type,
 * the programs that take it, its default and its help. --help, the man pages, the completions and
 * the example files are tested against that table.
 *
 * Threads: a config is filled once and then only read.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/bandwidth.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/hours.h"
#include "base/log.h"
#include "store/prune/retention.h"
#include "store/quota.h"
#include "store/restore/image_format.h"
#include "tls/tls.h"
#include "wire/message.h"

#define BLX_DEFAULT_CONFIG_PATH      "/etc/blxrep/config.yaml"
#define BLX_DEFAULT_CREDENTIALS_PATH "/etc/blxrep/agent.pem"
#define BLX_DEFAULT_COPIER_PATH      "/etc/blxrep/source.pem"
#define BLX_DEFAULT_RUN_DIR          "/run/blxrep"
#define BLX_DEFAULT_STATE_DIR        "/var/lib/blxrep-restore"
#define BLX_DEFAULT_SAVE_FILE        "/var/lib/blxrep-agent/reboot.save"
#define BLX_DEFAULT_POLICY_DIR       "/etc/blxrep/policies"

enum blx_mode {
    BLX_MODE_NONE = 0,
    BLX_MODE_AGENT,
    BLX_MODE_DISPATCHER,
};

/* `boot`: the machine that a server runs on. In the order of the options' words. */
enum blx_boot_bus { BLX_BOOT_VIRTIO, BLX_BOOT_SATA, BLX_BOOT_SCSI };
/* Who has the disk first while it is compared. */
enum blx_rescan_priority { BLX_RESCAN_FAST, BLX_RESCAN_GENTLE };

/* `page`: what a person may do there. */
enum blx_page_role { BLX_PAGE_VIEWER, BLX_PAGE_OPERATOR };

enum blx_boot_network { BLX_BOOT_NO_NETWORK, BLX_BOOT_USER_NETWORK };
enum blx_boot_firmware { BLX_BOOT_BY_DISK, BLX_BOOT_BIOS, BLX_BOOT_UEFI };
enum blx_boot_accelerator { BLX_BOOT_AUTO, BLX_BOOT_KVM, BLX_BOOT_EMULATED };

struct blx_config_tls {
    char *ca, *cert, *key; /* owned; all three or none */
};

enum blx_object_lock {
    BLX_OBJECT_LOCK_NONE = 0,
    BLX_OBJECT_LOCK_GOVERNANCE, /* who has a special right may lift it */
    BLX_OBJECT_LOCK_COMPLIANCE, /* nobody may */
};

/* The file's group `object-store`: where a second copy is kept. */
struct blx_config_object_store {
    char *url; /* owned, as the others; NULL: there is none */
    char *region;
    char *credentials;  /* a file; NULL: from the environment */
    char *ca;           /* NULL: the system's */
    char *recovery_key; /* a file: pki/ is copied, encrypted with it; NULL: it is not copied */
    bool virtual_host;  /* the bucket's name stands in the host's */
    enum blx_object_lock lock;
    uint64_t lock_ms;   /* how long a copy is locked */
    uint64_t every_ms;  /* the least time between two copied checkpoints of an agent */
    char **agents;      /* patterns of the agents that are copied, as fnmatch(3) knows them */
    size_t agent_count; /* 0: all are */
    struct blx_retention retention; /* of the copies; no rule: all stay */
};

enum blx_source_rule { BLX_SOURCE_ALL, BLX_SOURCE_HOURLY, BLX_SOURCE_DAILY };

/* The file's group `source`: another dispatcher, whose checkpoints are copied. */
struct blx_config_source {
    char *addr;        /* owned, as the others; NULL: there is none */
    char *credentials; /* the copier's; NULL: BLX_DEFAULT_COPIER_PATH */
    char **agents;     /* patterns of their IDs, agent_count of them; none: all */
    size_t agent_count;
    enum blx_source_rule checkpoints;
    struct blx_bandwidth limit;
    uint64_t every_ms; /* how often to look */
};

struct blx_config {
    char *config_path;     /* the file that was read; NULL: none */
    unsigned config_lines; /* how many lines it has */
    enum blx_mode mode;
    char *id;
    char *dispatcher_addr; /* one address, or several with commas between (blx_address_pick()) */
    char **devices;        /* owned, device_count of them */
    size_t device_count;
    char **excludes; /* owned, exclude_count of them: patterns of devices that are left out */
    size_t exclude_count;
    char **admitted; /* owned, admit_count of them: patterns of the IDs that may connect */
    size_t admit_count;
    char *data_dir;
    char *listen; /* ":8080" by default */
    char *credentials;
    char *encryption_key; /* the key's file; NULL: the agent sends its frames unencrypted */
    char *run_dir;
    struct blx_config_tls tls;
    struct blx_retention retention; /* the file's group of that name */
    struct blx_quota quota;         /* a policy's group of that name */
    struct blx_config_object_store object_store;
    struct blx_config_source source;
    uint64_t sync_freq_ms; /* 0: not given */
    enum blx_codec compression;
    bool compression_adapts; /* "auto": the level adapts to what holds the agent back */
    struct blx_bandwidth bandwidth_limit;
    bool skip_free_space; /* on by default: free blocks count as zero */
    enum blx_rescan_priority rescan_priority;
    uint64_t rescan_cpus; /* that make digests at once; 0: all */
    char *pre_freeze;     /* command, run by /bin/sh -c; NULL: none */
    char *post_thaw;
    uint64_t hook_timeout_ms;
    uint64_t prune_grace_ms;
    uint64_t freeze_budget_ms; /* the time to read the remainder */
    uint64_t freeze_limit_ms;  /* after which the guard thaws */
    uint64_t disk_timeout_ms;  /* how long a disk or a filesystem may take to answer */
    uint64_t freeze_buffer_bytes;
    bool freeze; /* freeze: false -> never freeze, checkpoints are "crash" at best */
    enum blx_log_format log_format;    /* TIMED or JSON */
    bool verbose;                      /* debug lines in the log */
    char *metrics_listen;              /* NULL: no metrics */
    char *page_listen;                 /* "127.0.0.1:9480" by default */
    uint64_t memory_limit_bytes;       /* of all rescans; 0: half of the machine's */
    uint64_t rewrite_bytes_per_second; /* of the store's segments; 0: no rewriting by itself */
    char *on_event;                    /* command, run by /bin/sh -c; NULL: none */
    char *on_heartbeat;                /* the same, while all is well */
    uint64_t heartbeat_freq_ms;        /* how often that is */
    char *policy_dir;

    /* For `blxrep` only. */
    char *agent;
    char *checkpoint;
    char *compare; /* info: another checkpoint */
    char *output;
    char *check_key, *print_key; /* keygen */
    char *start;                 /* base/when.h */
    char *end;
    uint64_t since_ms;   /* 0: not given */
    uint64_t last_count; /* 0: not given */
    bool utc;
    struct blx_retention keep; /* the flags; if any is given the file's retention does not count */
    bool dry_run;
    char *volume; /* remove --volume=NAME */
    bool uncommitted;
    bool yes;
    bool undo;            /* archive --undo */
    char *cache_dir;      /* of copies that are read; NULL: the user's own */
    uint64_t cache_bytes; /* that stay there */
    char *to;             /* rename: a name; copy: a folder or an object store's URL */
    char **pinned;        /* owned, pinned_count of them: remove --checkpoint=TIMESTAMP */
    size_t pinned_count;
    bool confirm;
    bool verify;
    bool json;
    bool watch;
    bool check; /* status: exit 1 unless all is protected */
    bool force;
    bool delta;
    bool resume;
    bool standby;    /* dispatcher: wait until nobody has the data directory */
    bool shared;     /* dispatcher: others may serve agents of the same data directory */
    bool init;       /* enroll, dispatcher: make the store first */
    bool incomplete; /* restore: although the checkpoint lacks a disk */
    enum blx_image_format image_format; /* restore --format */
    bool make_token; /* enroll, restore --token; revoke --token: it takes them back */
    bool takes_over; /* restore --token: the machine that restores becomes the agent */
    char *token;     /* join --token=TOKEN */
    char *token_file;
    char *state_dir; /* agent restore */
    char *save_file; /* agent save, arm */
    char *shutdown;  /* agent save: how the machine goes down; NULL: not given */
    char **keys;     /* owned, key_count of them: restore, mount and files --key=FILE */
    size_t key_count;
    char **paths; /* owned, path_count of them: what files lists or copies */
    size_t path_count;
    bool kernel; /* files: the host's kernel reads the filesystem */
    bool files;  /* agent restore: not disks, but these paths */
    char *mountpoint;
    char *writable; /* NULL: read-only; "": a file without a name takes what is written */
    bool foreground;
    uint64_t idle_ms;         /* a mount that nobody uses for so long ends */
    char *action;             /* object-store: "check" */
    char *from;               /* copy, adopt: a folder or an object store's URL */
    char *copier;             /* enroll, revoke: the name of a copier in place of an agent */
    bool heal;                /* copy: what is damaged here is taken from there */
    char *copier_credentials; /* copy, adopt: for --from=HOST:PORT; NULL: the source's */
    char *kernel_dir;         /* rescue-image, files: whose kernel to take; NULL: this machine's */
    char *kernel_package;
    char *pxe_dir;    /* rescue-image: kernel and initrd go there */
    char *rescue_dir; /* takeover: they are there */

    enum blx_page_role page_role; /* page: whoever opens the address */

    /* For `boot` only. */
    uint64_t memory_bytes;
    uint64_t cpus; /* 0: not given */
    enum blx_boot_bus disk_bus;
    enum blx_boot_network network;
    enum blx_boot_firmware firmware;
    enum blx_boot_accelerator accelerator;
    char *kept;    /* NULL: what is written is forgotten */
    char *vnc;     /* NULL: no screen; "": at the usual address */
    char *overlay; /* restore: what was kept */

    /* For `test` only. */
    uint64_t within_ms; /* the most that a boot may take */
    char *expect;       /* NULL: a login prompt */
    char *test_command; /* NULL: none */
    uint64_t level;     /* of enum blx_test_level */

    /* For blxrep-tester only, which runs the tests of the policies. */
    uint64_t test_jobs;     /* at once */
    uint64_t every_ms;      /* a policy's group `restore-test`, which has those of `test`, too */
    struct blx_hours hours; /* likewise */
};

/* Frees what the config owns; it may be all-zero or half filled. */
void blx_config_done(struct blx_config *config);
#define BLX_CLEANUP_CONFIG BLX_CLEANUP(blx_config_done)

/* Where an agent's key and certificates are: the site's own, or the bundle of `join` or `enroll`.
 * The paths are the config's. */
struct blx_tls_files blx_config_agent_files(const struct blx_config *config);

/* Which command line is being read: options that it does not take are usage errors. A bit each, of
 * 64. */
enum blx_command {
    BLX_COMMAND_START = 1ULL << 0,
    BLX_COMMAND_AGENT = 1ULL << 1,      /* blxrep-agent */
    BLX_COMMAND_DISPATCHER = 1ULL << 2, /* blxrep-dispatcher */
    BLX_COMMAND_ENROLL = 1ULL << 3,
    BLX_COMMAND_SHOW = 1ULL << 4,
    BLX_COMMAND_RESTORE = 1ULL << 5,
    BLX_COMMAND_CHECKPOINT = 1ULL << 6,
    BLX_COMMAND_STATUS = 1ULL << 7,
    BLX_COMMAND_VERIFY = 1ULL << 8,
    BLX_COMMAND_RESCAN = 1ULL << 9,
    BLX_COMMAND_PRUNE = 1ULL << 10,
    BLX_COMMAND_PIN = 1ULL << 11,
    BLX_COMMAND_UNPIN = 1ULL << 12,
    BLX_COMMAND_JOIN = 1ULL << 13,
    BLX_COMMAND_REVOKE = 1ULL << 14,
    BLX_COMMAND_POLICY = 1ULL << 15,
    BLX_COMMAND_PAUSE = 1ULL << 16,
    BLX_COMMAND_RESUME = 1ULL << 17,
    BLX_COMMAND_INFO = 1ULL << 18,
    BLX_COMMAND_KEYGEN = 1ULL << 19,
    BLX_COMMAND_LOG = 1ULL << 20,
    BLX_COMMAND_RENEW = 1ULL << 21,
    BLX_COMMAND_RENEW_CA = 1ULL << 22,
    BLX_COMMAND_RETIRE_CA = 1ULL << 23,
    BLX_COMMAND_REMOVE = 1ULL << 24,
    BLX_COMMAND_ARCHIVE = 1ULL << 25,
    BLX_COMMAND_MOUNT = 1ULL << 26,
    BLX_COMMAND_CHECK = 1ULL << 27,
    BLX_COMMAND_FILES = 1ULL << 28,
    BLX_COMMAND_OBJECT_STORE = 1ULL << 29,
    BLX_COMMAND_BOOT = 1ULL << 30,
    BLX_COMMAND_RESCUE_IMAGE = 1ULL << 31,
    BLX_COMMAND_TAKEOVER = 1ULL << 32,
    BLX_COMMAND_MOVE_GPT = 1ULL << 33,
    BLX_COMMAND_DISKS = 1ULL << 34,
    BLX_COMMAND_PULL = 1ULL << 35, /* blxrep agent restore */
    BLX_COMMAND_TEST_EVENT = 1ULL << 36,
    BLX_COMMAND_RENAME = 1ULL << 37,
    BLX_COMMAND_READMIT = 1ULL << 38,
    BLX_COMMAND_MOVE = 1ULL << 41,
    BLX_COMMAND_COPY = 1ULL << 42,
    BLX_COMMAND_ADOPT = 1ULL << 43,
    BLX_COMMAND_FETCH = 1ULL << 44, /* blxrep-copy, for commands that read copies */
    BLX_COMMAND_TEST = 1ULL << 45,
    BLX_COMMAND_PAGE = 1ULL << 46,        /* blxrep dispatcher page */
    BLX_COMMAND_PAGE_SERVER = 1ULL << 47, /* blxrep-page */
    BLX_COMMAND_SAVE = 1ULL << 50,        /* blxrep agent save, arm */
    BLX_COMMAND_ARM = 1ULL << 51,
    BLX_COMMAND_TESTER = 1ULL << 48, /* blxrep-tester */
};

enum blx_config_result {
    BLX_CONFIG_RUN = 0, /* neither: run the command */
    BLX_CONFIG_HELP,    /* --help was given */
    BLX_CONFIG_VERSION, /* --version was given */
};

/*
 * Reads argv[1..], then the file, then fills the defaults. All of argv must be options, as
 * "--name=value" or "--name value"; a mount's mountpoint may also stand alone. If one is repeated
 * the last one wins, except that --device and others add up, and then replace the file's. The file
 * is --config's, or the default path if that exists. Every known key is accepted in it for every
 * command, so that one file serves all programs. Every value is checked by itself here, IDs and
 * addresses included; blx_config_require() checks whether the required ones are there. Any error
 * means wrong usage or a bad file (line, key, cause, hint) -> exit 2: -EINVAL, or why a --config
 * cannot be read. `config` is written only on success. With --help or --version the file is not
 * read and `config` is not written.
 */
int blx_config_load(enum blx_command command, int argc, char **argv, struct blx_config *config,
                    enum blx_config_result *result, struct blx_error *err);

/*
 * -EINVAL unless everything that `command` needs is there and fits together. The message names what
 * is missing, its flag, the line of the file that would hold it, and an example.
 */
int blx_config_require(enum blx_command command, const struct blx_config *config,
                       struct blx_error *err);

/* The same error, for what a command needs only sometimes. `name` is an option of its. */
int blx_config_missing(const char *name, enum blx_command command, const struct blx_config *config,
                       struct blx_error *err);

struct blx_help {
    const char *usage, *description;
    const char *examples; /* lines; NULL: none */
    size_t width;         /* columns; 0: the usual ones of a page */
};

/* The help of one command: usage, description, options with defaults, examples. */
void blx_config_print_help(enum blx_command command, const struct blx_help *help, FILE *out);

struct blx_config_program {
    const char *name; /* for --version: "blxrep-mount" */
    enum blx_command command;
    struct blx_help help;
};

/*
 * How each program begins: blx_config_load(), and unless help or the version was asked for
 * blx_config_require(). What was asked for is printed to `out`, `*result` says which it was, and
 * `config` is not written. Errors are wrong usage, as theirs.
 */
int blx_config_begin(const struct blx_config_program *program, int argc, char **argv, FILE *out,
                     struct blx_config *config, enum blx_config_result *result,
                     struct blx_error *err);

/* Whether the agent of that name is copied into the object store. */
bool blx_config_copies_agent(const struct blx_config_object_store *store, const char *agent_id);

/* For the tests and the completions. */
struct blx_option_info {
    const char *name;     /* without the dashes; also the key in the file */
    const char *argument; /* "DIR"; NULL for a switch */
    const char *help;
    uint64_t commands; /* mask of enum blx_command */
    bool in_file;
};

/* The option number `index` of the table; NULL after the last. */
const struct blx_option_info *blx_config_option(size_t index);
