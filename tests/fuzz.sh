#!/bin/sh
# fuzz.sh: the fuzzers tests/fuzz_*.c, each built by the command in its first line, two at a time. Needs clang with libFuzzer.
#
#   sh tests/fuzz.sh             4 seconds each
#   sh tests/fuzz.sh 600 npy     ten minutes of fuzz_npy
#   sh tests/fuzz.sh 600 flags   ten minutes of flags_NAME for each examples/NAME.c, which are fuzz_flags.c with that example
#
# Each begins with a copy of tests/corpus/NAME; what it finds on the way is thrown away at the end, but for an input that makes it fail, which
# is left in the project's folder as crash-*, leak-*, oom-* or timeout-*: run the fuzzer on it alone. The last line is "N passed, N failed".
cd "$(dirname "$0")/.." || exit 1
root=$PWD
if [ "$1" = --one ]; then # seconds, name, folder to build in, folder for the fuzzer's files: one fuzzer; leaves its verdict in the former
    seconds=$2 name=$3 work=$4/$3 scratch=$5 log=$4/$3.log source=$3 define=
    case $name in flags_*) source=flags define="-DEXAMPLE='\"../examples/${name#flags_}.c\"'" ;; esac
    build_and_run() {
        command=$(sed -n '1s|^/\* \(.*\) && .*|\1|p' "tests/fuzz_$source.c")
        mkdir -p "$work/corpus" && cp "tests/corpus/$source"/* "$work/corpus/" && cd "$work" &&
            ln -s "$root/tests" "$root/genreg.h" "$root/examples" . && eval "$command $define" &&
            TMPDIR=$scratch "./fuzz_$source" -max_total_time="$seconds" -timeout=60 -rss_limit_mb=4096 -close_fd_mask=2 -print_final_stats=1 \
                -artifact_prefix="$root/" corpus
    }
    if (build_and_run) >"$log" 2>&1; then
        echo passed >>"$4/verdicts"
        echo "$name passed $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") executions"
    else
        echo failed >>"$4/verdicts"
        echo "$name failed"
        tail -n 40 "$log"
    fi
    exit 0
fi
all= # backwards, as the last one takes longest to build
for file in tests/fuzz_*.c; do
    name=${file#tests/fuzz_} name=${name%.c}
    [ "$name" = flags ] || { all="$name $all"; continue; }
    for example in examples/*.c; do
        example=${example#examples/} example=${example%.c}
        [ "$example" = quickstart ] || all="flags_$example $all" # it has no flags
    done
done
seconds=${1:-4}
[ $# -eq 0 ] || shift
case $seconds in *[!0-9]* | 0*) echo "$seconds: first comes a number of seconds"; echo "0 passed, 1 failed"; exit 1 ;; esac
# shellcheck disable=SC2086
[ $# -gt 0 ] || set -- $all
names=
for asked; do
    found=
    for name in $all; do case $name in "$asked" | "$asked"_*) found="$found $name" ;; esac; done
    [ -n "$found" ] || { echo "there is no fuzzer $asked; there are $all"; echo "0 passed, 1 failed"; exit 1; }
    for name in $found; do case " $names " in *" $name "*) ;; *) names="$names $name" ;; esac; done # also if it is asked for twice
done
# shellcheck disable=SC2086
set -- $names
work=$(mktemp -d) || exit 1
scratch=
trap 'rm -rf "$work" "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
scratch=$(TMPDIR=/dev/shm mktemp -d 2>/dev/null) || scratch=$work # in memory, if the machine has such a place
probe='int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n)'
echo "$probe; $probe { return !d && n; }" >"$work/probe.c"
if ! clang -fsanitize=fuzzer "$work/probe.c" -o "$work/probe" >/dev/null 2>&1; then
    echo "skipped: fuzzers (no clang with libFuzzer)"
    echo "0 passed, 0 failed"
    exit 0
fi
: >"$work/verdicts"
printf '%s\n' "$@" | xargs -P "${JOBS:-2}" -I NAME sh tests/fuzz.sh --one "$seconds" NAME "$work" "$scratch"
passed=$(grep -c passed "$work/verdicts") failed=$(grep -c failed "$work/verdicts") silent=$(($# - passed - failed))
[ $silent -eq 0 ] || echo "$silent fuzzers were started and have not said how they ended"
echo "$passed passed, $((failed + silent)) failed"
[ $((failed + silent)) -eq 0 ]
