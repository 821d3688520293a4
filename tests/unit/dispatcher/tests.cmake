# SPDX-License-Identifier: Apache-2.0
blx_fixture(unit_dispatcher_fakes dispatcher/fake_agent.c dispatcher/fake_entry.c dispatcher/fake_site.c)
target_link_libraries(unit_dispatcher_fakes PUBLIC blx_dispatcher)
foreach(noun IN ITEMS address beat control cut_time events meter neighbours pulse rate registry roster scheduler server session/session session/session_digest session/session_join session/session_policy session/session_quota session/session_refusals session/session_restore session/session_strangers threads turns)
    blx_unit_test(dispatcher/${noun} LIBRARIES unit_dispatcher_fakes blx_dispatcher)
endforeach()
