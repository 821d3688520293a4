/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatcher/meter.h"

static const uint64_t window_ns = DISPATCHER_METER_WINDOW_MS * UINT64_C(1000000);

void dispatcher_meter_add(struct dispatcher_meter *meter, uint64_t bytes, uint64_t now_ns)
{
    uint64_t elapsed_ns = now_ns - meter->since_ns;
    if (meter->since_ns == 0 || elapsed_ns >= window_ns) {
        meter->before_per_s = dispatcher_meter_read(meter, now_ns);
        meter->since_ns = now_ns;
        meter->bytes = 0;
    }
    meter->bytes += bytes;
}

uint64_t dispatcher_meter_read(const struct dispatcher_meter *meter, uint64_t now_ns)
{
    if (meter->since_ns == 0)
        return 0;
    double elapsed_s = (double)(now_ns - meter->since_ns) / 1e9;
    double window_s = (double)window_ns / 1e9;
    double bytes = (double)meter->bytes;
    if (elapsed_s >= 2 * window_s)
        return 0;
    if (elapsed_s >= window_s) /* what the window of now still has of the one before */
        return (uint64_t)(bytes * (2 * window_s - elapsed_s) / (window_s * window_s));
    return (uint64_t)((bytes + (double)meter->before_per_s * (window_s - elapsed_s)) / window_s);
}
