/* SPDX-License-Identifier: Apache-2.0 */
/* The signatures equal the examples of AWS's documentation of S3, which name these credentials. */
#include "object/sign.h"

#include <errno.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define BODY  "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"
#define HOST  "examplebucket.s3.amazonaws.com"
#define DATE  "20130524T000000Z"

static const struct object_credentials credentials = {
    .name = "AKIAIOSFODNN7EXAMPLE", .secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"};

static void check(const struct object_to_sign *what, const char *signed_names,
                  const char *signature)
{
    char got[OBJECT_AUTHORIZATION_BYTES], wanted[OBJECT_AUTHORIZATION_BYTES];
    assert_int_equal(object_sign(&credentials, what, got, NULL), 0);
    snprintf(wanted, sizeof(wanted),
             "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
             "SignedHeaders=%s,Signature=%s",
             signed_names, signature);
    assert_string_equal(got, wanted);
}

static void test_the_documented_examples(void **state)
{
    (void)state;
    /* In an order that is not the signature's. */
    const struct object_header get[] = {{"x-amz-date", DATE},
                                        {"range", "bytes=0-9"},
                                        {"x-amz-content-sha256", EMPTY},
                                        {"host", HOST}};
    struct object_to_sign what = {.method = "GET",
                                  .path = "/test.txt",
                                  .query = "",
                                  .headers = get,
                                  .header_count = 4,
                                  .body_hash = EMPTY,
                                  .date = DATE,
                                  .region = "us-east-1"};
    check(&what, "host;range;x-amz-content-sha256;x-amz-date",
          "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
    const struct object_header put[] = {{"host", HOST},
                                        {"date", "Fri, 24 May 2013 00:00:00 GMT"},
                                        {"x-amz-date", DATE},
                                        {"x-amz-storage-class", "REDUCED_REDUNDANCY"},
                                        {"x-amz-content-sha256", BODY}};
    what = (struct object_to_sign){.method = "PUT",
                                   .path = "/test%24file.text",
                                   .query = "",
                                   .headers = put,
                                   .header_count = 5,
                                   .body_hash = BODY,
                                   .date = DATE,
                                   .region = "us-east-1"};
    check(&what, "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
          "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
    const struct object_header list[] = {
        {"host", HOST}, {"x-amz-date", DATE}, {"x-amz-content-sha256", EMPTY}};
    what = (struct object_to_sign){.method = "GET",
                                   .path = "/",
                                   .query = "lifecycle=",
                                   .headers = list,
                                   .header_count = 3,
                                   .body_hash = EMPTY,
                                   .date = DATE,
                                   .region = "us-east-1"};
    check(&what, "host;x-amz-content-sha256;x-amz-date",
          "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
    what.query = "max-keys=2&prefix=J";
    check(&what, "host;x-amz-content-sha256;x-amz-date",
          "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

static void test_hash_and_date(void **state)
{
    char hash[OBJECT_HASH_TEXT_BYTES], date[OBJECT_DATE_BYTES];
    (void)state;
    object_hash("", 0, hash);
    assert_string_equal(hash, EMPTY);
    object_hash("Welcome to Amazon S3.", 21, hash);
    assert_string_equal(hash, BODY);
    object_format_date(1369353600, date);
    assert_string_equal(date, DATE);
}

static void test_a_line_that_does_not_fit(void **state)
{
    char long_name[OBJECT_AUTHORIZATION_BYTES], got[OBJECT_AUTHORIZATION_BYTES];
    struct blx_error err = {0};
    (void)state;
    memset(long_name, 'a', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    const struct object_header header = {long_name, ""};
    const struct object_to_sign what = {.method = "GET",
                                        .path = "/",
                                        .query = "",
                                        .headers = &header,
                                        .header_count = 1,
                                        .body_hash = EMPTY,
                                        .date = DATE,
                                        .region = "us-east-1"};
    assert_int_equal(object_sign(&credentials, &what, got, &err), -E2BIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_documented_examples),
        cmocka_unit_test(test_hash_and_date),
        cmocka_unit_test(test_a_line_that_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
