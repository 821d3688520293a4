/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "tls/tls.h"

static void splits(const char *address, const char *host, const char *port)
{
    char found_host[256];
    char found_port[8];
    assert_int_equal(blx_address_split(address, found_host, found_port, NULL), 0);
    assert_string_equal(found_host, host);
    assert_string_equal(found_port, port);
}

static void address_is_split_into_host_and_port(void **state)
{
    (void)state;
    splits("backup.example.org:9000", "backup.example.org", "9000");
    splits("backup.example.org", "backup.example.org", "8080");
    splits("[2001:db8::1]:9000", "2001:db8::1", "9000");
    splits("[::1]", "::1", "8080");
    splits(":9000", "", "9000");
    splits("127.0.0.1:0", "127.0.0.1", "0");
    splits("h:65535", "h", "65535");
}

static void address_that_is_none_is_refused_by_name(void **state)
{
    (void)state;
    const char *bad[] = {"",        "h:",          "h:65536",        "h:999999", "h:80a",
                         "h:-1",    "::1",         "2001:db8::1:80", "[::1",     "[]:80",
                         "[::1]80", "http://h:80", "a b:80",         "h\n:80",   "h: 80"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char host[256] = "untouched";
        char port[8];
        struct blx_error err = {0};
        assert_int_equal(blx_address_split(bad[i], host, port, &err), -EINVAL);
        assert_string_equal(host, "untouched");
        assert_non_null(strstr(err.message, "HOST:PORT"));
    }
    char longest[400];
    memset(longest, 'h', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    char host[256];
    char port[8];
    assert_int_equal(blx_address_split(longest, host, port, NULL), -EINVAL);
}

static uint16_t port_of(int fd)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    struct sockaddr_in in;
    memcpy(&in, &address, sizeof(in));
    return ntohs(in.sin_port); /* at the same place in sockaddr_in6 */
}

static void addresses_of_a_list_are_picked_in_turn(void **state)
{
    (void)state;
    static const char list[] = "a:1, [::1]:2 ,c";
    char one[BLX_ADDRESS_BYTES];
    assert_int_equal(blx_address_count(list), 3);
    assert_int_equal(blx_address_count(""), 1);
    assert_true(blx_address_pick(list, 0, one));
    assert_string_equal(one, "a:1");
    assert_true(blx_address_pick(list, 1, one));
    assert_string_equal(one, "[::1]:2");
    assert_true(blx_address_pick(list, 2, one));
    assert_string_equal(one, "c");
    assert_false(blx_address_pick(list, 3, one));
    char longer[2 * BLX_ADDRESS_BYTES];
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    assert_true(blx_address_pick(longer, 0, one));
    assert_int_equal(strlen(one), BLX_ADDRESS_BYTES - 1);
    assert_int_equal(blx_address_split(one, (char[256]){0}, (char[8]){0}, NULL), -EINVAL);
}

static void listen_says_that_the_port_is_taken(void **state)
{
    (void)state;
    struct blx_error err = {0};
    BLX_CLEANUP_FD int first = blx_address_listen("127.0.0.1:0", &err);
    assert_true(first >= 0);
    char address[64];
    snprintf(address, sizeof(address), "127.0.0.1:%u", port_of(first));
    assert_int_equal(blx_address_listen(address, &err), -EADDRINUSE);
    assert_non_null(strstr(err.message, address));
    assert_non_null(strstr(err.message, "taken"));
}

static void listen_on_all_addresses_takes_ipv4_too(void **state)
{
    (void)state;
    BLX_CLEANUP_FD int listener = blx_address_listen(":0", NULL);
    assert_true(listener >= 0);
    BLX_CLEANUP_FD int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct sockaddr_in to = {.sin_family = AF_INET,
                                   .sin_port = htons(port_of(listener)),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof(to)), 0);
}

static void listen_names_an_address_that_is_not_ours(void **state)
{
    (void)state;
    struct blx_error err = {0};
    assert_int_equal(blx_address_listen("192.0.2.1:8080", &err), -EADDRNOTAVAIL);
    assert_non_null(strstr(err.message, "192.0.2.1:8080"));
    blx_error_clear(&err);
    assert_true(blx_address_listen("no-such-host.invalid:8080", &err) < 0);
    assert_non_null(strstr(err.message, "no-such-host.invalid"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(address_is_split_into_host_and_port),
        cmocka_unit_test(address_that_is_none_is_refused_by_name),
        cmocka_unit_test(addresses_of_a_list_are_picked_in_turn),
        cmocka_unit_test(listen_says_that_the_port_is_taken),
        cmocka_unit_test(listen_on_all_addresses_takes_ipv4_too),
        cmocka_unit_test(listen_names_an_address_that_is_not_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
