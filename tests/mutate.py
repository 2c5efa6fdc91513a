#!/usr/bin/env python3
"""Breaks one backward rule at a time and expects the gradient tests to notice.

    python3 tests/mutate.py            every mutant; prints the score and those that live
    python3 tests/mutate.py conv adam  only mutants of functions with one of these words in their name
    python3 tests/mutate.py --list     what would be changed

A mutant is genreg.h with one sign flipped, or one factor, one ReLU gate or one call that adds to a gradient left out. It is in one of the
functions named below: every backward rule, what rules call that has a formula of its own, the sweep, the optimisers' updates. Matrix
products and convolutions are left alone: the forward pass is made of the same, and tests/test_kernels.c is about them.

A mutant is dead if tests/test_ops.c in double (test_train.c for the updates) fails, crashes or hangs, or, where that passes,
tests/test_prune.c, which has the layers that leave pruned weights out. tcc is used if it is there, as it compiles within a moment; else
$CC or cc. Two mutants run at a time.

The last line is "N killed, N survived". The exit status is 1 if any survived or did not compile, or if one of the functions has no
mutant; it is 2, without that line, if a test does not pass on genreg.h as it is: then it says nothing about mutants.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
with open(os.path.join(root, "genreg.h")) as f:
    text = f.read()

# the same length, without comments and strings
code = re.sub(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", lambda m: re.sub(r"[^\n]", " ", m.group(0)), text, flags=re.S)

# Rules are found by their names, so that a new one cannot be forgotten.
rules = sorted(set(re.findall(r"\bgenreg__\w+_(?:rule|direct)\b", code[text.index("\n// >>ops"):text.index("\n// >>grad")])))
called = ["genreg__" + name for name in """gate_in_place give_column_sums give_values conv_give cross_entropy_range unpool_range
    sparse_spread_body sparse_weights_body norm_sums_of norm_back_sums norm_dx_of give_norm_dx""".split()]
sweep = ["genreg__give_direct", "genreg__give_recorded", "genreg__whole_adjoint"]
updates = ["genreg__sgd_body", "genreg__adam_body", "genreg__update"]
wanted = rules + called + sweep + updates

# Calls that write a gradient, or add to one.
writers = r"genreg__(?:product|conv_give|conv_kernel|give_\w+|gate_in_place|add_into|sum|turn|run_\w+|sparse_run|split_range)"


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
    """The arguments of a call, and where it ends; at is its opening bracket."""
    end, cuts, i = closing(at), [at], at + 1
    while i < end:
        if code[i] in "([":
            i = closing(i)
        elif code[i] == ",":
            cuts.append(i)
        i += 1
    return [text[x + 1:y].strip() for x, y in zip(cuts, cuts[1:] + [end])], end + 1


def factor_end(at):
    """Where the factor that starts at `at` ends: a name or number, members, brackets, a cast."""
    while True:
        word = re.compile(r"[\w.]+|->").match(code, at)
        if word:
            at = word.end()
        elif code[at] in "([":
            at = closing(at) + 1
        else:
            return at


def in_calls(begin, end):
    """Mutants of calls: (begin, end, what stands there instead)."""
    for m in re.finditer(r"\b(genreg_(?:neg|add|sub|mul|div|scale)|genreg__gate|s->give)\(", code[begin:end]):
        at, op = begin + m.start(), m.group(1)
        a, stop = arguments(begin + m.end() - 1)
        if op == "s->give":
            if not a[2].startswith("genreg_neg"):  # that has its own mutant
                yield at, stop, "s->give(s, %s, genreg_neg(s->c, %s))" % (a[1], a[2])
        elif op in ("genreg_add", "genreg_sub"):
            yield at, at + len(op), "genreg_sub" if op == "genreg_add" else "genreg_add"
        else:
            yield at, stop, a[1]
            if op == "genreg_mul":
                yield at, stop, a[2]
    for m in re.finditer(r"(?:[;{})]|\belse)\s+(%s\()" % writers, code[begin - 1:end]):  # the call is a statement
        yield begin - 1 + m.start(1), closing(begin - 1 + m.end() - 1) + 1, ""
    for m in re.finditer(r"(?<=, )accumulate(?=[,)])", code[begin:end]):  # forgets what other rules gave
        yield begin + m.start(), begin + m.end(), "0"


def in_formulas(begin, end):
    """Mutants of plain arithmetic."""
    body = code[begin:end]
    for m in list(re.finditer(r"\[|\b(?:for|while|if) \(", body)):  # an index is no formula, nor is the head of a loop
        stop = closing(begin + m.end() - 1) - begin
        body = body[:m.end()] + " " * (stop - m.end()) + body[stop:]
    for statement in re.finditer(r"[^;{}]+;", body):
        line, at = statement.group(0), begin + statement.start()
        # nor is a pointer or a size, but what is given, an element, or a real number by declaration or by name
        if not re.search(r"s->give\(|(\]|\b(genreg_real|double) \w+|\.(weight|scale\d)|\b(sum|along)) [-+*/]?= ", line):
            continue
        for m in re.finditer(r"(?<= )[-+](?==? )", line):
            yield at + m.start(), at + m.end(), "-" if m.group(0) == "+" else "+"
        for m in re.finditer(r"(?<![-\w])-(?=[\w(])", line):  # -a
            yield at + m.start(), at + m.end(), ""
        for m in re.finditer(r" [*/](=?) ", line):  # a * b, a / b, a *= b: a
            yield at + m.start(), at + line.index(";", m.end()) if m.group(1) else factor_end(at + m.end()), ""
        for m in re.finditer(r"(?<![\w.>)\]])(?<![*/] )[\w(]", line):  # a * b: b, and a / b: 1 / b
            stop = factor_end(at + m.start())
            if code[stop:stop + 3] == " * " or (code[stop:stop + 3] == " / " and not m.group(0).isdigit()):
                yield at + m.start(), stop + 3, "" if code[stop + 1] == "*" else "1.0 / "
        for m in re.finditer(r"\? (\w+\[ *\]) : 0\b", line):  # a gate
            yield at + m.end() - 1, at + m.end(), text[at + m.start(1):at + m.end(1)]


def mutants():
    """(function, begin, end, what stands there instead)"""
    for m in re.finditer(r"^static[^;={}]*?\b(genreg__\w+)\([^;{}]*\)\s*\{", code, re.M):
        name, begin, end = m.group(1), m.end(), closing(m.end() - 1)
        if name not in wanted:
            continue
        found = set(in_calls(begin, end)) | set(in_formulas(begin, end))
        if name in rules and name.endswith("_direct"):  # it gives by writing into memory, and may overwrite dy
            found.add((begin, begin, " for (ptrdiff_t flip = 0; flip < y->size; flip++) dy[flip] = -dy[flip];"))
        for x, y, instead in sorted(found):
            yield name, x, y, instead


def describe(m):
    name, x, y, instead = m
    old, new = (" ".join(s.split()) or "(nothing)" for s in (text[x:y], instead))
    return "%s, line %d:%d: %s -> %s" % (name, text.count("\n", 0, x) + 1, x - text.rfind("\n", 0, x), old, new)


def run_test(compiler, header, test, limit):
    """killed; survived; invalid: it does not compile; hung: it still ran after so many seconds."""
    with tempfile.TemporaryDirectory() as work:
        shutil.copytree(os.path.join(root, "tests"), os.path.join(work, "tests"), ignore=shutil.ignore_patterns("corpus", "*.py"))
        with open(os.path.join(work, "genreg.h"), "w") as f:
            f.write(header)
        program = os.path.join(work, test)
        if subprocess.run(compiler + ["-DGENREG_REAL=double", "tests/%s.c" % test, "-o", program, "-lm"], cwd=work, capture_output=True).returncode:
            return "invalid"
        line_by_line = ["stdbuf", "-oL"] if shutil.which("stdbuf") else []  # becomes the program, so that kill() reaches it
        with subprocess.Popen(line_by_line + [program], cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace") as run:
            late = threading.Event()
            timer = threading.Timer(limit, lambda: (late.set(), run.kill()))
            timer.start()
            failed = any(": failed: " in line for line in run.stdout)  # reads no further than the first
            if failed:
                run.kill()
            status = run.wait()
            timer.cancel()
    return "killed" if failed else "hung" if late.is_set() else "killed" if status else "survived"


def main(words):
    everything = list(mutants())
    chosen = [m for m in everything if not words or words == ["--list"] or any(w in m[0] for w in words)]
    idle = [name for name in wanted if name not in {m[0] for m in everything}]
    print("".join("no mutant: %s\n" % name for name in idle), end="")
    if words == ["--list"]:
        print("\n".join(describe(m) for m in chosen))
        return 1 if idle else 0
    compiler = ["tcc"] if shutil.which("tcc") else [os.environ.get("CC", "cc"), "-O0"]
    judges = {m[0]: ["test_train"] if m[0] in updates else ["test_ops", "test_prune"] for m in chosen}
    limit, score = {}, {"killed": 0, "survived": 0, "invalid": 0, "hung": 0}

    def unmutated(test):
        start = time.monotonic()
        result = run_test(compiler, text, test, 1200)
        limit[test] = 10 * (time.monotonic() - start) + 10  # so that a busy machine is not taken for a mutant's death
        return result

    def verdict(m):
        name, x, y, instead = m
        for test in judges[name]:
            result = run_test(compiler, text[:x] + instead + text[y:], test, limit[test])
            if result != "survived":
                return result
        return "survived"

    with ThreadPoolExecutor(2) as pool:
        tests = sorted(set(sum(judges.values(), [])))
        broken = [test for test, result in zip(tests, pool.map(unmutated, tests)) if result != "survived"]
        if broken:
            print("no judges, as they do not pass on genreg.h as it is: %s" % ", ".join(broken), file=sys.stderr)
            return 2
        for m, result in zip(chosen, pool.map(verdict, chosen)):
            score[result] += 1
            if result != "killed":
                print("%s: %s" % (result, describe(m)), flush=True)
    killed = score["killed"] + score["hung"]
    print("%d killed, %d survived" % (killed, score["survived"]))
    return 1 if idle or score["survived"] or score["invalid"] or not killed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
