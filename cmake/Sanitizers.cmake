# SPDX-License-Identifier: Apache-2.0
# BLXREP_SANITIZE: a list for -fsanitize=, such as "address,undefined" or "thread"; empty for none.
set(BLXREP_SANITIZE "" CACHE STRING "Sanitizers to build with, comma-separated")
if(BLXREP_SANITIZE)
    # -O1: without optimisation the instrumented tests take half as long again.
    add_compile_options(-O1 -fsanitize=${BLXREP_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    add_link_options(-fsanitize=${BLXREP_SANITIZE})
    # gcc's TSan does not follow fences. Ours order against the kernel (agent/track/volume.c), which TSan does not see anyway.
    if(BLXREP_SANITIZE MATCHES thread AND CMAKE_C_COMPILER_ID STREQUAL GNU)
        add_compile_options(-Wno-tsan)
    endif()
endif()

# BLXREP_FUZZ: libFuzzer drives the targets of tests/fuzz, and all code counts which edges were reached.
option(BLXREP_FUZZ "Build the fuzz targets with libFuzzer; needs clang" OFF)
if(BLXREP_FUZZ)
    if(NOT CMAKE_C_COMPILER_ID MATCHES Clang)
        message(FATAL_ERROR "BLXREP_FUZZ needs clang: add -DCMAKE_C_COMPILER=clang")
    endif()
    add_compile_options(-fsanitize=fuzzer-no-link)
endif()
