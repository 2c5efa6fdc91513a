#!/bin/sh
# run.sh: every test of genreg, from any folder. The last line is "N passed, N failed"; the exit status is 1 if any failed.
#
#   CC=clang sh tests/run.sh     another compiler (default: cc)
#   sh tests/run.sh ops train    only the tests of that name
#
# A test is a program or script that ends with such a line itself. C tests run in float and in double, and some under the address
# and undefined-behaviour sanitizers, where the compiler has them. Two run side by side.
cd "$(dirname "$0")/.." || exit 1
CC=${CC:-cc}
export CC

if [ "$1" = --job ]; then # work folder, name, way: one test; leaves its output and exit status in the work folder
    log=$2/$3.$4 way=
    case $4 in
    float | double) way="-O2 $openmp -DGENREG_REAL=$4" ;;
    plain) way="-O2 $openmp" ;;
    sanitizers) way="-O1 $sanitizers" ;;
    esac
    if [ "$4" = script ]; then
        sh "tests/test_$3.sh" >"$log" 2>&1
    else
        # shellcheck disable=SC2086
        "$CC" $way "tests/test_$3.c" -o "$log.program" -lm >"$log" 2>&1 && "$log.program" >"$log" 2>&1
    fi
    status=$?
    echo $status >"$log.status"
    line=$(tail -n 1 "$log")
    printf '%-28s %s%s\n' "$3 ($4)" "$line" "$([ $status -eq 0 ] || echo "   (exit status $status)")"
    rm -f "$log.program"
    exit 0
fi

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive} # threads that spin while another process has the core stop everything

openmp=-fopenmp sanitizers='-g -fsanitize=address,undefined -fno-sanitize-recover=all'
echo 'int main(void) { return 0; }' >"$work/probe.c"
"$CC" -fopenmp "$work/probe.c" -o "$work/probe" >/dev/null 2>&1 || openmp= # clang without libomp, tcc
# shellcheck disable=SC2086
"$CC" $sanitizers "$work/probe.c" -o "$work/probe" >/dev/null 2>&1 && "$work/probe" >/dev/null 2>&1 || sanitizers=
[ -n "$openmp" ] || echo "skipped: OpenMP ($CC has none)"
[ -n "$sanitizers" ] || echo "skipped: sanitizers ($CC has none)"
export openmp sanitizers

for test in examples readme bits fetch ops train curvature files memory prune ntk model kernels ground lab; do # the longest first
    if [ $# -gt 0 ]; then
        case " $* " in *" $test "*) ;; *) continue ;; esac
    fi
    case $test in
    fetch | examples | readme | bits) echo "$test script" ;;
    lab) echo "$test plain" ;;
    *) echo "$test float"; echo "$test double" ;;
    esac
    case $test in files | memory | lab | model) [ -z "$sanitizers" ] || echo "$test sanitizers" ;; esac
done >"$work/jobs"
[ -s "$work/jobs" ] || { echo "there is no test of that name: $*"; echo "0 passed, 1 failed"; exit 1; }
side_by_side="-P 2"
echo | xargs -P 2 true 2>/dev/null || side_by_side=
# shellcheck disable=SC2086
xargs $side_by_side -n 2 sh tests/run.sh --job "$work" <"$work/jobs"

passed=0 failed=0
while read -r name way; do # adds the counts of a test's last line, or one failure if it has none
    log=$work/$name.$way status=$(cat "$work/$name.$way.status" 2>/dev/null || echo 1)
    line=$(tail -n 1 "$log" | grep -E '^[0-9]+ passed, [0-9]+ failed')
    if [ -n "$line" ]; then
        p=${line%% passed*} f=${line#* passed, } f=${f%% failed*}
        f=${f%% *}
    else
        p=0 f=1 # it did not finish
    fi
    [ "$status" -ne 0 ] && [ "$f" -eq 0 ] && f=1
    passed=$((passed + p)) failed=$((failed + f))
    grep -E '^skipped' "$log"
    [ "$f" -eq 0 ] || { echo "---- $name ($way)"; tail -n 40 "$log"; echo "----"; }
done <"$work/jobs"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
