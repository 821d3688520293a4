/* SPDX-License-Identifier: Apache-2.0 */
#include "config/document_private.h"

#include <errno.h>
#include <string.h>
/* clang says it with __has_feature, gcc with a macro. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CHECKS_LEAKS
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define CHECKS_LEAKS
#endif
#ifdef CHECKS_LEAKS
#include <sanitizer/lsan_interface.h>
#endif

#include "base/cleanup.h"
#include "base/hours.h"
#include "base/io.h"
#include "base/text.h"
#include "base/units.h"
#include "config/source_private.h"

enum { FILE_LIMIT_BYTES = 1 << 20, LOCK_MOST_DAYS = 36500 };

#define SECOND_MS UINT64_C(1000)
#define HOUR_MS   (60 * 60 * SECOND_MS)
#define DAY_MS    (24 * HOUR_MS)
#define YEAR_MS   (366 * DAY_MS)

#define SOURCE_EVERY_MS (10 * 60 * SECOND_MS)

static const char *type_name(int type)
{
    switch (type) {
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64:
    case CONFIG_TYPE_FLOAT:
        return "a number";
    case CONFIG_TYPE_STRING:
        return "a text";
    case CONFIG_TYPE_BOOL:
        return "true or false";
    case CONFIG_TYPE_ARRAY:
    case CONFIG_TYPE_LIST:
        return "a list";
    case CONFIG_TYPE_GROUP:
        return "a group";
    default:
        return "something else";
    }
}

void blx_place_prefix(const struct blx_place *place, struct blx_error *err)
{
    blx_error_prefix(err, "'%s', line %u, key '%s%s'", place->path,
                     config_setting_source_line(place->setting), place->group,
                     config_setting_name(place->setting));
}

int blx_place_wrong_type(const struct blx_place *place, const config_setting_t *value,
                         const char *wanted, const char *example, struct blx_error *err)
{
    const char *name = config_setting_name(place->setting);
    int rc = blx_error_set(err, -EINVAL, "this is %s, but %s is wanted; write %s: %s",
                           type_name(config_setting_type(value)), wanted, name, example);
    blx_place_prefix(place, err);
    return rc;
}

const char *blx_setting_text(const struct blx_option *option, const config_setting_t *setting,
                             char buffer[64])
{
    int type = config_setting_type(setting);
    bool amount = option->kind == BLX_OPTION_DURATION || option->kind == BLX_OPTION_SIZE ||
                  option->kind == BLX_OPTION_COUNT || option->kind == BLX_OPTION_BANDWIDTH;
    if (option->kind == BLX_OPTION_BOOL)
        return type != CONFIG_TYPE_BOOL ? NULL : config_setting_get_bool(setting) ? "yes" : "no";
    if (type == CONFIG_TYPE_STRING)
        return config_setting_get_string(setting);
    if (!amount)
        return NULL;
    if (type == CONFIG_TYPE_INT || type == CONFIG_TYPE_INT64)
        snprintf(buffer, 64, "%lld", config_setting_get_int64(setting));
    else if (type == CONFIG_TYPE_FLOAT)
        snprintf(buffer, 64, "%.9g", config_setting_get_float(setting));
    else
        return NULL;
    return buffer;
}

static const char *wanted_type(const struct blx_option *option)
{
    switch (option->kind) {
    case BLX_OPTION_BOOL:
        return "true or false";
    case BLX_OPTION_DURATION:
    case BLX_OPTION_SIZE:
    case BLX_OPTION_BANDWIDTH:
        return "a number, or a text with a unit,";
    case BLX_OPTION_COUNT:
        return "a whole number";
    case BLX_OPTION_LIST:
    case BLX_OPTION_DIAL:
        return "a text or a list of texts";
    default:
        return "a text in double quotes";
    }
}

static int apply_scalar(const struct blx_place *place, const struct blx_option *option,
                        const config_setting_t *value, struct blx_config *config,
                        struct blx_error *err)
{
    char buffer[64];
    const char *text = blx_setting_text(option, value, buffer);
    if (text == NULL)
        return blx_place_wrong_type(place, value, wanted_type(option), option->example, err);
    struct blx_error cause = {0};
    int rc = blx_option_set(option, text, config, &cause);
    if (rc < 0) {
        blx_place_prefix(place, &cause);
        blx_error_copy(err, rc, &cause);
    }
    return rc;
}

static int apply_list(const struct blx_place *place, const struct blx_option *option,
                      struct blx_config *config, struct blx_error *err)
{
    int count = config_setting_length(place->setting);
    if (count == 0) {
        int rc = blx_error_set(err, -EINVAL, "an empty list; write %s: %s", option->info.name,
                               option->example);
        blx_place_prefix(place, err);
        return rc;
    }
    for (int i = 0; i < count; i++) {
        const config_setting_t *entry = config_setting_get_elem(place->setting, (unsigned)i);
        int rc = apply_scalar(place, option, entry, config, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int blx_place_option(const struct blx_place *place, const struct blx_option *option,
                     struct blx_config *config, struct blx_error *err)
{
    int type = config_setting_type(place->setting);
    if (blx_option_adds_up(option) && (type == CONFIG_TYPE_ARRAY || type == CONFIG_TYPE_LIST))
        return apply_list(place, option, config, err);
    return apply_scalar(place, option, place->setting, config, err);
}

/* The keys are the flags of `prune`, but their values go into the file's own rules. */
static int apply_retention_key(const struct blx_place *place, struct blx_config *config,
                               struct blx_error *err)
{
    const char *name = config_setting_name(place->setting);
    for (unsigned rule = 0; rule < BLX_KEEP_RULES; rule++) {
        if (strcmp(name, blx_retention_name(rule)) != 0)
            continue;
        struct blx_option option = *blx_option_find(name, strlen(name));
        option.offset =
            offsetof(struct blx_config, retention.keep) + rule * sizeof(config->retention.keep[0]);
        return apply_scalar(place, &option, place->setting, config, err);
    }
    blx_error_set(err, -EINVAL,
                  "unknown key; 'retention' has keep-last, keep-hourly, keep-daily, keep-weekly, "
                  "keep-monthly, keep-yearly, keep-within, keep-tested and min-age");
    blx_place_prefix(place, err);
    return -EINVAL;
}

typedef int group_key(const struct blx_place *place, struct blx_config *config,
                      struct blx_error *err);

static int apply_group(const struct blx_place *group, const char *prefix, const char *example,
                       group_key *apply, struct blx_config *config, struct blx_error *err)
{
    if (config_setting_type(group->setting) != CONFIG_TYPE_GROUP)
        return blx_place_wrong_type(group, group->setting, "a group", example, err);
    for (int i = 0; i < config_setting_length(group->setting); i++) {
        struct blx_place place = {.path = group->path,
                                  .group = prefix,
                                  .setting = config_setting_get_elem(group->setting, (unsigned)i)};
        int rc = apply(&place, config, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int blx_place_retention(const struct blx_place *group, struct blx_config *config,
                        struct blx_error *err)
{
    return apply_group(group, "retention.", "{ keep-last: 10, keep-daily: 7 }", apply_retention_key,
                       config, err);
}

static int apply_quota_key(const struct blx_place *place, struct blx_config *config,
                           struct blx_error *err)
{
    const char *name = config_setting_name(place->setting);
    for (int kind = 0; kind < BLX_QUOTA_KINDS; kind++) {
        if (strcmp(name, blx_quota_name((enum blx_quota_kind)kind)) != 0)
            continue;
        bool is_size = kind == BLX_QUOTA_BYTES || kind == BLX_QUOTA_BYTES_A_DAY;
        const struct blx_option option = {
            .info = {.name = name},
            .kind = is_size ? BLX_OPTION_SIZE : BLX_OPTION_COUNT,
            .offset =
                offsetof(struct blx_config, quota.of) + (size_t)kind * sizeof(config->quota.of[0]),
            .example = is_size ? "\"500G\"" : "100",
            .low = 1,
            .high = is_size ? INT64_MAX : UINT32_MAX,
        };
        return apply_scalar(place, &option, place->setting, config, err);
    }
    blx_error_set(err, -EINVAL,
                  "unknown key; 'quota' has bytes, bytes-a-day, volumes, checkpoints and segments");
    blx_place_prefix(place, err);
    return -EINVAL;
}

int blx_place_quota(const struct blx_place *group, struct blx_config *config, struct blx_error *err)
{
    return apply_group(group, "quota.", "{ bytes: \"500G\", checkpoints: 1000 }", apply_quota_key,
                       config, err);
}

/* The same rules for the copies, as far as they are about time and number. */
static int apply_copies_rule(const struct blx_place *place, unsigned rule,
                             struct blx_config *config, struct blx_error *err)
{
    const char *name = blx_retention_name(rule);
    struct blx_option option = *blx_option_find(name, strlen(name));
    option.offset = offsetof(struct blx_config, object_store.retention.keep) +
                    rule * sizeof(config->object_store.retention.keep[0]);
    return apply_scalar(place, &option, place->setting, config, err);
}

static int apply_hours(const struct blx_place *place, struct blx_config *config,
                       struct blx_error *err)
{
    static const char example[] = "\"02:00-05:00\"";
    if (config_setting_type(place->setting) != CONFIG_TYPE_STRING)
        return blx_place_wrong_type(place, place->setting, "a text in double quotes", example, err);
    const char *text = config_setting_get_string(place->setting);
    if (blx_hours_parse(text, &config->hours) == 0)
        return 0;
    blx_error_set(err, -EINVAL, "'%.40s' are no hours; write at: %s", text, example);
    blx_place_prefix(place, err);
    return -EINVAL;
}

/* The keys are the flags of `test`, but for when. */
static int apply_test_key(const struct blx_place *place, struct blx_config *config,
                          struct blx_error *err)
{
    static const char *const flags[] = {"within", "expect", "command", "level"};
    static const struct blx_option every = {.info = {.name = "every"},
                                            .kind = BLX_OPTION_DURATION,
                                            .offset = offsetof(struct blx_config, every_ms),
                                            .example = "\"1d\"",
                                            .unit_ms = DAY_MS,
                                            .low = SECOND_MS,
                                            .high = YEAR_MS};
    const char *name = config_setting_name(place->setting);
    if (strcmp(name, "at") == 0)
        return apply_hours(place, config, err);
    if (strcmp(name, "every") == 0)
        return apply_scalar(place, &every, place->setting, config, err);
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        if (strcmp(name, flags[i]) == 0)
            return apply_scalar(place, blx_option_find(name, strlen(name)), place->setting, config,
                                err);
    }
    blx_error_set(err, -EINVAL,
                  "unknown key; 'restore-test' has every, at, within, expect, command and level");
    blx_place_prefix(place, err);
    return -EINVAL;
}

/* What `test` would refuse, too, and what is missing. */
static int check_test(const struct blx_config *config, struct blx_error *err)
{
    const struct blx_policy_test *limits = NULL;
    if (config->every_ms == 0)
        return blx_error_set(err, -EINVAL, "'every' is missing; add every: \"1d\"");
    if (config->level == 1 && (config->expect != NULL || config->test_command != NULL))
        return blx_error_set(err, -EINVAL,
                             "level 1 boots nothing: leave out 'expect' and 'command'");
    if (config->expect != NULL && strlen(config->expect) >= sizeof(limits->expect))
        return blx_error_set(err, -EINVAL, "'expect' has more than %zu bytes",
                             sizeof(limits->expect) - 1);
    if (config->test_command != NULL && strlen(config->test_command) >= sizeof(limits->command))
        return blx_error_set(
            err, -EINVAL, "'command' has more than %zu bytes: put it into a script on the server",
            sizeof(limits->command) - 1);
    return 0;
}

int blx_place_restore_test(const struct blx_place *group, struct blx_policy_test *test,
                           struct blx_error *err)
{
    enum { WITHIN_MS = 5 * 60 * 1000, LEVEL = 2 };
    BLX_CLEANUP_CONFIG struct blx_config config = {.within_ms = WITHIN_MS, .level = LEVEL};
    int rc = apply_group(group, "restore-test.", "{ every: \"1d\", at: \"02:00-05:00\" }",
                         apply_test_key, &config, err);
    if (rc < 0)
        return rc;
    if (config_setting_length(group->setting) > 0)
        rc = check_test(&config, err);
    if (rc < 0) {
        blx_place_prefix(group, err);
        return rc;
    }
    test->every_ms = config.every_ms;
    test->within_ms = config.within_ms;
    test->level = config.level;
    test->hours = config.hours;
    blx_text_set(test->expect, config.expect != NULL ? config.expect : "");
    blx_text_set(test->command, config.test_command != NULL ? config.test_command : "");
    return 0;
}

/* "compliance 30d" or "governance 30d" */
static int set_lock(const char *text, struct blx_config_object_store *store, struct blx_error *err)
{
    static const char *const modes[] = {
        [BLX_OBJECT_LOCK_GOVERNANCE] = "governance ", [BLX_OBJECT_LOCK_COMPLIANCE] = "compliance "};
    for (int mode = BLX_OBJECT_LOCK_GOVERNANCE; mode <= BLX_OBJECT_LOCK_COMPLIANCE; mode++) {
        size_t length = strlen(modes[mode]);
        if (strncmp(text, modes[mode], length) != 0)
            continue;
        if (blx_duration_parse(text + length, DAY_MS, &store->lock_ms, NULL) < 0 ||
            store->lock_ms < DAY_MS || store->lock_ms > LOCK_MOST_DAYS * DAY_MS)
            return blx_error_set(err, -EINVAL,
                                 "'%.40s' is no time of a lock: write one from 1d to %ud",
                                 text + length, LOCK_MOST_DAYS);
        store->lock = (enum blx_object_lock)mode;
        return 0;
    }
    return blx_error_set(err, -EINVAL,
                         "'%.40s' is no lock: write \"compliance 30d\", which nobody can lift, or "
                         "\"governance 30d\"",
                         text);
}

static int apply_lock(const struct blx_place *place, struct blx_config *config,
                      struct blx_error *err)
{
    struct blx_error cause = {0};
    if (config_setting_type(place->setting) != CONFIG_TYPE_STRING)
        return blx_place_wrong_type(place, place->setting, "a text in double quotes",
                                    "\"compliance 30d\"", err);
    int rc = set_lock(config_setting_get_string(place->setting), &config->object_store, &cause);
    if (rc < 0) {
        blx_place_prefix(place, &cause);
        blx_error_copy(err, rc, &cause);
    }
    return rc;
}

#define STORE_FIELD(name) offsetof(struct blx_config, object_store.name)

static int apply_object_store_key(const struct blx_place *place, struct blx_config *config,
                                  struct blx_error *err)
{
    static const struct blx_option keys[] = {
        {.info = {.name = "url"},
         .kind = BLX_OPTION_TEXT,
         .offset = STORE_FIELD(url),
         .example = "\"https://s3.example.org/bucket\""},
        {.info = {.name = "region"},
         .kind = BLX_OPTION_TEXT,
         .offset = STORE_FIELD(region),
         .example = "\"eu-central-1\""},
        {.info = {.name = "credentials"},
         .kind = BLX_OPTION_TEXT,
         .offset = STORE_FIELD(credentials),
         .example = "\"/etc/blxrep/object-store\""},
        {.info = {.name = "ca"},
         .kind = BLX_OPTION_TEXT,
         .offset = STORE_FIELD(ca),
         .example = "\"/etc/blxrep/object-store-ca.pem\""},
        {.info = {.name = "recovery-key"},
         .kind = BLX_OPTION_TEXT,
         .offset = STORE_FIELD(recovery_key),
         .example = "\"/etc/blxrep/recovery.key\""},
        {.info = {.name = "virtual-host"},
         .kind = BLX_OPTION_BOOL,
         .offset = STORE_FIELD(virtual_host),
         .example = "true"},
        {.info = {.name = "every"},
         .kind = BLX_OPTION_DURATION,
         .offset = STORE_FIELD(every_ms),
         .example = "\"1h\"",
         .unit_ms = HOUR_MS,
         .low = SECOND_MS,
         .high = YEAR_MS},
    };
    static const struct blx_option agents = {.info = {.name = "agents"},
                                             .kind = BLX_OPTION_LIST,
                                             .offset = STORE_FIELD(agents),
                                             .count_offset = STORE_FIELD(agent_count),
                                             .example = "[ \"web*\", \"db1\" ]",
                                             .too_many = "patterns: one can stand for several "
                                                         "agents"};
    const char *name = config_setting_name(place->setting);
    if (strcmp(name, "lock") == 0)
        return apply_lock(place, config, err);
    if (strcmp(name, agents.info.name) == 0)
        return blx_place_option(place, &agents, config, err);
    for (unsigned rule = 0; rule <= BLX_KEEP_WITHIN; rule++) {
        if (strcmp(name, blx_retention_name(rule)) == 0)
            return apply_copies_rule(place, rule, config, err);
    }
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        if (strcmp(name, keys[i].info.name) == 0)
            return apply_scalar(place, &keys[i], place->setting, config, err);
    }
    int rc =
        blx_error_set(err, -EINVAL,
                      "unknown key; 'object-store' has url, region, credentials, ca, recovery-key, "
                      "virtual-host, lock, every, agents and the rules keep-last, "
                      "keep-hourly, keep-daily, keep-weekly, keep-monthly, keep-yearly and "
                      "keep-within");
    blx_place_prefix(place, err);
    return rc;
}

int blx_place_object_store(const struct blx_place *group, struct blx_config *config,
                           struct blx_error *err)
{
    int rc = apply_group(group, "object-store.",
                         "{ url: \"https://s3.example.org/bucket\", credentials: "
                         "\"/etc/blxrep/object-store\" }",
                         apply_object_store_key, config, err);
    if (rc == 0 && config->object_store.every_ms == 0)
        config->object_store.every_ms = HOUR_MS;
    if (rc == 0 && config->object_store.url == NULL) {
        rc = blx_error_set(err, -EINVAL,
                           "'url' is missing; add url: \"https://s3.example.org/bucket\"");
        blx_place_prefix(group, err);
    }
    return rc;
}

#define SOURCE_FIELD(name) offsetof(struct blx_config, source.name)

static int apply_source_key(const struct blx_place *place, struct blx_config *config,
                            struct blx_error *err)
{
    static const struct blx_option keys[] = {
        {.info = {.name = "addr"},
         .kind = BLX_OPTION_DIAL,
         .offset = SOURCE_FIELD(addr),
         .example = "\"backup.example.org:8080\""},
        {.info = {.name = "credentials"},
         .kind = BLX_OPTION_TEXT,
         .offset = SOURCE_FIELD(credentials),
         .example = "\"" BLX_DEFAULT_COPIER_PATH "\""},
        {.info = {.name = "agents"},
         .kind = BLX_OPTION_LIST,
         .offset = SOURCE_FIELD(agents),
         .count_offset = SOURCE_FIELD(agent_count),
         .too_many = "patterns: one can stand for several agents",
         .example = "[\"web*\", \"db1\"]"},
        {.info = {.name = "checkpoints", .argument = "all|hourly|daily"},
         .kind = BLX_OPTION_CHOICE,
         .offset = SOURCE_FIELD(checkpoints),
         .example = "\"hourly\""},
        {.info = {.name = "bandwidth-limit"},
         .kind = BLX_OPTION_BANDWIDTH,
         .offset = SOURCE_FIELD(limit),
         .example = "\"10M\""},
        {.info = {.name = "every"},
         .kind = BLX_OPTION_DURATION,
         .offset = SOURCE_FIELD(every_ms),
         .example = "\"10m\"",
         .unit_ms = HOUR_MS,
         .low = SECOND_MS,
         .high = YEAR_MS},
    };
    const char *name = config_setting_name(place->setting);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        if (strcmp(name, keys[i].info.name) == 0)
            return blx_place_option(place, &keys[i], config, err);
    }
    int rc = blx_error_set(err, -EINVAL,
                           "unknown key; 'source' has addr, credentials, agents, checkpoints, "
                           "bandwidth-limit and every");
    blx_place_prefix(place, err);
    return rc;
}

int blx_place_source(const struct blx_place *group, struct blx_config *config,
                     struct blx_error *err)
{
    int rc = apply_group(group, "source.", "{ addr: \"backup.example.org:8080\" }",
                         apply_source_key, config, err);
    if (rc == 0 && config->source.every_ms == 0)
        config->source.every_ms = SOURCE_EVERY_MS;
    if (rc == 0 && config->source.addr == NULL) {
        rc =
            blx_error_set(err, -EINVAL, "'addr' is missing; add addr: \"backup.example.org:8080\"");
        blx_place_prefix(group, err);
    }
    return rc;
}

/* libconfig gives the line and the cause. If the line looks like YAML the hint says how to write
 * it. */
static int syntax_error(const char *path, const char *text, const config_t *parsed,
                        struct blx_error *err)
{
    const char *cause = config_error_text(parsed);
    unsigned line = config_error_line(parsed) > 0 ? (unsigned)config_error_line(parsed) : 1;
    struct blx_source_hint hint;
    int rc;
    if (strcmp(cause, "duplicate setting name") == 0) {
        rc = blx_error_set(err, -EINVAL,
                           "%s; keep one line (a list is written [\"/dev/xvda\", \"/dev/xvdb\"])",
                           cause);
    } else if (!blx_source_explain(text, line, &hint)) {
        rc = blx_error_set(err, -EINVAL,
                           "%s; a line is written  key: \"text\"  or  key: 3, a list "
                           "[\"a\", \"b\"], a group { key: \"text\" }",
                           cause);
    } else {
        bool drop = hint.corrected[0] == '\0';
        line = hint.line;
        rc = blx_error_set(err, -EINVAL, "%s: %s; %s%s", cause, hint.cause,
                           drop ? "remove the line" : "in flow style write  ", hint.corrected);
    }
    blx_source_prefix(path, text, line, err);
    return rc;
}

/* libconfig 1.5 leaks a text that it cannot parse. A leak checker must not take it for our leak. */
static bool parse(config_t *parsed, const char *text)
{
#ifdef CHECKS_LEAKS
    __lsan_disable();
#endif
    bool good = config_read_string(parsed, text) == CONFIG_TRUE;
#ifdef CHECKS_LEAKS
    __lsan_enable();
#endif
    return good;
}

static int each_setting(const char *path, const char *text, blx_document_visit *visit, void *arg,
                        struct blx_error *err)
{
    BLX_CLEANUP(config_destroy) config_t parsed;
    config_init(&parsed);
    if (!parse(&parsed, text))
        return syntax_error(path, text, &parsed, err);
    const config_setting_t *root = config_root_setting(&parsed);
    for (int i = 0; i < config_setting_length(root); i++) {
        const struct blx_place place = {
            .path = path, .group = "", .setting = config_setting_get_elem(root, (unsigned)i)};
        int rc = visit(arg, &place, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int blx_document_read(const char *path, const char *hint, blx_document_visit *visit, void *arg,
                      unsigned *lines, struct blx_error *err)
{
    static const char byte_order_mark[] = "\xef\xbb\xbf";
    BLX_CLEANUP_FREE void *content = NULL;
    size_t bytes;
    struct blx_error cause = {0};
    int rc = blx_file_read(path, FILE_LIMIT_BYTES, &content, &bytes, &cause);
    if (rc < 0)
        return blx_error_set(err, rc, "%s%s", cause.message, hint);
    const char *text = content;
    if (strncmp(text, byte_order_mark, 3) == 0) {
        text += 3;
        bytes -= 3;
    }
    rc = blx_source_check(path, text, bytes, err);
    if (rc == 0)
        rc = each_setting(path, text, visit, arg, err);
    if (rc == 0)
        *lines = blx_source_line_count(text);
    return rc;
}
