#!/bin/sh
# matrix.sh: genreg built and run by many compilers, for other machines, and under sanitizers. From any folder.
#
#   sh tests/matrix.sh                  every row
#   sh tests/matrix.sh gcc i686 asan    the rows whose name begins with one of these
#   sh tests/matrix.sh --list           their names
#
# A row ends as "passed", "failed" (and what it said) or "skipped" (and what is missing). JOBS rows run side by side (default: one a core).
# The last line is "N passed, N failed, N skipped"; the exit status is 1 if any failed.
#
# Every row runs tests/quick.c, or one of the floors' tests (tests/test_*.c), or one of the examples with few images and one epoch. New
# files of these names have rows by themselves. On Debian or Ubuntu the rows need:
#   gcc g++ clang tcc libomp-14-dev libclang-rt-14-dev valgrind qemu-user-static wine64 wine gcc-i686-linux-gnu g++-i686-linux-gnu
#   gcc-s390x-linux-gnu g++-s390x-linux-gnu gcc-mingw-w64-x86-64 g++-mingw-w64-x86-64
cd "$(dirname "$0")/.." || exit 1
root=$PWD
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}" WINEDEBUG=-all

tests=$(for file in tests/test_*.c; do name=${file#tests/test_}; echo "${name%.c}"; done)
examples=$(for file in examples/*.c; do name=${file#examples/}; echo "${name%.c}"; done)
strict='-Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wdouble-promotion -Wundef -Werror'

rows() {
    for compiler in gcc clang; do
        for std in c99 c11 c17; do for level in O0 O2 O3; do echo "$compiler-$std-$level"; done; done
    done
    for compiler in g++ clang++; do
        for std in c++11 c++17 c++20; do echo "$compiler-$std"; done
    done
    for row in tcc no-simd double double-c++ static order two-libraries c-from-c++ no-stdio own-allocator mixed-types-do-not-link fast-math-is-an-error; do echo "$row"; done
    echo i686-static
    for machine in i686 s390x windows; do
        for row in float double c++; do echo "$machine-quick-$row"; done
        for name in $tests; do
            case $machine-$name in
            windows-lab) ;; # forks
            s390x-train) ;; # hours: qemu does floating point in software
            *) echo "$machine-test-$name" ;;
            esac
        done
        for name in $examples; do
            case $machine-$name in s390x-batch_size | s390x-landscape | s390x-lottery | s390x-double_descent | s390x-ntk) ;; # the same
            *) echo "$machine-example-$name" ;;
            esac
        done
    done
    for tool in asan-gcc asan-clang msan tsan valgrind; do
        for name in $tests; do echo "$tool-test-$name"; done
        for name in $examples; do echo "$tool-example-$name"; done
    done
}

# ------------------------------------------------------------------------------------------------ what a row does, in a folder of its own ($work)

skip() { echo "skipped: $*" >"$work/verdict"; exit 0; }
need() { for tool; do command -v "$tool" >/dev/null 2>&1 || skip "there is no $tool here"; done; }

# Compiles to $work/program. The command comes first, files and flags follow.
build() { need "$1"; "$@" -I"$root" -o "$work/program" -lm; }

# Runs it in $work, where it may write. On Windows a program gets its name from the compiler.
run() {
    program=$work/program
    [ -f "$program" ] || program=$program.exe
    (cd "$work" && $runner "$program" "$@" </dev/null)
}

quick() { build "$@" "$root/tests/quick.c" && run; }

# A floor's test runs in the project, where its fixtures are.
floor() { # name, compiler and flags
    name=$1
    shift
    build "$@" "tests/test_$name.c" || return 1
    program=$work/program
    [ -f "$program" ] || program=$program.exe
    TMPDIR=$work $runner "$program" </dev/null
}

example() { # name, compiler and flags
    name=$1
    shift
    build "$@" "examples/$name.c" || return 1
    case $name in
    quickstart) # knows no flags but a folder
        mkdir "$work/data"
        for set in train t10k; do
            { printf '\0\0\010\003\0\0\0\100'; tail -c +9 "examples/data/$set-images-idx3-ubyte" | head -c $((8 + 64 * 784)); } >"$work/data/$set-images-idx3-ubyte"
            { printf '\0\0\010\001\0\0\0\100'; tail -c +9 "examples/data/$set-labels-idx1-ubyte" | head -c 64; } >"$work/data/$set-labels-idx1-ubyte"
        done
        run data
        ;;
    *)
        cp -r examples/data "$work/data"
        run --dataset slice --data data --train 64 --epochs 1 --seeds 1 --out out && [ -s "$work/out/$name.jsonl" ]
        ;;
    esac
}

# test, example or quick under one compiler.
what() { # row without its tool, compiler and flags
    kind=$1
    shift
    case $kind in
    quick-float) quick "$@" ;;
    quick-double) quick "$@" -DGENREG_REAL=double ;;
    quick-c++) compiler=$(echo "$1" | sed 's/gcc$/g++/'); shift; quick "$compiler" "$@" -x c++ -std=c++11 ;;
    test-lab) floor lab "$@" ;;
    test-*) floor "${kind#test-}" "$@" -DGENREG_REAL=float && { [ -n "$one_type" ] || floor "${kind#test-}" "$@" -DGENREG_REAL=double; } ;;
    example-*) example "${kind#example-}" "$@" ;;
    esac
}

sanitizers='-g -O1 -fno-omit-frame-pointer -fno-sanitize-recover=all -include assert.h -DGENREG_ASSERT(x)=assert(x)'

# shellcheck disable=SC2086
row() {
    runner= one_type= part=${1#*-}
    case $1 in
    gcc-c* | clang-c*) quick "${1%%-*}" "-std=$(echo "$part" | cut -d- -f1)" "-${1##*-}" $strict ;;
    g++-* | clang++-*) quick "${1%%-*}" -x c++ "-std=${1#*-}" -O1 $strict ;;
    tcc) quick tcc -Wall ;;
    no-simd) quick gcc -O2 -DGENREG_NO_SIMD $strict ;;
    double) quick gcc -O2 -DGENREG_REAL=double $strict ;;
    double-c++) quick g++ -x c++ -O2 -DGENREG_REAL=double $strict ;;
    no-stdio) quick gcc -O1 -DGENREG_NO_STDIO $strict ;;
    own-allocator) quick gcc -O1 -include stdlib.h '-DGENREG_MALLOC(n)=malloc(n)' '-DGENREG_REALLOC(p,n)=realloc(p,n)' '-DGENREG_FREE(p)=free(p)' -include assert.h '-DGENREG_ASSERT(x)=assert(x)' ;;
    static | i686-static) # a private copy in each of two files
        printf '#define GENREG_IMPLEMENTATION\n#include "genreg.h"\nint other(void);\nint other(void) { genreg_destroy(genreg_create(NULL)); return 1; }\n' >"$work/other.c"
        compiler=gcc
        [ "$1" = static ] || compiler=i686-linux-gnu-gcc
        quick $compiler -O1 -static -DGENREG_STATIC $strict "$work/other.c"
        ;;
    order) # before the implementation, after it, and with the define still there
        printf '#include "genreg.h"\n#define GENREG_IMPLEMENTATION\n#include "genreg.h"\n#include "genreg.h"\n#undef GENREG_IMPLEMENTATION\n#include "genreg.h"\n#define QUICK_CALLS_ONLY\n#include "tests/quick.c"\n' >"$work/order.c"
        build gcc -O1 $strict "$work/order.c" && run
        ;;
    two-libraries) # one in float and one in double, each with its copy, in a program with a third
        for real in float double; do
            printf '#define GENREG_STATIC\n#define GENREG_REAL %s\n#define GENREG_IMPLEMENTATION\n#define main %s_main\nint main(void);\n#include "tests/quick.c"\n' $real $real >"$work/$real.c"
            need gcc && gcc -O1 -I"$root" -c "$work/$real.c" -o "$work/$real.o" && ar rcs "$work/lib$real.a" "$work/$real.o" || return 1
        done
        printf 'int float_main(void);\nint double_main(void);\nint all(void);\nint all(void) { return float_main() + double_main(); }\n#define main third_main\n#include "tests/quick.c"\n#undef main\nint main(void) { return all() + third_main(); }\n' >"$work/main.c"
        build gcc -O1 "$work/main.c" "-L$work" -lfloat -ldouble && run
        ;;
    c-from-c++) # the implementation in C, the calls in C++, and the other way round
        printf '#define GENREG_IMPLEMENTATION\n#include "genreg.h"\n' >"$work/genreg.c"
        need gcc g++
        gcc -O1 -I. -c "$work/genreg.c" -o "$work/c.o" && g++ -x c++ -O1 -I. -c "$work/genreg.c" -o "$work/c++.o" || return 1
        build g++ -x c++ -DQUICK_CALLS_ONLY tests/quick.c -x none "$work/c.o" && run && build gcc -DQUICK_CALLS_ONLY tests/quick.c "$work/c++.o" && run
        ;;
    mixed-types-do-not-link)
        printf '#define GENREG_IMPLEMENTATION\n#include "genreg.h"\n' >"$work/genreg.c"
        need gcc
        gcc -DGENREG_REAL=double -I. -c "$work/genreg.c" -o "$work/double.o" || return 1
        ! gcc -DQUICK_CALLS_ONLY tests/quick.c "$work/double.o" -o "$work/program" -lm 2>"$work/said" && grep -q 'undefined.*genreg_create' "$work/said" || return 1
        # every prototype with genreg_real in it, or an option struct that points to some: float's name must not be there
        awk '/^#endif .. GENREG_H/ { exit } /^GENREG__API/ { text = "" } { text = text $0 }
            /;/ { if (text ~ /^GENREG__API.*genreg_(real|eigen_options) [*c]/ && match(text, /genreg_[a-z_]+[(]/)) print substr(text, RSTART, RLENGTH - 1); text = "" }' genreg.h >"$work/names"
        nm "$work/double.o" | sed -n 's/.* T //p' >"$work/there"
        [ "$(grep -c . "$work/names")" -ge 16 ] && ! grep -Fx -f "$work/names" "$work/there"
        ;;
    fast-math-is-an-error)
        need gcc
        ! gcc -ffast-math -fsyntax-only tests/quick.c 2>"$work/said" && grep -q 'ffast-math reorders' "$work/said"
        ;;
    i686-*) what "$part" i686-linux-gnu-gcc -O2 -static ;;
    s390x-*) need qemu-s390x-static; runner=qemu-s390x-static; what "$part" s390x-linux-gnu-gcc -O2 -static ;;
    windows-*) need wine; runner=wine; what "$part" x86_64-w64-mingw32-gcc -O2 -static ;;
    asan-gcc-*) export UBSAN_OPTIONS=print_stacktrace=1; what "${part#gcc-}" gcc $sanitizers -fsanitize=address,undefined -fopenmp ;;
    asan-clang-*)
        echo leak:libomp.so >"$work/suppressions" # what libomp keeps for its threads until the process ends
        export UBSAN_OPTIONS=print_stacktrace=1 LSAN_OPTIONS="suppressions=$work/suppressions:print_suppressions=0"
        what "${part#clang-}" clang $sanitizers -fsanitize=address,undefined $clang_openmp
        ;;
    msan-*) what "$part" clang $sanitizers -fsanitize=memory -fsanitize-memory-track-origins ;;
    tsan-*) # libomp itself is not instrumented: what happens between its own calls is left out, and libarcher tells TSan what its barriers order
        [ -n "$clang_openmp" ] || skip "clang has no OpenMP here"
        export TSAN_OPTIONS='ignore_noninstrumented_modules=1 halt_on_error=1'
        one_type=1
        what "$part" clang $sanitizers -fsanitize=thread $clang_openmp
        ;;
    valgrind-*)
        need valgrind
        runner='valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite,indirect'
        one_type=1
        what "$part" gcc -g -O1 # without OpenMP, whose threads valgrind would run in turn
        ;;
    *) echo "there is no row $1"; return 1 ;;
    esac
}

if [ "$1" = --row ]; then # in a process of its own, for xargs
    work=$(mktemp -d) || exit 1
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' HUP INT TERM
    clang_openmp=
    printf '#include <omp.h>\nint main(void) { return 0; }\n' >"$work/probe.c"
    clang -fopenmp "$work/probe.c" -o "$work/probe" >/dev/null 2>&1 && clang_openmp=-fopenmp
    start=$(date +%s)
    (row "$2") >"$work/log" 2>&1
    status=$?
    seconds="$(($(date +%s) - start)) s"
    if [ -s "$work/verdict" ]; then printf '%-34s %s\n' "$2" "$(cat "$work/verdict")"
    elif [ $status -eq 0 ]; then printf '%-34s passed   %s\n' "$2" "$seconds"
    else printf '%-34s failed   %s\n%s\n' "$2" "$seconds" "$(tail -n 30 "$work/log" | sed 's/^/    /')"
    fi
    exit 0
fi
[ "$1" = --list ] && { rows; exit; }
log=$(mktemp) || exit 1
trap 'rm -f "$log" "$log.rows"' EXIT
rows | while read -r name; do
    [ $# -gt 0 ] || echo "$name"
    for prefix; do case $name in "$prefix"*) echo "$name"; break ;; esac; done
done >"$log.rows"
for prefix; do grep -q "^$prefix" "$log.rows" || { echo "no row begins with $prefix; --list names them"; exit 2; }; done
<"$log.rows" xargs -P "${JOBS:-$(nproc 2>/dev/null || echo 2)}" -n 1 sh "tests/${0##*/}" --row | tee "$log"
count() { grep -c -E "^[^ ]+ +$1" "$log"; }
failed=$(count failed) silent=$(($(grep -c . "$log.rows") - $(count passed) - $(count failed) - $(count skipped)))
[ "$silent" -eq 0 ] || echo "$silent rows were started and have not said how they ended"
echo "$(count passed) passed, $((failed + silent)) failed, $(count skipped) skipped"
[ $((failed + silent)) -eq 0 ] && [ "$(count passed)" -gt 0 ]
