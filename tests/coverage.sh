#!/bin/sh
# coverage.sh: how much of genreg.h the floors' tests (tests/test_*.c, in float and in double) run, by gcov. From any folder; takes some minutes.
#
#   sh tests/coverage.sh            what is left, by reason, then the shares of lines and branches
#   sh tests/coverage.sh FILE       and every line and branch that is left, with its reason and source line, into FILE
#
# A line or branch counts as run if any program ran it on this machine (which must have AVX-512 to run all kernels). Nothing is left out by
# comments. The exit status is 1 below 97 % of lines or 88 % of branches, or if a test fails. Needs gcc with gcov, and python3.
cd "$(dirname "$0")/.." || exit 1
if [ "$1" = --one ]; then # name, type, folder: one program, built and run in a folder of its own, where gcc leaves its notes
    root=$PWD
    mkdir -p "$4/$2-$3" && cd "$4/$2-$3" || exit 1
    gcc -O0 --coverage -fopenmp "-DGENREG_REAL=$3" "$root/tests/test_$2.c" -o test -lm && (cd "$root" && "$4/$2-$3/test" >"$4/$2-$3/log" 2>&1) ||
        echo "test_$2.c in $3 fails" | tee -a "$4/failed"
    gcov --branch-probabilities --branch-counts --json-format --stdout ./*.gcda >report.json 2>/dev/null
    exit 0
fi
list=${1:-/dev/null}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}" TMPDIR="$work"
for file in tests/test_*.c; do
    name=${file#tests/test_}
    for real in float double; do echo "${name%.c} $real $work"; done
done | xargs -P "${JOBS:-2}" -n 3 sh tests/coverage.sh --one
[ ! -s "$work/failed" ] || exit 1

python3 - "$work" "$list" <<'PYTHON'
import glob
import json
import re
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
with open("genreg.h") as f:
    source = [""] + [line.strip() for line in f]

# Why something is left: the first reason whose patterns fit its function and its source line.
reasons = [
    ("a kernel's copy for one type and instruction set, of which other copies run that part", r"^[?]$|_(plain|baseline|avx2|avx512)_f(32|64)$", ""),
    ("a size that no machine here can hold", "", "PTRDIFF_MAX|INT_MAX|genreg__times|an int|can address"),
    ("no memory, or after an error that was raised before: what is handed on", "",
     r"if \(!?[\w>.-]+(\[\w+\])?( \|\| ![\w>.-]+)*\) (return|break|continue)|halted|no memory|^return( NULL| 0| r| f| \(double\)NAN)?;|genreg__ready"),
    ("a refusal that no test provokes", "", r"genreg__(fail|bad_header)\("),
    ("one part of a condition that has several", "", "&&|[|][|]"),
    ("one side of a choice, where no test needs it", "", "[?]|genreg__wants|MIN|MAX|^(} )?(else )?(if|for|while|switch) "),
    ("all others", "", ""),
]


def reason(function, n):
    return next(i for i, (_, f, text) in enumerate(reasons) if re.search(f, function) and re.search(text, source[n]))


share = [100.0 * sum(1 for v in d.values() if v) / len(d) for d in (lines, branches)]
left = [(n, -1, home[n]) for n, v in lines.items() if not v] + [(key[0], key[2], key[1]) for key, v in branches.items() if not v]
count = [[0, 0] for _ in reasons]
with open(sys.argv[2], "w") as out:
    for n, k, function in sorted(left):
        why = reason(function, n)
        count[why][k >= 0] += 1
        print("%d%s %s: %s\n    %s" % (n, ".%d" % k if k >= 0 else "", function, reasons[why][0], source[n]), file=out)
print("left over: lines, branches")
for (why, _, _), (a, b) in zip(reasons, count):
    print("%6d %6d  %s" % (a, b, why))
print("%.2f %% of %d lines, %.2f %% of %d branches" % (share[0], len(lines), share[1], len(branches)))
sys.exit(share[0] < 97 or share[1] < 88)
PYTHON
