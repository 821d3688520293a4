# SPDX-License-Identifier: Apache-2.0
blx_fixture(unit_cli_run cli/run.c)
target_compile_definitions(unit_cli_run PUBLIC BLXREP_PROGRAM="$<TARGET_FILE:blxrep_cli>")
blx_fixture(unit_cli_site cli/site.c)
blx_unit_test(cli/main LIBRARIES unit_cli_run)
foreach(noun IN ITEMS control restore show verify)
    blx_unit_test(cli/${noun} LIBRARIES unit_cli_run unit_cli_site unit_store_fixture)
endforeach()
blx_unit_test(cli/terminal SOURCES ${CMAKE_SOURCE_DIR}/cli/status.c ${CMAKE_SOURCE_DIR}/cli/status_self.c ${CMAKE_SOURCE_DIR}/cli/self.c ${CMAKE_SOURCE_DIR}/cli/side.c ${CMAKE_SOURCE_DIR}/cli/agents.c ${CMAKE_SOURCE_DIR}/cli/control.c
    ${CMAKE_SOURCE_DIR}/cli/copies.c ${CMAKE_SOURCE_DIR}/cli/describe.c ${CMAKE_SOURCE_DIR}/cli/hosts.c ${CMAKE_SOURCE_DIR}/cli/machines.c ${CMAKE_SOURCE_DIR}/cli/mounts.c ${CMAKE_SOURCE_DIR}/cli/proof.c ${CMAKE_SOURCE_DIR}/cli/owner.c ${CMAKE_SOURCE_DIR}/cli/screen.c ${CMAKE_SOURCE_DIR}/cli/suspicion.c ${CMAKE_SOURCE_DIR}/cli/table.c ${CMAKE_SOURCE_DIR}/cli/tell.c
    LIBRARIES unit_cli_run unit_cli_site unit_store_fixture)
add_dependencies(unit_cli_terminal blxrep_cli blxrep-dispatcher)
foreach(noun IN ITEMS control main restore show verify)
    add_dependencies(unit_cli_${noun} blxrep_cli)
endforeach()
# It runs a copy of the program in another folder, which does not find the build tree's library by itself.
set_tests_properties(unit/cli/main PROPERTIES ENVIRONMENT "LD_LIBRARY_PATH=${CMAKE_BINARY_DIR}/lib")
blx_unit_test(cli/network SOURCES ${CMAKE_SOURCE_DIR}/cli/network.c)
blx_unit_test(cli/holds SOURCES ${CMAKE_SOURCE_DIR}/cli/holds_builtin.c LIBRARIES PkgConfig::BLKID)
