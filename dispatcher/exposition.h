/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The overview in the text format of Prometheus, version 0.0.4. The names follow its conventions
 * (base units, _total for a value that only grows). blxrep-dispatcher(8) lists them, and
 * tests/check compares that page, the dashboard and the alerts with the output.
 *
 * Threads: no shared state. Errors are the stream's.
 */
#pragma once

#include <stdio.h>

#include "dispatcher/overview.h"

#define DISPATCHER_EXPOSITION_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* `now_realtime_ns`: blx_clock_realtime_ns(). */
void dispatcher_exposition_write(const struct dispatcher_overview *overview,
                                 uint64_t now_realtime_ns, FILE *out);
