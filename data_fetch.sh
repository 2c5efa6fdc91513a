#!/bin/sh
# data_fetch.sh: fetch MNIST, Fashion-MNIST and CIFAR-10, check every unpacked
# file against its SHA-256 sum, and put them where the examples look for them.
# `data_fetch.sh --help` has the manual.
#
# How it keeps its promises: a download grows as NAME.part beside its place, so
# that a broken one can be resumed; everything unpacked is first written to a
# staging folder beside its place, checked there, and moved in with one rename.
# The sum of the unpacked file alone decides whether a source is good, so any
# mirror, and any way of packing, will do.
set -uf
LC_ALL=C            # The messages of the tools are read in one place: wget's.
export LC_ALL

# The sums of the unpacked files. The small files of a set come first: they
# tell MNIST from Fashion-MNIST, whose files share their names, at once.
sums='
ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2 mnist/t10k-labels-idx1-ubyte
65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5 mnist/train-labels-idx1-ubyte
0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7 mnist/t10k-images-idx3-ubyte
ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db mnist/train-images-idx3-ubyte
0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34 fashion/t10k-labels-idx1-ubyte
bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9 fashion/train-labels-idx1-ubyte
5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b fashion/t10k-images-idx3-ubyte
c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888 fashion/train-images-idx3-ubyte
cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5 cifar-10-batches-bin/data_batch_1.bin
a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed cifar-10-batches-bin/data_batch_2.bin
bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67 cifar-10-batches-bin/data_batch_3.bin
014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48 cifar-10-batches-bin/data_batch_4.bin
755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add cifar-10-batches-bin/data_batch_5.bin
8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b cifar-10-batches-bin/test_batch.bin
558e74b5e208382e186da55784b4bac2cd52e558448e1b5800990fdb28ed8033 cifar-10-batches-bin/batches.meta.txt
'
idx_files='t10k-labels-idx1-ubyte train-labels-idx1-ubyte t10k-images-idx3-ubyte train-images-idx3-ubyte'
cifar_files='data_batch_1.bin data_batch_2.bin data_batch_3.bin data_batch_4.bin data_batch_5.bin test_batch.bin'
cifar_archive=cifar-10-binary.tar.gz

# Folders that hold the upstream files, tried in turn.
: "${GENREG_MIRRORS_MNIST=https://ossci-datasets.s3.amazonaws.com/mnist https://storage.googleapis.com/cvdf-datasets/mnist}"
: "${GENREG_MIRRORS_FASHION=http://fashion-mnist.s3-website.eu-central-1.amazonaws.com https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion}"
: "${GENREG_MIRRORS_CIFAR10=https://www.cs.toronto.edu/~kriz https://mindspore-website.obs.cn-north-4.myhuaweicloud.com/notebook/datasets https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10}"

usage='usage: data_fetch.sh [--from DIR-OR-URL] [DEST] [mnist|cifar10|fashion|all]'

help()
{
    cat <<END
$usage

Fetches the data sets, checks the SHA-256 sum of every unpacked file, and leaves
    DEST/mnist/*-ubyte                  MNIST             55 MB, 12 MB to download
    DEST/fashion/*-ubyte                Fashion-MNIST     55 MB, 31 MB to download
    DEST/cifar-10-batches-bin/*.bin     CIFAR-10         184 MB, 170 MB to download
DEST is "data" unless given, the set is "all". A lone argument that names a set
is the set; write ./mnist for a folder of that name. Files that are there with
the right sum are left alone. An interrupted download stays as NAME.part and is
resumed by the next run.

--from DIR-OR-URL takes the files from a local folder or another mirror, not
from the public ones. It may hold, packed (.gz; CIFAR-10 batches also .xz) or
unpacked,
    t10k-images-idx3-ubyte.gz ...   in mnist/, fashion/ or fashion-mnist/, or in
                                    the folder itself (the sums tell whose they are)
    cifar-10-binary.tar.gz          in the folder itself, cifar-10/ or cifar10/
    data_batch_1.bin.xz ...         in cifar-10/, cifar10/, cifar-10-batches-bin/,
                                    cifar-10/cifar-10-batches-bin/, or the folder itself
A set that the source lacks is named and skipped. On Debian and Ubuntu the
package dataset-fashion-mnist brings Fashion-MNIST; after its installation,
    data_fetch.sh --from "\$(dirname "\$(dpkg -L dataset-fashion-mnist | grep t10k-labels)")" data fashion

Environment: GENREG_MIRRORS_MNIST, GENREG_MIRRORS_FASHION and
GENREG_MIRRORS_CIFAR10 replace the public mirrors, each a list of URLs of
folders with the upstream files, separated by spaces.

Needs gzip; tar for cifar-10-binary.tar.gz; xz for .xz files; curl or wget for
URLs; sha256sum, shasum or openssl.

Exit status: 0 when all is there (with "all", also when --from merely lacks some
of the sets), 1 on failure (also when a set asked for by name is lacking), 2 on
wrong usage.
END
}

say()  { printf '%s\n' "$*"; }
warn() { printf 'data_fetch.sh: %s\n' "$*" >&2; }
die()  { warn "$*"; exit 1; }
die_usage() { warn "$*"; printf '%s\n' "$usage (--help tells more)" >&2; exit 2; }
die_write() { die "cannot write below $dest: the disk is full, over quota or read-only; free some room or choose another DEST"; }
have_tool() { command -v "$1" >/dev/null 2>&1; }
need_tool() { have_tool "$1" || die "$2 needs $1: install $1 and run this again"; }

# ---- cleaning up ------------------------------------------------------------

dest='' dest_made='' dir='' dir_made='' stage='' child='' part=''

# Folders that this run made go when they are empty, and only then. A .part
# file stays: it is what the next run resumes.
tidy()
{
    if [ -n "$stage" ]; then rm -rf -- "$stage"; fi
    if [ -n "$part" ] && [ ! -s "$part" ]; then rm -f -- "$part"; fi
    if [ -n "$dir_made" ]; then rmdir -- "$dir_made" 2>/dev/null; fi
    stage='' dir_made=''
}
# shellcheck disable=SC2317  # The trap calls it.
on_exit()
{
    trap '' HUP INT TERM
    if [ -n "$child" ]; then kill "$child" 2>/dev/null; wait "$child" 2>/dev/null; fi
    tidy
    if [ -n "$dest_made" ]; then rmdir -- "$dest_made" 2>/dev/null; fi
}
trap on_exit EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# A staging folder is called after the host (in a container, usually a name of
# its own) and the process that made it: .data_fetch.HOST.PROCESS.
host=$(uname -n 2>/dev/null | tr -cd 'A-Za-z0-9._-')
host=${host:-unknown}

# A run that was killed outright could not remove its staging folder. On this
# host the number of its process tells whether it still lives; nobody else here
# has ours, which in a container is the same each time. Of another host's run,
# which may be at work in the same DEST, a day without a change is the only sign.
remove_stale()
{
    set +f
    for old in "$dir"/.data_fetch.*; do
        if [ ! -d "$old" ]; then continue; fi
        maker=${old##*/.data_fetch.}
        if [ "${maker%.*}" = "$host" ] && [ "$maker" != "$host" ]; then
            process=${maker##*.}
            if [ "$process" != "$$" ] && { kill -0 "$process" || ps -p "$process"; } >/dev/null 2>&1; then continue; fi # ps: of another user
        else
            young=$(find "$old" -mtime -1 2>/dev/null) || continue
            if [ -n "$young" ]; then continue; fi
        fi
        rm -rf -- "$old"
    done
    set -f
}

# Makes the set's folder and its staging folder, which lies inside it so that
# the final rename never crosses a file system.
open_stage()
{
    if [ -n "$stage" ]; then return; fi
    if [ ! -d "$dest" ]; then
        mkdir -p -- "$dest" 2>/dev/null || die "cannot make the folder $dest: a file is in the way, or its parent is read-only; choose another DEST"
        dest_made=$dest
    fi
    if [ ! -d "$dir" ]; then
        mkdir -- "$dir" 2>/dev/null || die "cannot make the folder $dir: a file is in the way, or $dest is read-only or full; choose another DEST"
        dir_made=$dir
    fi
    remove_stale
    mkdir -- "$dir/.data_fetch.$host.$$" 2>/dev/null || die "cannot write in $dir: it is read-only or the disk is full; choose another DEST"
    stage=$dir/.data_fetch.$host.$$
}

# ---- sums and unpacking -----------------------------------------------------

if have_tool sha256sum; then sha256() { sha256sum | cut -c1-64; }
elif have_tool shasum; then sha256() { shasum -a 256 | cut -c1-64; }
elif have_tool openssl; then sha256() { openssl dgst -sha256 -r | cut -c1-64; }
else sha256() { :; }
fi

sum_of() { printf '%s\n' "$sums" | sed -n "s|^\([0-9a-f]*\) $sub/$1\$|\1|p"; }
is_there() { [ -r "$dir/$1" ] && [ -f "$dir/$1" ] && [ "$(sha256 <"$dir/$1")" = "$(sum_of "$1")" ]; }

# unpack SUFFIX: standard input to standard output.
unpack()
{
    case $1 in
        .gz) gzip -dc ;;
        .xz) xz -dc ;;
        *) cat ;;
    esac
}

# Moves a checked file into place.
move_in()
{
    if [ -d "$dir/$2" ]; then die "$dir/$2 is a folder: move it out of the way and run this again"; fi
    mv -f -- "$1" "$dir/$2" 2>/dev/null || die_write
    say "$sub/$2: ok"
}

# accept FILE SUFFIX NAME: unpacks FILE and moves it in as NAME when its sum is
# right; else returns 1 and leaves the sum that it has in `got`.
# When unpacking fails, a second pass that writes nothing tells a damaged file
# from a full disk, whatever the tools say about it and in whichever words.
accept()
{
    want=$(sum_of "$3") failed=
    if [ "$2" = .xz ]; then need_tool xz "$1"; fi
    { unpack "$2" <"$1" >"$stage/out"; } 2>/dev/null || failed=1
    got=$({ sha256 <"$stage/out"; } 2>/dev/null)
    if [ "$got" = "$want" ]; then move_in "$stage/out" "$3"; return 0; fi
    rm -f -- "$stage/out"
    if [ -n "$failed" ]; then
        got=$(unpack "$2" <"$1" 2>/dev/null | sha256)
        if [ "$got" = "$want" ]; then die_write; fi
    fi
    return 1
}

# accept_archive FILE: the same for the tar archive of CIFAR-10, all files of
# $missing at once. Nothing moves in before all of them are right.
accept_archive()
{
    need_tool tar "$1"
    gzip -t <"$1" 2>/dev/null || return 1
    mkdir -- "$stage/tar" 2>/dev/null || die_write
    if ! { gzip -dc <"$1" | tar -xof - -C "$stage/tar"; } 2>/dev/null; then
        rm -rf -- "$stage/tar"
        if gzip -dc <"$1" 2>/dev/null | tar -tf - >/dev/null 2>&1; then die_write; fi
        return 1
    fi
    inner=$stage/tar/$sub right=1
    for member in $missing; do
        if [ -h "$inner/$member" ] || [ ! -f "$inner/$member" ] ||
            [ "$(sha256 <"$inner/$member")" != "$(sum_of "$member")" ]; then right=; break; fi
    done
    if [ -n "$right" ]; then
        for member in $missing; do move_in "$inner/$member" "$member"; done
        take_names "$inner/batches.meta.txt"
    fi
    rm -rf -- "$stage/tar"
    [ -n "$right" ]
}

# The class names are an extra that no loader needs: taken where they are right.
take_names()
{
    if [ -f "$1" ] && [ ! -f "$dir/batches.meta.txt" ]; then
        accept "$1" '' batches.meta.txt || warn "$sub/batches.meta.txt: not the usual file; left out"
    fi
}

# ---- downloading ------------------------------------------------------------

size() { if [ -f "$1" ]; then wc -c <"$1" | tr -d ' '; else echo 0; fi; }

# transfer URL FILE: one attempt that continues FILE. Leaves the exit status in
# `rc`, the HTTP status (or nothing) in `http` and the last line of the tool's
# message in `why`. The tool runs in the background, for a shell acts upon a
# signal only when no foreground command runs.
transfer()
{
    { true >"$stage/err"; } 2>/dev/null || die_write
    if [ "$client" = curl ]; then
        # A person who waits wants to see it move; a log wants the message only.
        if [ -t 2 ]; then meter=-#; exec 4>&2; else meter=-sS; exec 4>"$stage/err"; fi
        curl -f -L $meter --connect-timeout 20 --speed-limit 100 --speed-time 60 \
            -C - -o "$2" -w '%{http_code}' -- "$1" >"$stage/code" 2>&4 &
    else
        # shellcheck disable=SC2086  # The options are words or none.
        wget -S -c $wget_options -O "$2" "$1" >/dev/null 2>"$stage/err" &
    fi
    child=$!
    exec 4>&-
    wait "$child"
    rc=$?
    child=
    if [ "$client" = curl ]; then
        http=$(cat "$stage/code" 2>/dev/null)
    else
        http=$(sed -n 's|.*HTTP/[0-9.]* \([0-9][0-9][0-9]\).*|\1|p' "$stage/err" | tail -n 1)
    fi
    why=$(grep -v '^ *$' "$stage/err" | tail -n 1)
    why="${why:-$client gave exit status $rc}"
}

# download URL FILE: 0 when all is in FILE, 1 when the server lacks it, 3 when
# it cannot be had (`why` tells). A transfer that breaks after some progress
# goes on where it stopped, five times at most.
download()
{
    say "trying $1"
    tries=0
    while :; do
        before=$(size "$2")
        transfer "$1" "$2"
        # A full disk: curl 23, GNU wget 3; busybox's wget only says so.
        case $client$rc/$why in
            curl0/*|wget0/*) return 0 ;;
            curl23/*|wget3/*|wget*'write error'*) rm -f -- "$2"; die_write ;;
        esac
        tries=$((tries + 1))
        case $rc/$http in
            */404|*/410|*/403|78/*|9/*) return 1 ;;
            33/*|36/*|*/416)
                # This server cannot continue the file: begin again.
                if [ "$before" -eq 0 ] || [ "$tries" -ge 5 ]; then return 3; fi
                rm -f -- "$2"
                continue ;;
        esac
        if [ "$tries" -ge 5 ] || [ "$(size "$2")" -le "$before" ]; then return 3; fi
    done
}

# fetch URL SUFFIX NAME: downloads, unpacks, checks and moves in one file, or
# the archive when SUFFIX is .tar.gz. Returns 0, 1 (the server lacks it),
# 2 (wrong bytes) or 3 (cannot be had).
# Wrong bytes after a resumption say nothing about the server, for the first
# half may come from elsewhere: then it is fetched once more from the start.
fetch()
{
    url=$1 part=$part_dir/${1##*/}.part
    if [ -s "$part" ] && accept_any "$part" "$2" "$3"; then rm -f -- "$part"; part=; return 0; fi
    while :; do
        resumed=
        if [ -s "$part" ]; then resumed=1; fi
        download "$url" "$part"
        result=$?
        if [ "$result" -ne 0 ]; then
            if [ ! -s "$part" ]; then rm -f -- "$part"; fi
            part=
            return "$result"
        fi
        if accept_any "$part" "$2" "$3"; then rm -f -- "$part"; part=; return 0; fi
        rm -f -- "$part"
        if [ -z "$resumed" ]; then part=; return 2; fi
    done
}
accept_any()
{
    if [ "$2" = .tar.gz ]; then accept_archive "$1"; else accept "$1" "$2" "$3"; fi
}

# ---- one set from each kind of source ---------------------------------------
# Each from_ function goes through $missing and notes what it met:
#   taken     files that it has put in place
#   lacking   the first file that the source has not
#   bad       the first file with wrong bytes
#   bad_flat  the same, in the source folder itself, where it may be no file of this set
#   foreign   a file of this name is there, but it is another set's
#   trouble   why something could not be had

# note_bad FILE FOLDER: FILE, in the FOLDER of the source, has the sum `got`.
note_bad()
{
    owner=$(printf '%s\n' "$sums" | sed -n "s|^$got \([^/]*\)/.*|\1|p")
    if [ -n "$owner" ] && [ "$owner" != "$sub" ]; then foreign=$1
    elif [ -n "$2" ]; then bad=${bad:-$1}
    else bad_flat=${bad_flat:-$1}
    fi
}

# The places where a source may keep a file: folder and suffix, one a line. The
# place where the last file was comes first.
places()
{
    if [ -n "$last_place" ]; then say "$last_place"; fi
    for folder in $folders ''; do
        for suffix in $suffixes; do say "$folder|$suffix"; done
        say "$folder|"
    done
}

from_folder()
{
    for name in $missing; do
        done_with=
        while IFS='|' read -r folder suffix; do
            file=$from/$folder$name$suffix
            if [ -n "$done_with" ] || [ ! -f "$file" ]; then continue; fi
            if [ ! -r "$file" ]; then trouble="cannot read $file: check its permissions"; continue; fi
            open_stage
            if accept "$file" "$suffix" "$name"; then
                done_with=1 taken=1 last_place="$folder|$suffix"
            else
                note_bad "$file" "$folder"
            fi
        done <<END
$(places)
END
        if [ -n "$done_with" ]; then
            if [ "$set" = cifar10 ]; then take_names "$from/${last_place%|*}batches.meta.txt"; fi
        elif [ "$set" = cifar10 ]; then
            break
        elif [ -z "$lacking" ]; then
            lacking=$name
        fi
    done
    if [ "$set" != cifar10 ]; then return; fi
    find_missing
    if [ -z "$missing" ]; then return; fi
    for folder in '' cifar-10/ cifar10/; do
        file=$from/$folder$cifar_archive
        if [ ! -f "$file" ]; then continue; fi
        if [ ! -r "$file" ]; then trouble="cannot read $file: check its permissions"; continue; fi
        open_stage
        if accept_archive "$file"; then taken=1 missing=; return; fi
        if [ -z "$bad" ]; then bad=$file; fi
    done
    lacking=${missing%% *}
}

from_url()
{
    open_stage
    if [ "$set" = cifar10 ]; then
        for folder in '' cifar-10/ cifar10/; do
            fetch "$from/$folder$cifar_archive" .tar.gz ''
            case $? in
                0) taken=1; return ;;
                2) bad=$from/$folder$cifar_archive ;;
                3) trouble="$from/$folder$cifar_archive: $why"; return ;;
            esac
        done
    fi
    for name in $missing; do
        done_with=
        while IFS='|' read -r folder suffix; do
            if [ -n "$done_with" ]; then continue; fi
            file=$from/$folder$name$suffix
            fetch "$file" "$suffix" "$name"
            case $? in
                0) done_with=1 taken=1 last_place="$folder|$suffix" ;;
                2) note_bad "$file" "$folder" ;;
                3) trouble="$file: $why"; return ;;
            esac
        done <<END
$(places)
END
        # The other files would only be lacking, or foreign, too.
        if [ -z "$done_with" ]; then lacking=$name; return; fi
    done
    if [ "$set" = cifar10 ] && [ ! -f "$dir/batches.meta.txt" ]; then
        fetch "$from/${last_place%|*}batches.meta.txt" '' batches.meta.txt
    fi
}

# from_mirrors MIRROR...: a mirror that fails is reported and the next one has
# its turn; one that cannot be reached is not asked again.
from_mirrors()
{
    open_stage
    dead=' '
    files=$missing suffix=.gz
    if [ "$set" = cifar10 ]; then files=${cifar_archive%.tar.gz} suffix=.tar.gz; fi
    for name in $files; do
        done_with=
        for mirror in "$@"; do
            if [ -n "$done_with" ]; then break; fi
            case $dead in *" $mirror "*) continue ;; esac
            file=${mirror%/}/$name$suffix
            fetch "$file" "$suffix" "$name"
            case $? in
                0) done_with=1 taken=1 ;;
                1) warn "$file: not there (HTTP status $http)" ;;
                2) warn "$file: wrong SHA-256 sum after unpacking" ;;
                3) warn "$file: $why"; dead="$dead$mirror " ;;
            esac
        done
        if [ -z "$done_with" ]; then
            trouble="no mirror has a good $name$suffix; try again later, or give --from a folder or another mirror"
            return
        fi
    done
}

# ---- one set ----------------------------------------------------------------

find_missing()
{
    missing=
    for name in $all_files; do
        if ! is_there "$name"; then missing="$missing$name "; fi
    done
}

# do_set SET: 0 when all of it is there, 1 on failure, 4 when the source lacks it.
do_set()
{
    set=$1 suffixes=.gz all_files=$idx_files last_place='' part=
    taken='' lacking='' bad='' bad_flat='' foreign='' trouble=''
    case $set in
        mnist) sub=mnist folders=mnist/ mirrors=$GENREG_MIRRORS_MNIST ;;
        fashion) sub=fashion folders='fashion/ fashion-mnist/' mirrors=$GENREG_MIRRORS_FASHION ;;
        cifar10)
            sub=cifar-10-batches-bin all_files=$cifar_files suffixes='.xz .gz' mirrors=$GENREG_MIRRORS_CIFAR10
            folders='cifar-10/ cifar10/ cifar-10-batches-bin/ cifar-10/cifar-10-batches-bin/' ;;
    esac
    dir=$dest/$sub part_dir=$dest/$sub

    find_missing
    if [ -z "$missing" ]; then say "$set: there already"; return 0; fi
    # shellcheck disable=SC2086  # The mirrors are a list of words.
    case $kind in
        folder) from_folder ;;
        url) from_url ;;
        mirrors) from_mirrors $mirrors ;;
    esac
    find_missing
    tidy
    if [ -z "$missing" ]; then say "$set: complete in $dir"; return 0; fi

    # A damaged file in the source folder itself is not held against a set when
    # its neighbours belong to another one.
    if [ -z "$bad" ] && { [ -z "$foreign" ] || [ -n "$taken" ]; }; then bad=$bad_flat; fi
    if [ -n "$trouble" ]; then
        warn "$set: $trouble"
    elif [ -n "$bad" ]; then
        warn "$set: $bad: wrong SHA-256 sum after unpacking; the file is damaged or another version: use another source"
    elif [ -n "$taken" ]; then
        warn "$set: $from has only a part of it ($lacking is lacking): complete it or run again with another source"
    else
        lacking_reason="$lacking not found"
        if [ "$kind" = url ]; then lacking_reason="$lacking_reason, HTTP status $http"; fi
        if [ -n "$foreign" ]; then lacking_reason="$foreign is another set's"; fi
        warn "$set: $from does not have it ($lacking_reason); skipped"
        return 4
    fi
    return 1
}

# ---- command line -----------------------------------------------------------

from='' kind=mirrors named='' positional=0 options=1
while [ $# -gt 0 ]; do
    arg=$1
    shift
    if [ -n "$options" ]; then
        case $arg in
            --) options=; continue ;;
            -h|--help) help; exit 0 ;;
            --from)
                if [ $# -eq 0 ]; then die_usage '--from needs a folder or a URL'; fi
                from=$1 kind=folder
                shift
                if [ -z "$from" ]; then die_usage '--from needs a folder or a URL'; fi
                continue ;;
            --from=?*) from=${arg#--from=} kind=folder; continue ;;
            --from=) die_usage '--from needs a folder or a URL' ;;
            -*) die_usage "unknown option $arg" ;;
        esac
    fi
    positional=$((positional + 1))
    is_set=
    case $arg in mnist|cifar10|fashion|all) is_set=1 ;; esac
    if [ -n "$named" ] && [ -n "$is_set" ]; then die_usage "one set at a time, or all; write ./$named for a folder of that name"
    elif [ -n "$named" ]; then die_usage "the set comes last: $arg after $named"
    elif [ -n "$is_set" ]; then named=$arg
    elif [ -z "$arg" ]; then die_usage 'DEST is empty'
    elif [ "$positional" -eq 1 ]; then dest=$arg
    else die_usage "unknown set $arg: one of mnist, cifar10, fashion, all"
    fi
done
dest=${dest:-data}
case $dest in
    -*) dest=./$dest ;;
    ?*/) dest=${dest%/} ;;
esac
case $from in
    http://*|https://*|ftp://*) kind=url from=${from%/} ;;
    file://*) from=${from#file://} ;;
    *://*) die_usage "--from $from: only http, https, ftp and file URLs" ;;
    -*) from=./$from ;;
    ?*/) from=${from%/} ;;
esac
case $kind in
    folder)
        if [ ! -d "$from" ]; then die "--from $from: no such folder; give a folder, or a URL that begins with http:// or https://"; fi ;;
    *)
        if have_tool curl; then client=curl
        elif have_tool wget; then client=wget
        else die 'downloading needs curl or wget: install one of them, or give --from a local folder'
        fi
        # GNU wget would try twenty times and wait fifteen minutes; small wgets
        # know no such options.
        wget_options=
        if [ "$client" = wget ] && wget --version >/dev/null 2>&1; then wget_options='-t 1 -T 60'; fi ;;
esac
need_tool gzip unpacking
if ! have_tool sha256sum && ! have_tool shasum && ! have_tool openssl; then
    die 'checking the files needs sha256sum, shasum or openssl: install one of them and run this again'
fi
if [ -e "$dest" ] && [ ! -d "$dest" ]; then die "$dest is not a folder: choose another DEST"; fi

failed_sets=0 lacking_sets=0 good_sets=0
case ${named:-all} in
    all) list='mnist fashion cifar10' ;;
    *) list=$named ;;
esac
for one in $list; do
    do_set "$one"
    case $? in
        0) good_sets=$((good_sets + 1)) ;;
        4) lacking_sets=$((lacking_sets + 1)) ;;
        *) failed_sets=$((failed_sets + 1)) ;;
    esac
done
if [ "$failed_sets" -gt 0 ]; then exit 1; fi
if [ "$good_sets" -eq 0 ]; then
    if [ "$lacking_sets" -gt 1 ]; then warn "$from has none of the sets; --help tells where it is looked for"; fi
    exit 1
fi
exit 0
