/*
 * OpenSSL's way to the socket. Its own socket BIO uses write(2), which kills a process that does
 * not ignore SIGPIPE when the other side has gone; this one never raises the signal. Private to
 * lib/wire and lib/tls.
 *
 * Threads: a BIO belongs to its SSL object and its lock.
 */
#pragma once

#include <openssl/bio.h>

/* `fd` is borrowed: freeing the BIO does not close it. NULL where memory is short. */
BIO *blx_socket_bio_new(int fd);
