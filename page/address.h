/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the page listens: `page-listen`, which has a host and a port.
 *
 * Threads: all functions are pure, but page_address_answers(), which connects.
 */
#pragma once

#include <stdbool.h>

enum { PAGE_HOST_BYTES = 320 };

/* What a browser connects to: "HOST:PORT". Without a host it is this machine's loopback address,
 * and the host's name if the page listens at all of its addresses. */
void page_address_name(const char *listen, char name[PAGE_HOST_BYTES]);

/* The port as text: a part of `listen`. */
const char *page_address_port(const char *listen);

/* Nobody else can connect to it. */
bool page_address_is_loopback(const char *listen);

/* Whether somebody listens there. */
bool page_address_answers(const char *listen);
