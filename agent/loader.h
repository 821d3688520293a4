/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a boot loader writes at the next boot, which no kernel sees: GRUB's environment block
 * (savedefault, recordfail, boot_success), in place. When the agent ends its blocks are marked, so
 * that they are sent after a reboot over which the tracking is kept. What firmware and loaders
 * write into an EFI system partition is the save's part (agent/reboot/facts.h).
 *
 * Threads: the main thread, while no session runs.
 */
#pragma once

struct agent;

/* Notes in each volume's ledger that the agent has left it in order (enum agent_left). */
void agent_loader_leave(struct agent *agent);
