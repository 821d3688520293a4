# SPDX-License-Identifier: Apache-2.0
# The libraries; each exists as a pkg-config module in every distribution that ships it.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(LIBBPF REQUIRED IMPORTED_TARGET libbpf>=1.0)
pkg_check_modules(LIBELF REQUIRED IMPORTED_TARGET libelf)
pkg_check_modules(ZLIB REQUIRED IMPORTED_TARGET zlib)
pkg_check_modules(LIBCONFIG REQUIRED IMPORTED_TARGET libconfig>=1.5)
pkg_check_modules(OPENSSL REQUIRED IMPORTED_TARGET openssl>=3.0)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd>=1.4)
pkg_check_modules(MICROHTTPD REQUIRED IMPORTED_TARGET libmicrohttpd>=0.9.71)
pkg_check_modules(BLKID REQUIRED IMPORTED_TARGET blkid>=2.36)
pkg_check_modules(FUSE3 REQUIRED IMPORTED_TARGET fuse3>=3.10)
pkg_check_modules(NBDKIT REQUIRED IMPORTED_TARGET nbdkit>=1.28)
# nbdkit's own folder, below our prefix.
pkg_get_variable(NBDKIT_PLUGIN_DIR nbdkit plugindir)
string(REGEX REPLACE "^.*/(nbdkit/plugins)$" "${CMAKE_INSTALL_FULL_LIBDIR}/\\1" BLXREP_NBDKIT_PLUGINS "${NBDKIT_PLUGIN_DIR}")
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash>=0.8)
