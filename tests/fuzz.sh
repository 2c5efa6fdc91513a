#!/bin/sh
# fuzz.sh: the fuzzers tests/fuzz_*.c, each built by the command in its first line, two at a time. Needs clang with libFuzzer.
#
#   sh tests/fuzz.sh             4 seconds each
#   sh tests/fuzz.sh 600 npy     ten minutes of fuzz_npy
#
# Each begins with a copy of tests/corpus/NAME; what it finds on the way is thrown away at the end, but for an input that makes it fail, which
# is left in the project's folder as crash-*: run the fuzzer on it alone. The last line is "N passed, N failed".
cd "$(dirname "$0")/.." || exit 1
root=$PWD
if [ "$1" = --one ]; then # seconds, name, folder
    seconds=$2 name=$3 work=$4/$3
    mkdir -p "$work/corpus"
    cp "tests/corpus/$name"/* "$work/corpus/"
    command=$(sed -n '1s|^/\* \(.*\) && .*|\1|p' "tests/fuzz_$name.c")
    if (cd "$work" && ln -s "$root/tests" tests && ln -s "$root/genreg.h" . && ln -s "$root/examples" . && eval "$command") >"$work/log" 2>&1 &&
        (cd "$work" && "./fuzz_$name" -max_total_time="$seconds" -timeout=60 -rss_limit_mb=4096 -print_final_stats=1 -artifact_prefix="$root/" corpus) >>"$work/log" 2>&1
    then echo "$name passed $(sed -n 's/^stat::number_of_executed_units: *//p' "$work/log") executions"
    else echo "$name failed"; tail -n 40 "$work/log"
    fi
    exit 0
fi
echo 'int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n); int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n) { (void)d; (void)n; return 0; }' >/tmp/probe$$.c
clang -fsanitize=fuzzer /tmp/probe$$.c -o /tmp/probe$$ >/dev/null 2>&1
status=$?
rm -f /tmp/probe$$ /tmp/probe$$.c
[ $status -eq 0 ] || { echo "skipped: fuzzers (no clang with libFuzzer)"; echo "0 passed, 0 failed"; exit 0; }
seconds=${1:-4}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- $(for file in tests/fuzz_*.c; do name=${file#tests/fuzz_}; echo "${name%.c}"; done)
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
printf '%s\n' "$@" | xargs -P "${JOBS:-2}" -I NAME sh tests/fuzz.sh --one "$seconds" NAME "$work" | tee "$work/all"
count() { grep -c -E "^[a-z]+ $1" "$work/all"; }
echo "$(count passed) passed, $(count failed) failed"
[ "$(count failed)" -eq 0 ]
