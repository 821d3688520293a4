/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's kernel modules. The host has put them into its first files (first_files.h) by groups,
 * a group for each thing that may be needed: a folder with links to modules, whose names are the
 * order in which they are loaded. A kernel that has a thing built in has an empty group.
 *
 * Threads: one.
 */
#pragma once

/* Where a group lies, below it "000", "001", ... */
#define FILES_MODULES_FOLDER "/modules"

/* Loads the group; what fails is told on the console, since what needs it says so itself. */
void files_guest_load(const char *group);
