/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who gets in. In this order, for each request:
 *
 *     Host      a name of this machine's own page, or with TLS one of its certificate: another
 *               one is a page elsewhere that had its name point here (DNS rebinding), and is
 *               refused
 *     Origin    if the browser tells one, ours: no other page may speak to this one
 *     session   a cookie that was given to this address
 *     POST      the Origin must be told, and the session's CSRF word be in X-CSRF-Token
 *     role      an operator, if the request acts
 *
 * Threads: no shared state.
 */
#pragma once

#include "page/request.h"

#define PAGE_COOKIE      "blxrep_page"
#define PAGE_CSRF_HEADER "X-CSRF-Token"

/* What a request must have passed. */
enum page_need {
    PAGE_NEEDS_NOTHING, /* but the right Host and Origin */
    PAGE_NEEDS_SESSION,
    PAGE_NEEDS_OPERATOR, /* who may read what is on the disks */
    PAGE_NEEDS_ACT,      /* an operator, by POST and from this page */
};

/* 0: it may pass, and `request->session` is filled if it has one. Otherwise the HTTP status to
 * answer with, and `err` has the reason. */
unsigned page_gate_pass(struct page_request *request, enum page_need need, struct blx_error *err);
