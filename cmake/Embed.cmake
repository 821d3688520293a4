# SPDX-License-Identifier: Apache-2.0
# blx_embed(OUTPUT FOLDER FILE...): makes a C file with the files of the folder as arrays, in the table that page/asset.h declares. It is
# made again if one of them changes.
function(blx_embed output folder)
    set(inputs "")
    foreach(name IN LISTS ARGN)
        list(APPEND inputs ${CMAKE_CURRENT_SOURCE_DIR}/${folder}/${name})
    endforeach()
    add_custom_command(OUTPUT ${output}
        COMMAND ${CMAKE_COMMAND} "-DOUTPUT=${output}" "-DINPUTS=${inputs}" -P ${PROJECT_SOURCE_DIR}/cmake/EmbedFiles.cmake
        DEPENDS ${inputs} ${PROJECT_SOURCE_DIR}/cmake/EmbedFiles.cmake VERBATIM COMMENT "Embedding ${folder}")
endfunction()
