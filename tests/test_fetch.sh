#!/bin/sh
# test_fetch.sh: tests data_fetch.sh and the bundled slice in examples/data.
#
# Most cases run on small sets of random bytes, with a copy of the script whose
# table of sums is theirs. The real MNIST (below $GENREG_SHARED/data, by default
# the folder shared/ beside the project) and Debian's dataset-fashion-mnist prove
# the real sums where they are at hand. Prints one line a failing case, then
# `N passed, N failed`; exits 1 when something failed.
set -u
LC_ALL=C
export LC_ALL
unset http_proxy HTTP_PROXY all_proxy ALL_PROXY GENREG_MIRRORS_MNIST GENREG_MIRRORS_FASHION GENREG_MIRRORS_CIFAR10

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd) || exit 1
project=$(dirname -- "$here")
shared=${GENREG_SHARED:-$here/../../shared}
case $shared in /*) ;; *) shared=$PWD/$shared ;; esac
script=$project/data_fetch.sh

W=$(mktemp -d "${TMPDIR:-/tmp}/genreg_fetch.XXXXXX") || exit 1
server=
# shellcheck disable=SC2317  # The trap calls it.
finish()
{
    if [ -n "$server" ]; then kill "$server" 2>/dev/null; wait "$server" 2>/dev/null; fi
    rm -rf -- "$W"
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
cd "$W" || exit 1

# ---- the frame --------------------------------------------------------------

passed=0 failed=0 skipped=0 rc=0 case_name='' faults=''
out=$W/stdout err=$W/stderr

begin() { case_name=$1 faults=''; : >"$out"; : >"$err"; rm -rf -- "$W/d"; }
end()
{
    if [ -z "$faults" ]; then passed=$((passed + 1)); return; fi
    failed=$((failed + 1))
    printf 'FAIL %s:%s (exit %s, stderr: %s)\n' "$case_name" "$faults" "$rc" "$(head -n 2 "$err" | tr '\n' ' ')"
}
skip() { skipped=$((skipped + 1)); printf 'skipped: %s\n' "$1"; }
expect() { what=$1; shift; "$@" >/dev/null 2>&1 || faults="$faults $what;"; }

limit=
if command -v timeout >/dev/null 2>&1; then limit='timeout 20'; fi
# shellcheck disable=SC2086  # The limit is words or none.
run() { $limit sh "$W/fetch.sh" "$@" >"$out" 2>"$err" </dev/null; rc=$?; }
status()   { [ "$rc" -eq "$1" ]; }
one_line() { [ "$(wc -l <"$err")" -eq 1 ]; }
silent()   { [ ! -s "$err" ]; }
says()     { grep -qF -- "$1" "$err"; }
absent()   { [ ! -e "$1" ] && [ ! -h "$1" ]; }
# No staging folder and no partial download below the folder.
clean()    { [ -z "$(find "$1" -name '.data_fetch*' -o -name '*.part' 2>/dev/null)" ]; }
complete()
{
    clean "$1" || return 1
    case $2 in
        cifar10) for x in $cifar; do cmp -s "$W/full/cifar-10-batches-bin/$x" "$1/cifar-10-batches-bin/$x" || return 1; done ;;
        *) for x in $idx; do cmp -s "$W/full/$2/$x" "$1/$2/$x" || return 1; done ;;
    esac
}

# ---- a small world ----------------------------------------------------------

idx='t10k-labels-idx1-ubyte train-labels-idx1-ubyte t10k-images-idx3-ubyte train-images-idx3-ubyte'
cifar='data_batch_1.bin data_batch_2.bin data_batch_3.bin data_batch_4.bin data_batch_5.bin test_batch.bin'
mkdir -p full/mnist full/fashion full/cifar-10-batches-bin www
noise() { dd if=/dev/urandom bs=1024 count="$1" 2>/dev/null; }
for f in $idx; do
    case $f in *images*) k=200 ;; *) k=2 ;; esac
    noise $k >"full/mnist/$f"
    noise $k >"full/fashion/$f"
done
for f in $cifar; do noise 60 >"full/cifar-10-batches-bin/$f"; done
echo airplane >full/cifar-10-batches-bin/batches.meta.txt

if command -v sha256sum >/dev/null 2>&1; then sum() { sha256sum; }
elif command -v shasum >/dev/null 2>&1; then sum() { shasum -a 256; }
else sum() { openssl dgst -sha256 -r; }
fi
(cd full && find . -type f) | sed 's|^\./||' | while read -r f; do
    printf 's|^[0-9a-f]* %s$|%s %s|\n' "$f" "$(sum <"full/$f" | cut -c1-64)" "$f"
done >edit.sed
sed -f edit.sed "$script" >fetch.sh
begin 'table of sums'
expect 'the copy has not the sums of the small world' [ "$(grep -c -vxF -f "$script" fetch.sh)" -eq 15 ]
end

# www/flat is an upstream folder of MNIST and CIFAR-10; www/fashion_flat one of
# Fashion-MNIST; www/packed has the layout with mnist/*.gz and cifar-10/*.bin.xz.
mkdir -p www/flat www/fashion_flat www/packed/mnist www/packed/cifar-10 www/empty
for f in $idx; do
    gzip -c "full/mnist/$f" >"www/flat/$f.gz"
    gzip -c "full/fashion/$f" >"www/fashion_flat/$f.gz"
done
cp www/flat/*.gz www/packed/mnist
tar -cf - -C full cifar-10-batches-bin | gzip -c >www/flat/cifar-10-binary.tar.gz
cp full/cifar-10-batches-bin/batches.meta.txt www/packed/cifar-10
xz_there=
if command -v xz >/dev/null 2>&1; then
    xz_there=1
    for f in $cifar; do xz -0 -c "full/cifar-10-batches-bin/$f" >"www/packed/cifar-10/$f.xz"; done
fi

# ---- command line -----------------------------------------------------------

usage_case()
{
    begin "usage: $*"
    run "$@"
    expect 'exit status is not 2' status 2
    expect 'no usage line' says 'usage: data_fetch.sh'
    expect 'something was made' absent data
    end
}
usage_case --bogus
usage_case --from
usage_case --from ''
usage_case --from=
usage_case --from gopher://x d
usage_case d imagenet
usage_case mnist cifar10
usage_case mnist d
usage_case d mnist fashion
usage_case ''

begin 'help'
run --help
expect 'exit status' status 0
expect 'stderr' silent
for word in --from DEST GENREG_MIRRORS_MNIST GENREG_MIRRORS_FASHION GENREG_MIRRORS_CIFAR10 dataset-fashion-mnist; do
    expect "no word of $word" grep -qF -- "$word" "$out"
done
end

begin 'source folder does not exist'
run --from "$W/nowhere" d
expect 'exit status' status 1
expect 'message' says 'no such folder'
expect 'not one line' one_line
expect 'DEST was made' absent d
end

# ---- local folders ----------------------------------------------------------

begin 'upstream layout, packed, set by set'
run --from www/flat d mnist
expect 'mnist: exit status' status 0
expect 'mnist: files' complete d mnist
expect 'stderr' silent
run --from file://"$W"/www/flat/ d cifar10
expect 'cifar10: exit status' status 0
expect 'cifar10: files' complete d cifar10
expect 'batches.meta.txt' cmp full/cifar-10-batches-bin/batches.meta.txt d/cifar-10-batches-bin/batches.meta.txt
expect 'stderr' silent
run --from=www/fashion_flat d fashion
expect 'fashion: exit status' status 0
expect 'fashion: files' complete d fashion
end

begin 'all from a flat folder of MNIST: Fashion-MNIST is named and skipped'
run --from www/flat d
expect 'exit status' status 0
expect 'mnist' complete d mnist
expect 'cifar10' complete d cifar10
expect 'fashion was taken' absent d/fashion
expect 'message' says 'fashion: www/flat does not have it'
expect 'not one line' one_line
end

begin 'a flat folder of Fashion-MNIST is not MNIST'
run --from www/fashion_flat d mnist
expect 'exit status' status 1
expect 'message' says 'mnist: www/fashion_flat does not have it'
expect 'something left' absent d
end

begin 'upstream layout, unpacked, in the folder itself'
mkdir -p raw && cp full/mnist/* full/cifar-10-batches-bin/*.bin raw
run --from raw d
expect 'exit status' status 0
expect 'mnist' complete d mnist
expect 'cifar10' complete d cifar10
end

begin 'subfolders: as this script leaves them'
run --from full d all
expect 'exit status' status 0
expect 'mnist' complete d mnist
expect 'fashion' complete d fashion
expect 'cifar10' complete d cifar10
expect 'stderr' silent
end

begin 'subfolders: fashion-mnist/ and cifar-10/ with the archive'
mkdir -p sub/fashion-mnist sub/cifar-10
cp www/fashion_flat/* sub/fashion-mnist && cp www/flat/cifar-10-binary.tar.gz sub/cifar-10
run --from sub d
expect 'exit status' status 0
expect 'fashion' complete d fashion
expect 'cifar10' complete d cifar10
expect 'message' says 'mnist: sub does not have it'
end

if [ -n "$xz_there" ]; then
    begin 'layout mnist/*.gz and cifar-10/*.bin.xz'
    run --from www/packed d
    expect 'exit status' status 0
    expect 'mnist' complete d mnist
    expect 'cifar10' complete d cifar10
    expect 'batches.meta.txt' test -f d/cifar-10-batches-bin/batches.meta.txt
    expect 'message' says 'fashion: '
    end
else
    skip 'layout with .xz files (no xz)'
fi

begin 'names with spaces and a leading dash'
cp -R www/fashion_flat 'a b'
run --from 'a b' 'd d' fashion
expect 'exit status' status 0
expect 'files' complete 'd d' fashion
run --from 'a b' -- -d fashion
expect 'dash: exit status' status 0
expect 'dash: files' complete ./-d fashion
end

begin 'a lone set name is the set, DEST is data'
run --from www/fashion_flat fashion
expect 'exit status' status 0
expect 'files' complete data fashion
rm -rf data
end

begin 'there already: nothing is fetched, right files stay, a wrong one is replaced'
run --from full d
ls -i d/mnist >before
GENREG_MIRRORS_MNIST=http://127.0.0.1:9 run d mnist
expect 'exit status' status 0
expect 'stderr' silent
echo damaged >d/mnist/t10k-labels-idx1-ubyte
run --from www/flat d mnist
ls -i d/mnist >after
expect 'second exit status' status 0
expect 'files' complete d mnist
expect 'more than one file was replaced' [ "$(grep -c -vxF -f before after)" -le 1 ]
end

for shell in dash bash ksh mksh yash 'busybox sh'; do
    if command -v "${shell%% *}" >/dev/null 2>&1; then
        begin "under $shell"
        # shellcheck disable=SC2086  # `busybox sh` is two words.
        $shell "$W/fetch.sh" --from www/flat d >"$out" 2>"$err"
        rc=$?
        expect 'exit status' status 0
        expect 'mnist' complete d mnist
        expect 'cifar10' complete d cifar10
        end
    fi
done

# ---- what a killed run left -------------------------------------------------

# Staging folders are .data_fetch.HOST.PROCESS.
ours=d/mnist/.data_fetch.$(uname -n | tr -cd 'A-Za-z0-9._-')
theirs=d/mnist/.data_fetch.other-host.example
dead_process=$(sh -c 'echo $$')
begin 'staging folders of dead runs go, those of live ones stay'
mkdir -p "$ours.$dead_process" "$ours.$$" && echo x >"$ours.$dead_process/out"
run --from www/flat d mnist
expect 'exit status' status 0
expect 'stderr' silent
expect 'a dead run of this host' absent "$ours.$dead_process"
expect 'a live run of this host' test -d "$ours.$$"
rm -rf -- "$ours.$$"
expect 'files' complete d mnist
end

begin 'a staging folder of the same process number, which in a container is always 1'
# shellcheck disable=SC2016  # The inner shell expands them.
sh -c 'mkdir -p "$1.$$" && echo x >"$1.$$/out" && shift && exec sh "$@"' sh "$ours" "$W/fetch.sh" --from www/flat d mnist >"$out" 2>"$err"
rc=$?
expect 'exit status' status 0
expect 'stderr' silent
expect 'files' complete d mnist
end

begin 'staging folders of another host, whose processes are not to be seen: a day decides'
mkdir -p "$theirs.$dead_process" "$theirs.$$" "$theirs.1" "d/mnist/.data_fetch.$dead_process"
echo x >"$theirs.1/out"
touch -t 202001010000 "$theirs.$$" "$theirs.1" "d/mnist/.data_fetch.$dead_process"
run --from www/flat d mnist
expect 'exit status' status 0
expect 'stderr' silent
expect 'made just now' test -d "$theirs.$dead_process"
expect 'written just now' test -f "$theirs.1/out"
expect 'older than a day' absent "$theirs.$$"
expect 'without a host, older than a day' absent "d/mnist/.data_fetch.$dead_process"
rm -rf -- "$theirs.$dead_process" "$theirs.1"
expect 'files' complete d mnist
end

# ---- bad sources ------------------------------------------------------------

# bad_case NAME FOLDER SET FILE: the set is refused and FILE is named.
bad_case()
{
    begin "$1"
    run --from "$2" d "$3"
    expect 'exit status' status 1
    expect 'file not named' says "$4"
    expect 'not called wrong' says 'wrong SHA-256'
    expect 'not one line' one_line
    expect 'something left' absent d
    end
}
mkdir -p bad1 bad2/mnist bad3 bad4/cifar-10 bad5
cp www/flat/t*.gz bad1 && echo nonsense | gzip -c >bad1/t10k-labels-idx1-ubyte.gz
rm bad1/train-* bad1/t10k-images*
bad_case 'wrong bytes' bad1 mnist bad1/t10k-labels-idx1-ubyte.gz
dd if=www/flat/t10k-labels-idx1-ubyte.gz of=bad2/mnist/t10k-labels-idx1-ubyte.gz bs=1000 count=1 2>/dev/null
bad_case 'cut .gz' bad2 mnist bad2/mnist/t10k-labels-idx1-ubyte.gz
cp -R full/cifar-10-batches-bin bad3 && echo x >>bad3/cifar-10-batches-bin/test_batch.bin
tar -cf - -C bad3 cifar-10-batches-bin | gzip -c >bad3/cifar-10-binary.tar.gz && rm -r bad3/cifar-10-batches-bin
bad_case 'archive with one wrong file' bad3 cifar10 bad3/cifar-10-binary.tar.gz
dd if=www/flat/cifar-10-binary.tar.gz of=bad5/cifar-10-binary.tar.gz bs=1000 count=200 2>/dev/null
bad_case 'cut archive' bad5 cifar10 bad5/cifar-10-binary.tar.gz
if [ -n "$xz_there" ]; then
    echo junk >bad4/cifar-10/data_batch_1.bin.xz
    bad_case 'file that is no .xz' bad4 cifar10 bad4/cifar-10/data_batch_1.bin.xz
fi

begin 'a damaged set fails all, the others are still taken'
cp -R full bad6 && echo x >>bad6/mnist/t10k-labels-idx1-ubyte
run --from bad6 d
expect 'exit status' status 1
expect 'fashion' complete d fashion
expect 'cifar10' complete d cifar10
expect 'file not named' says bad6/mnist/t10k-labels-idx1-ubyte
end

begin 'half a set'
mkdir -p half && cp www/flat/t10k-* half
run --from half d mnist
expect 'exit status' status 1
expect 'message' says 'only a part'
expect 'missing file not named' says train-labels-idx1-ubyte
run --from www/flat d mnist
expect 'completed by another source' complete d mnist
end

begin 'a source without any set'
run --from www/empty d
expect 'exit status' status 1
for f in mnist fashion cifar10; do expect "$f not named" says "$f: www/empty does not have it"; done
expect 'something left' absent d
run --from www/empty d mnist
expect 'by name: exit status' status 1
end

# ---- places that cannot be written ------------------------------------------

write_case()
{
    begin "$1"
    run --from www/flat "$2" mnist
    expect 'exit status' status 1
    expect 'not one line' one_line
    expect 'no way out' says 'choose another DEST'
    expect 'something left' clean "$W"
    end
}
echo file >in_the_way
write_case 'DEST is a file' in_the_way
write_case 'the parent of DEST is a file' in_the_way/d
mkdir -p taken && echo file >taken/mnist
write_case 'DEST/mnist is a file' taken
if [ "$(id -u)" -ne 0 ]; then
    mkdir -p locked && chmod a-w locked
    write_case 'DEST is read-only' locked
    chmod u+w locked
else
    skip 'read-only folder (the superuser may write everywhere)'
fi

begin 'a folder in place of a file'
mkdir -p d/mnist/t10k-labels-idx1-ubyte
run --from www/flat d mnist
expect 'exit status' status 1
expect 'message' says 'd/mnist/t10k-labels-idx1-ubyte is a folder'
expect 'something left' clean d
end

# A limit on the size of files stands in for a full disk: writes fail alike.
limited() { (trap '' XFSZ; ulimit -f 64 && run "$@"; exit "$rc"); rc=$?; }
full_case()
{
    begin "full disk: $1"
    shift
    mkdir d
    limited "$@"
    expect 'exit status' status 1
    expect 'message' says 'the disk is full'
    expect 'not one line' one_line
    expect 'something half-written' [ -z "$(find d -size +60k)" ]
    expect 'something left' clean d
    end
}
full_there=
if (trap '' XFSZ; ulimit -f 64 && noise 100 >limit_test) 2>/dev/null; then :
elif [ "$(wc -c <limit_test)" -lt 102400 ]; then full_there=1
fi
if [ -n "$full_there" ]; then
    full_case 'unpacking a .gz file' --from www/flat d mnist
    full_case 'unpacking an archive' --from www/flat d cifar10
    full_case 'copying a file' --from full d fashion
else
    skip 'full disk (no limit on the size of files)'
fi

# ---- tools that lack ---------------------------------------------------------

# only TOOL...: a PATH with the basic tools and these.
only()
{
    rm -rf -- ./bin && mkdir bin
    for t in sh sed cut grep cat mv rm mkdir rmdir wc tr tail "$@"; do
        p=$(command -v "$t") || return 1
        ln -s "$p" "bin/$t"
    done
}
run_only() { PATH=$W/bin "$W/bin/sh" "$W/fetch.sh" "$@" >"$out" 2>"$err" </dev/null; rc=$?; }

for t in sha256sum shasum openssl; do
    if ! only gzip tar "$t"; then skip "sums by $t (not installed)"; continue; fi
    begin "sums by $t"
    run_only --from www/flat d
    expect 'exit status' status 0
    expect 'mnist' complete d mnist
    expect 'cifar10' complete d cifar10
    run_only --from bad1 d/e mnist
    expect 'bad file: exit status' status 1
    end
done
tool_case()
{
    begin "without $1"
    shift
    word=$1
    shift
    run_only "$@"
    expect 'exit status' status 1
    expect 'no way out' says install
    expect 'tool not named' says "$word"
    expect 'not one line' one_line
    expect 'something left' clean .
    end
}
only gzip tar
tool_case 'any sum tool' sha256sum --from www/flat d mnist
sums_tool=sha256sum
command -v sha256sum >/dev/null 2>&1 || sums_tool=shasum
only tar "$sums_tool"
tool_case gzip gzip --from www/flat d mnist
only gzip tar "$sums_tool"
tool_case 'curl and wget' wget d mnist
if [ -n "$xz_there" ]; then tool_case xz xz --from www/packed d cifar10; fi

# ---- URLs -------------------------------------------------------------------

# One server, several tempers, chosen by the first part of the path:
#   plain  as python's http.server: ignores ranges
#   range  continues where it is asked to
#   cut    breaks off in the middle unless asked for a range
#   drip   sends a half and falls silent
cat >server.py <<'PY'
import http.server, os, re, sys, threading, time
root, port_file, log = sys.argv[1:]
class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args): pass
    def note(self, status):
        with open(log, "a") as f: f.write(f"{status} {self.path}\n")
    def do_GET(self):
        temper, _, rest = self.path[1:].partition("/")
        path = os.path.join(root, rest)
        if not os.path.isfile(path):
            self.note(404)
            return self.send_error(404)
        data = open(path, "rb").read()
        begin, asked = 0, re.match(r"bytes=(\d+)-$", self.headers.get("Range", ""))
        if asked and temper != "plain":
            begin = int(asked[1])
            if begin >= len(data):
                self.note(416)
                return self.send_error(416)
            self.note(206)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        else:
            self.note(200)
            self.send_response(200)
        self.send_header("Content-Length", str(len(data) - begin))
        self.end_headers()
        half = temper in ("cut", "drip") and begin == 0 and len(data) > 100000
        self.wfile.write(data[begin : len(data) // 2 if half else None])
        self.wfile.flush()
        if half and temper == "drip": time.sleep(20)
httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
with open(port_file + ".new", "w") as f: f.write(str(httpd.server_port))
os.rename(port_file + ".new", port_file)
threading.Timer(60, os._exit, [0]).start()
httpd.serve_forever()
PY
nap() { sleep 0.1 2>/dev/null || sleep 1; }
port=
if command -v python3 >/dev/null 2>&1; then
    python3 server.py "$W/www" "$W/port" "$W/log" >/dev/null 2>server.err &
    server=$!
    i=0
    while [ ! -s port ] && [ $i -lt 50 ]; do nap; i=$((i + 1)); done
    port=$(cat port 2>/dev/null)
fi
url=http://127.0.0.1:$port
img=train-images-idx3-ubyte
logged() { grep -qF -- "$1" log; }

url_cases()
{
    begin "$tool: URL of an upstream folder: all"
    run "--from=$url/plain/flat/" d
    expect 'exit status' status 0
    expect 'mnist' complete d mnist
    expect 'cifar10' complete d cifar10
    expect 'message' says "fashion: $url/plain/flat does not have it"
    expect 'fashion was taken' absent d/fashion
    end

    begin "$tool: URL: a set that is lacking, by name"
    run --from "$url/plain/empty" d mnist
    expect 'exit status' status 1
    expect 'message' says 'does not have it'
    expect 'not one line' one_line
    expect 'something left' absent d
    end

    begin "$tool: URL that nobody answers"
    run --from "$dead" d mnist
    expect 'exit status' status 1
    expect 'message' says "$dead"
    expect 'not one line' one_line
    expect 'something left' absent d
    end

    begin "$tool: URL with wrong bytes"
    run --from "$url/range/bad" d mnist
    expect 'exit status' status 1
    expect 'message' says 'wrong SHA-256'
    expect 'something left' absent d
    end

    for temper in range plain; do
        begin "$tool: a cut .part file, server of kind $temper"
        mkdir -p d/mnist && : >log
        dd if=www/flat/$img.gz of=d/mnist/$img.gz.part bs=1000 count=90 2>/dev/null
        run --from "$url/$temper/flat" d mnist
        expect 'exit status' status 0
        expect 'files' complete d mnist
        if [ $temper = range ]; then
            expect 'not resumed' logged "206 /range/flat/$img.gz"
            expect 'fetched anew' [ "$(grep -c "^200 .*$img.gz" log)" -eq 0 ]
        fi
        end

        begin "$tool: a whole .part file, server of kind $temper"
        mkdir -p d/mnist && : >log
        cp www/flat/$img.gz d/mnist/$img.gz.part
        run --from "$url/$temper/flat" d mnist
        expect 'exit status' status 0
        expect 'files' complete d mnist
        expect 'fetched all the same' [ "$(grep -c "20[06] .*$img.gz" log)" -eq 0 ]
        end

        for length in 90 400; do
            begin "$tool: a .part file of $length kB of nonsense, server of kind $temper"
            mkdir -p d/mnist
            noise $length >d/mnist/$img.gz.part
            GENREG_MIRRORS_MNIST=$url/$temper/flat run d mnist
            expect 'exit status' status 0
            expect 'files' complete d mnist
            end
        done
    done

    begin "$tool: a transfer that breaks is continued"
    : >log
    run --from "$url/cut/flat" d mnist
    expect 'exit status' status 0
    expect 'files' complete d mnist
    expect 'did not break' logged "200 /cut/flat/$img.gz"
    expect 'not continued' logged "206 /cut/flat/$img.gz"
    end

    begin "$tool: mirrors: a dead one, one without, a corrupt one, a good one"
    GENREG_MIRRORS_MNIST="$dead $url/plain/empty $url/plain/bad $url/plain/flat/" run d mnist
    expect 'exit status' status 0
    expect 'files' complete d mnist
    for m in "$dead" "$url/plain/empty/" "$url/plain/bad/"; do expect "silent about $m" says "$m"; done
    expect 'the dead one was asked again' [ "$(grep -c "^data_fetch.sh: $dead" "$err")" -eq 1 ]
    end

    begin "$tool: mirrors of CIFAR-10: corrupt, then good"
    GENREG_MIRRORS_CIFAR10="$url/range/bad $url/range/flat" run d cifar10
    expect 'exit status' status 0
    expect 'files' complete d cifar10
    expect 'silent about the corrupt one' says "$url/range/bad/cifar-10-binary.tar.gz"
    end

    begin "$tool: mirrors: none good"
    GENREG_MIRRORS_CIFAR10="$url/range/bad $dead" run d cifar10
    expect 'exit status' status 1
    expect 'no way out' says '--from'
    expect 'something left' absent d
    end

    begin "$tool: a signal: staging goes, the .part file stays and is resumed"
    GENREG_MIRRORS_CIFAR10=$url/drip/flat sh "$W/fetch.sh" d cifar10 >"$out" 2>"$err" &
    pid=$!
    i=0
    part=d/cifar-10-batches-bin/cifar-10-binary.tar.gz.part
    while [ -z "$(find $part -size +97 2>/dev/null)" ] && [ $i -lt 50 ]; do nap; i=$((i + 1)); done
    before=$(date +%s)
    kill -TERM $pid 2>/dev/null
    wait $pid
    rc=$?
    expect 'slow to act upon it' [ $(($(date +%s) - before)) -lt 5 ]
    expect 'exit status' status 143
    expect 'no .part file' test -s $part
    expect 'staging folder left' [ -z "$(find d -name '.data_fetch*')" ]
    : >log
    run --from "$url/range/flat" d cifar10
    expect 'second exit status' status 0
    expect 'files' complete d cifar10
    expect 'not resumed' logged '206 /range/flat/cifar-10-binary.tar.gz'
    end

    if [ -n "$full_there" ]; then full_case "downloading with $tool" --from "$url/range/big" d cifar10; fi
}

if [ -z "$port" ]; then
    skip 'URLs (no python3, or its server did not start)'
else
    # A port that was free a moment ago, and nobody listens on.
    dead=http://127.0.0.1:$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    mkdir www/bad www/big
    cp bad1/t10k-labels-idx1-ubyte.gz www/bad
    cp bad3/cifar-10-binary.tar.gz www/bad
    cp www/flat/cifar-10-binary.tar.gz www/big
    for tool in curl wget; do
        # The cases run with a PATH that has one of the two tools only.
        if ! only gzip tar "$sums_tool" dd cp cmp date find head sleep "$tool"; then
            skip "URLs with $tool (not installed)"
            continue
        fi
        if [ -n "$limit" ]; then ln -s "$(command -v timeout)" bin/timeout; fi
        saved=$PATH
        PATH=$W/bin
        url_cases
        PATH=$saved
    done

    if [ -n "$xz_there" ]; then
        begin 'URL of a folder with mnist/*.gz and cifar-10/*.bin.xz'
        run --from "$url/range/packed" d
        expect 'exit status' status 0
        expect 'mnist' complete d mnist
        expect 'cifar10' complete d cifar10
        expect 'batches.meta.txt' test -f d/cifar-10-batches-bin/batches.meta.txt
        end
    fi
    begin 'URL of a folder as this script leaves it'
    cp -R full www/full
    run --from "$url/plain/full" d
    expect 'exit status' status 0
    for f in mnist fashion cifar10; do expect $f complete d $f; done
    expect 'stderr' silent
    end
fi

# ---- the real sets ----------------------------------------------------------

cp "$script" fetch.sh
if [ -f "$shared/data/mnist/train-images-idx3-ubyte.gz" ]; then
    begin 'the real MNIST, from subfolders'
    run --from "$shared/data" d mnist
    expect 'exit status' status 0
    expect 'size' [ "$(wc -c <d/mnist/train-images-idx3-ubyte)" -eq 47040016 ]
    expect 'something left' clean d
    run --from "$shared/data" d fashion
    expect 'fashion: exit status' status 1
    expect 'fashion: message' says 'fashion: '
    mv d real
    GENREG_MIRRORS_MNIST=http://127.0.0.1:9 run real mnist
    expect 'there already' status 0
    end
    begin 'the real MNIST, flat; it is not Fashion-MNIST'
    run --from "$shared/data/mnist" d fashion
    expect 'fashion: exit status' status 1
    expect 'fashion: taken' absent d
    run --from "$shared/data/mnist" d mnist
    expect 'exit status' status 0
    end
    begin 'the sums of MNIST and CIFAR-10'
    while read -r line; do
        case $line in *[0-9a-f]*) expect "no sum of ${line#* }" grep -qxF "$(echo "$line" | sed 's/  */ /')" "$script" ;; esac
    done <"$shared/data/SHA256SUMS"
    end
else
    skip "the real MNIST (no $shared/data/mnist)"
fi

debian=$(dpkg -L dataset-fashion-mnist 2>/dev/null | grep t10k-labels)
if [ -n "$debian" ]; then
    debian=$(dirname -- "$debian")
    begin "the real Fashion-MNIST, from Debian's package"
    run --from "$debian" d
    expect 'exit status' status 0
    expect 'size' [ "$(wc -c <d/fashion/train-images-idx3-ubyte)" -eq 47040016 ]
    expect 'taken for MNIST' absent d/mnist
    expect 'mnist not named' says 'mnist: '
    end
    rm -rf fashion_real && mv d/fashion fashion_real
else
    skip "the real Fashion-MNIST (Debian's dataset-fashion-mnist is not installed)"
fi

# ---- the bundled slice ------------------------------------------------------

slice=$project/examples/data
begin 'the slice: sizes and sums as its README has them'
expect 'train images' [ "$(wc -c <"$slice/train-images-idx3-ubyte")" -eq 1568016 ]
expect 'train labels' [ "$(wc -c <"$slice/train-labels-idx1-ubyte")" -eq 2008 ]
expect 'test images' [ "$(wc -c <"$slice/t10k-images-idx3-ubyte")" -eq 784016 ]
expect 'test labels' [ "$(wc -c <"$slice/t10k-labels-idx1-ubyte")" -eq 1008 ]
for f in $idx; do expect "sum of $f" grep -qF "$(sum <"$slice/$f" | cut -c1-64)  $f" "$slice/README.md"; done
end
if [ -d fashion_real ] && command -v python3 >/dev/null 2>&1; then
    begin 'the slice: the script in its README makes it'
    # shellcheck disable=SC2016  # These are no expansions.
    sed -n '/^```python$/,/^```$/p' "$slice/README.md" | grep -v '^```' >make_slice.py
    mkdir slice_new
    python3 make_slice.py fashion_real slice_new >"$out" 2>"$err"
    rc=$?
    expect 'exit status' status 0
    for f in $idx; do expect "$f" cmp "slice_new/$f" "$slice/$f"; done
    end
else
    skip 'the slice made anew (needs Fashion-MNIST and python3)'
fi

# ---- summary ----------------------------------------------------------------

line="$passed passed, $failed failed"
if [ "$skipped" -gt 0 ]; then line="$line, $skipped skipped"; fi
echo "$line"
[ "$failed" -eq 0 ]
