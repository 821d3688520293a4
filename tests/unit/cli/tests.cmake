# SPDX-License-Identifier: Apache-2.0
blx_unit_test(cli/main SOURCES cli/run.c)
foreach(noun IN ITEMS control restore show verify)
    blx_unit_test(cli/${noun} SOURCES cli/run.c cli/site.c store/fixture.c)
endforeach()
foreach(noun IN ITEMS control main restore show verify)
    target_compile_definitions(unit_cli_${noun} PRIVATE BLXREP_PROGRAM="$<TARGET_FILE:blxrep_cli>")
    add_dependencies(unit_cli_${noun} blxrep_cli)
endforeach()
# It runs a copy of the program in another folder, which does not find the build tree's library by itself.
set_tests_properties(unit/cli/main PROPERTIES ENVIRONMENT "LD_LIBRARY_PATH=${CMAKE_BINARY_DIR}/lib")
