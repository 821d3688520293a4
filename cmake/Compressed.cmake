# SPDX-License-Identifier: Apache-2.0
# blx_install_gz(SOURCE DESTINATION COMPONENT [NAME]): installs a manual page or a changelog as NAME.gz, with the same bytes in every
# build.
find_program(GZIP NAMES gzip REQUIRED)

function(blx_install_gz source destination component)
    get_filename_component(name ${source} NAME)
    if(ARGC GREATER 3)
        set(name ${ARGV3})
    endif()
    get_filename_component(source ${source} ABSOLUTE)
    set(compressed ${CMAKE_CURRENT_BINARY_DIR}/${component}/${name}.gz)
    add_custom_command(OUTPUT ${compressed}
        COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_CURRENT_BINARY_DIR}/${component}
        COMMAND sh -c "'${GZIP}' -9 -n <'${source}' >'${compressed}'"
        DEPENDS ${source} VERBATIM COMMENT "Compressing ${name}")
    add_custom_target(compressed_${component}_${name} ALL DEPENDS ${compressed})
    install(FILES ${compressed} DESTINATION ${destination} COMPONENT ${component})
endfunction()
