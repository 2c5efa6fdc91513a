#!/bin/sh
# test_crash.sh - kills an example at random moments (SIGKILL) and starts it again: it must end with the rows of an unbroken run, bit for bit
# but for the seconds. Every fifth time two processes share one --out and one of them is killed.
#
#    sh tests/test_crash.sh [KILLS [SEED]]       default: 6 kills, seed 1. CC chooses the compiler. The last line is "N passed, N failed".
root=$(cd "$(dirname "$0")/.." && pwd) || exit 1
tmp=$(mktemp -d) || exit 1
trap 'kill -KILL $first $second 2>/dev/null; rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
cd "$root" || exit 1
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}"
kills=${1:-6} seed=${2:-1}
passed=0 failed=0 killed=0 round=0 first= second=

"${CC:-cc}" -O2 ${openmp--fopenmp} examples/batch_size.c -o "$tmp/batch_size" -lm || { echo "0 passed, 1 failed"; exit 1; }

start() { # folder, log: runs in the background
    exec "$tmp/batch_size" --dataset slice --train 300 --epochs 12 --batches 8,32,64 --widths 24 --seeds 2 --threads 2 --save-every 0.01 --out "$1" \
        >"$2" 2>&1 </dev/null
}
rows() { sed 's/"seconds":[^,]*,//' "$1/batch_size.jsonl" | sort; }
compare() { # folder, what
    rows "$1" >"$tmp/rows"
    if cmp -s "$tmp/rows" "$tmp/expected" && [ -z "$(find "$1" -name '*.ckpt' -o -name '*.tmp' -o -name 'batch_size.*.json')" ]; then passed=$((passed + 1)); else
        failed=$((failed + 1))
        echo "FAILED: $2: $(grep -c . "$tmp/rows") rows of $(grep -c . "$tmp/expected"), $(sort -u "$tmp/rows" | comm -12 - "$tmp/expected" | grep -c .) of them right"
        tail -n 3 "$tmp"/log*
    fi
}
alive() { kill -0 "$1" 2>/dev/null; }

now() { python3 -c 'import time; print(int(1000 * time.monotonic()))' 2>/dev/null || echo "$(($(date +%s) * 1000))"; } # date +%N is GNU's alone
begun=$(now)
(start "$tmp/unbroken" "$tmp/log") || { cat "$tmp/log"; echo "0 passed, 1 failed"; exit 1; }
took=$(($(now) - begun))
[ "$took" -gt 0 ] || took=1000
rows "$tmp/unbroken" >"$tmp/expected"

# A run takes `took` milliseconds: a moment of it for every kill, and some to spare for those that come too late.
moments=$(awk -v seed="$seed" -v n="$((3 * kills + 20))" -v ms="$took" 'BEGIN { srand(seed); for (i = 0; i < n; i++) printf "%.3f ", rand() * ms / 1000 }')
for moment in $moments; do
    [ "$killed" -lt "$kills" ] || break
    round=$((round + 1)) second=
    (start "$tmp/out" "$tmp/log1") &
    first=$!
    if [ $((round % 5)) -eq 0 ]; then
        (start "$tmp/out" "$tmp/log2") &
        second=$!
    fi
    sleep "$moment"
    alive "$first" && killed=$((killed + 1))
    kill -KILL "$first" 2>/dev/null
    wait "$first" 2>/dev/null
    status=$?
    [ $status -eq 0 ] || [ $status -eq 137 ] || { failed=$((failed + 1)); echo "FAILED: start $round ended by itself, with $status"; tail -n 3 "$tmp/log1"; }
    if [ $status -eq 0 ] || [ -n "$second" ]; then # it ended before, or the other one does: all rows are there
        if [ -z "$second" ] || wait "$second"; then compare "$tmp/out" "after $killed kills"
        else failed=$((failed + 1)); echo "FAILED: the other process after $killed kills"; tail -n 3 "$tmp/log2"; fi
        rm -rf "$tmp/out"
    fi
done 2>/dev/null
(start "$tmp/out" "$tmp/log1") || { failed=$((failed + 1)); cat "$tmp/log1"; }
compare "$tmp/out" "after the last kill"

# Two at once, to the end.
(start "$tmp/two" "$tmp/log1") &
first=$!
(start "$tmp/two" "$tmp/log2") &
second=$!
wait "$first" && wait "$second" || { failed=$((failed + 1)); echo "FAILED: two processes"; }
compare "$tmp/two" "two processes"
[ "$killed" -ge "$kills" ] || { failed=$((failed + 1)); echo "FAILED: only $killed of $kills kills came in time"; }
echo "$killed kills survived in $round starts; an unbroken run takes $took ms"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
