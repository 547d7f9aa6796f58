#!/bin/sh
# Checks the native code in ways that the test suite cannot. A check that this machine lacks the tools for is skipped
# with the reason. Builds in build/checks; PYTHON names the Python of an installed checkout (for `python`).
#
#   tools/check_native.sh [plain | address | thread | python | older | arm64]...      default: all
#
#   plain    native/tests as the module is built
#   address  native/tests under AddressSanitizer and UndefinedBehaviorSanitizer
#   thread   native/tests under ThreadSanitizer
#   python   the rasterizer's Python tests under AddressSanitizer and UndefinedBehaviorSanitizer
#   older    native/tests on emulated x86 processors with AVX2, SSE4 and neither: what the others lack must not be used
#   arm64    native/tests cross-compiled for arm64 (NEON), emulated
set -eu
cd "$(dirname "$0")/.."
PYTHON=$(command -v "${PYTHON:-$PWD/.venv/bin/python}" || echo no-python)
case $PYTHON in /* | no-python) ;; *) PYTHON=$PWD/$PYTHON ;; esac # CMake looks for relative ones elsewhere
CMAKE=$(dirname "$PYTHON")/cmake
[ -f "$CMAKE" ] || CMAKE=cmake
UNDEFINED=undefined,float-cast-overflow
export UBSAN_OPTIONS=print_stacktrace=1

has() { command -v "$1" >/dev/null 2>&1; }
skip() { echo "check_native: $check skipped: $1"; }

# build DIRECTORY [CMake arguments]...: native_tests unless told otherwise
build() {
  directory=build/checks/$1
  shift
  "$CMAKE" -S . -B "$directory" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DPERSE_MODULE=OFF -DPERSE_TESTS=ON "$@" >/dev/null
  "$CMAKE" --build "$directory" --parallel 2 >"$directory/log" 2>&1 || { cat "$directory/log"; exit 1; }
}

compiles_with() { echo 'int main() { return 0; }' | "${CXX:-c++}" -x c++ - "-fsanitize=$1" -o /dev/null 2>/dev/null; }

check_plain() {
  build plain
  build/checks/plain/native_tests
}

check_address() {
  compiles_with "address,$UNDEFINED" || { skip "${CXX:-c++} lacks -fsanitize=address,$UNDEFINED"; return; }
  build address "-DPERSE_SANITIZE=address,$UNDEFINED"
  build/checks/address/native_tests
}

check_thread() {
  compiles_with thread || { skip "${CXX:-c++} lacks -fsanitize=thread"; return; }
  build thread -DPERSE_SANITIZE=thread
  build/checks/thread/native_tests --no-fork
}

# The sanitizer's runtime must be loaded before Python. Python frees little when it ends: no search for leaks.
check_python() {
  compiles_with "address,$UNDEFINED" || { skip "${CXX:-c++} lacks -fsanitize=address,$UNDEFINED"; return; }
  "$PYTHON" -c 'import torch, pytest, nanobind' 2>/dev/null || { skip "$PYTHON lacks torch, pytest or nanobind (make native)"; return; }
  runtime=$("${CXX:-c++}" -print-file-name=libasan.so)
  [ -f "$runtime" ] || { skip "${CXX:-c++} has no libasan.so to load before Python"; return; }
  build python "-DPERSE_SANITIZE=address,$UNDEFINED" -DPERSE_MODULE=ON -DPERSE_TESTS=OFF "-DPython_EXECUTABLE=$PYTHON"
  package=build/checks/python/src/perse
  rm -rf build/checks/python/src
  cp -R src build/checks/python/src
  rm -f "$package"/_native*.so
  cp build/checks/python/_native*.so "$package"
  # libstdc++ too: AddressSanitizer looks for what throws exceptions when it starts.
  LD_PRELOAD="$runtime $("${CXX:-c++}" -print-file-name=libstdc++.so)" ASAN_OPTIONS=detect_leaks=0 \
    PYTHONPATH="$PWD/build/checks/python/src" "$PYTHON" -m pytest -q -p no:cacheprovider \
    ${CHECK_NATIVE_TESTS:-tests/test_splat_native.py}
}

check_older() {
  [ "$(uname -m)" = x86_64 ] || { skip "this is no x86-64 machine"; return; }
  has qemu-x86_64 || { skip "no qemu-x86_64 (Debian: apt-get install qemu-user)"; return; }
  build plain
  for processor in Haswell:avx2 Nehalem:sse4 qemu64:generic; do
    echo "check_native: on ${processor%:*}"
    qemu-x86_64 -cpu "${processor%:*}" build/checks/plain/native_tests --no-fork >build/checks/plain/output \
      2>build/checks/plain/errors || { cat build/checks/plain/output build/checks/plain/errors; exit 1; }
    cat build/checks/plain/output
    [ "$(head -n 1 build/checks/plain/output | cut -d ' ' -f 1)" = "${processor#*:}" ] \
      || { echo "check_native: expected ${processor#*:} on ${processor%:*}"; exit 1; }
  done
}

check_arm64() {
  has aarch64-linux-gnu-g++ || { skip "no aarch64-linux-gnu-g++ (Debian: apt-get install g++-aarch64-linux-gnu)"; return; }
  has qemu-aarch64 || { skip "no qemu-aarch64 (Debian: apt-get install qemu-user)"; return; }
  build arm64 -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++
  qemu-aarch64 -L /usr/aarch64-linux-gnu build/checks/arm64/native_tests --no-fork
}

[ $# -gt 0 ] || set -- plain address thread python older arm64
for check in "$@"; do
  case $check in
  plain | address | thread | python | older | arm64)
    echo "check_native: $check"
    "check_$check"
    ;;
  *)
    sed -n '2,13p' "$0" >&2
    exit 2
    ;;
  esac
done
