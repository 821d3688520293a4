/* SPDX-License-Identifier: Apache-2.0 */
#include "object/xml.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"

/* What a walk saw: "<path" for a beginning, "path=text" for an end, each with a ' '. */
struct seen {
    char text[1024];
    int end_with; /* what end() returns */
};

static int note_begin(void *arg, const char *path)
{
    struct seen *seen = arg;
    size_t at = strlen(seen->text);
    snprintf(seen->text + at, sizeof(seen->text) - at, "<%s ", path);
    return 0;
}

static int note_end(void *arg, const char *path, const char *text)
{
    struct seen *seen = arg;
    size_t at = strlen(seen->text);
    snprintf(seen->text + at, sizeof(seen->text) - at, "%s=%.20s ", path, text);
    return seen->end_with;
}

static int walk(const char *document, size_t bytes, struct seen *seen)
{
    const struct object_xml_walk each = {.arg = seen, .begin = note_begin, .end = note_end};
    seen->text[0] = '\0';
    return object_xml_read(document, bytes, &each, NULL);
}

static void test_a_walk(void **state)
{
    static const char document[] = "<?xml version=\"1.0\"?><s:A xmlns:s='x'><B>one&amp;two</B>"
                                   "<C d='e'/>tail</s:A>";
    struct seen seen = {0};
    (void)state;
    assert_int_equal(walk(document, sizeof(document) - 1, &seen), 0);
    assert_string_equal(seen.text, "<A <A/B A/B=one&two <A/C A/C= A=tail ");
    seen.end_with = -ECANCELED;
    assert_int_equal(walk(document, sizeof(document) - 1, &seen), -ECANCELED);
    assert_string_equal(seen.text, "<A <A/B A/B=one&two ");
}

static void test_what_is_no_list(void **state)
{
    static const char *const documents[] = {
        "",
        "{}",
        "<A><B></A>",
        "<A/><B/>",
        "<a><b><c><d><e><f><g><h><i/></h></g></f></e></d></c></b></a>",
        "<!DOCTYPE a [<!ENTITY b \"cccccccc\">]><a>&b;&b;</a>",
        "<!DOCTYPE a SYSTEM \"file:///etc/passwd\"><a/>",
    };
    struct seen seen = {0};
    (void)state;
    for (size_t i = 0; i < sizeof(documents) / sizeof(documents[0]); i++)
        assert_int_equal(walk(documents[i], strlen(documents[i]), &seen), -EBADMSG);
}

static void test_lengths(void **state)
{
    enum { MANY = 3 * OBJECT_XML_TEXT_BYTES };
    BLX_CLEANUP_FREE char *document = malloc(MANY + 16);
    struct seen seen = {0};
    (void)state;
    assert_non_null(document);
    int length = snprintf(document, MANY + 16, "<a>%0*d</a>", OBJECT_XML_TEXT_BYTES - 1, 0);
    assert_int_equal(walk(document, (size_t)length, &seen), 0);
    length = snprintf(document, MANY + 16, "<a>%0*d</a>", OBJECT_XML_TEXT_BYTES, 0);
    assert_int_equal(walk(document, (size_t)length, &seen), -EBADMSG);
    memset(document, 'a', MANY);
    document[0] = '<';
    memcpy(document + OBJECT_XML_PATH_BYTES + 1, "/>", 3);
    assert_int_equal(walk(document, OBJECT_XML_PATH_BYTES + 3, &seen), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_walk),
        cmocka_unit_test(test_what_is_no_list),
        cmocka_unit_test(test_lengths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
