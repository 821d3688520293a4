# SPDX-License-Identifier: Apache-2.0
# What blx_embed() of Embed.cmake runs: INPUTS are paths, OUTPUT the C file.
set(arrays "")
set(table "")
set(number 0)
foreach(input IN LISTS INPUTS)
    get_filename_component(name "${input}" NAME)
    file(SIZE "${input}" bytes)
    file(READ "${input}" hex HEX)
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," content "${hex}")
    string(APPEND arrays "static const unsigned char file_${number}[] = {${content}0};\n")
    string(APPEND table "    {\"${name}\", file_${number}, ${bytes}},\n")
    math(EXPR number "${number} + 1")
endforeach()
file(WRITE "${OUTPUT}.tmp" "/* Made by cmake/EmbedFiles.cmake. */\n#include \"page/asset.h\"\n\n${arrays}\n"
    "const struct page_embedded page_embedded[] = {\n${table}    {0, 0, 0},\n};\n")
file(RENAME "${OUTPUT}.tmp" "${OUTPUT}")
