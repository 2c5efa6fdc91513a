#!/bin/sh
# test_examples.sh - compiles the examples and runs them as a user would, with tiny settings: rows, resume, shards, jobs, bad input.
#    sh tests/test_examples.sh        CC chooses the compiler. The last line is "N passed, M failed"; exit status 1 on failure.

root=$(cd "$(dirname "$0")/.." && pwd) || exit 1
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' INT TERM
cd "$root" || exit 1
OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive} # threads that spin take long where others use the machine too
export OMP_WAIT_POLICY
passed=0
failed=0

ok() { # ok DESCRIPTION COMMAND...: the command should succeed
    what=$1
    shift
    if "$@"; then passed=$((passed + 1)); else
        failed=$((failed + 1))
        echo "FAILED: $what"
        [ ! -s "$tmp/err" ] || sed 's/^/    /' "$tmp/err" | head -n 5
    fi
}
skip() { echo "skipped: $*"; }
# What stands for a program: in a subshell behind &, `exec` makes the program take its place, so that signals reach it, and it gets files of its own.
in_place= out=$tmp/out err=$tmp/err as=background
background() { # background COMMAND...: its process is $pid
    (in_place=exec out=$tmp/$as.out err=$tmp/$as.err; "$@") &
    pid=$!
}
until_there() { # until_there FOLDER FIND-EXPRESSION...: waits until $pid has made such a file, or has ended; a minute at most
    tries=0
    while [ -z "$(find "$@" 2>/dev/null | head -n 1)" ] && [ $tries -lt 1200 ] && kill -0 "$pid" 2>/dev/null; do
        sleep 0.05
        tries=$((tries + 1))
    done
}
run() { $in_place "$tmp/batch_size" --dataset slice "$@" >"$out" 2>"$err" </dev/null; }
small() { run --train 64 --epochs 1 --batches 16,64 --widths 8 --seeds 2 "$@"; }
long() { run --train 1000 --epochs 40 --batches 8,32 --widths 64 --seeds 1 "$@"; }
exits() { # exits STATUS COMMAND...: and says one line on stderr if it is not 0
    status=$1
    shift
    "$@"
    [ $? -eq "$status" ] || return 1
    [ "$status" -eq 0 ] || [ "$(wc -l <"$tmp/err")" -eq 1 ]
}
said() { grep -q -e "$1" "$tmp/err"; }
shows() { grep -q -e "$1" "$tmp/out"; }
# What rows say, without the seconds, in a fixed order.
rows() { cat "$@" | sed 's/"seconds":[^,]*,//' | sort; }
same_rows() { rows "$1" >"$tmp/a" && rows "$2" >"$tmp/b" && [ -s "$tmp/a" ] && cmp -s "$tmp/a" "$tmp/b"; }
count() { [ "$(wc -l <"$1")" -eq "$2" ]; }
killed() { # killed PAGE FOLDER COMMAND: started there, and killed once that training has left a page
    background "$3" --out "$2" --save-every 0
    until_there "$2" -name "*.$1.json"
    kill -KILL "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    ok "a kill in training $1 of $3 leaves checkpoints" [ -n "$(find "$2" -name '*.ckpt')" ]
}
none_left() { [ -z "$(find "$1" -name '*.ckpt' -o -name '*.tmp' -o -name 'batch_size.*.json')" ]; }

# ------------------------------------------------------------------------------------------------ they compile and run
for name in quickstart batch_size landscape double_descent lottery ntk; do
    ok "$name compiles" ${CC:-cc} -O2 ${openmp--fopenmp} "examples/$name.c" -o "$tmp/$name" -lm
done
[ -x "$tmp/batch_size" ] || { echo "$passed passed, $((failed + 1)) failed"; exit 1; }
ok "quickstart is at most 40 lines" [ "$(wc -l <examples/quickstart.c)" -le 40 ]
for name in batch_size landscape double_descent lottery ntk; do
    ok "$name is less than 250 lines" [ "$(wc -l <"examples/$name.c")" -lt 250 ]
done

ok "a small run" exits 0 small --out "$tmp/r"
ok "one row a cell" count "$tmp/r/batch_size.jsonl" 4
for key in experiment version real isa data status seconds settings figures dataset train seed width batch lr epochs match_loss train_accuracy \
    test_accuracy gap lambda residual lambda_norm2 match_lambda steps_done lr_over_batch; do
    ok "rows have $key" [ "$(grep -c "\"$key\":" "$tmp/r/batch_size.jsonl")" -eq 4 ]
done
ok "no NaN in a row" [ "$(grep -c -i -E '[:,[](nan|-?inf)' "$tmp/r/batch_size.jsonl")" -eq 0 ]
if command -v python3 >/dev/null 2>&1; then
    ok "rows are JSON" python3 -c 'import json, sys; [json.loads(x) for x in open(sys.argv[1])]' "$tmp/r/batch_size.jsonl"
    ok "the plot is XML" python3 -c 'import sys, xml.dom.minidom as x; x.parse(sys.argv[1])' "$tmp/r/batch_size.svg"
else skip "rows as JSON, the plot as XML (no python3)"
fi
ok "a plot" grep -q '</svg>' "$tmp/r/batch_size.svg"
ok "a table with mean, deviation and interval" shows '± .*\[.*, .*\]'
ok "the data is named" shows 'slice of Fashion-MNIST'
ok "and what is cut from the paper's size" shows '^unlike --preset paper: --train 64 (there all), --epochs 1 (there 80), --seeds 2 (there 3), --batches 16,64 (there '
ok "nothing but rows, lock and plot is left" none_left "$tmp/r"
cp "$tmp/r/batch_size.jsonl" "$tmp/before"
ok "a second run" exits 0 small --out "$tmp/r"
ok "trains nothing" cmp -s "$tmp/before" "$tmp/r/batch_size.jsonl"
rm "$tmp/r/batch_size.svg"
ok "--report" exits 0 small --out "$tmp/r" --report
ok "draws again" [ -s "$tmp/r/batch_size.svg" ]
ok "--report without rows is 1" exits 1 small --out "$tmp/nothing" --report
ok "and says so" said 'has no row'
ok "--report makes no folder" [ ! -e "$tmp/nothing" ]
ok "--report for other settings is 1" exits 1 small --out "$tmp/r" --report --epochs 2
ok "and says what the rows have" said '"epochs":1:'
ok "--help" exits 0 run --help
ok "--help names flags" shows '--lr-rule'

# ------------------------------------------------------------------------------------------------ the same rows whichever way they come
ok "shard 1" exits 0 small --out "$tmp/s1" --shard 1/2
ok "shard 2" exits 0 small --out "$tmp/s2" --shard 2/2
ok "each does its half" count "$tmp/s1/batch_size.jsonl" 2
mkdir "$tmp/s"
cat "$tmp/s1/batch_size.jsonl" "$tmp/s2/batch_size.jsonl" >"$tmp/s/batch_size.jsonl"
ok "shards joined are the whole" same_rows "$tmp/s/batch_size.jsonl" "$tmp/r/batch_size.jsonl"
ok "and report" exits 0 small --out "$tmp/s" --report
ok "one job" exits 0 small --out "$tmp/j1" --jobs 1 --threads 1
ok "two jobs" exits 0 small --out "$tmp/j2" --jobs 2 --threads 2
ok "five threads for two jobs" exits 0 small --out "$tmp/j5" --jobs 2 --threads 5
ok "the same rows from one job" same_rows "$tmp/j1/batch_size.jsonl" "$tmp/r/batch_size.jsonl"
ok "the same rows from two jobs" same_rows "$tmp/j2/batch_size.jsonl" "$tmp/r/batch_size.jsonl"
ok "the same rows from five threads" same_rows "$tmp/j5/batch_size.jsonl" "$tmp/r/batch_size.jsonl"
background small --out "$tmp/p"
run --train 64 --epochs 1 --batches 16,64 --widths 8 --seeds 2 --out "$tmp/p" >"$tmp/out2" 2>"$tmp/err2"
wait "$pid"
ok "two processes on one folder make each row once" same_rows "$tmp/p/batch_size.jsonl" "$tmp/r/batch_size.jsonl"
ok "seeds by list" exits 0 run --train 64 --epochs 1 --batches 16,64 --widths 8 --seed 2,1 --out "$tmp/l"
ok "are the same cells" same_rows "$tmp/l/batch_size.jsonl" "$tmp/r/batch_size.jsonl"
cp "$tmp/r/batch_size.jsonl" "$tmp/before"
ok "--fresh" exits 0 small --out "$tmp/r" --fresh
ok "makes the same rows again" same_rows "$tmp/before" "$tmp/r/batch_size.jsonl"
ok "and keeps the old ones aside" cmp -s "$tmp/before" "$tmp/r/batch_size.old.jsonl"
ok "--fresh once more" exits 0 small --out "$tmp/r" --fresh
ok "leaves those aside that are there" [ "$(cat "$tmp/r/batch_size.old.jsonl" "$tmp/r/batch_size.old2.jsonl" | wc -l)" -eq 8 ]
background long --out "$tmp/f" --save-every 0
until_there "$tmp/f" -name '*.0.json'
ok "--fresh beside another process is 1" exits 1 run --train 64 --epochs 1 --batches 16 --widths 4 --seeds 1 --out "$tmp/f" --fresh
ok "and says why" said 'another process is at work'
kill -KILL "$pid" 2>/dev/null
wait "$pid" 2>/dev/null
if [ -e /dev/full ]; then
    "$tmp/batch_size" --dataset slice --train 64 --epochs 1 --batches 16,64 --widths 8 --seeds 2 --out "$tmp/r" --report >/dev/full 2>"$tmp/err"
    ok "a report that cannot be written is 1" [ $? -eq 1 ]
    ok "and says so" said 'cannot write the report'
else skip "a report to a full disk (no /dev/full)"
fi
ok "linear rule, equal steps" exits 0 small --out "$tmp/q" --lr-rule linear --equal steps
ok "the linear rule is 0.005 B/32" grep -q '"batch":64,"lr":0.01,' "$tmp/q/batch_size.jsonl"
ok "equal steps are those of batch 256" grep -q '"steps_done":1,' "$tmp/q/batch_size.jsonl"
ok "--save" exits 0 run --train 64 --epochs 1 --batches 64 --widths 8 --seeds 1 --out "$tmp/q" --save "$tmp/net.safetensors"
ok "writes a model" [ -s "$tmp/net.safetensors" ]
ok "--save with several cells" exits 0 small --out "$tmp/q" --epochs 2 --save "$tmp/net.safetensors"
ok "names them" [ -s "$tmp/net-w-8--batch-16-seed-2.safetensors" ]

# ------------------------------------------------------------------------------------------------ convolutional nets
ok "batch_size --model cnn" exits 0 run --model cnn --train 32 --epochs 1 --batches 16,32 --widths 1 --seeds 1 --optimizers all --out "$tmp/cnn"
ok "one row a cell, Adam and full-batch descent too" count "$tmp/cnn/batch_size.jsonl" 4
ok "which say so" [ "$(grep -c -E '"optimizer":"(adam|gd)"' "$tmp/cnn/batch_size.jsonl")" -eq 2 ]
ok "full-batch descent takes 80 steps" grep -q '"optimizer":"gd".*"steps_done":80,' "$tmp/cnn/batch_size.jsonl"
ok "and the paper's figures" shows '32.71'
ok "Adam with an MLP is 2" exits 2 small --out "$tmp/bad" --optimizers all
land() {
    $in_place "$tmp/landscape" --dataset slice --train 32 --hessian-images 8 --hessian-products 20 --trace-products 12 --noise-images 16 --draws 1 --out "$tmp/land" "$@" \
        >"$out" 2>"$err" </dev/null
}
two() { land --width 1 --epochs 1 --small-batch 8 --large-batch 32 --match-loss 9 --seeds 2 "$@"; }
ok "landscape" exits 0 two --save "$tmp/land.safetensors"
ok "one row a seed" count "$tmp/land/landscape.jsonl" 2
for key in lambda residual top trace density noise_loss noise_accuracy filter_loss slice_loss match_lambda line_loss barrier; do
    ok "rows have $key" [ "$(grep -c -E "\"$key\":(\[[-0-9]|[0-9])" "$tmp/land/landscape.jsonl")" -eq 2 ]
done
ok "seven sigmas for two models" [ "$(sed -n 's/.*"noise_loss":\[\([^]]*\)\].*/\1/p' "$tmp/land/landscape.jsonl" | head -n 1 | tr ',' '\n' | grep -c .)" -eq 14 ]
ok "a plot of eight panels" [ "$(grep -c '<clipPath' "$tmp/land/landscape.svg")" -eq 8 ]
ok "a ratio with its interval" shows 'at the end: .*interval .* over 2 seeds'
ok "one at matched loss too" shows 'at matched training loss: .*interval'
cp "$tmp/land/landscape.svg" "$tmp/before.svg"
ok "--report" exits 0 two --report
ok "draws the same plot" cmp -s "$tmp/before.svg" "$tmp/land/landscape.svg"
model=$(find "$tmp" -name 'land-*-seed-1-large.safetensors')
ok "both models are saved" [ "$(find "$tmp" -name 'land-*.safetensors' | wc -l)" -eq 4 ]
ok "--checkpoint measures one" exits 0 land --checkpoint "$model"
ok "in a row of its own" count "$tmp/land/landscape.jsonl" 3
ok "with one value a figure" grep -q '"model":.*"lambda":\[[^],]*\],' "$tmp/land/landscape.jsonl"
ok "as it was measured after training" eval 'sed -n "s/.*\"seed\":1,.*\"lambda\":\[[^],]*,\([^],]*\)\].*/\1/p" "$tmp/land/landscape.jsonl" | head -n 1 >"$tmp/a"
    sed -n "s/.*\"model\":.*\"lambda\":\[\([^],]*\)\].*/\1/p" "$tmp/land/landscape.jsonl" >"$tmp/b"; [ -s "$tmp/a" ] && cmp -s "$tmp/a" "$tmp/b"'
ok "and a plot of six panels" [ "$(grep -c '<clipPath' "$tmp/land/landscape.svg")" -eq 6 ]
ok "a missing model is 1" exits 1 land --checkpoint "$tmp/nothing"
ok "a flag of the training beside it is 2" exits 2 land --checkpoint "$model" --large-lr 1
ok "and is named" said '--large-lr is of a training'
head -c 300 "$model" >"$tmp/cut.safetensors"
ok "half a model is 1" exits 1 land --checkpoint "$tmp/cut.safetensors"
ok "a model of other images is 1" exits 1 land --checkpoint "$tmp/net.safetensors"

# ------------------------------------------------------------------------------------------------ widths, and nets that start from smaller ones
dd() { $in_place "$tmp/double_descent" --dataset slice "$@" >"$out" 2>"$err" </dev/null; }
grow() { dd --sample 64 --epochs 2 --widths 1,2,4 --seeds 2 "$@"; }
chain() { dd --belkin --sample 200 --epochs 300 --widths 1,2,3,4 --seeds 1 --save-every 0.02 "$@"; } # 200 x 10 > 1592 parameters of width 2
ok "double_descent, from width 1" exits 0 grow --out "$tmp/dd"
ok "one row a width and seed" count "$tmp/dd/double_descent.jsonl" 6
ok "parameters of MLP(2)" grep -q '"widths":"2".*"parameters":\[1612\]' "$tmp/dd/double_descent.jsonl"
ok "a plot of four panels" [ "$(grep -c '<clipPath' "$tmp/dd/double_descent.svg")" -eq 4 ]
ok "with the line of n x classes" [ "$(grep -c 'n x classes' "$tmp/dd/double_descent.svg")" -eq 4 ]
ok "and every seed" grep -q 'opacity="0.4"' "$tmp/dd/double_descent.svg"
ok "a word on the peak" shows 'peak.* of the test error'
ok "and on the threshold" shows 'interpolation threshold'
cp "$tmp/dd/double_descent.svg" "$tmp/before.svg"
ok "--report" exits 0 grow --out "$tmp/dd" --report
ok "draws the same plot" cmp -s "$tmp/before.svg" "$tmp/dd/double_descent.svg"
ok "label noise" exits 0 grow --label-noise 0.5 --out "$tmp/dd"
ok "makes rows of its own" count "$tmp/dd/double_descent.jsonl" 12
ok "all labels wrong" exits 0 grow --label-noise 1 --out "$tmp/dd"
ok "a CNN" exits 0 dd --model cnn --sample 32 --epochs 1 --widths 1,2 --seeds 1 --out "$tmp/ddc"
ok "without batch norm: 302 + 64 x 256 + 256 + 2570 parameters" grep -q '"widths":"1".*"parameters":\[19512\]' "$tmp/ddc/double_descent.jsonl"
ok "a rate that kills" exits 0 grow --lr 1000 --out "$tmp/ddk"
ok "is seen in the table" shows '  [12] of 2'
ok "without NaN" eval '! shows "nan"'
ok "--belkin" exits 0 chain --out "$tmp/ddb"
ok "one row for the chain, one a width" count "$tmp/ddb/double_descent.jsonl" 5
ok "a chain's figures are lists" grep -q '"widths":"1,2".*"parameters":\[805,1600\]' "$tmp/ddb/double_descent.jsonl"
ok "its first net is the one without reuse" eval 'sed -n "s/.*\"widths\":\"1,2\".*\"test_loss\":\[\([^],]*\),.*/\1/p" "$tmp/ddb/double_descent.jsonl" >"$tmp/a"
    sed -n "s/.*\"widths\":\"1\".*\"test_loss\":\[\([^],]*\)\].*/\1/p" "$tmp/ddb/double_descent.jsonl" >"$tmp/b"; [ -s "$tmp/a" ] && cmp -s "$tmp/a" "$tmp/b"'
ok "two tables" [ "$(grep -c 'one hidden layer' "$tmp/out")" -eq 2 ]
cp "$tmp/ddb/double_descent.jsonl" "$tmp/before"
ok "--reuse yes" exits 0 chain --out "$tmp/ddb" --reuse yes
ok "has its rows there" cmp -s "$tmp/before" "$tmp/ddb/double_descent.jsonl"
ok "--reuse no too" eval 'exits 0 chain --out "$tmp/ddb" --reuse no && cmp -s "$tmp/before" "$tmp/ddb/double_descent.jsonl"'
ok "one job makes the same rows" eval 'chain --out "$tmp/ddj" --jobs 1 --threads 1 && same_rows "$tmp/ddj/double_descent.jsonl" "$tmp/ddb/double_descent.jsonl"'
if command -v python3 >/dev/null 2>&1; then # at a rate of next to nothing the larger net is still the smaller one and new weights
    ok "--save of a chain" exits 0 dd --belkin --sample 200 --epochs 1 --lr 1e-9 --widths 1,2 --seeds 1 --reuse yes --out "$tmp/dds" --save "$tmp/dds.safetensors"
    ok "the smaller net lies in the larger one" python3 -c '
import array, json, sys
def load(path):
    raw = open(path, "rb").read()
    n = int.from_bytes(raw[:8], "little")
    head = json.loads(raw[8:8 + n])
    return {k: (v["shape"], array.array("f", raw[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]])) for k, v in head.items() if k != "__metadata__"}
one, two = load(sys.argv[1]), load(sys.argv[2])
near = lambda a, b: len(a) == len(b) > 0 and max(abs(x - y) for x, y in zip(a, b)) < 1e-6
assert one["0.weight"][0] == [1, 784] and two["0.weight"][0] == [2, 784] and two["2.weight"][0] == [10, 2]
assert near(one["0.weight"][1], two["0.weight"][1][:784]) and near(one["2.weight"][1], two["2.weight"][1][::2]) and near(one["2.bias"][1], two["2.bias"][1])
new = two["0.weight"][1][784:]
assert not near(new, one["0.weight"][1]) and 0.09 < (sum(x * x for x in new) / 784) ** 0.5 < 0.11
' "$tmp/dds-1.safetensors" "$tmp/dds-2.safetensors"
else skip "the smaller net in the larger one (no python3)"
fi
long_chain() { dd --belkin --sample 1000 --epochs 400 --widths 2,4,6,8 --seeds 1 --reuse yes --save-every 0.02 "$@"; }
ok "a chain unbroken" exits 0 long_chain --out "$tmp/ddu"
for link in 1 2; do killed $link "$tmp/ddx" long_chain; done
ok "a chain that was killed goes on" exits 0 long_chain --out "$tmp/ddx"
ok "to the same row" same_rows "$tmp/ddx/double_descent.jsonl" "$tmp/ddu/double_descent.jsonl"
ok "and leaves no checkpoint" [ -z "$(find "$tmp/ddx" -name '*.ckpt')" ]
for bad in "--label-noise 1.5" "--label-noise -0.1" "--label-noise x" "--widths 0" "--widths 4,2" "--belkin --widths 8,4" "--belkin --model cnn" "--reuse no" \
    "--belkin --reuse maybe" "--belkin=1" "--schedule same" "--belkin --model mlp"; do
    # shellcheck disable=SC2086
    ok "bad flag is 2: $bad" exits 2 dd --out "$tmp/bad" $bad
done
ok "a bad flag writes nothing" [ ! -e "$tmp/bad" ]

# ------------------------------------------------------------------------------------------------ lottery tickets
ticket() { $in_place "$tmp/lottery" --dataset slice --train 200 --epochs 2 --seeds 2 --out "$tmp/lot" "$@" >"$out" 2>"$err" </dev/null; }
list() { sed -n "s/.*\"seed\":1,.*\"$1\":\[\([^]]*\)\].*/\1/p" "$2"; } # the list of a figure of seed 1
ok "lottery" exits 0 ticket --levels 50,10 --controls reinit,shuffle,random --instability --save "$tmp/lot.safetensors"
ok "one row a seed" count "$tmp/lot/lottery.jsonl" 2
ok "exact counts of 266200" [ "$(list kept "$tmp/lot/lottery.jsonl")" = 266200,133100,26620 ]
for key in ticket ticket_train_accuracy twin barrier; do
    ok "$key at three levels" [ "$(list $key "$tmp/lot/lottery.jsonl" | tr ',' '\n' | grep -c -E '^-?[0-9]')" -eq 3 ]
done
for key in reinit shuffle random; do
    ok "$key at two levels" [ "$(list $key "$tmp/lot/lottery.jsonl" | sed 's/^null,//' | tr ',' '\n' | grep -c -E '^[0-9]')" -eq 2 ]
done
ok "the paper's column" shows '83.72'
ok "and its control's" shows '80.92'
ok "where the control falls behind" shows 'reinit below the ticket: '
ok "three panels" [ "$(grep -c '<clipPath' "$tmp/lot/lottery.svg")" -eq 3 ]
cp "$tmp/lot/lottery.svg" "$tmp/before.svg"
ok "--report" exits 0 ticket --levels 50,10 --controls reinit,shuffle,random --instability --report
ok "draws the same plot" cmp -s "$tmp/before.svg" "$tmp/lot/lottery.svg"
saved=$(find "$tmp" -name 'lot-*-seed-1.safetensors')
ok "--mask takes the ticket of a run" exits 0 ticket --mask "$saved" --controls none --seeds 1
ok "with its size" grep -q '"mode":"mask".*"kept":\[266200,26620\]' "$tmp/lot/lottery.jsonl"
ok "and its end, with the same seed" eval 'grep "\"mode\":\"mask\"" "$tmp/lot/lottery.jsonl" >"$tmp/row"; grep "oneshot" "$tmp/lot/lottery.jsonl" >"$tmp/rows"
    [ "$(list ticket "$tmp/row" | cut -d, -f2)" = "$(list ticket "$tmp/rows" | cut -d, -f3)" ]'
ok "a mask of another model is 2" exits 2 ticket --mask "$saved" --width 1
ok "and says so" said 'another model'
ok "a model without a mask is 2" exits 2 ticket --mask "$tmp/net.safetensors"
ok "no file is 1" exits 1 ticket --mask "$tmp/nothing"
turns() { $in_place "$tmp/lottery" --dataset slice --train 500 --epochs 4 --seeds 1 --mode iterative --levels 60,36,20 --controls random --rewind 6 "$@" >"$out" 2>"$err" </dev/null; }
ok "iterative, from step 6 on" exits 0 turns --out "$tmp/lu" --threads 1
for at in 1 2 3 4; do killed $at "$tmp/lk" turns; done
ok "the run goes on" exits 0 turns --out "$tmp/lk"
ok "to the same row" same_rows "$tmp/lk/lottery.jsonl" "$tmp/lu/lottery.jsonl"
ok "no checkpoint is left" [ -z "$(find "$tmp/lk" -name '*.ckpt' -o -name 'lottery.*.json')" ]
ok "20 % a round, down to 2 %" exits 0 ticket --mode iterative --train 20 --epochs 1 --seeds 1 --controls none --out "$tmp/li"
ok "in 18 rounds" [ "$(list kept "$tmp/li/lottery.jsonl" | tr ',' '\n' | tail -n 1)" = 4795 ]
ok "a convolutional net" exits 0 ticket --train 32 --epochs 1 --width 1 --levels 30 --out "$tmp/lc"
for bad in "--levels 0" "--levels 101" "--levels 20,50" "--levels 100" "--rewind 4" "--rewind -1" "--controls other" "--controls reinit,reinit" "--mode other" "--instability=1"; do
    # shellcheck disable=SC2086
    ok "bad flag is 2: $bad" exits 2 ticket --out "$tmp/bad" $bad
done
ok "a bad flag writes nothing" [ ! -e "$tmp/bad" ]

# ------------------------------------------------------------------------------------------------ tangent kernels
kernels() { $in_place "$tmp/ntk" --dataset slice --train 100 --epochs 3 --seeds 2 --widths 4,8,16 --kernel-images 50 "$@" >"$out" 2>"$err" </dev/null; }
ok "ntk" exits 0 kernels --param standard,ntk --linear --out "$tmp/ntk1"
ok "one row a width, parametrisation and seed, and those of infinite width" count "$tmp/ntk1/ntk.jsonl" 14
grep '"width":' "$tmp/ntk1/ntk.jsonl" >"$tmp/rows"
for key in train_loss test_accuracy movement distance start_norm layer_movement kernel_change alignment regression_accuracy ridge linear_accuracy; do
    ok "rows have $key" [ "$(grep -c -E "\"$key\":\[?[0-9]" "$tmp/rows")" -eq 12 ]
done
ok "four layers" [ "$(list layer_movement "$tmp/rows" | head -n 1 | tr ',' '\n' | wc -l)" -eq 4 ]
ok "regression before and after" [ "$(list regression_accuracy "$tmp/rows" | head -n 1 | tr ',' '\n' | wc -l)" -eq 2 ]
number() { sed -n "s/.*\"$1\":\([0-9.e-]*\).*/\1/p" "$tmp/rows"; }
ok "movement is distance over norm" eval 'number movement >"$tmp/col1"; number distance >"$tmp/col2"; number start_norm >"$tmp/col3"
    [ "$(paste "$tmp/col1" "$tmp/col2" "$tmp/col3" | awk "{ e = \$1 * \$3 / \$2 - 1; if (e * e < 1e-12) n++ } END { print n }")" -eq 12 ]'
ok "an exponent" shows 'relative movement ~ width^-'
ok "the row of infinite width" shows '^ *infinite, NTK '
ok "four panels" [ "$(grep -c '<clipPath' "$tmp/ntk1/ntk.svg")" -eq 4 ]
cp "$tmp/ntk1/ntk.svg" "$tmp/before.svg"
ok "--report" exits 0 kernels --param standard,ntk --linear --out "$tmp/ntk1" --report
ok "draws the same plot" cmp -s "$tmp/before.svg" "$tmp/ntk1/ntk.svg"
ok "one job" exits 0 kernels --param standard,ntk --linear --out "$tmp/ntk2" --jobs 1 --threads 1
ok "makes the same rows" same_rows "$tmp/ntk2/ntk.jsonl" "$tmp/ntk1/ntk.jsonl"
ok "squared error has rows of its own" eval 'kernels --loss mse --out "$tmp/ntk1" && count "$tmp/ntk1/ntk.jsonl" 20'
ok "one width, one image, one seed" exits 0 kernels --widths 1 --train 1 --seeds 1 --out "$tmp/ntk3"
ok "without NaN in its row" [ "$(grep -c -i -E '[:,[](nan|-?inf)' "$tmp/ntk3/ntk.jsonl")" -eq 0 ]
for bad in "--widths 8,4" "--widths 0" "--param other" "--param ntk,ntk" "--loss other" "--kernel-images 0" "--linear=1" "--lr 0"; do
    # shellcheck disable=SC2086
    ok "bad flag is 2: $bad" exits 2 kernels --out "$tmp/bad" $bad
done
ok "a bad flag writes nothing" [ ! -e "$tmp/bad" ]
steady() { $in_place "$tmp/ntk" --dataset slice --train 500 --epochs 30 --seeds 1 --widths 32 --linear "$@" >"$out" 2>"$err" </dev/null; }
ok "an unbroken cell" exits 0 steady --out "$tmp/nu"
for at in 0 1; do killed $at "$tmp/nk" steady; done # in the training of the net, and in that of the linearised model
ok "the run goes on" exits 0 steady --out "$tmp/nk"
ok "to the same row" same_rows "$tmp/nk/ntk.jsonl" "$tmp/nu/ntk.jsonl"

# Ctrl-C while something is measured between two trainings: half of it must not get into the row. The page of the first training says when that is.
two_nets() { $in_place "$tmp/landscape" --dataset slice --train 400 --epochs 2 --width 2 --seeds 1 --hessian-images 300 --trace-products 60 --noise-images 400 --match-loss 1e-6 \
    "$@" >"$out" 2>"$err" </dev/null; }
ok "two nets" exits 0 two_nets --out "$tmp/tu"
stops=0
for pause in 0.2 0.6 1; do
    background two_nets --out "$tmp/tk"
    until_there "$tmp/tk" -name '*.0.json' -exec grep -q '"finished":1' {} \; -print
    sleep $pause
    kill -INT "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    [ $? -ne 130 ] || stops=$((stops + 1))
done
ok "it was stopped" [ $stops -gt 0 ]
ok "the run goes on" exits 0 two_nets --out "$tmp/tk"
ok "to the same row" same_rows "$tmp/tk/landscape.jsonl" "$tmp/tu/landscape.jsonl"

# ------------------------------------------------------------------------------------------------ kills
ok "an unbroken run" exits 0 long --out "$tmp/u"
for signal in KILL KILL INT; do
    : >"$tmp/started"
    background long --out "$tmp/k" --save-every 0.05
    until_there "$tmp/k" -name 'batch_size.*.json' -newer "$tmp/started"
    kill -$signal "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    status=$?
    [ $signal = KILL ] && ok "a kill in mid-run leaves a checkpoint" [ "$(find "$tmp/k" -name '*.ckpt' | wc -l)" -gt 0 ]
done
cp "$tmp/background.err" "$tmp/err"
ok "Ctrl-C is 130" [ "$status" -eq 130 ]
ok "and says how to go on" said 'the same command goes on'
printf '{"experiment":"batch_size","version":"0' >>"$tmp/k/batch_size.jsonl"
ok "the run goes on" exits 0 long --out "$tmp/k"
ok "to the same rows" same_rows "$tmp/k/batch_size.jsonl" "$tmp/u/batch_size.jsonl"
ok "no checkpoint is left" none_left "$tmp/k"
mkdir "$tmp/h"
half() { run --train 1000 --epochs 40 --batches 8 --widths 64 --seeds 1 --out "$tmp/h" "$@"; }
background half --save-every 0.05
until_there "$tmp/h" -name 'batch_size.*.json'
kill -TERM "$pid" 2>/dev/null
wait "$pid"
ok "SIGTERM is 143" [ $? -eq 143 ]
for file in "$tmp/h"/*.ckpt; do head -c 1000 "$file" >"$tmp/cut" && cp "$tmp/cut" "$file"; done
ok "a checkpoint cut short is 1" exits 1 half
ok "and the way out is named" said 'cannot go on from .*delete'
for file in "$tmp/h"/batch_size.*.json; do echo '{"experiment":' >"$file"; done
ok "a damaged page is 1" exits 1 half
rm "$tmp/h"/batch_size.*.json
ok "without them the cell is trained anew" exits 0 half
ok "to the same row" eval 'grep "\"batch\":8," "$tmp/u/batch_size.jsonl" >"$tmp/row"; same_rows "$tmp/h/batch_size.jsonl" "$tmp/row"'
ok "and nothing is left" none_left "$tmp/h"
longer() { run --train 1000 --epochs 200 --batches 8 --widths 64 --seeds 1 "$@"; }
ok "one longer cell" exits 0 longer --out "$tmp/v"
background longer --out "$tmp/t" --save-every 0.05
until_there "$tmp/t" -name 'batch_size.*.json'
first=$pid as=second
background longer --out "$tmp/t"
until_there "$tmp/second.out" -exec grep -q 'waiting for it' {} \; -print
ok "the second process waits for the first, which is killed" kill -KILL "$first"
wait "$first" 2>/dev/null
wait "$pid"
ok "it takes over" same_rows "$tmp/t/batch_size.jsonl" "$tmp/v/batch_size.jsonl"
head -c 700 "$tmp/r/batch_size.jsonl" >"$tmp/cut"
cp "$tmp/cut" "$tmp/s/batch_size.jsonl"
ok "a torn last line" exits 0 small --out "$tmp/s"
ok "is cut and done again" same_rows "$tmp/s/batch_size.jsonl" "$tmp/r/batch_size.jsonl"
sed 's/"version":"[^"]*"/"version":"0.0.0"/' "$tmp/r/batch_size.jsonl" >"$tmp/s/batch_size.jsonl"
ok "rows of another version" exits 1 small --out "$tmp/s" --report
ok "are not reported" said 'the first of its 4 has "version":"0.0.0":'
ok "a folder without rows" exits 1 small --out "$tmp/norows" --report
ok "says so" said 'no row yet'
ok "a model that cannot be written" exits 1 small --out "$tmp/norows" --save "$tmp/nothing/here.safetensors"
ok "is known before the training" eval 'said "here.safetensors: cannot be written" && [ ! -s "$tmp/norows/batch_size.jsonl" ]'

# ------------------------------------------------------------------------------------------------ what goes wrong
ok "a run that diverges goes on" exits 0 run --train 64 --epochs 9 --batches 16,1000000000 --widths 8 --seeds 1 --lr-rule linear --out "$tmp/d"
ok "diverged cells are rows" [ "$(grep -c '"status":"diverged"' "$tmp/d/batch_size.jsonl")" -ge 1 ]
ok "with null figures" grep -q '"status":"diverged".*"lambda":null' "$tmp/d/batch_size.jsonl"
for bad in "--nonsense 1" "--epochs" "--epochs many" "--epochs 0" "--epochs 1.5" "--batches 16,,64" "--batches 16,16" "--batches 0" "--lr-rule other" \
    "--dataset other" "--seeds 2 --seed 1" "--shard 3/2" "--shard 0/2" "--shard x" "--report --fresh" "--report=1" "loose" "--jobs -1" "--preset big" "--widths 1e99"; do
    # shellcheck disable=SC2086
    ok "bad flag is 2: $bad" exits 2 run --out "$tmp/bad" $bad
done
ok "a bad flag writes nothing" [ ! -e "$tmp/bad" ]
ok "the message names the flag" eval 'exits 2 run --epochs many && said "--epochs many"'
ok "missing data is 1" eval '"$tmp/batch_size" --dataset mnist --data "$tmp/nowhere" >"$tmp/out" 2>"$tmp/err"; [ $? -eq 1 ] && said data_fetch.sh'
mkdir -p "$tmp/data/mnist"
cp examples/data/*-ubyte "$tmp/data/mnist/"
head -c 5000 examples/data/train-images-idx3-ubyte >"$tmp/data/mnist/train-images-idx3-ubyte"
ok "damaged data is 1" eval '"$tmp/batch_size" --dataset mnist --data "$tmp/data" >"$tmp/out" 2>"$tmp/err"; [ $? -eq 1 ] && [ $(wc -l <"$tmp/err") -eq 1 ] && said train-images'
: >"$tmp/file"
ok "a folder that cannot be is 1" exits 1 small --out "$tmp/file/x"
ok "and names the way out" said '--out'
if [ -e /dev/full ]; then
    mkdir -p "$tmp/full"
    ln -s /dev/full "$tmp/full/batch_size.jsonl"
    ok "a full disk is 1" exits 1 small --out "$tmp/full"
    ok "and is named" said 'batch_size.jsonl'
else skip "rows to a full disk (no /dev/full)"
fi
if [ "$(id -u)" -ne 0 ]; then
    mkdir -p "$tmp/locked"
    chmod 555 "$tmp/locked"
    ok "a read-only folder is 1" exits 1 small --out "$tmp/locked"
    chmod 755 "$tmp/locked"
else skip "a read-only folder (root may write there)"
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
