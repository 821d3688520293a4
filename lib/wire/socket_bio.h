/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenSSL's way to the socket. Its own socket BIO uses write(2), which kills a process that does
 * not ignore SIGPIPE when the other side has gone; this one never raises the signal. And it reads
 * ahead: OpenSSL asks for the five bytes of a record's header, then for its 16 KiB, each with a
 * system call. If buffers are released, OpenSSL's own reading ahead takes a new buffer from the
 * system for each record. For lib/wire and lib/tls only.
 *
 * Before a thread waits for the socket it must have called SSL_read() until that wanted more: bytes
 * that were read ahead do not make the socket readable.
 *
 * Threads: a BIO belongs to its SSL object and its lock.
 */
#pragma once

#include <openssl/bio.h>

/* `fd` is borrowed: freeing the BIO does not close it. NULL if memory is short. */
BIO *blx_socket_bio_new(int fd);

/* Frees the memory for reading ahead if it is empty; the next read allocates it again. `bio` is one
 * of blx_socket_bio_new(). */
void blx_socket_bio_trim(BIO *bio);
