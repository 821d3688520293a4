# SPDX-License-Identifier: Apache-2.0
# blx_assert() (lib/base/assert.h) is on in every build that serves tests: with sanitizers (dev, tsan), with libFuzzer, and in
# Debug, which the fault tests share. A release does not pay for it.
if(BLXREP_SANITIZE OR BLXREP_FUZZ)
    add_compile_definitions(BLX_ASSERTS)
else()
    add_compile_definitions($<$<CONFIG:Debug>:BLX_ASSERTS>)
endif()
