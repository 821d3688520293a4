/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an operator does by the page. Each is a command, whose line is in the answer, and each
 * leaves a line in the audit log before it is done. None of them deletes.
 *
 *     POST /api/checkpoint?agent=                      `checkpoint`; after PAGE_ACT_MS it goes on
 *     POST /api/pin?agent=&checkpoint=                 `pin`
 *     POST /api/token?agent=&checkpoint=[&device=]     `restore --token`
 *
 *     {"command": "blxrep dispatcher pin ...", "done": true, "output": "what it printed"}
 *
 * Threads: any. Blocks until the command has ended.
 */
#pragma once

#include "page/request.h"

enum { PAGE_ACT_MS = 30 * 1000 };

enum MHD_Result page_act_serve(const struct page_request *request);
