# SPDX-License-Identifier: Apache-2.0
# blx_bpf_object(NAME SOURCE): clang -> bpftool gen object -> bpftool gen skeleton. Makes the interface target NAME; its users get
# <build>/bpf on their include path, with NAME.skel.h in it.
find_program(BPFTOOL NAMES bpftool PATHS /usr/sbin /sbin REQUIRED)
find_program(BPF_CLANG NAMES clang clang-19 clang-18 clang-17 clang-16 clang-15 clang-14 REQUIRED)

function(blx_bpf_object name source)
    if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
        set(arch x86)
    elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
        set(arch arm64)
    else()
        set(arch ${CMAKE_SYSTEM_PROCESSOR})
    endif()
    set(object ${CMAKE_CURRENT_BINARY_DIR}/${name}.bpf.o)
    set(linked ${CMAKE_CURRENT_BINARY_DIR}/${name}.linked.o)
    set(skeleton ${CMAKE_CURRENT_BINARY_DIR}/${name}.skel.h)
    pkg_get_variable(libbpf_include libbpf includedir)
    add_custom_command(OUTPUT ${object}
        COMMAND ${BPF_CLANG} --target=bpf -g -O2 -mcpu=v3 -D__TARGET_ARCH_${arch} -Wall -Wextra -Werror ${BLXREP_PREFIX_MAP}
                -I${CMAKE_CURRENT_SOURCE_DIR} -isystem ${libbpf_include}
                -MMD -MF ${object}.d -MT ${object} -c ${CMAKE_CURRENT_SOURCE_DIR}/${source} -o ${object}
        DEPENDS ${source} DEPFILE ${object}.d VERBATIM COMMENT "BPF ${source}")
    # The skeleton comes into place by a rename, so that a failed run never leaves an empty one.
    add_custom_command(OUTPUT ${skeleton}
        COMMAND ${BPFTOOL} gen object ${linked} ${object}
        COMMAND sh -c "'${BPFTOOL}' gen skeleton '${linked}' name '${name}' > '${skeleton}.tmp'"
        COMMAND ${CMAKE_COMMAND} -E rename ${skeleton}.tmp ${skeleton}
        DEPENDS ${object} VERBATIM COMMENT "BPF skeleton ${name}.skel.h")
    add_custom_target(${name}_skeleton DEPENDS ${skeleton})
    add_library(${name} INTERFACE)
    add_dependencies(${name} ${name}_skeleton)
    target_include_directories(${name} SYSTEM INTERFACE ${CMAKE_CURRENT_BINARY_DIR})
endfunction()
