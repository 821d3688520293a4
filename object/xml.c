/* SPDX-License-Identifier: Apache-2.0 */
#include "object/xml.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>

#include <expat.h>

struct reading {
    XML_Parser parser;
    const struct object_xml_walk *walk;
    int rc; /* 0, or why the walk has ended */
    bool beyond_bounds;
    unsigned depth;
    char path[OBJECT_XML_PATH_BYTES];
    size_t path_bytes;
    char text[OBJECT_XML_TEXT_BYTES]; /* of the innermost element */
    size_t text_bytes;
};

static void stop(struct reading *reading, int rc)
{
    reading->rc = rc;
    XML_StopParser(reading->parser, XML_FALSE);
}

static void leave_bounds(struct reading *reading)
{
    reading->beyond_bounds = true;
    stop(reading, -EBADMSG);
}

static void XMLCALL on_begin(void *arg, const XML_Char *name, const XML_Char **attributes)
{
    struct reading *reading = arg;
    const char *colon = strrchr(name, ':');
    const char *local = colon != NULL ? colon + 1 : name;
    size_t length = strlen(local);
    (void)attributes;
    if (reading->rc < 0)
        return;
    if (reading->depth == OBJECT_XML_DEPTH ||
        reading->path_bytes + 1 + length >= sizeof(reading->path)) {
        leave_bounds(reading);
        return;
    }
    if (reading->depth++ > 0)
        reading->path[reading->path_bytes++] = '/';
    memcpy(reading->path + reading->path_bytes, local, length + 1);
    reading->path_bytes += length;
    reading->text_bytes = 0;
    int rc =
        reading->walk->begin != NULL ? reading->walk->begin(reading->walk->arg, reading->path) : 0;
    if (rc < 0)
        stop(reading, rc);
}

static void XMLCALL on_end(void *arg, const XML_Char *name)
{
    struct reading *reading = arg;
    (void)name;
    if (reading->rc < 0)
        return;
    reading->text[reading->text_bytes] = '\0';
    int rc = reading->walk->end(reading->walk->arg, reading->path, reading->text);
    reading->text_bytes = 0;
    reading->depth--;
    const char *slash = strrchr(reading->path, '/');
    reading->path_bytes = slash != NULL ? (size_t)(slash - reading->path) : 0;
    reading->path[reading->path_bytes] = '\0';
    if (rc < 0)
        stop(reading, rc);
}

static void XMLCALL on_text(void *arg, const XML_Char *text, int length)
{
    struct reading *reading = arg;
    if (reading->rc < 0)
        return;
    if (reading->text_bytes + (size_t)length >= sizeof(reading->text)) {
        leave_bounds(reading);
        return;
    }
    memcpy(reading->text + reading->text_bytes, text, (size_t)length);
    reading->text_bytes += (size_t)length;
}

static void XMLCALL on_document_type(void *arg, const XML_Char *name, const XML_Char *system_id,
                                     const XML_Char *public_id, int has_internal_subset)
{
    (void)name, (void)system_id, (void)public_id, (void)has_internal_subset;
    leave_bounds(arg);
}

int object_xml_read(const void *document, size_t bytes, const struct object_xml_walk *walk,
                    struct blx_error *err)
{
    struct reading reading = {.walk = walk, .parser = XML_ParserCreate("UTF-8")};
    if (reading.parser == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot read the object store's answer");
    XML_SetUserData(reading.parser, &reading);
    XML_SetElementHandler(reading.parser, on_begin, on_end);
    XML_SetCharacterDataHandler(reading.parser, on_text);
    XML_SetStartDoctypeDeclHandler(reading.parser, on_document_type);
    enum XML_Status status = bytes <= INT_MAX
                                 ? XML_Parse(reading.parser, document, (int)bytes, XML_TRUE)
                                 : XML_STATUS_ERROR;
    int rc = reading.rc;
    if (reading.beyond_bounds)
        blx_error_set(err, rc,
                      "the object store's answer is no list of ours: too deep or too long");
    else if (rc == 0 && status != XML_STATUS_OK)
        rc = blx_error_set(err, -EBADMSG, "the object store's answer is no XML: %s",
                           XML_ErrorString(XML_GetErrorCode(reading.parser)));
    XML_ParserFree(reading.parser);
    return rc;
}
