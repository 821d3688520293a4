# SPDX-License-Identifier: Apache-2.0
# `cmake --build BUILD --target package` makes these packages in BUILD/packages: as .deb if there is dpkg-deb, as .rpm if there is rpmbuild.
#
#   libblxrep0          the library of the three programs. Its interface changes with every release and no header is installed, so there
#                       is no -dev package, and the other packages require exactly their own version of it.
#   blxrep              the command, completions, blxrep-config(5), examples. Both daemons' packages need it.
#   blxrep-agent        on each protected server; brings what keeps the tracking over a reboot
#   blxrep-dispatcher   on the host that keeps the checkpoints; brings the user blxrep, blxrep-mount,
#                       blxrep-files with blxrep-files-guest, blxrep-boot, blxrep-test and blxrep-pageand
#                       blxrep-tester
#   blxrep-nbdkit       the plugin for nbdkit, which alone needs it
#   blxrep-static       the commands for a machine without a system, as one static program
#   blxrep-rescue       makes a system of it that boots; for the dispatcher's host. x86-64 alone has these two, and only if the
#                       distribution has the archives of the libraries (cmake/Static.cmake)
#
# No package brings /etc/blxrep/config.yaml: no content would be right on every machine. The operator or a configuration management
# writes it whole, often before the package comes, and a file of ours in its place would make dpkg ask questions. Examples are in the
# documentation. No service starts until it is enabled. An upgrade restarts the services that run, and tracking goes on meanwhile.

# 0.x, so that a distribution's own first package of this version, -1, is higher.
set(BLXREP_PACKAGE_RELEASE 0.1 CACHE STRING "The packages' revision of this version")
set(BLXREP_PACKAGE_CONTACT "blxrep maintainers <maintainers@blxrep.example>" CACHE STRING "Who answers for the packages")

find_program(DPKG_DEB NAMES dpkg-deb)
find_program(RPMBUILD NAMES rpmbuild)
mark_as_advanced(DPKG_DEB RPMBUILD)
set(CPACK_GENERATOR "")
if(DPKG_DEB)
    list(APPEND CPACK_GENERATOR DEB)
endif()
if(RPMBUILD)
    list(APPEND CPACK_GENERATOR RPM)
endif()
set(BLXREP_PACKAGES "${CPACK_GENERATOR}" CACHE STRING "Kinds of packages to make: DEB, RPM")
set(CPACK_GENERATOR ${BLXREP_PACKAGES})
if(BLXREP_SANITIZE OR NOT CPACK_GENERATOR)
    message(STATUS "No packages are made: they need a build without BLXREP_SANITIZE, and dpkg-deb or rpmbuild")
    return()
endif()

set(packaging ${PROJECT_SOURCE_DIR}/packaging)
set(CPACK_PACKAGE_NAME blxrep)
set(CPACK_PACKAGE_CONTACT ${BLXREP_PACKAGE_CONTACT})
set(CPACK_PACKAGE_VENDOR blxrep)
set(CPACK_OUTPUT_FILE_PREFIX ${PROJECT_BINARY_DIR}/packages)
set(CPACK_PACKAGING_INSTALL_PREFIX ${CMAKE_INSTALL_PREFIX})
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
    OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_COMPONENTS_ALL library cli agent dispatcher nbd)
if(BLXREP_HAS_STATIC)
    list(APPEND CPACK_COMPONENTS_ALL static rescue)
endif()
set(CPACK_COMPONENTS_GROUPING IGNORE)
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "") # each package has one of its own

# blx_package(COMPONENT NAME SUMMARY DESCRIPTION)
macro(blx_package component name summary description)
    set(CPACK_DEBIAN_${component}_PACKAGE_NAME ${name})
    set(CPACK_DEBIAN_${component}_DESCRIPTION "${summary}\n${description}")
    set(CPACK_RPM_${component}_PACKAGE_NAME ${name})
    set(CPACK_RPM_${component}_PACKAGE_SUMMARY "${summary}")
    set(CPACK_RPM_${component}_PACKAGE_DESCRIPTION "${description}")
    # Only Debian uses this file.
    set(CPACK_RPM_${component}_USER_FILELIST "%exclude ${CMAKE_INSTALL_FULL_DATADIR}/doc/${name}/changelog.Debian.gz")
endmacro()

blx_package(LIBRARY libblxrep0 "live replication of servers' disks (shared library)"
"The shared part of blxrep's programs: protocol, store, configuration. It is of
no use alone, and its interface is private to them.")
blx_package(CLI blxrep "live replication of servers' disks (command)"
"Lists, checks and restores the checkpoints that blxrep-dispatcher keeps of
other servers' disks, enrolls agents, and shows their state. Any checkpoint
can be restored to an image file or to a disk.")
blx_package(AGENT blxrep-agent "live replication of servers' disks (agent)"
"Runs on every protected server. With eBPF it tracks which blocks of the disks
change, without a kernel module, a reboot or LVM, and sends them over TLS to
blxrep-dispatcher. Tracking outlives the agent: after a restart or an upgrade
it sends only the blocks that have changed meanwhile.")
blx_package(DISPATCHER blxrep-dispatcher "live replication of servers' disks (dispatcher)"
"Receives the changed blocks of every blxrep-agent and keeps restorable
checkpoints of their disks, one every few seconds or minutes. It runs as a
user of its own without any privilege.")
blx_package(NBD blxrep-nbdkit "live replication of servers' disks (nbdkit plugin)"
"Serves any checkpoint that blxrep-dispatcher keeps over NBD, without a copy:
to QEMU, to qemu-img, which makes images of other kinds of it, and to nbdcopy.")
blx_package(STATIC blxrep-static "live replication of servers' disks (static program)"
"One program that runs on any Linux without a library, for a machine that is to
be restored: it shows the disks, and starts the rescue system in place of the
system that runs.")
blx_package(RESCUE blxrep-rescue "live replication of servers' disks (rescue system)"
"Makes an ISO, or a kernel and an initrd for a network boot, that boots by BIOS
and UEFI, asks for a token and restores a server's disk from blxrep-dispatcher.")

set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE ${BLXREP_PACKAGE_RELEASE})
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${PROJECT_BINARY_DIR}/lib)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_LIBRARY_PACKAGE_SECTION libs)
set(exactly "(= ${PROJECT_VERSION}-${BLXREP_PACKAGE_RELEASE})")
set(CPACK_DEBIAN_CLI_PACKAGE_DEPENDS "libblxrep0 ${exactly}")
set(CPACK_DEBIAN_CLI_PACKAGE_SUGGESTS "blxrep-agent, blxrep-dispatcher, blxrep-nbdkit")
set(CPACK_DEBIAN_AGENT_PACKAGE_DEPENDS "libblxrep0 ${exactly}, blxrep ${exactly}")
set(CPACK_DEBIAN_DISPATCHER_PACKAGE_DEPENDS "libblxrep0 ${exactly}, blxrep ${exactly}, \
systemd | systemd-standalone-sysusers, systemd | systemd-standalone-tmpfiles")
set(CPACK_DEBIAN_NBD_PACKAGE_DEPENDS "libblxrep0 ${exactly}, nbdkit (>= 1.28)")
set(CPACK_DEBIAN_NBD_PACKAGE_RECOMMENDS "qemu-utils")
set(CPACK_DEBIAN_STATIC_PACKAGE_SHLIBDEPS OFF)
set(CPACK_DEBIAN_RESCUE_PACKAGE_SHLIBDEPS OFF)
set(CPACK_DEBIAN_RESCUE_PACKAGE_ARCHITECTURE all)
set(CPACK_DEBIAN_RESCUE_PACKAGE_DEPENDS "blxrep ${exactly}, blxrep-static ${exactly}, busybox-static, cpio, kmod, xz-utils, zstd")
set(CPACK_DEBIAN_RESCUE_PACKAGE_RECOMMENDS "grub-common, grub-efi-amd64-bin, grub-pc-bin, mtools, xorriso")
# Users other than root mount by it.
set(CPACK_DEBIAN_DISPATCHER_PACKAGE_RECOMMENDS "fuse3")
# To boot a server from a checkpoint, to check its filesystems, and to read the files that only a kernel reads.
set(CPACK_DEBIAN_DISPATCHER_PACKAGE_SUGGESTS "blxrep-nbdkit, qemu-system-x86, ovmf, lvm2, mdadm, e2fsprogs, xfsprogs, btrfs-progs")
set(CPACK_DEBIAN_LIBRARY_PACKAGE_CONTROL_EXTRA ${packaging}/debian/library/triggers)
set(CPACK_DEBIAN_CLI_PACKAGE_CONTROL_EXTRA ${packaging}/debian/cli/postrm)
foreach(daemon IN ITEMS agent dispatcher)
    string(TOUPPER ${daemon} component)
    set(CPACK_DEBIAN_${component}_PACKAGE_CONTROL_EXTRA
        ${packaging}/debian/${daemon}/postinst ${packaging}/debian/${daemon}/prerm ${packaging}/debian/${daemon}/postrm)
endforeach()

set(CPACK_RPM_COMPONENT_INSTALL ON)
set(CPACK_RPM_FILE_NAME RPM-DEFAULT)
set(CPACK_RPM_PACKAGE_RELEASE ${BLXREP_PACKAGE_RELEASE})
set(CPACK_RPM_PACKAGE_LICENSE "Apache-2.0 AND GPL-2.0-only")
set(CPACK_RPM_PACKAGE_AUTOREQ ON)
list(APPEND CPACK_RPM_LIBRARY_USER_FILELIST "%exclude ${CMAKE_INSTALL_FULL_DATADIR}/lintian/overrides/libblxrep0")
# With SOURCE_DATE_EPOCH set, the same bytes wherever it is built. No links of build IDs, because two releases would conflict over them.
set(CPACK_RPM_SPEC_MORE_DEFINE "%define _buildhost blxrep
%define use_source_date_epoch_as_buildtime 1
%define clamp_mtime_to_source_date_epoch 1
%define _build_id_links none")
set(exactly "= ${PROJECT_VERSION}-${BLXREP_PACKAGE_RELEASE}")
set(CPACK_RPM_CLI_PACKAGE_REQUIRES "libblxrep0 ${exactly}")
set(CPACK_RPM_AGENT_PACKAGE_REQUIRES "libblxrep0 ${exactly}, blxrep ${exactly}, systemd")
set(CPACK_RPM_DISPATCHER_PACKAGE_REQUIRES "libblxrep0 ${exactly}, blxrep ${exactly}, systemd")
set(CPACK_RPM_DISPATCHER_PACKAGE_SUGGESTS "fuse3, blxrep-nbdkit, qemu-system-x86-core, edk2-ovmf, lvm2, mdadm")
set(CPACK_RPM_NBD_PACKAGE_REQUIRES "libblxrep0 ${exactly}, nbdkit-server >= 1.28")
set(CPACK_RPM_NBD_PACKAGE_SUGGESTS "qemu-img")
set(CPACK_RPM_STATIC_PACKAGE_LICENSE "Apache-2.0 AND BSD-2-Clause AND BSD-3-Clause AND Zlib AND LGPL-2.1-or-later")
set(CPACK_RPM_RESCUE_PACKAGE_ARCHITECTURE noarch)
set(CPACK_RPM_RESCUE_PACKAGE_REQUIRES "blxrep ${exactly}, blxrep-static ${exactly}, busybox, cpio, kmod, xz, zstd")
set(CPACK_RPM_RESCUE_PACKAGE_SUGGESTS "grub2-tools, grub2-efi-x64-modules, grub2-pc-modules, mtools, xorriso")
set(CPACK_RPM_DISPATCHER_PACKAGE_LICENSE "Apache-2.0 AND LGPL-2.1-or-later")
list(APPEND CPACK_RPM_DISPATCHER_USER_FILELIST "%exclude ${CMAKE_INSTALL_FULL_DATADIR}/lintian/overrides/blxrep-dispatcher")
list(APPEND CPACK_RPM_STATIC_USER_FILELIST "%exclude ${CMAKE_INSTALL_FULL_DATADIR}/lintian/overrides/blxrep-static")
set(CPACK_RPM_LIBRARY_POST_INSTALL_SCRIPT_FILE ${packaging}/rpm/library-ldconfig)
set(CPACK_RPM_LIBRARY_POST_UNINSTALL_SCRIPT_FILE ${packaging}/rpm/library-ldconfig)
foreach(daemon IN ITEMS agent dispatcher)
    string(TOUPPER ${daemon} component)
    set(CPACK_RPM_${component}_POST_INSTALL_SCRIPT_FILE ${packaging}/rpm/${daemon}-post)
    set(CPACK_RPM_${component}_PRE_UNINSTALL_SCRIPT_FILE ${packaging}/rpm/${daemon}-preun)
endforeach()
# Folders that belong to the distribution, not to us.
set(CPACK_RPM_EXCLUDE_FROM_AUTO_FILELIST_ADDITION
    /etc /usr/libexec /usr/lib/systemd /usr/lib/systemd/system /usr/lib/systemd/system/sysinit.target.wants /usr/lib/systemd/system-shutdown /usr/lib/sysusers.d /usr/lib/tmpfiles.d /usr/share/bash-completion
    /usr/share/bash-completion/completions /usr/share/fish /usr/share/fish/vendor_completions.d /usr/share/zsh
    /usr/share/zsh/site-functions /usr/share/zsh/vendor-completions /usr/share/man /usr/share/man/man1 /usr/share/man/man5 /usr/share/man/man8
    /usr/lib/${CMAKE_LIBRARY_ARCHITECTURE} /usr/lib/${CMAKE_LIBRARY_ARCHITECTURE}/nbdkit
    /usr/lib/${CMAKE_LIBRARY_ARCHITECTURE}/nbdkit/plugins /usr/share/lintian /usr/share/lintian/overrides)

include(CPack)
add_subdirectory(packaging)
