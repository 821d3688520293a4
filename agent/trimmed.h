/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks that a discard has marked and that a mounted filesystem calls free need not be read. An
 * fstrim discards all free space, and the next checkpoint would read all of it. Nobody misses the
 * content of a free block, so its mark is dropped, and the image keeps what it had.
 *
 * The race with allocation: the marks are claimed first, so that a write that comes later marks its
 * block again. Only then are the filesystems asked, which know what they have allocated: a block
 * that they call free now holds nothing of a file. A file that was deleted just before is gone for
 * good when they have been flushed once more; the marks are dropped after that. An agent that dies
 * in between leaves the blocks in flight, which its successor sends.
 *
 * Threads: the session's control thread. Takes as long as two syncfs and the queries if much was
 * discarded since the last time; otherwise it reads a line of sysfs for each volume.
 */
#pragma once

#include "agent/agent.h"

/* If the user lets the agent skip free space. What cannot be found out stays marked. */
void agent_forget_trimmed(struct agent *agent);
