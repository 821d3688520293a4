/* SPDX-License-Identifier: Apache-2.0 */
/* From a machine's network settings to the words that another kernel gets. */
#include "cli/network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define HEAD "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"

static void the_default_route_with_the_lowest_metric_is_taken(void **state)
{
    (void)state;
    struct cli_network network = {0};
    char gateway[INET_ADDRSTRLEN];
    /* 10.0.2.2 by eth0, 192.168.1.1 by wlan0, a network, and a route that is down. */
    static const char table[] =
        HEAD "wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n"
             "eth0\t00000000\t0202000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
             "eth0\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
             "eth9\t00000000\t0302000A\t0002\t0\t0\t0\t00000000\t0\t0\t0\n"
             "half\t00000080\t0302000A\t0003\t0\t0\t0\t00000080\t0\t0\t0\n";
    assert_int_equal(cli_network_find_route(table, &network, NULL), 0);
    assert_string_equal(network.interface, "eth0");
    inet_ntop(AF_INET, &network.gateway, gateway, sizeof(gateway));
    assert_string_equal(gateway, "10.0.2.2");
}

static void a_machine_without_a_default_route_is_told_what_to_do(void **state)
{
    (void)state;
    static const char *const tables[] = {
        "",
        "\n",
        HEAD,
        HEAD "eth0\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n",
        HEAD "eth0 nonsense",
        HEAD "eth0\t00000000"};
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        struct cli_network network = {0};
        struct blx_error err = {0};
        assert_int_equal(cli_network_find_route(tables[i], &network, &err), -ENETUNREACH);
        assert_non_null(strstr(err.message, "boot the ISO"));
    }
}

static void a_resolver_on_the_machine_itself_is_no_server(void **state)
{
    (void)state;
    struct cli_network network = {0};
    assert_int_equal(cli_network_find_servers("nameserver 127.0.0.53\noptions edns0\n", &network),
                     0);
    assert_string_equal(network.servers[0], "");
    static const char text[] = "# nameserver 9.9.9.9\nsearch example.org\nnameserver 127.0.0.1\n"
                               "nameserver fe80::1\nnameserver 10.0.0.1\nnameserver   10.0.0.2\n"
                               "nameserver 10.0.0.3\n";
    assert_int_equal(cli_network_find_servers(text, &network), 2);
    assert_string_equal(network.servers[0], "10.0.0.1");
    assert_string_equal(network.servers[1], "10.0.0.2");
}

static void the_words_are_those_of_the_kernel(void **state)
{
    (void)state;
    struct cli_network network = {.hardware = "52:54:00:12:34:56", .host = "web1"};
    char words[CLI_NETWORK_WORDS_BYTES];
    inet_pton(AF_INET, "10.0.2.15", &network.address);
    inet_pton(AF_INET, "255.255.255.255", &network.mask);
    assert_string_equal(cli_network_format(&network, words),
                        "ip=10.0.2.15:::255.255.255.255:web1::off:: "
                        "BOOTIF=01-52-54-00-12-34-56");
    inet_pton(AF_INET, "10.0.2.2", &network.gateway);
    strcpy(network.servers[0], "10.0.2.3");
    strcpy(network.servers[1], "10.0.2.4");
    assert_string_equal(cli_network_format(&network, words),
                        "ip=10.0.2.15::10.0.2.2:255.255.255.255:web1::off:10.0.2.3:10.0.2.4 "
                        "BOOTIF=01-52-54-00-12-34-56");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_default_route_with_the_lowest_metric_is_taken),
        cmocka_unit_test(a_machine_without_a_default_route_is_told_what_to_do),
        cmocka_unit_test(a_resolver_on_the_machine_itself_is_no_server),
        cmocka_unit_test(the_words_are_those_of_the_kernel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
