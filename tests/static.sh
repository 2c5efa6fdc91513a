#!/bin/sh
# static.sh: what gcc -fanalyzer, clang-tidy, cppcheck and scan-build say about genreg.h (and lab.h). From any folder.
#
#   sh tests/static.sh              all four
#   sh tests/static.sh cppcheck     one of them
#
# Each must have nothing to say. What is switched off is named below, with the reason. On Debian or Ubuntu: clang-tidy cppcheck clang-tools.
# The last line is "N passed, N failed, N skipped".
cd "$(dirname "$0")/.." || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
passed=0 failed=0 skipped=0

# lab.h includes genreg.h; an example pulls in what the two have.
printf '#define GENREG_IMPLEMENTATION\n#include "genreg.h"\n#include "examples/lab.h"\nint main(void) { return 0; }\n' >"$work/all.c"

tidy='-*,bugprone-*,cert-*,clang-analyzer-*'
off() { tidy="$tidy,-$1"; } # check, why
off bugprone-easily-swappable-parameters             "a matrix product takes three sizes: there is no way round neighbours of one type"
off bugprone-macro-parentheses                       "the macros that make a kernel for each type take types, names and loop bodies"
off bugprone-implicit-widening-of-multiplication-result "products of tile sizes and small counts, far below 2^31; sizes from outside go through genreg__times"
off bugprone-sizeof-expression                       "arrays of pointers are meant: the tape, inputs, a sweep's vectors"
off bugprone-integer-division                        "rounding down before the conversion is meant: tiles in a row, rows in a batch"
off bugprone-narrowing-conversions                   "'0' + digit; gcc's -Wconversion watches over the rest"
off bugprone-branch-clone                            "a switch over instruction sets that says the same for two of them"
off bugprone-not-null-terminated-result              "a copy of shapes that it takes for text"
off bugprone-reserved-identifier                     "genreg__ and lab__ are ours; only C++ reserves double underscores"
off cert-dcl37-c                                     "the same"
off cert-dcl51-cpp                                   "the same"
off cert-err33-c                                     "fclose after reading, printf and fflush: nothing is left to do if they fail, or ferror is asked later"
off bugprone-suspicious-string-compare               "if (strcmp(a, b)) is how C asks whether two texts differ"
off cert-flp30-c                                     "x^n by squaring walks over n, with a float beside it"
off cert-err34-c                                     "sscanf reads what this program wrote"
off clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling "memcpy_s and its like are not in C99"
off clang-analyzer-security.insecureAPI.strcpy       "into room that was measured on the line before"
off clang-analyzer-optin.performance.Padding         "fields stand in the order of their meaning"

died() { echo "$tool ended with an error: it may not have looked at all" >>"$work/log"; }
verdict() { # name, log, pattern of complaints
    if grep -E "$3" "$2" >"$work/complaints"; then
        failed=$((failed + 1))
        echo "$1: $(grep -c . "$work/complaints") complaints"
        head -n 20 "$work/complaints"
    else
        passed=$((passed + 1))
        echo "$1: clean"
    fi
}

[ $# -gt 0 ] || set -- gcc clang-tidy cppcheck scan-build
for tool; do
    if ! command -v "$tool" >/dev/null 2>&1; then
        skipped=$((skipped + 1))
        echo "skipped: $tool (not here)"
        continue
    fi
    case $tool in
    gcc) # -O1: at -O0 it does not see that helpers return what they were given
        gcc -std=gnu99 -O1 -fanalyzer -I. -c "$work/all.c" -o "$work/all.o" >"$work/log" 2>&1 || died ;;
    clang-tidy) clang-tidy --quiet "-checks=$tidy" '--header-filter=(genreg|lab)\.h' "$work/all.c" -- -std=gnu99 -I. >"$work/log" 2>&1 || died ;;
    cppcheck) # uninit*: it takes a struct that is filled in member by member, and passed by value, for one that is used; MSan and clang's analyser know better
        cppcheck --quiet --std=c99 --enable=warning,portability,performance --inline-suppr --max-configs=1 -I. -D__GNUC__=12 -D__x86_64__ -UGENREG_STATIC \
            --suppress=missingInclude --suppress=missingIncludeSystem --suppress=uninitvar --suppress=uninitStructMember --suppress=ctuuninitvar --template='{file}:{line}: {severity}: {message} [{id}]' "$work/all.c" >"$work/log" 2>&1 || died ;;
    scan-build) scan-build --status-bugs -o "$work/report" clang -std=gnu99 -O1 -I. -c "$work/all.c" -o "$work/all.o" >"$work/log" 2>&1 || died ;;
    esac
    verdict "$tool" "$work/log" '(warning|error|portability|performance|ended with an error): '
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
