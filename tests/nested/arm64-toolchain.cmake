# Builds the static arm64 program on a host of another architecture.
# SEALVISOR_SYSROOT (a variable of CMake) names what tests/nested/sysroot printed.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_STRIP aarch64-linux-gnu-strip)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_CXX_LIBRARY_ARCHITECTURE aarch64-linux-gnu)

# The trial compilations of CMake read this file again and need the variable too.
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES SEALVISOR_SYSROOT)
if(NOT IS_DIRECTORY "${SEALVISOR_SYSROOT}/usr/include")
  message(FATAL_ERROR "SEALVISOR_SYSROOT is '${SEALVISOR_SYSROOT}', expected the directory that "
                      "tests/nested/sysroot prints")
endif()
# Not CMAKE_SYSROOT: the C and C++ libraries are the compiler's own, not in there.
set(CMAKE_FIND_ROOT_PATH "${SEALVISOR_SYSROOT}")
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(ENV{PKG_CONFIG_SYSROOT_DIR} "${SEALVISOR_SYSROOT}")
set(ENV{PKG_CONFIG_PATH} "")
set(ENV{PKG_CONFIG_LIBDIR}
    "${SEALVISOR_SYSROOT}/usr/lib/aarch64-linux-gnu/pkgconfig:${SEALVISOR_SYSROOT}/usr/share/pkgconfig")
