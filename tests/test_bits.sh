#!/bin/sh
# test_bits.sh: results have the same bits whatever the compiler, -O, -std, -march and the number of threads, for each instruction set.
# Builds tests/bits.c in several ways, in float and in double, and compares what it prints line by line. From any folder.
# Last line: "N passed, N failed".
cd "$(dirname "$0")/.." || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
passed=0 failed=0 builds=0

echo 'int main(void) { return 0; }' >"$work/probe.c"
works() { "$@" "$work/probe.c" -o "$work/probe" >/dev/null 2>&1; }

# Builds and runs in the background; a build with OpenMP also runs with two threads.
build() { # float or double, compiler, flags
    works $2 || { echo "skipped: $2 (not here)"; return; }
    builds=$((builds + 1))
    name=$builds
    echo "$*" >"$work/$name.how"
    (
        real=$1
        shift
        if "$@" -DGENREG_REAL="$real" tests/bits.c -o "$work/$name.bits" -lm >"$work/$name.log" 2>&1; then
            "$work/$name.bits" 1 >"$work/$name.out" 2>>"$work/$name.log" || echo "exit status $?" >>"$work/$name.out"
            case $* in *-fopenmp*) "$work/$name.bits" 2 >"$work/$name.two" 2>>"$work/$name.log" ;; esac
        fi
    ) &
    [ $((builds % 2)) -eq 0 ] && wait
}

# Lines of $2 against those of the same instruction sets and parts in $1.
compare() { # file, file, what
    [ -s "$2" ] || { echo "failed: $3 printed nothing"; failed=$((failed + 1)); return; }
    while read -r isa part sum; do
        expected=$(awk -v i="$isa" -v p="$part" '$1 == i && $2 == p { print $3 }' "$1")
        if [ -n "$sum" ] && [ "$sum" = "$expected" ]; then passed=$((passed + 1))
        else failed=$((failed + 1)); echo "failed: $3: $isa $part: $sum instead of $expected"; fi
    done <"$2"
}

march=
works cc -march=native && march=-march=native
clang_openmp=
echo '#include <omp.h>' >"$work/probe2.c"; cat "$work/probe.c" >>"$work/probe2.c"
clang -fopenmp "$work/probe2.c" -o "$work/probe" >/dev/null 2>&1 && clang_openmp=-fopenmp

# shellcheck disable=SC2086
{
    build float gcc -O2 -std=gnu17 -fopenmp # the first of each type is what the others are compared with
    build float clang -O2 -std=c11 $clang_openmp
    build float gcc -O0 -std=c99
    build float gcc -O3 $march -std=gnu17 -fopenmp
    build float clang -O3 $march -std=gnu99
    build float tcc
    build double gcc -O0 -std=c11
    build double clang -O0 $march
    build double gcc -O1 $march -std=gnu17
    build double tcc
    wait
}
n=1
reference=
while [ $n -le $builds ]; do
    how=$(cat "$work/$n.how")
    [ "${how%% *}" = "$type" ] || { type=${how%% *} reference=$work/$n.out; }
    [ -s "$work/$n.log" ] && sed "s|^|    |" "$work/$n.log" | head -n 5
    echo "$how: $(grep -c . "$work/$n.out" 2>/dev/null) sums"
    [ "$reference" = "$work/$n.out" ] && [ ! -s "$reference" ] && { echo "failed: $how printed nothing"; failed=$((failed + 1)); }
    [ "$reference" = "$work/$n.out" ] || compare "$reference" "$work/$n.out" "$how"
    [ -f "$work/$n.two" ] && compare "$work/$n.out" "$work/$n.two" "$how, two threads"
    n=$((n + 1))
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
