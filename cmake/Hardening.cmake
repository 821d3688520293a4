# SPDX-License-Identifier: Apache-2.0
# The flags with which distributions build network daemons. Left out with sanitizers, which bring their own checks.
if(NOT BLXREP_SANITIZE)
    add_compile_options(-fstack-protector-strong -fstack-clash-protection)
    # Protection of the control flow: x86 and ARM each have a flag of their own. clang only warns about the other one's.
    include(CheckCCompilerFlag)
    set(CMAKE_REQUIRED_FLAGS -Werror)
    foreach(flag IN ITEMS -fcf-protection -mbranch-protection=standard)
        string(MAKE_C_IDENTIFIER "BLXREP_HAS${flag}" has)
        check_c_compiler_flag(${flag} ${has})
        if(${has})
            add_compile_options(${flag})
        endif()
    endforeach()
    unset(CMAKE_REQUIRED_FLAGS)
    add_compile_options($<$<NOT:$<CONFIG:Debug>>:-D_FORTIFY_SOURCE=2>)
    add_link_options(-Wl,-z,relro,-z,now)
endif()
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
