/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/track/programs_private.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "agent/disk/sysfs.h"
#include "base/assert.h"
#include "tracker_bpf.skel.h"

/* Its programs, their links, its maps, and some while it is loaded. */
enum { FILES_OF_A_DEVICE = 40 };

static const char btf_path[] = "/sys/kernel/btf/vmlinux";

static const char *const tracepoint_names[BLX_TRACEPOINT_COUNT] = {
    [BLX_TRACEPOINT_RQ_COMPLETE] = "rq_complete",
    [BLX_TRACEPOINT_BIO_COMPLETE] = "bio_complete",
    [BLX_TRACEPOINT_REMAP] = "bio_remap",
    [BLX_TRACEPOINT_QUEUE] = "bio_queue",
};

void agent_program_format_name(unsigned program, char name[AGENT_PROGRAM_NAME_BYTES])
{
    snprintf(name, AGENT_PROGRAM_NAME_BYTES, "%s_%u",
             tracepoint_names[program / BLX_TRACKER_COPIES], program % BLX_TRACKER_COPIES);
}

/*
 * A missed block_bio_queue costs the range of a bio-based device's bio, a missed block_bio_remap
 * that of one that was handed on. On other disks the first only feeds `queued`, where the
 * completion of the same write counts, too: one copy is enough.
 */
bool agent_program_is_needed(unsigned program, const struct blx_tracker_identity *identity)
{
    unsigned tracepoint = program / BLX_TRACKER_COPIES;
    if (identity->bio_based != 0)
        return true;
    return tracepoint != BLX_TRACEPOINT_REMAP &&
           (tracepoint != BLX_TRACEPOINT_QUEUE || program % BLX_TRACKER_COPIES == 0);
}

/* libbpf passes its reasons to a callback of the process, which keeps them while `lock` is held. */
static struct {
    pthread_mutex_t lock;
    char text[512]; /* guarded by lock */
} libbpf_says = {.lock = PTHREAD_MUTEX_INITIALIZER};

__attribute__((format(printf, 2, 0))) static int keep_message(enum libbpf_print_level level,
                                                              const char *format, va_list args)
{
    size_t used = strlen(libbpf_says.text);
    if (level != LIBBPF_WARN || used + 1 >= sizeof(libbpf_says.text))
        return 0;
    vsnprintf(libbpf_says.text + used, sizeof(libbpf_says.text) - used, format, args);
    for (char *c = libbpf_says.text; (c = strchr(c, '\n')) != NULL;)
        *c = ' ';
    return 0;
}

static const char *lockdown_hint(void)
{
    char text[128];
    if (agent_sysfs_read_text(text, sizeof(text), "/sys/kernel/security/lockdown") == 0 &&
        strstr(text, "[confidentiality]") != NULL)
        return "; the kernel is locked down (lockdown=confidentiality), which forbids eBPF to read";
    return "; it needs the capabilities CAP_BPF and CAP_PERFMON, run the agent as root";
}

/* Whether there is no room for the files of one more device: libbpf fails with any error then. 0,
 * -EMFILE or -ENFILE. */
static int find_shortage(void)
{
    int fds[FILES_OF_A_DEVICE];
    int count = 0, rc = 0;
    while (rc == 0 && count < FILES_OF_A_DEVICE) {
        fds[count] = eventfd(0, EFD_CLOEXEC);
        rc = fds[count] < 0 ? -errno : 0;
        count += rc == 0;
    }
    while (count > 0)
        close(fds[--count]);
    return rc;
}

static int too_many_files(int r, const struct agent_device *device, struct blx_error *err)
{
    struct rlimit limit = {0};
    getrlimit(RLIMIT_NOFILE, &limit);
    return blx_error_set(err, r,
                         "cannot load the tracker of device '%s': %s; this process may have %llu "
                         "open files (RLIMIT_NOFILE), and each device needs about %d: raise "
                         "LimitNOFILE= in the unit, or ulimit -Hn%s",
                         device->path, strerror(-r), (unsigned long long)limit.rlim_cur,
                         FILES_OF_A_DEVICE, r == -ENFILE ? ", or the sysctl fs.file-max" : "");
}

/* Why the programs did not come up, with the way out. */
static int explain_failure_locked(int r, const struct agent_device *device, struct blx_error *err)
{
    blx_assert_held(&libbpf_says.lock);
    struct utsname kernel = {0};
    uname(&kernel);
    /* libbpf's text for this is long, and guesses at the wrong things. */
    if (r == -EPERM)
        return blx_error_set(err, r, "cannot load the tracker of device '%s': %s%s", device->path,
                             strerror(-r), lockdown_hint());
    if (r == -ENOMEM)
        return blx_error_set(
            err, r,
            "cannot load the tracker of device '%s': not enough memory for its bitmap "
            "of one bit per block",
            device->path);
    int short_rc = find_shortage();
    if (short_rc < 0)
        return too_many_files(short_rc, device, err);
    return blx_error_set(
        err, r,
        "cannot load the tracker of device '%s': %s; it needs Linux 5.12 or later with "
        "BTF, this is %s (%s)",
        device->path, strerror(-r), kernel.release, libbpf_says.text);
}

/* The bit of bi_flags that says that a bio's queueing was traced; 0 where it is not found. Its enum
 * has no name, so that the loader cannot look it up by itself. */
static uint32_t traced_flag(void)
{
    struct btf *btf = btf__load_vmlinux_btf();
    uint32_t flag = 0;
    for (uint32_t id = 1; btf != NULL && flag == 0 && id < btf__type_cnt(btf); id++) {
        const struct btf_type *type = btf__type_by_id(btf, id);
        if (!btf_is_enum(type))
            continue;
        const struct btf_enum *values = btf_enum(type);
        for (unsigned i = 0; i < btf_vlen(type); i++) {
            const char *name = btf__name_by_offset(btf, values[i].name_off);
            if (name != NULL && strcmp(name, "BIO_TRACE_COMPLETION") == 0 && values[i].val < 16)
                flag = UINT32_C(1) << values[i].val;
        }
    }
    btf__free(btf);
    return flag;
}

static void configure(struct tracker_bpf *skeleton, const struct blx_tracker_identity *identity,
                      uint64_t words)
{
    skeleton->rodata->disk_major = identity->disk_major;
    skeleton->rodata->disk_minor = identity->disk_minor;
    skeleton->rodata->first_sector = identity->first_sector;
    skeleton->rodata->end_sector = identity->end_sector;
    skeleton->rodata->block_shift = identity->block_shift;
    skeleton->rodata->bio_based = identity->bio_based != 0;
    bpf_map__set_max_entries(skeleton->maps.dirty, (uint32_t)words);
    if (identity->bio_based) {
        skeleton->rodata->traced_flag = traced_flag();
        bpf_map__set_max_entries(skeleton->maps.places, BLX_TRACKER_PLACES);
        bpf_map__set_max_entries(skeleton->maps.pending, BLX_TRACKER_PENDING_BIOS);
    }
    for (unsigned i = 0; i < AGENT_PROGRAM_COUNT; i++) {
        char name[AGENT_PROGRAM_NAME_BYTES];
        agent_program_format_name(i, name);
        struct bpf_program *program = bpf_object__find_program_by_name(skeleton->obj, name);
        bpf_program__set_autoload(program, agent_program_is_needed(i, identity));
    }
}

/* In the order of the numbers: the last copy to run forgets the bio, and completions are seen
 * before any bio is remembered. */
static int attach_and_pin(const struct tracker_bpf *skeleton,
                          const struct blx_tracker_identity *identity,
                          const struct agent_pins *pins)
{
    for (unsigned i = 0; i < AGENT_PROGRAM_COUNT; i++) {
        char name[AGENT_PROGRAM_NAME_BYTES], path[PATH_MAX];
        agent_program_format_name(i, name);
        if (!agent_program_is_needed(i, identity))
            continue;
        struct bpf_program *program = bpf_object__find_program_by_name(skeleton->obj, name);
        struct bpf_link *link = bpf_program__attach(program);
        if (link == NULL)
            return -errno;
        int r = agent_pins_format_path(pins, name, path, NULL);
        if (r == 0)
            r = bpf_link__pin(link, path);
        bpf_link__destroy(link); /* the pin keeps it */
        if (r < 0)
            return r;
    }
    return 0;
}

static int pin_maps(const struct tracker_bpf *skeleton, const struct agent_pins *pins)
{
    struct bpf_map *const maps[] = {skeleton->maps.dirty,  skeleton->maps.counts,
                                    skeleton->maps.places, skeleton->maps.pending,
                                    skeleton->maps.state,  skeleton->maps.identity};
    for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++) {
        char path[PATH_MAX];
        int r = agent_pins_format_path(pins, bpf_map__name(maps[i]), path, NULL);
        if (r == 0)
            r = bpf_map__pin(maps[i], path);
        if (r < 0)
            return r;
    }
    return 0;
}

/* The identity comes last: until then the pins count as half made. */
static int pin_all(struct tracker_bpf *skeleton, const struct blx_tracker_identity *identity,
                   uint64_t words, const struct agent_pins *pins)
{
    configure(skeleton, identity, words);
    int r = tracker_bpf__load(skeleton);
    if (r == 0)
        r = pin_maps(skeleton, pins);
    if (r == 0)
        r = attach_and_pin(skeleton, identity, pins);
    if (r < 0)
        return r;
    struct blx_generation generation;
    r = blx_generation_create(&generation);
    if (r < 0)
        return r;
    struct blx_tracker_identity complete = *identity;
    memcpy(complete.generation, generation.bytes, sizeof(complete.generation));
    uint32_t zero = 0;
    return bpf_map_update_elem(bpf_map__fd(skeleton->maps.identity), &zero, &complete, BPF_ANY);
}

int agent_programs_create(const struct agent_device *device,
                          const struct blx_tracker_identity *identity, uint64_t words,
                          const struct agent_pins *pins, struct blx_error *err)
{
    if (access(btf_path, R_OK) < 0)
        return blx_error_set(
            err, -ENOTSUP,
            "cannot track device '%s': the kernel has no type information ('%s' is missing); "
            "use a kernel built with CONFIG_DEBUG_INFO_BTF=y",
            device->path, btf_path);
    pthread_mutex_lock(&libbpf_says.lock);
    libbpf_says.text[0] = '\0';
    libbpf_print_fn_t before = libbpf_set_print(keep_message);
    int r = -ENOMEM;
    struct tracker_bpf *skeleton = tracker_bpf__open();
    if (skeleton != NULL)
        r = pin_all(skeleton, identity, words, pins);
    else
        r = -errno;
    tracker_bpf__destroy(skeleton);
    libbpf_set_print(before);
    if (r < 0)
        r = explain_failure_locked(r, device, err);
    pthread_mutex_unlock(&libbpf_says.lock);
    return r;
}
