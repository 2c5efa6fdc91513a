#!/bin/sh
# test_readme.sh: what README.md, the comments and the committed rows say is true. From any folder.
#    sh tests/test_readme.sh        CC chooses the compiler. The last line is "N passed, M failed"; exit status 1 on failure.
#
# 1. Examples. An example is a ```c block of README.md; or, in a comment of genreg.h or lab.h that begins in the first column, lines
#    indented by six spaces or more that follow a line ending in a colon. Each is compiled with strict warnings and run: whole programs as
#    they stand, fragments inside the program below. name_of knows each by something in it; one that it does not know is a failure. What
#    has one name is one text wherever it stands. Each command that begins with "cc " in README.md, genreg.h or an example must compile.
# 2. Reports. A block of README.md, indented by four spaces or between ```text and ```, whose first line is
#        $ ./NAME ... --out examples/results/FOLDER --report
#    is run on a copy of examples/results, and the lines after it up to a blank one must be printed as they stand, in that order; a line
#    "..." stands for any number of others. The plot must be the committed one, and every committed plot must have such a block.
# 3. Rows. The cheapest committed cell of each example is trained again: at the end of this file. Bit for bit on the instruction set that
#    the row names, else within a tolerance.
# 4. README.md's recipes for many machines, with two shards and small nets: the same report and rows as one run.
#
# 2 and a part of 3 need MNIST and CIFAR-10: from data/, or unpacked from ../shared/data; 4 needs GNU parallel. What is missing is
# named as skipped.
root=$(cd "$(dirname "$0")/.." && pwd) || exit 1
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
cd "$root" || exit 1
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}" # threads that spin take long where others use the machine too
CC=${CC:-cc}
strict='-std=c99 -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wdouble-promotion -Wundef -Werror'
passed=0 failed=0

ok() { # ok DESCRIPTION COMMAND...: the command should succeed; if not, what it left in $tmp/err is shown
    what=$1
    shift
    if "$@"; then passed=$((passed + 1)); else
        failed=$((failed + 1))
        echo "FAILED: $what"
        [ ! -s "$tmp/err" ] || sed 's/^/    /' "$tmp/err" | head -n 12
    fi
    : >"$tmp/err"
}
fails() { ! "$@"; }
: >"$tmp/err"

# ------------------------------------------------------------------------------------------------ the examples, each once, into $tmp/code/NAME.c

mkdir "$tmp/blocks" "$tmp/code"
awk -v folder="$tmp/blocks" -v strays="$tmp/strays" '
    function end() { if (block) close(block); block = "" }
    function add(line, own) {
        own = match(line, /[^ ]/) - 1
        if (!block) { block = folder "/" file ":" FNR; indent = own; blanks = "" }
        print blanks substr(line, 1 + (own < indent ? own : indent)) >block
        blanks = ""
    }
    FNR == 1 { end(); file = FILENAME; sub(/.*\//, "", file); fence = comment = 0 }
    file ~ /[.]md$/ {
        if (/^```/) { end(); fence = $0 == "```c" }
        else if (fence && /[^ ]/) add($0)
        else if (fence) blanks = blanks "\n"
        next
    }
    /^\/\*/ { comment = 1; before = "" }
    comment {
        text = $0
        sub(/ *\*\/.*/, "", text)
        if (text !~ /[^ ]/) blanks = blanks "\n"
        else if (text ~ /^      / && (block || before ~ /:$/)) { if (text !~ /^ *cc /) add(text) }
        else {
            end()
            if (text ~ /^ .*(genreg|lab)_[a-z0-9_]+[(].*[)];/) print file ":" FNR ": " text >strays
        }
        if (text ~ /[^ ]/) before = text
        if (/\*\//) { end(); comment = 0 }
    }' README.md genreg.h examples/lab.h

name_of() {
    case $(cat "$1") in
    *lab_open\(*) echo experiment ;;
    *'int main('*) echo program ;;
    *'genreg_dot(c, g, v)'*) echo product ;;
    *lab_table_new\(*) echo table ;;
    *'define GENREG_IMPLEMENTATION'*) echo library ;;
    esac
}
for block in "$tmp"/blocks/*; do
    where=${block##*/} name=$(name_of "$block")
    cp "$block" "$tmp/err"
    ok "$where: an example that this test does not know: name it in name_of, put it into the program below (or run it), and check what it does" [ -n "$name" ]
    [ -n "$name" ] || continue
    if [ -e "$tmp/code/$name.c" ]; then
        diff "$tmp/code/$name.c" "$block" >"$tmp/err"
        ok "$where: the example \"$name\" is the same text as elsewhere" cmp -s "$block" "$tmp/code/$name.c"
    else cp "$block" "$tmp/code/$name.c"
    fi
done
for name in experiment program product table library; do ok "there is an example \"$name\"" [ -s "$tmp/code/$name.c" ]; done
[ ! -s "$tmp/strays" ] || cp "$tmp/strays" "$tmp/err"
ok "code in a comment is indented by six spaces after a line that ends in a colon" [ ! -s "$tmp/strays" ]

# The program around the fragments, in double. It prints what they found and exits with 1 if that is wrong.
cat >"$tmp/code/fragments.c" <<'END'
#include "lab.h"

/* The Hessian-vector product of a small net's loss against central differences of its gradient. */
static int product_is_right(genreg_ctx *c)
{
    enum { N = 7, IN = 3, OUT = 4 };
    static double values[N * IN], gradients[2][100];
    static const int labels[N] = { 0, 3, 1, 2, 2, 0, 1 };
    double h = 1e-5, error = 0, largest = 0, *out;
    int in = IN, shape[2] = { N, IN }, k;
    ptrdiff_t i;
    genreg_model *net = genreg_model_create(c, 1, &in);
    genreg_tensor *theta, *x, *v, *g, *Hv, *loss;
    genreg_layer_linear(net, 5);
    genreg_layer_tanh(net);
    genreg_layer_linear(net, OUT);
    genreg_init(net, GENREG_INIT_PYTORCH, 1);
    genreg_normal_fill(values, N * IN, 1, 2);
    x = genreg_constant(c, 2, shape, values);
    theta = net->theta;
    v = genreg_constant(c, 1, theta->shape, NULL);
    genreg_normal_fill(v->data, v->size, 1, 3);
    loss = genreg_forward(net, theta, x, NULL);
    loss = genreg_cross_entropy(c, loss, labels);
    {
#include "product.c"
    }
    if (genreg_error(c) || theta->size > 100) return 0;
    for (k = 0; k < 2; k++) {
        for (i = 0; i < theta->size; i++) theta->data[i] += (k ? -2 : 1) * h * v->data[i];
        loss = genreg_forward(net, theta, x, NULL);
        loss = genreg_cross_entropy(c, loss, labels);
        out = gradients[k];
        genreg_gradient_into(c, loss, NULL, &theta, 1, &out);
    }
    for (i = 0; i < theta->size; i++) {
        error = fmax(error, fabs(Hv->data[i] - (gradients[0][i] - gradients[1][i]) / (2 * h)));
        largest = fmax(largest, fabs(Hv->data[i]));
    }
    printf("product: off by %.1e of %.1e\n", error, largest);
    return largest > 0.01 && error < 1e-8 && !genreg_error(c);
}

static void print_table(void)
{
    static const double x[] = { 84, 85.5, 87 };
    lab_stats s = lab_stats_of(x, 3);
#include "table.c"
}

int main(void)
{
    genreg_ctx *c = genreg_create(NULL);
    int right = product_is_right(c);
    genreg_destroy(c);
    print_table();
    return !right;
}
END

# ------------------------------------------------------------------------------------------------ all that is compiled, in $tmp/work, which looks like the project

mkdir -p "$tmp/work/examples" "$tmp/small/data/mnist" "$tmp/data"
ln -s "$root/genreg.h" "$root/tests" "$tmp/code/program.c" "$tmp/work/"
ln -s "$root"/examples/*.[ch] "$root/examples/data" "$tmp/work/examples/"
cp -R examples/results "$tmp/work/examples/"
rm -f "$tmp"/work/examples/results/*/*.svg
ln -s "$tmp/work/genreg.h" "$tmp/small/"
for set in train t10k; do # 64 images in place of MNIST
    { printf '\0\0\010\003\0\0\0\100'; tail -c +9 "examples/data/$set-images-idx3-ubyte" | head -c $((8 + 64 * 784)); } >"$tmp/small/data/mnist/$set-images-idx3-ubyte"
    { printf '\0\0\010\001\0\0\0\100'; tail -c +9 "examples/data/$set-labels-idx1-ubyte" | head -c 64; } >"$tmp/small/data/mnist/$set-labels-idx1-ubyte"
done
data=$root/data
if [ ! -d data ]; then
    data=$tmp/data
    [ ! -d ../shared/data ] || echo "fetch" >"$tmp/plan"
fi
ln -s "$data" "$tmp/work/data"

echo 'int main(void) { return 0; }' >"$tmp/probe.c"
openmp=1
"$CC" -fopenmp "$tmp/probe.c" -o "$tmp/probe" >/dev/null 2>&1 || { openmp=; echo "skipped: OpenMP in README's commands ($CC has none)"; }
grep -hE '^ +cc .* -lm' README.md genreg.h examples/*.[ch] | sed 's/^ *//; s/ -lm.*/ -lm/' | sort -u >"$tmp/commands"
{
    cat "$tmp/commands"
    echo "cc -O0 -DGENREG_REAL=double $strict -Iexamples -I. ../code/fragments.c ../code/library.c -o fragments -lm"
    echo "cc -O0 $strict -Iexamples ../code/experiment.c -o experiment -lm"
} >>"$tmp/plan"

# Results are the same whatever the optimisation; -O1 compiles in two thirds of the time of -O2.
build() { # lines of the plan
    while read -r command; do
        extra=-O1
        case $command in
        fetch) sh "$root/data_fetch.sh" --from "$root/../shared/data" "$data" all >"$tmp/fetch.log" 2>&1 || echo failed >>"$tmp/fetch.log"; continue ;;
        *fragments.c* | *experiment.c*) extra= ;;
        *program.c*) extra="-O1 $strict" ;;
        *tests/*) extra=-O0 ;; # not run
        esac
        output=${command##* -o }
        arguments=" ${command#cc } $extra"
        [ -n "$openmp" ] || arguments=$(echo "$arguments" | sed 's/ -fopenmp / /')
        # shellcheck disable=SC2086
        (cd "$tmp/work" && "$CC" $arguments) >"$tmp/build.${output%% *}" 2>&1
    done
}
awk 'NR % 2' "$tmp/plan" | build &
half=$!
awk 'NR % 2 == 0' "$tmp/plan" | build
wait $half
if [ -e "$tmp/fetch.log" ]; then
    cp "$tmp/fetch.log" "$tmp/err"
    ok "data_fetch.sh unpacks what is in ../shared/data" fails grep -qx failed "$tmp/fetch.log"
fi
built() {
    output=${1##*-o } output=${output%% *}
    cp "$tmp/build.$output" "$tmp/err" && [ -x "$tmp/work/$output" ] && [ ! -s "$tmp/err" ]
}
while read -r command; do ok "README or comments: $command" built "$command"; done <"$tmp/commands"
for name in batch_size landscape double_descent lottery ntk quickstart program bench; do
    ok "a command in README or comments makes $name" grep -q -e " -o $name " "$tmp/commands"
done
ok "the examples in comments compile: fragments" built "-o fragments"
ok "the examples in comments compile: experiment" built "-o experiment"

# ------------------------------------------------------------------------------------------------ 1. the examples run

cd "$tmp/small" || exit 1
"$tmp/work/fragments" >"$tmp/out" 2>&1
status=$?
cp "$tmp/out" "$tmp/err"
ok "the Hessian-vector product is that of finite differences" [ $status -eq 0 ]
cp "$tmp/out" "$tmp/err"
ok "the table has mean, deviation and interval (4.3027 / sqrt(3) deviations)" grep -qx '32     85.50 ± 1.50 \[81.77, 89.23\]  85.52' "$tmp/out"
"$tmp/work/program" >"$tmp/out" 2>"$tmp/err"
ok "README's program ends well" [ $? -eq 0 ]
"$tmp/work/quickstart" data/mnist 2>&1 | sed 's/^mnist, 64 images: //' >"$tmp/out2"
cat "$tmp/out" "$tmp/out2" >"$tmp/err"
ok "and prints an accuracy and an eigenvalue" grep -qx 'test [0-9.]* %, top Hessian eigenvalue [0-9.]* (residual [0-9]e-[0-9]*)' "$tmp/out"
ok "which are those of examples/quickstart.c" cmp -s "$tmp/out" "$tmp/out2"
"$tmp/work/experiment" --widths 4,16 --epochs 2 --seeds 2 >"$tmp/out" 2>"$tmp/err"
ok "lab.h's experiment ends well" [ $? -eq 0 ]
ok "with a row for each width and seed" [ "$(grep -c '"status":"ok".*"width":\(4\|16\),' results/width.jsonl)" -eq 4 ]
ok "and a share of the 64 test images in each" [ "$(sed -n 's/.*"test":\([0-9.]*\)}}$/\1/p' results/width.jsonl | awk '$1 >= 0 && $1 <= 1 && $1 * 64 == int($1 * 64)' | wc -l)" -eq 4 ]
ok "and a plot" grep -q 'hidden\|width' results/width.svg

# ------------------------------------------------------------------------------------------------ 2. the reports in README.md

cd "$tmp/work" || exit 1
has() { # a data set
    case $1 in mnist) [ -e data/mnist/train-images-idx3-ubyte ] ;; cifar10) [ -e data/cifar-10-batches-bin/data_batch_1.bin ] ;; *) true ;; esac
}
mkdir "$tmp/reports"
awk -v folder="$tmp/reports" '
    /^```/ { fence = $0 == "```text"; block = 0; next }
    !fence && !/^    / { block = 0; next }
    { line = fence ? $0 : substr($0, 5) }
    line ~ /^[$] [.]\// { block = ++n; print substr(line, 3) >(folder "/" n ".command"); next }
    line !~ /[^ ]/ { block = 0 }
    block && line != "..." { print line >(folder "/" block ".lines") }' "$root/README.md"
: >"$tmp/drawn"
for command in "$tmp"/reports/*.command; do
    lines=${command%.command}.lines command=$(cat "$command")
    name=${command#./} name=${name%% *} out=${command#*--out } out=${out%% *} set=${command#*--dataset } set=${set%% *}
    echo "$out/$name.svg" >>"$tmp/drawn"
    has "$set" || { echo "skipped: README's report of $out (there is no $set in data/ or ../shared/data)"; continue; }
    case $command in # nothing else may run: it would train for hours
    *'$'* | *';'* | *'&'* | *'|'* | *'`'* | *'>'*) report= ;;
    *" --out examples/results/"*" --report") report=1 ;;
    *) report= ;;
    esac
    ok "README's command ends in --out examples/results/FOLDER --report: $command" [ -n "$report" ]
    [ -n "$report" ] || continue
    # shellcheck disable=SC2086
    $command >"$tmp/out" 2>"$tmp/err" </dev/null
    ok "$command" [ $? -eq 0 ]
    awk 'FNR == 1 { file++ } { sub(/ +$/, "") } file == 1 { want[++n] = $0; next } found < n && $0 == want[found + 1] { found++ }
        END { if (found < n || !n) { print "not printed, or not in this order: " want[found + 1]; exit 1 } }' "$lines" "$tmp/out" >"$tmp/err" 2>&1
    ok "README says what ./$name prints of $out" [ $? -eq 0 ]
    diff "$root/$out/$name.svg" "$out/$name.svg" >"$tmp/err"
    ok "$out/$name.svg is what the rows give: commit what README's command draws" [ $? -eq 0 ]
done
for plot in "$root"/examples/results/*/*.svg; do
    ok "a report in README draws ${plot#"$root"/}" grep -qxF -e "${plot#"$root"/}" "$tmp/drawn"
done

# ------------------------------------------------------------------------------------------------ 3. the cheapest cells, trained again

# agree RELATIVE SHARES COMMITTED TRAINED: each row of TRAINED is in COMMITTED, but for its seconds. If the instruction sets differ, figures
# may too: by RELATIVE times the largest of the list that they stand in; accuracies and errors by SHARES of all images.
agree() {
    awk -v relative="$1" -v shares="$2" '
        function isa_of(row) { sub(/.*"isa":"/, "", row); sub(/".*/, "", row); return row }
        function key_of(row) { sub(/"figures":.*/, "", row); sub(/"isa":"[^"]*",/, "", row); sub(/"seconds":[^,]*,/, "", row); return row }
        function read(row, figures, name) { # figures[name] = its list
            sub(/.*"figures":{/, "", row)
            while (match(row, /^,?"[^"]*":/)) {
                name = substr(row, 1, RLENGTH); gsub(/[",:]/, "", name)
                row = substr(row, RLENGTH + 1)
                if (!match(row, /^\[[^]]*\]/)) match(row, /^[^,}]*/)
                figures[name] = substr(row, 1, RLENGTH)
                row = substr(row, RLENGTH + 1)
            }
        }
        function size(x) { return x < 0 ? -x : x }
        function close_to(name, a, b,    n, i, x, y, largest, room) {
            gsub(/[][]/, "", a); gsub(/[][]/, "", b)
            n = split(a, x, ","); if (split(b, y, ",") != n) return 0
            for (i = 1; i <= n; i++) if (size(x[i]) > largest) largest = size(x[i])
            room = relative * largest
            if (name ~ /accuracy$|^(train|test)_error$|^ticket|^reinit/) room += shares * (largest > 1 ? 100 : 1)
            for (i = 1; i <= n; i++) if ((x[i] == "null") != (y[i] == "null") || size(x[i] - y[i]) > room) return 0
            return 1
        }
        FNR == 1 { file++ }
        file == 1 { old[key_of($0)] = $0; next }
        !(key_of($0) in old) { print "no committed row has the key " key_of($0); wrong = 1; next }
        {
            row = old[key_of($0)]; same = isa_of(row) == isa_of($0); split("", a); split("", b); common = 0
            read(row, a); read($0, b)
            for (name in b) if (name in a) { # older rows may have figures that are no longer written
                common++
                if (same ? a[name] != b[name] : !close_to(name, a[name], b[name])) { print name " was " a[name] " on " isa_of(row) ", is " b[name] " on " isa_of($0); wrong = 1 }
            }
            if (!common) { print "a row without figures"; wrong = 1 }
            rows++
        }
        END { exit wrong || !rows }' "$3" "$4" >"$tmp/err" 2>&1
}
cell() { # FOLDER NAME RELATIVE SHARES FLAGS...
    committed=examples/results/$1/$2.jsonl name=$2 relative=$3 shares=$4 new=$tmp/cells/$1
    shift 4
    "./$name" "$@" --out "$new" >/dev/null 2>"$tmp/err" </dev/null
    ok "./$name $* --out ${committed%/*}" [ $? -eq 0 ]
    ok "trains the rows of $committed (if the change is meant: the same with --fresh)" agree "$relative" "$shares" "$root/$committed" "$new/$name.jsonl"
}
# Cells of the bundled slice, which train for less than a second and so briefly that rounding does not grow: between avx512, avx2, baseline and
# plain their figures differ by less than 1e-4 (residuals; all others 1e-6), and no image's answer does. But where an activation is within its
# rounding of 0, machines may disagree on its sign: in nets of this size that was seen to move a trace by 4e-3 and three of 1,000 answers.
cell quick batch_size 0.01 0.003 --dataset slice --train 500 --epochs 10 --batches 16,128 --widths 32 --match-loss 1.5 --seeds 1
cell quick landscape 0.01 0.003 --dataset slice --train 128 --epochs 3 --width 1 --small-batch 8 --large-batch 32 --match-loss 2.2 --hessian-images 32 \
    --hessian-products 20 --noise-images 32 --draws 1 --seeds 1
cell quick double_descent 0.01 0.003 --dataset slice --sample 500 --epochs 10 --widths 8,64 --seeds 1
cell quick lottery 0.01 0.003 --dataset slice --train 500 --epochs 3 --lr 0.05 --levels 100,20 --seeds 1
cell quick ntk 0.01 0.003 --dataset slice --train 500 --epochs 5 --widths 16 --kernel-images 100 --seeds 1
# Sixty epochs on MNIST, until all is fitted: rounding grows to 4 % of the training loss, 1 % of the test loss and 6 of 10,000 images between
# plain and avx512, half of what another seed does. The losses say little then; the accuracies still do.
if has mnist; then cell double_descent-mnist double_descent 0.1 0.003 --dataset mnist --preset paper --widths 8 --seeds 1
else echo "skipped: the cell of examples/results/double_descent-mnist (there is no mnist in data/ or ../shared/data)"
fi

# The comparison itself: what it must let pass, and what not.
rows=$root/examples/results/quick/batch_size.jsonl
altered() { # FACTOR ISA: the rows with another training loss and instruction set
    awk -v factor="$1" -v isa="$2" '{
        match($0, /"train_loss":[0-9.e-]*/)
        loss = substr($0, RSTART + 13, RLENGTH - 13)
        row = substr($0, 1, RSTART + 12) (factor == 1 ? loss : sprintf("%.17g", loss * factor)) substr($0, RSTART + RLENGTH)
        if (isa) sub(/"isa":"[^"]*"/, "\"isa\":\"" isa "\"", row)
        print row }' "$rows" >"$tmp/altered"
}
altered 1 other && ok "rows of another machine agree" agree 1e-3 0.003 "$rows" "$tmp/altered"
altered 1.0000001 '' && ok "a figure that is off in the seventh digit does not" fails agree 1e-3 0.003 "$rows" "$tmp/altered"
altered 1.0005 other && ok "on another machine it does" agree 1e-3 0.003 "$rows" "$tmp/altered"
altered 1.002 other && ok "and not if it is off by more than the tolerance" fails agree 1e-3 0.003 "$rows" "$tmp/altered"

# ------------------------------------------------------------------------------------------------ 4. README's recipes for many machines

# The indented lines of that section, with two shards for eight, small cells, and for the other machines this one.
tiny='--dataset slice --train 64 --epochs 1 --batches 16,64 --widths 4 --seeds 2'
awk '/^## /{ on = /More than one machine/ } on && /^    /{ print substr($0, 5) }' "$root/README.md" |
    sed "s/seq 8/seq 2/; s/=1-8 /=1-2 /; s|/8 |/2 |; s/--dataset mnist/$tiny/; s/alpha,beta/:/" >"$tmp/recipes"
grep '| parallel ./batch_size ' "$tmp/recipes" >"$tmp/parallel.sh"
grep '| parallel --sshlogin : ' "$tmp/recipes" >"$tmp/sshlogin.sh"
sed -n '/^#!\/bin\/sh/,/--shard/p' "$tmp/recipes" >"$tmp/slurm.sh"
grep '^cat \|^mkdir \|--report$' "$tmp/recipes" >"$tmp/join.sh"
for recipe in parallel sshlogin slurm join; do
    if grep -q -e '--dataset slice' "$tmp/$recipe.sh" && ! grep -q '8 \|mnist' "$tmp/$recipe.sh"; then found=1; else found=; fi
    cp "$tmp/recipes" "$tmp/err"
    ok "README's section on many machines has the recipe \"$recipe\", for eight shards and MNIST" [ -n "$found" ]
    [ -n "$found" ] || rm "$tmp/$recipe.sh" # it may train for hours
done
same_as_one_run() {
    sh ./join.sh >"$tmp/out" 2>"$tmp/err" || return 1
    sed 's/"seconds":[^,]*,//' joined/batch_size.jsonl | sort >"$tmp/rows"
    cmp "$tmp/one.rows" "$tmp/rows" >"$tmp/err" 2>&1 && diff "$tmp/one.out" "$tmp/out" >"$tmp/err" && cmp joined/batch_size.svg "$tmp/one/joined/batch_size.svg" >"$tmp/err" 2>&1
}
place() { mkdir "$tmp/$1" && cd "$tmp/$1" && ln -s ../work/examples ../work/batch_size ../join.sh .; }
place one
# shellcheck disable=SC2086
./batch_size $tiny --out joined >/dev/null 2>"$tmp/err" && ./batch_size $tiny --out joined --report >"$tmp/one.out" 2>"$tmp/err"
ok "one run of four cells" [ $? -eq 0 ]
sed 's/"seconds":[^,]*,//' joined/batch_size.jsonl | sort >"$tmp/one.rows"
for recipe in parallel sshlogin slurm; do
    if [ $recipe != slurm ] && ! parallel --version 2>/dev/null | grep -q '^GNU parallel'; then
        echo "skipped: README's recipe \"$recipe\" (there is no GNU parallel here)"
        continue
    fi
    place "$recipe"
    if [ $recipe = slurm ]; then for task in 1 2; do SLURM_ARRAY_TASK_ID=$task SLURM_CPUS_PER_TASK=1 sh ../slurm.sh; done
    else sh "../$recipe.sh"
    fi >"$tmp/out" 2>"$tmp/err" </dev/null
    ok "README's recipe \"$recipe\" runs" [ $? -eq 0 ]
    cat "$tmp/out" >"$tmp/err"
    ok "$recipe: each shard has two of the four cells" [ "$(grep -c '"status":"ok"' shards/1/batch_size.jsonl)/$(grep -c '"status":"ok"' shards/2/batch_size.jsonl)" = 2/2 ]
    ok "$recipe: joined, they are rows, report and plot of one run" same_as_one_run
done

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
