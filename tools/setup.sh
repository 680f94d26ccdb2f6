#!/bin/sh
# What does a bare Debian or Ubuntu machine lack to build, run and test Calypte? Fetches that, and only that.
#
#   tools/setup.sh deno      .tools/deno: the one on PATH if it is new enough, else from npm, else from Deno's own site
#   tools/setup.sh modules   what deno.json imports, as deno.lock pins it
#   tools/setup.sh library   compiler and CMake if missing, then build/libcalypte.so
#   tools/setup.sh tests     doctest if missing, then the native tests
#   tools/setup.sh sanitizers  the native tests once more, for the simulator only, with sanitizers: build/sanitize/*
#   tools/setup.sh cross     a cross compiler for arm64 if missing, then build/aarch64/libcalypte.so
#   tools/setup.sh arm64     what runs arm64 programs here: an emulator, a cross compiler and Deno for arm64, if missing; then the
#                            library for the simulator and its tests for arm64: build/emulated. Says why in build/emulated/missing
#                            where the programs cannot be had
#   tools/setup.sh tegra     build/tegra/*, for `make gpu-test PROFILE=tegra`; takes cuda.h
#   tools/setup.sh old-deno  .tools/old-deno: the oldest Deno that is supported
#
# Each step is quick when there is nothing to do. Everything that is not a system package goes to .tools/ and build/.
set -eu

DENO_OLDEST=2.4.2
DENO_X64=2.9.6
DENO_ARM64=2.9.5 # the newest that is published for arm64

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
tools="$root/.tools"
unset MAKEFLAGS MFLAGS MAKELEVEL # or CMake's make takes itself for a part of ours

say() { printf 'calypte: %s\n' "$*" >&2; }
die() {
  say "$*"
  exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# Installs Debian packages; says which ones to install by hand where that is not possible.
install_packages() {
  have apt-get || die "Cannot install $*: there is no apt-get here. Install them by hand, then try again."
  as_root=
  if [ "$(id -u)" -ne 0 ]; then
    have sudo || die "Cannot install $*: not root, and there is no sudo. As root: apt-get install -y $*"
    as_root=sudo
  fi
  say "installing $* with apt-get"
  install="$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends"
  # The package lists of a fresh machine are empty or stale: refresh them when the first try fails.
  $install "$@" >/dev/null 2>&1 </dev/null ||
    { $as_root apt-get update -q >&2 </dev/null && $install "$@" >&2 </dev/null; } ||
    die "Cannot install $*: apt-get failed, see above."
}

# deno_at_least FILE VERSION: FILE runs, and is that version or a newer one.
deno_at_least() {
  found=$("$1" --version 2>/dev/null | sed -n '1s/^deno \([0-9.]*\).*/\1/p') || return 1
  [ -n "$found" ] && [ "$(printf '%s\n%s\n' "$2" "$found" | sort -V | head -n 1)" = "$2" ]
}

machine() {
  case "$(uname -m)" in
    x86_64) echo x64 ;;
    aarch64 | arm64) echo arm64 ;;
    *) die "Deno has no build for $(uname -m); x86_64 and aarch64 are supported." ;;
  esac
}

# npm_deno FOLDER VERSION [FLAG]: the platform's package directly; the package `deno` would need its install script to run.
npm_deno() {
  say "fetching Deno $2 for $arch with npm"
  mkdir -p "$1"
  npm install --prefix "$1" --no-save --no-package-lock --no-audit --no-fund --ignore-scripts --loglevel=error \
    ${3:-} "@deno/linux-$arch-glibc@$2" >/dev/null </dev/null
}

# Deno's own installer, from its own site, into FOLDER.
official_deno() {
  say "fetching Deno $2 with its own installer"
  if ! have curl || ! have unzip; then install_packages ca-certificates curl unzip; fi
  mkdir -p "$1"
  curl -fsSL --connect-timeout 15 --max-time 60 -o "$1/install.sh" https://deno.land/install.sh &&
    CI=1 DENO_INSTALL="$1" sh "$1/install.sh" "v$2" >&2 </dev/null
}

setup_deno() {
  link="$tools/deno"
  if [ -x "$link" ] && deno_at_least "$link" "$DENO_OLDEST"; then return 0; fi
  mkdir -p "$tools"
  on_path=$(command -v deno || true)
  if [ -n "$on_path" ] && deno_at_least "$on_path" "$DENO_OLDEST"; then
    ln -sfn "$on_path" "$link"
    say "using Deno $found from $on_path"
    return 0
  fi
  arch=$(machine) || exit 1
  case "$arch" in x64) wanted=$DENO_X64 ;; *) wanted=$DENO_ARM64 ;; esac
  package="node_modules/@deno/linux-$arch-glibc/deno"
  if ! deno_at_least "$tools/$package" "$DENO_OLDEST"; then
    # Without npm, the installer comes first: Debian's npm brings several hundred packages along.
    if { have npm && npm_deno "$tools" "$wanted"; } || official_deno "$tools/official" "$wanted"; then
      :
    elif ! have npm; then
      install_packages npm
      npm_deno "$tools" "$wanted" || true
    fi
  fi
  for candidate in "$package" official/bin/deno; do
    if deno_at_least "$tools/$candidate" "$DENO_OLDEST"; then
      ln -sfn "$candidate" "$link"
      return 0
    fi
  done
  die "Cannot fetch Deno: put Deno $DENO_OLDEST or newer on PATH by hand, then try again."
}

setup_old_deno() {
  arch=$(machine) || exit 1
  package="node_modules/@deno/linux-$arch-glibc/deno"
  if ! deno_at_least "$tools/old/$package" "$DENO_OLDEST"; then
    have npm || die "Cannot fetch Deno $DENO_OLDEST: npm is missing."
    npm_deno "$tools/old" "$DENO_OLDEST"
  fi
  ln -sfn "old/$package" "$tools/old-deno"
}

pinned() { cat "$root/deno.json" "$root/deno.lock" | cksum; }

setup_modules() {
  stamp="$tools/modules"
  if [ -e "$stamp" ] && [ "$(cat "$stamp")" = "$(pinned)" ]; then return 0; fi
  # Deno asks the registry that npm asks, and trusts the certificates that the system trusts.
  if have npm && [ -z "${NPM_CONFIG_REGISTRY:-}" ]; then
    NPM_CONFIG_REGISTRY=$(npm config get registry 2>/dev/null) && export NPM_CONFIG_REGISTRY
  fi
  export DENO_TLS_CA_STORE="${DENO_TLS_CA_STORE:-mozilla,system}"
  say "fetching the modules that deno.lock names, where they are missing"
  (cd "$root" && "$tools/deno" install --quiet ${CI:+--frozen} >&2 </dev/null)
  pinned >"$stamp"
}

# CMake's build folder remembers its absolute path: a copied tree must forget it.
configure() {
  folder=$1
  shift
  cache="$folder/CMakeCache.txt"
  if [ -e "$cache" ] && ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$root/ffi/native" "$cache"; then
    rm -rf "$cache" "$folder/CMakeFiles"
  fi
  first=$([ -e "$cache" ] || echo yes)
  log="$folder/configure.log"
  mkdir -p "$folder"
  cmake -S "$root/ffi/native" -B "$folder" "$@" >"$log" 2>&1 || {
    cat "$log" >&2
    die "CMake could not configure the native library."
  }
  [ -z "$first" ] || sed -n 's/^-- calypte: /calypte: /p' "$log" >&2
}

# compile FOLDER TARGET
compile() {
  cmake --build "$1" --target "$2" --parallel "$(nproc)" >"$1/$2.log" 2>&1 || {
    cat "$1/$2.log" >&2
    die "The native build failed."
  }
}

setup_compiler() {
  missing=
  have c++ || missing="$missing g++"
  have cmake || missing="$missing cmake"
  have make || have ninja || missing="$missing make"
  # shellcheck disable=SC2086 # a list of package names
  [ -z "$missing" ] || install_packages $missing
}

setup_library() {
  setup_compiler
  [ -e "$root/build/libcalypte.so" ] || say "building the native library (once)"
  configure "$root/build"
  compile "$root/build" calypte
}

setup_cross() {
  setup_compiler
  have aarch64-linux-gnu-g++ || install_packages g++-aarch64-linux-gnu
  folder="$root/build/aarch64"
  [ -e "$folder/libcalypte.so" ] || say "building the native library for arm64 (once)"
  configure "$folder" -DCMAKE_TOOLCHAIN_FILE="$root/jetson/toolchain.cmake"
  compile "$folder" calypte
}

emulator() { command -v qemu-aarch64-static || command -v qemu-aarch64; }

fetch_arm64() {
  emulator >/dev/null || install_packages qemu-user
  have aarch64-linux-gnu-g++ || install_packages g++-aarch64-linux-gnu
  if [ ! -x "$deno_arm64" ]; then
    have npm || die "Cannot fetch Deno for arm64: npm is missing."
    arch=arm64
    npm_deno "$tools/arm64" "$DENO_ARM64" --force # npm takes nothing for another processor without
  fi
}

setup_arm64() {
  folder="$root/build/emulated"
  deno_arm64="$tools/arm64/node_modules/@deno/linux-arm64-glibc/deno"
  mkdir -p "$folder"
  if [ "$(machine)" = arm64 ]; then
    echo "this machine needs no emulator: all other tests ran on arm64" >"$folder/missing"
    return 0
  fi
  # Where they cannot be had nothing is wrong with the tree; what does not compile is.
  if ! (fetch_arm64); then
    echo "the emulator, the cross compiler or Deno for arm64 cannot be had here" >"$folder/missing"
    say "arm64 is not tested: $(cat "$folder/missing")"
    return 0
  fi
  setup_doctest
  [ -e "$folder/libcalypte.so" ] || say "building the native library and its tests for arm64 (once)"
  # A header, and the same one for every processor; what lies beside it in /usr/include is not.
  mkdir -p "$folder/include"
  ln -sfn "${CALYPTE_DOCTEST:-/usr/include}/doctest" "$folder/include/doctest"
  configure "$folder" -DCMAKE_TOOLCHAIN_FILE="$root/jetson/toolchain.cmake" -DCALYPTE_TESTS=ON -DCALYPTE_CUDA=OFF \
    -DCALYPTE_DOCTEST="$folder/include"
  compile "$folder" calypte
  compile "$folder" calypte_tests
  printf '#!/bin/sh\nexec %s -L /usr/aarch64-linux-gnu "$@"\n' "$(emulator)" >"$folder/run"
  printf '#!/bin/sh\nexec "%s/run" "%s" "$@"\n' "$folder" "$deno_arm64" >"$folder/deno"
  chmod +x "$folder/run" "$folder/deno"
  rm -f "$folder/missing"
}

# A driver that lacks what a Tegra lacks, for measurements: build/tegra/libcuda.so.1, and the timing of gate transports.
setup_tegra() {
  setup_compiler
  folder="$root/build/tegra"
  [ -e "$folder/transports" ] || say "building the Tegra-shaped driver (once)"
  mkdir -p "$folder"
  { cmake -S "$root/bench/tegra" -B "$folder" && cmake --build "$folder"; } >"$folder/build.log" 2>&1 || {
    cat "$folder/build.log" >&2
    die "Cannot build the Tegra-shaped driver: see above."
  }
}

setup_doctest() {
  setup_compiler
  [ -e /usr/include/doctest/doctest.h ] || [ -n "${CALYPTE_DOCTEST:-}" ] || install_packages doctest-dev
}

setup_tests() {
  setup_doctest
  [ -e "$root/build/tests" ] || say "building the native tests (once)"
  configure "$root/build" -DCALYPTE_TESTS=ON ${CALYPTE_DOCTEST:+"-DCALYPTE_DOCTEST=$CALYPTE_DOCTEST"}
  compile "$root/build" calypte_tests
}

setup_sanitizers() {
  setup_doctest
  for kind in memory thread; do
    folder="$root/build/sanitize/$kind"
    [ -e "$folder" ] || say "building the native tests with sanitizers: $kind (once)"
    configure "$folder" -DCALYPTE_SANITIZE=$kind -DCALYPTE_TESTS=ON -DCALYPTE_CUDA=OFF \
      ${CALYPTE_DOCTEST:+"-DCALYPTE_DOCTEST=$CALYPTE_DOCTEST"}
    compile "$folder" calypte_tests
  done
}

[ $# -gt 0 ] || die "Usage: tools/setup.sh deno | modules | library | cross | tests | sanitizers | arm64 | tegra | old-deno ..."
for step in "$@"; do
  case "$step" in
    deno) setup_deno ;;
    modules) setup_deno && setup_modules ;;
    library) setup_library ;;
    cross) setup_cross ;;
    tests) setup_tests ;;
    sanitizers) setup_sanitizers ;;
    arm64) setup_arm64 ;;
    tegra) setup_tegra ;;
    old-deno) setup_old_deno ;;
    *) die "Unknown step '$step': use deno, modules, library, cross, tests, sanitizers, arm64, tegra or old-deno." ;;
  esac
done
