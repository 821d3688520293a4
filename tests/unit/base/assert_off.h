/* SPDX-License-Identifier: Apache-2.0 */
/* Asserts as a release has them, beside those of the test program. */
#pragma once

/* How often the expressions of asserts that are off were evaluated. */
int assert_off_evaluations(void);
