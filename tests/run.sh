#!/bin/sh
# run.sh: every test of genreg, from any folder. The last line is "N passed, N failed"; the exit status is 1 if any failed.
#
#   CC=clang sh tests/run.sh     another compiler (default: cc)
#   sh tests/run.sh ops train    only the tests of that name
#
# A test is a program or script that ends with such a line itself. C tests run in float and in double, and some under the address
# and undefined-behaviour sanitizers, where the compiler has them.
cd "$(dirname "$0")/.." || exit 1
CC=${CC:-cc}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive} # threads that spin while another process has the core stop everything
passed=0 failed=0

# Adds the counts of a test's last line, or one failure if it has none.
count() { # name, log, exit status
    line=$(tail -n 1 "$2" | grep -E '^[0-9]+ passed, [0-9]+ failed')
    if [ -n "$line" ]; then
        p=${line%% passed*} f=${line#* passed, } f=${f%% failed*}
    else
        p=0 f=1
        line="did not finish"
    fi
    [ "$3" -ne 0 ] && [ "$f" -eq 0 ] && f=1 line="$line, and exit status $3"
    passed=$((passed + p)) failed=$((failed + f))
    printf '%-34s %s\n' "$1" "$line"
    grep -E '^skipped' "$2"
    [ "$f" -eq 0 ] || { echo "---- $1"; tail -n 40 "$2"; echo "----"; }
}

build_and_run() { # name, flags
    name=$1
    shift
    if "$CC" "$@" "tests/test_${name%%[!a-z]*}.c" -o "$work/test" -lm >"$work/log" 2>&1; then
        "$work/test" >"$work/log" 2>&1
        count "$name" "$work/log" $?
    else
        count "$name" "$work/log" 1
    fi
}

wanted() { # name, chosen names
    name=$1
    shift
    [ $# -eq 0 ] && return 0
    for choice; do [ "$choice" = "$name" ] && return 0; done
    return 1
}

openmp=-fopenmp
echo 'int main(void) { return 0; }' >"$work/probe.c"
"$CC" -fopenmp "$work/probe.c" -o "$work/probe" >/dev/null 2>&1 || openmp= # clang without libomp, tcc
sanitizers='-g -fsanitize=address,undefined -fno-sanitize-recover=all'
# shellcheck disable=SC2086
"$CC" $sanitizers "$work/probe.c" -o "$work/probe" >/dev/null 2>&1 && "$work/probe" >/dev/null 2>&1 || sanitizers=
[ -n "$openmp" ] || echo "skipped: OpenMP ($CC has none)"
[ -n "$sanitizers" ] || echo "skipped: sanitizers ($CC has none)"

# shellcheck disable=SC2086
for test in ground kernels ops model train curvature ntk prune files memory lab; do
    wanted $test "$@" || continue
    case $test in
    lab) build_and_run "$test" -O2 $openmp ;;
    *)
        build_and_run "$test (float)" -O2 $openmp -DGENREG_REAL=float
        build_and_run "$test (double)" -O2 $openmp -DGENREG_REAL=double
        ;;
    esac
    case $test in files | memory | lab | model) [ -z "$sanitizers" ] || build_and_run "$test (sanitizers)" -O1 $sanitizers ;; esac
done
for test in fetch examples bits; do
    wanted $test "$@" || continue
    CC=$CC sh "tests/test_$test.sh" >"$work/log" 2>&1
    count "$test" "$work/log" $?
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
