# SPDX-License-Identifier: Apache-2.0
# The same sources give the same bytes wherever they are built. So there is no path of the build machine in __FILE__, in debug
# information (the build ID is made from it), in the line information of the eBPF programs, or in the search path for libblxrep, which
# is relative to the program while that is in the build tree. A debugger needs the real paths, so Debug keeps them.
set(BLXREP_PREFIX_MAP -ffile-prefix-map=${PROJECT_SOURCE_DIR}/= -ffile-prefix-map=${PROJECT_BINARY_DIR}=build)
add_compile_options("$<$<NOT:$<CONFIG:Debug>>:${BLXREP_PREFIX_MAP}>")
if(NOT CMAKE_BUILD_TYPE STREQUAL Debug)
    set(CMAKE_BUILD_RPATH_USE_ORIGIN ON)
endif()
