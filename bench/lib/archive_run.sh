#!/bin/sh
# Runs tests and benches of FastVLM on this machine's GPU. Needs no network and no Node; Linux needs the GPU's Vulkan driver.
#
#   ./run.sh                    the adapter, all tests, bench/ttft.ts
#   ./run.sh doctor             the adapter
#   ./run.sh test kernels       test/kernels.test.ts; without names every test
#   ./run.sh bench ttft --help  bench/ttft.ts, or another, with its options
#   ./run.sh demo               the embedded model answers questions about pictures
set -eu
cd "$(dirname "$0")/fastvlm"
node="$(pwd)/../node"
# The loader of the machine where this was packed serves where there is a driver and no loader.
if [ -e ../lib/libvulkan.so.1 ] && ! ldconfig -p 2>/dev/null | grep -q 'libvulkan\.so\.1'; then
  export LD_LIBRARY_PATH="$(cd ../lib && pwd)${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
fi
export XDG_CACHE_HOME="${XDG_CACHE_HOME:-$(pwd)/../cache}"

doctor() { "$node" src/cli/main.ts doctor; }

tests() {
  files=""
  for name in "${@:-*}"; do files="$files test/$name.test.ts"; done
  # shellcheck disable=SC2086
  "$node" --disable-warning=ExperimentalWarning --test --test-isolation=none --test-reporter=spec $files
}

bench() {
  name="${1:-ttft}"
  [ $# -eq 0 ] || shift
  "$node" --disable-warning=ExperimentalWarning "$(ls bench/"$name".ts bench/"$name".mts 2>/dev/null | head -n 1)" "$@"
}

case "${1:-all}" in
  doctor) doctor ;;
  test) shift; tests "$@" ;;
  bench) shift; bench "$@" ;;
  demo) shift; "$node" src/cli/main.ts demo "$@" ;;
  all)
    doctor
    failed=0
    tests || failed=1
    bench ttft || failed=1
    echo "results: $(pwd)/bench/results"
    exit $failed
    ;;
  *) sed -n '2,8s/^# \{0,1\}//p' "../run.sh"; exit 2 ;;
esac
