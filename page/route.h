/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The page's addresses.
 *
 *     GET   /  /agent?id=  /checkpoint?agent=&checkpoint=     HTML, which page.js draws over
 *     GET   /page.css ...                                     the files of page/ui
 *     GET   /enter?token=                                     begins a session
 *     GET   /api/session                                      who you are: JSON
 *     GET   /api/status  /api/show?agent=  /api/info?agent=&checkpoint=  /api/log[?agent=]
 *     GET   /events                                           feed.h
 *     GET   /files  /api/files  /download                     files.h
 *     GET   /image                                            image.h
 *     POST  /api/checkpoint  /api/pin  /api/token             act.h
 *
 * What is below /api/ is word for word what the command of that name prints with --json; errors are
 * {"error": "..."}.
 *
 * Threads: no shared state.
 */
#pragma once

#include "page/request.h"

/* Answers the request, or passes a failure of the server on (MHD_NO: the connection ends). */
enum MHD_Result page_route(struct page_request *request);
