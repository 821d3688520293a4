# SPDX-License-Identifier: Apache-2.0
# The warnings of every target. -Werror is for CI (BLXREP_WERROR).
option(BLXREP_WERROR "Treat warnings as errors" OFF)
add_compile_options(
    -Wall -Wextra -Wconversion -Wshadow -Wvla -Wformat=2 -Wstrict-prototypes -Wmissing-prototypes -Wundef
    -Wimplicit-fallthrough)
if(BLXREP_WERROR)
    add_compile_options(-Werror)
endif()
