/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a person may do. A viewer looks; an operator also acts: takes a checkpoint, pins one, makes
 * a token for a restore. Nobody deletes by the page. In the order of the option's words.
 *
 * Threads: all functions are pure.
 */
#pragma once

enum page_role { PAGE_VIEWER, PAGE_OPERATOR };

static inline const char *page_role_name(enum page_role role)
{
    return role == PAGE_OPERATOR ? "operator" : "viewer";
}
