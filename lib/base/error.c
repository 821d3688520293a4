/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/text.h"

__attribute__((format(printf, 4, 0))) static int error_set(struct blx_error *err, int code,
                                                           const char *cause, const char *format,
                                                           va_list args)
{
    blx_assert(code < 0);
    if (err == NULL || err->code != 0)
        return code;
    err->code = code;
    int used = vsnprintf(err->message, sizeof(err->message), format, args);
    if (cause != NULL && used >= 0 && (size_t)used < sizeof(err->message))
        snprintf(err->message + used, sizeof(err->message) - (size_t)used, ": %s", cause);
    blx_text_clean(err->message);
    return code;
}

int blx_error_set(struct blx_error *err, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    error_set(err, code, NULL, format, args);
    va_end(args);
    return code;
}

int blx_error_errno(struct blx_error *err, int code, const char *format, ...)
{
    char buffer[128];
    /* The GNU strerror_r: it returns the text, which need not be in the buffer. */
    const char *cause = strerror_r(-code, buffer, sizeof(buffer));
    va_list args;
    va_start(args, format);
    error_set(err, code, cause, format, args);
    va_end(args);
    return code;
}

int blx_error_copy(struct blx_error *err, int code, const struct blx_error *cause)
{
    char buffer[128];
    if (cause->code != 0)
        return blx_error_set(err, code, "%s", cause->message);
    return blx_error_set(err, code, "%s", strerror_r(-code, buffer, sizeof(buffer)));
}

void blx_error_prefix(struct blx_error *err, const char *format, ...)
{
    if (err == NULL || err->code == 0)
        return;
    char message[BLX_ERROR_MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    int used = vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    if (used < 0 || (size_t)used >= sizeof(message))
        return;
    /* A message that gets too long loses its end. */
    if (snprintf(message + used, sizeof(message) - (size_t)used, ": %s", err->message) < 0)
        return;
    blx_text_clean(message);
    memcpy(err->message, message, sizeof(message));
}

void blx_error_clear(struct blx_error *err)
{
    if (err == NULL)
        return;
    err->code = 0;
    err->message[0] = '\0';
}
