/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses of sockets as text for people: "192.0.2.1:8080" or "[2001:db8::1]:8080".
 *
 * Threads: any.
 */
#pragma once

#include <stdint.h>
#include <sys/socket.h>

#include "base/error.h"
#include "wire/message.h"

/* -EAFNOSUPPORT if it is no internet address. An IPv4 peer of an IPv6 socket is shown as IPv4. */
int dispatcher_address_format(const struct sockaddr_storage *address, socklen_t length,
                              char text[BLX_TEXT_BYTES]);

/* What counts as one source: the IPv4 address, or the first 64 bits of an IPv6 address, as one
 * household or host has them all. 0 if it is no internet address. */
uint64_t dispatcher_address_source(const struct sockaddr_storage *address);

/* The address that the socket is bound to: port 0 has become a real one here. */
int dispatcher_address_format_local(int fd, char text[BLX_TEXT_BYTES], struct blx_error *err);
