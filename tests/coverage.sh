#!/bin/sh
# coverage.sh: how much of genreg.h the floors' tests (tests/test_*.c, in float and in double) run, by gcov. From any folder; takes some minutes.
#
#   sh tests/coverage.sh            per cent of lines and branches, then what is left, by function
#   sh tests/coverage.sh FILE       and every line and branch that is left, into FILE
#
# A line or branch counts as run if any program ran it on this machine (which must have AVX-512 to run all kernels). Nothing is left out by
# comments. The exit status is 1 below 97 % of lines or 88 % of branches. Needs gcc with gcov, and python3.
cd "$(dirname "$0")/.." || exit 1
root=$PWD list=${1:-/dev/null}
case $list in /*) ;; *) list=$root/$list ;; esac
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}" TMPDIR="$work"

# One program, built and run in a folder of its own, where gcc leaves its notes.
one='
    mkdir -p "$0/$1-$2" && cd "$0/$1-$2" || exit 1
    gcc -O0 --coverage -fopenmp -DGENREG_REAL=$2 "$3/tests/test_$1.c" -o test -lm && (cd "$3" && "$0/$1-$2/test" >"$0/$1-$2/log" 2>&1) || echo "test_$1.c in $2 fails"
    gcov --branch-probabilities --branch-counts --json-format --stdout ./*.gcda >report.json 2>/dev/null
'
for file in tests/test_*.c; do
    name=${file#tests/test_}
    for real in float double; do echo "${name%.c} $real"; done
done | xargs -P "${JOBS:-2}" -L 1 sh -c 'sh -c "$0" "$1" "$3" "$4" "$2"' "$one" "$work" "$root"

python3 - "$work" "$list" <<'PYTHON'
import glob
import json
import sys

lines, branches, home = {}, {}, {}
for path in glob.glob(sys.argv[1] + "/*/report.json"):
    with open(path) as f:
        text = f.read()
    for part in text.splitlines():
        for unit in json.loads(part)["files"] if part.strip() else []:
            if not unit["file"].endswith("genreg.h"):
                continue
            for x in unit["lines"]:
                n = x["line_number"]
                lines[n] = lines.get(n, 0) + x["count"]
                home.setdefault(n, x.get("function_name", "?"))
                for k, b in enumerate(x["branches"]):
                    key = (n, x.get("function_name", "?"), k, len(x["branches"]))
                    branches[key] = branches.get(key, 0) + b["count"]

if not lines:
    sys.exit("no coverage was measured")
share = [100.0 * sum(1 for v in d.values() if v) / len(d) for d in (lines, branches)]
left = {}
with open(sys.argv[2], "w") as out:
    for n in sorted(lines):
        if not lines[n]:
            left.setdefault(home[n], [0, 0])[0] += 1
            print("line %d %s" % (n, home[n]), file=out)
    for (n, function, k, _), v in sorted(branches.items()):
        if not v:
            left.setdefault(function, [0, 0])[1] += 1
            print("branch %d.%d %s" % (n, k, function), file=out)
print("left over in  lines  branches")
for function, (a, b) in sorted(left.items(), key=lambda x: (-x[1][0], -x[1][1])):
    print("%6d %6d  %s" % (a, b, function))
print("%.2f %% of %d lines, %.2f %% of %d branches" % (share[0], len(lines), share[1], len(branches)))
sys.exit(share[0] < 97 or share[1] < 88)
PYTHON
