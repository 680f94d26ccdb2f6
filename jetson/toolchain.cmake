# For the native library of a Jetson, on another machine: cmake -DCMAKE_TOOLCHAIN_FILE=jetson/toolchain.cmake, or `make cross`.
# The driver is found at run time, so that nothing of the board is needed here but, for the CUDA backend, the header cuda.h, which is
# the same for every architecture.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
# Tests run under emulation where there is one.
find_program(CALYPTE_QEMU NAMES qemu-aarch64-static qemu-aarch64)
if(CALYPTE_QEMU)
  set(CMAKE_CROSSCOMPILING_EMULATOR ${CALYPTE_QEMU} -L /usr/aarch64-linux-gnu)
endif()
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
