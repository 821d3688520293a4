/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How easily a checkpoint counts as suspicious: a setting of policies.
 *
 * Threads: constant.
 */
#pragma once

enum blx_sensitivity {
    BLX_SENSITIVITY_DEFAULT = 0,
    BLX_SENSITIVITY_LOW,
    BLX_SENSITIVITY_HIGH,
    BLX_SENSITIVITY_OFF, /* nothing is measured */
    BLX_SENSITIVITIES
};

/* "default", "low", "high", "off" */
const char *blx_sensitivity_name(enum blx_sensitivity sensitivity);
