/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/addresses.h"

void agent_addresses_begin(struct agent_addresses *addresses, const char *list)
{
    *addresses = (struct agent_addresses){.list = list, .count = blx_address_count(list)};
    blx_address_pick(list, 0, addresses->current);
}

void agent_addresses_keep(struct agent_addresses *addresses)
{
    addresses->failed = 0;
}

enum agent_addresses_round agent_addresses_turn(struct agent_addresses *addresses)
{
    addresses->failed++;
    addresses->at = (addresses->at + 1) % addresses->count;
    blx_address_pick(addresses->list, addresses->at, addresses->current);
    return addresses->failed % addresses->count == 0 ? AGENT_ADDRESSES_DONE : AGENT_ADDRESSES_MORE;
}
