/* SPDX-License-Identifier: Apache-2.0 */
#include "files/kernel_modules.h"

#include <dirent.h>
#include <errno.h>
#include <libkmod.h>
#include <search.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"

struct files_kernel_modules {
    struct kmod_ctx *kmod;
    void *visited; /* a tree of paths */
    /* The list that is made. */
    files_visit_module *visit;
    void *arg;
    int rc;
};

static int newest_first(const struct dirent **a, const struct dirent **b)
{
    return strverscmp((*b)->d_name, (*a)->d_name);
}

/* 1: found. -EACCES: there is one that others may read. */
static int find_image(const char *folder, const char *release, char image[PATH_MAX])
{
    int rc = 0;
    for (size_t i = 0; i < 2; i++) {
        int length = i == 0
                         ? snprintf(image, PATH_MAX, "%s/boot/vmlinuz-%s", folder, release)
                         : snprintf(image, PATH_MAX, "%s/lib/modules/%s/vmlinuz", folder, release);
        if (length >= PATH_MAX)
            continue;
        if (access(image, R_OK) == 0)
            return 1;
        if (errno == EACCES)
            rc = -EACCES;
    }
    return rc;
}

/* The folder of its modules. */
static int find_kernel(const char *folder, char image[PATH_MAX], char modules[PATH_MAX],
                       struct blx_error *err)
{
    struct dirent **releases = NULL;
    int rc = blx_path_format(modules, PATH_MAX, err, "%s/lib/modules", folder);
    int count = rc == 0 ? scandir(modules, &releases, NULL, newest_first) : 0;
    for (int i = 0; i < count; i++) {
        if (rc <= 0 && releases[i]->d_name[0] != '.') {
            int found = find_image(folder, releases[i]->d_name, image);
            rc = found != 0 ? found : rc;
            if (found > 0 && snprintf(modules, PATH_MAX, "%s/lib/modules/%s", folder,
                                      releases[i]->d_name) >= PATH_MAX)
                rc = -ENAMETOOLONG;
        }
        free(releases[i]);
    }
    free(releases);
    if (rc > 0)
        return 0;
    if (rc == -EACCES)
        return blx_error_set(err, rc,
                             "only root may read the kernels in '%s/boot': run this as root, or "
                             "give --kernel-dir=DIR",
                             folder);
    return blx_error_set(err, -ENOENT,
                         "there is no kernel with modules in '%s/boot' and '%s/lib/modules': "
                         "install the package linux-image-amd64 (Debian) or kernel (RPM), or give "
                         "--kernel-dir=DIR",
                         folder, folder);
}

int files_kernel_modules_open(const char *folder, char image[PATH_MAX],
                              struct files_kernel_modules **modules, struct blx_error *err)
{
    static const char *const no_config[] = {NULL};
    char path[PATH_MAX];
    int rc = find_kernel(folder != NULL ? folder : "", image, path, err);
    if (rc < 0)
        return rc;
    struct files_kernel_modules *made = calloc(1, sizeof(*made));
    if (made != NULL)
        made->kmod = kmod_new(path, no_config);
    if (made == NULL || made->kmod == NULL) {
        free(made);
        return blx_error_errno(err, -ENOMEM, "cannot look for modules in '%s'", path);
    }
    kmod_set_log_priority(made->kmod, 0);
    *modules = made;
    return 0;
}

void files_kernel_modules_close(struct files_kernel_modules *modules)
{
    if (modules == NULL)
        return;
    tdestroy(modules->visited, free);
    kmod_unref(modules->kmod);
    free(modules);
}

static int compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* Whose list is made: libkmod tells its callback nothing but the module. */
static _Thread_local struct files_kernel_modules *listing;

static void visit_one(struct kmod_module *module, bool install, const char *options)
{
    const char *path = kmod_module_get_path(module);
    struct files_kernel_modules *modules = listing;
    (void)install, (void)options;
    if (path == NULL || modules->rc < 0) /* it is built in */
        return;
    char *copy = strdup(path);
    char **found = copy != NULL ? tsearch(copy, &modules->visited, compare) : NULL;
    if (found == NULL) {
        free(copy);
        modules->rc = -ENOMEM;
        return;
    }
    bool again = *found != copy;
    if (again)
        free(copy);
    modules->rc =
        modules->visit(modules->arg, path, again ? FILES_MODULE_AGAIN : FILES_MODULE_FIRST);
}

static int list_one(struct files_kernel_modules *modules, const char *name)
{
    const unsigned flags =
        KMOD_PROBE_IGNORE_COMMAND | KMOD_PROBE_IGNORE_LOADED | KMOD_PROBE_DRY_RUN;
    struct kmod_list *found = NULL, *item;
    kmod_module_new_from_lookup(modules->kmod, name, &found);
    kmod_list_foreach(item, found)
    {
        struct kmod_module *module = kmod_module_get_module(item);
        kmod_module_probe_insert_module(module, flags, NULL, NULL, NULL, visit_one);
        kmod_module_unref(module);
    }
    kmod_module_unref_list(found);
    return modules->rc;
}

int files_kernel_modules_list(struct files_kernel_modules *modules, const char *names,
                              files_visit_module *visit, void *arg, struct blx_error *err)
{
    BLX_CLEANUP_FREE char *copy = strdup(names);
    char *rest = NULL;
    modules->visit = visit;
    modules->arg = arg;
    modules->rc = copy != NULL ? 0 : -ENOMEM;
    listing = modules;
    for (char *name = strtok_r(copy, " ", &rest); modules->rc == 0 && name != NULL;
         name = strtok_r(NULL, " ", &rest))
        list_one(modules, name);
    return modules->rc < 0
               ? blx_error_errno(err, modules->rc, "cannot list the modules '%s'", names)
               : 0;
}
