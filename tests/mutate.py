#!/usr/bin/env python3
"""Breaks one backward rule at a time and expects the gradient tests to notice.

    python3 tests/mutate.py            every mutant; prints the score and those that live
    python3 tests/mutate.py conv adam  only mutants of functions with one of these words in their name
    python3 tests/mutate.py --list     what would be changed

A mutant is genreg.h with one sign flipped or one factor dropped in a rule (>>ops: functions genreg__*_rule and genreg__*_direct), in the
sweep (>>grad), or in an optimiser's update (>>train). It is dead if tests/test_ops.c in double (test_train.c for the updates) fails,
crashes or hangs, or, where that passes, tests/test_prune.c, which has the layers that leave pruned weights out. tcc is used if it is
there, as it compiles within a moment; else $CC or cc. Two mutants run at a time.
The last line is "N killed, N survived"; the exit status is 1 if any survived.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
with open(os.path.join(root, "genreg.h")) as f:
    text = f.read()

# the same length, without comments and strings
code = re.sub(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", lambda m: re.sub(r"[^\n]", " ", m.group(0)), text, flags=re.S)
floors = [(m.group(1), m.start()) for m in re.finditer(r"^// >>(\w+)", text, re.M)]


def floor_of(at):
    return [name for name, start in floors if start <= at][-1]


def closing(at):
    """Where the bracket that opens at `at` closes."""
    depth = 0
    for i in range(at, len(code)):
        depth += code[i] in "([{"
        depth -= code[i] in ")]}"
        if depth == 0:
            return i
    raise ValueError("no end")


def arguments(at):
    """The ranges of a call's arguments; at is its opening bracket."""
    end, ranges, depth, start = closing(at), [], 0, at + 1
    for i in range(at + 1, end + 1):
        if i == end or (code[i] == "," and depth == 0):
            ranges.append((start, i))
            start = i + 1
        depth += code[i] in "(["
        depth -= code[i] in ")]"
    return end, ranges


def functions():
    """Name and body of each function whose mutants we want."""
    for m in re.finditer(r"^(?:static|GENREG__API)[^;={}]*?\b(genreg_\w+)\([^;{}]*\)\s*\{", code, re.M):
        name, floor = m.group(1), floor_of(m.start()) if m.start() > floors[0][1] else None
        wanted = (floor == "ops" and re.search(r"_(rule|direct)$", name)) or (floor == "grad") or (floor == "train" and re.search(r"_(sgd|adam)_body$|__update$", name))
        if wanted:
            yield name, floor, m.end(), closing(m.end() - 1)


def mutants():
    """(function, floor, begin, end, what stands there instead)"""
    for name, floor, begin, end in functions():
        found = []
        for m in re.finditer(r"\bgenreg_(neg|sub|mul|div|scale)\(", code[begin:end]):
            at, op = begin + m.start(), m.group(1)
            stop, a = arguments(begin + m.end() - 1)
            arg = [text[x:y].strip() for x, y in a]
            if op == "sub":
                found.append((at, at + 10, "genreg_add"))
            else:
                found.append((at, stop + 1, arg[1]))
            if op == "mul":
                found.append((at, stop + 1, arg[2]))
        for m in re.finditer(r"[^\n]*\n", code[begin:end]):
            line, at = m.group(0), begin + m.start()
            if re.search(r"\b(for|while|if) \(.*\bint\b|ptrdiff_t|size_t|\bint\b|memcpy|memset|offset|\w = v \+ |GENREG__(MIN|MAX)", line) or ("*" in line and not re.search(r"\w \* |\) \* ", line) and not re.search(r"[-+]", line)):
                continue
            head = line.find(")", line.find("for (")) if "for (" in line else 0  # the head of a loop is no formula
            masked = re.sub(r"\[[^\[\]]*\]", lambda k: "[" + " " * (len(k.group(0)) - 2) + "]", line)
            for k in re.finditer(r"(?<=[\w)\]]) ([-+])(=?) (?=[\w(-])", masked):
                if k.start() >= head:
                    flipped = {"+": "-", "-": "+"}[k.group(1)]
                    found.append((at + k.start(), at + k.end(), " %s%s " % (flipped, k.group(2))))
            for k in re.finditer(r"(?<=[\w)\]]) \* ([\w.]+(?:->\w+|\[[^\]]*\]|\([^()]*\))*)", masked):
                if k.start() >= head:
                    found.append((at + k.start(), at + k.end(), ""))
        for x, y, instead in sorted(set(found)):
            yield name, floor, x, y, instead


def describe(m):
    name, _, x, y, instead = m
    return "%s, line %d:%d: %s -> %s" % (name, text.count("\n", 0, x) + 1, x - text.rfind("\n", 0, x), " ".join(text[x:y].split()), instead.strip() or "(nothing)")


def verdict(compiler, m):
    """killed, survived, or invalid if it does not compile."""
    _, floor, x, y, instead = m
    with tempfile.TemporaryDirectory() as work:
        shutil.copytree(os.path.join(root, "tests"), os.path.join(work, "tests"), ignore=shutil.ignore_patterns("corpus", "*.py"))
        with open(os.path.join(work, "genreg.h"), "w") as f:
            f.write(text[:x] + instead + text[y:])
        for test in ["test_train"] if floor == "train" else ["test_ops", "test_prune"]:
            result = run_test(compiler, work, test)
            if result != "survived":
                return result
        return "survived"


def run_test(compiler, work, test):
    program = os.path.join(work, test)
    if subprocess.run(compiler + ["-DGENREG_REAL=double", "tests/%s.c" % test, "-o", program, "-lm"], cwd=work, capture_output=True).returncode:
        return "invalid"
    line_by_line = ["stdbuf", "-oL"] if shutil.which("stdbuf") else []
    run = subprocess.Popen(["timeout", "120"] + line_by_line + [program], cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    for line in run.stdout:
        if ": failed: " in line:
            run.kill()
            run.wait()
            return "killed"
    return "killed" if run.wait() else "survived"


def main(words):
    chosen = [m for m in mutants() if not words or words == ["--list"] or any(w in m[0] for w in words)]
    if words == ["--list"]:
        print("\n".join(describe(m) for m in chosen))
        return 0
    compiler = ["tcc"] if shutil.which("tcc") else [os.environ.get("CC", "cc"), "-O0"]
    score = {"killed": 0, "survived": 0, "invalid": 0}
    with ThreadPoolExecutor(2) as pool:
        for m, result in zip(chosen, pool.map(lambda m: verdict(compiler, m), chosen)):
            score[result] += 1
            if result != "killed":
                print("%s: %s" % (result, describe(m)), flush=True)
    print("%d killed, %d survived" % (score["killed"], score["survived"]) + (" (%d do not compile)" % score["invalid"] if score["invalid"] else ""))
    return 1 if score["survived"] or not score["killed"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
