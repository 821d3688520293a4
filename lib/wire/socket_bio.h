/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenSSL's way to the socket. Its own socket BIO uses write(2), which kills a process that does
 * not ignore SIGPIPE when the other side has gone; this one never raises the signal. And it reads
 * ahead: OpenSSL asks for the five bytes of a record's header, then for its 16 KiB, each with a
 * system call, and its own reading ahead takes its buffer from the system anew for each record
 * where buffers are released. Private to lib/wire and lib/tls.
 *
 * Who waits for the socket has called SSL_read() until it wanted more: what was read ahead does not
 * make it readable.
 *
 * Threads: a BIO belongs to its SSL object and its lock.
 */
#pragma once

#include <openssl/bio.h>

/* `fd` is borrowed: freeing the BIO does not close it. NULL where memory is short. */
BIO *blx_socket_bio_new(int fd);

/* Gives back the memory for reading ahead, where nothing is in it; the next read takes it again.
 * `bio` is one of blx_socket_bio_new(). */
void blx_socket_bio_trim(BIO *bio);
