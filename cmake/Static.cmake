# SPDX-License-Identifier: Apache-2.0
# What blxrep-static (cli/CMakeLists.txt) is linked with: the archives of OpenSSL, zstd, xxHash and zlib, and glibc's. Libraries under the
# LGPL other than glibc stay out. BLXREP_HAS_STATIC says whether it can be built: a sanitizer's runtime cannot be linked statically, and
# not every distribution has the archives.
#
# Names are resolved by glibc itself: since 2.34 /etc/hosts and DNS are in libc.a, and need no library at run time, in spite of the
# linker's warning, which is about the other services of nsswitch.conf.
set(BLXREP_HAS_STATIC ON)
set(BLXREP_STATIC_LIBRARIES "")
if(BLXREP_SANITIZE)
    set(BLXREP_HAS_STATIC OFF)
endif()
foreach(library IN ITEMS ssl crypto zstd xxhash z)
    find_library(BLXREP_STATIC_${library} NAMES lib${library}.a)
    mark_as_advanced(BLXREP_STATIC_${library})
    if(NOT BLXREP_STATIC_${library})
        set(BLXREP_HAS_STATIC OFF)
    endif()
    list(APPEND BLXREP_STATIC_LIBRARIES ${BLXREP_STATIC_${library}})
endforeach()
if(NOT BLXREP_HAS_STATIC)
    message(STATUS "No blxrep-static: it needs a build without BLXREP_SANITIZE, and the archives of OpenSSL, zstd, xxHash and zlib")
endif()
include(CheckLinkerFlag)
check_linker_flag(C LINKER:--no-warnings BLXREP_LINKER_IS_SILENT)

# blxrep-files-guest (files/CMakeLists.txt) needs libblkid's archive alone, and no sanitizer's runtime: so it is in every build.
find_library(BLXREP_STATIC_blkid NAMES libblkid.a)
mark_as_advanced(BLXREP_STATIC_blkid)
set(BLXREP_HAS_GUEST ON)
if(NOT BLXREP_STATIC_blkid)
    set(BLXREP_HAS_GUEST OFF)
    message(STATUS "No blxrep-files-guest: it needs the archive of libblkid")
endif()
set(BLXREP_NO_SANITIZER "")
if(BLXREP_SANITIZE OR BLXREP_FUZZ)
    set(BLXREP_NO_SANITIZER -fno-sanitize=all)
endif()
