# SPDX-License-Identifier: Apache-2.0
blx_fixture(unit_cli_run cli/run.c)
target_compile_definitions(unit_cli_run PUBLIC BLXREP_PROGRAM="$<TARGET_FILE:blxrep_cli>")
blx_fixture(unit_cli_site cli/site.c)
blx_unit_test(cli/main LIBRARIES unit_cli_run)
foreach(noun IN ITEMS control restore show verify)
    blx_unit_test(cli/${noun} LIBRARIES unit_cli_run unit_cli_site unit_store_fixture)
endforeach()
foreach(noun IN ITEMS control main restore show verify)
    add_dependencies(unit_cli_${noun} blxrep_cli)
endforeach()
# It runs a copy of the program in another folder, which does not find the build tree's library by itself.
set_tests_properties(unit/cli/main PROPERTIES ENVIRONMENT "LD_LIBRARY_PATH=${CMAKE_BINARY_DIR}/lib")
