#!/bin/sh
# Checks a custody log with stock tools, without imgkit.
#
#   sh verify.sh                    the case folder that this file lies in
#   sh verify.sh FOLDER             another case folder
#   sh verify.sh custody.jsonl      a log alone
#
#   -s FILE   whose signatures you trust: allowed_signers, as ssh-keygen(1) describes it
#   -r FILE   keys that are no longer trusted: a KRL, or public keys
#   -t FILE   certificates (PEM) of the time stamp authorities you trust
#   -k TEXT   a receipt that somebody else held, or a file with it; may be repeated
#
# Needs: sha256sum split head tail od base64 date (coreutils), awk, cmp (diffutils), grep, xargs (findutils), jq 1.6 or
# later; ssh-keygen where something is signed, openssl where something is stamped.
# Reads only: nothing outside a temporary folder is written. Use the copy of a tool that you trust, and read this file
# first: whoever can change the log can change the script beside it.
#
# Exit: 0 nothing wrong found, 1 something is wrong, 3 could not look. Codes are those of docs/verification-policy.md.
# Not checked here: whether each record has all fields of its type, its clocks, attachments, who held an exhibit, the Merkle
# roots of checkpoints, keys that are weak but for Ed25519 keys of small order.

set -eu
LC_ALL=C
TZ=UTC
export LC_ALL TZ

cannot() { echo "verify.sh: $*" >&2; exit 3; }
need() { command -v "$1" >/dev/null || cannot "this needs $1, which is not installed"; }
readable() {
    if [ ! -r "$1" ]; then cannot "cannot read $1"; fi
    case $1 in /*) printf '%s\n' "$1" ;; *) printf '%s\n' "$PWD/$1" ;; esac
}

for tool in sha256sum split head tail od awk cmp grep xargs jq mktemp; do need "$tool"; done

# In memory where that is to be had: a file for each line is made on the way, some thousands at a time.
memory=
if [ -d /dev/shm ] && [ -w /dev/shm ]; then memory=/dev/shm; fi
T=$(mktemp -d ${memory:+-p "$memory"} verify.XXXXXXXX 2>/dev/null || mktemp -d) || cannot "no temporary folder"
trap 'rm -rf -- "$T"' EXIT
trap 'exit 3' HUP INT TERM

receipts_in() { # the receipts in a text, one a line
    tr -s '[:space:]' ' ' | tr '[:upper:]' '[:lower:]' | grep -a -o -E \
        'imgkit-receipt/1 [0-9a-f-]{36}( (0|[1-9][0-9]{0,15})){2}( [0-9a-f]{64}){2}( |$)'
}

signers='' revoked='' roots=''
: >"$T/receipts"
: >"$T/brought"
: >"$T/inside"
while getopts s:r:t:k: option; do
    case $option in
        s) signers=$(readable "$OPTARG") ;;
        r) revoked=$(readable "$OPTARG") ;;
        t) roots=$(readable "$OPTARG") ;;
        k)
            if [ -f "$OPTARG" ]; then
                if ! receipts_in <"$OPTARG" >/dev/null; then cannot "there is no receipt in $OPTARG"; fi
                readlink -f -- "$OPTARG" >>"$T/brought"
            elif ! printf '%s\n' "$OPTARG" | receipts_in >>"$T/receipts"; then
                cannot "there is no receipt in $OPTARG"
            fi
            ;;
        *) cannot "usage: verify.sh [-s SIGNERS] [-r REVOKED] [-t ROOTS] [-k RECEIPT] [FOLDER or custody.jsonl]" ;;
    esac
done
shift $((OPTIND - 1))
case $# in
    0) place=$(dirname -- "$0") ;;
    1) place=$1 ;;
    *) cannot "usage: verify.sh [-s SIGNERS] [-r REVOKED] [-t ROOTS] [-k RECEIPT] [FOLDER or custody.jsonl]" ;;
esac
if [ -d "$place" ]; then log=$place/custody.jsonl; else log=$place; fi
if [ ! -f "$log" ] || [ ! -r "$log" ]; then cannot "no readable custody log at $log"; fi
folder=
case $log in
    */custody.jsonl) folder=${log%/custody.jsonl} ;;
    custody.jsonl) folder=. ;;
esac
if [ -n "$folder" ]; then folder=$(cd -- "$folder" && pwd -P); fi

# What lies in the folder cannot vouch for it, whoever names it.
lies_inside() { [ -n "$folder" ] && [ -n "$1" ] && case $(readlink -f -- "$1") in "$folder"/*) true ;; *) false ;; esac; }
signers_inside='' roots_inside=''
if lies_inside "$signers"; then signers_inside=1; fi
if lies_inside "$roots"; then roots_inside=1; fi
while read -r path; do
    if lies_inside "$path"; then receipts_in <"$path" >>"$T/inside"; else receipts_in <"$path" >>"$T/receipts"; fi
done <"$T/brought"
if [ -n "$folder" ] && [ -d "$folder/receipts" ]; then
    find "$folder/receipts" -mindepth 1 -maxdepth 1 -type f -exec sh -c 'cat -- "$1" && echo' sh {} \; | receipts_in >>"$T/inside" || true
fi

# ---- 1. A copy, so that every tool sees the same bytes -------------------------------------------------------------
cat -- "$log" >"$T/log" || cannot "cannot read $log"
unended=0
if [ "$(head -c 2 "$T/log" | od -An -tx1 | tr -d ' ')" = 1f8b ]; then cannot "$log is gzip: unpack a copy (gunzip -k)"; fi
if [ ! -s "$T/log" ]; then
    echo "FAIL SCHEMA: the log is empty; a log never is"
    echo "WRONG: $log is empty"
    exit 1
fi
if [ "$(tail -c 1 "$T/log" | od -An -tx1 | tr -d ' ')" != 0a ]; then
    unended=1 # the last line has no line feed: it is judged as if it had
    echo >>"$T/log"
fi

# ---- 2. SHA-256 and length of every line, each with its line feed ---------------------------------------------------
cd -- "$T"
digests() { # SHA-256 of each line of a file, and its length; a few thousand lines at a time
    mkdir parts
    split -a 7 -d -l 8192 "$1" parts/
    for part in parts/*; do
        mkdir lines
        split -a 4 -d -l 1 "$part" lines/
        (cd lines && printf '%s\0' * | xargs -0 sha256sum) | cut -c 1-64
        (cd lines && printf '%s\0' * | xargs -0 wc -c) | awk '$2 != "total" { print $1 }' >>"$1.lengths"
        rm -r -- lines "$part"
    done
    rmdir parts
}
digests log >hashes

# ---- 3. What each line says: one row a line, "torn" where it is no JSON at all --------------------------------------
jq -rR '
  def enclosed:   # digests of the enclosures that a record names
    [ (select(.type == "note.added" or .type == "enclosure.added") | .data.sha256?),
      (.. | objects | select((.enclosure? | type) == "string") | .sha256?) ]
    | map(select(type == "string")) | unique | join(",");
  def joined:     # the hash that a log.recovered states of the line before the torn ones
    if type == "object" and has("head") then "=\(.head)" else "" end;
  def named:      # what a log.recovered says of torn lines
    "\(.last_good?)" + ([.torn[]? | "/\(.line):\(.bytes):\(.sha256)"] | add // "");
  . as $line
  | (try [fromjson] catch []) as $read
  | if ($read | length) == 0 or ($read[0] == null and test("^[ \t\r]*$")) then ["torn"]
    elif ($read[0] | type) != "object" then ["other"]
    else $read[0]
      | ["record", .prev, .seq, .log, .v, .type, .phase, .op,
         (if .type == "op.reconciled" then .data.op? else "" end),
         (if .type == "log.recovered" then .data | named else "" end),
         (if ($line | contains("enclosure")) or .type == "note.added" then enclosed else "" end),
         (if .type == "log.recovered" then .data | joined else "" end)]
    end
  | map(tostring | if . == "" then "-" else . end) | @tsv' log >said || cannot "jq cannot read the log"

# Values and keys that the format does not have; only lines that could hold one are looked into.
{
    grep -a -n -E 'null|[0-9][.eE]|[0-9]{16}|-0' log || true
    grep -a -n -E '[{,]"([^a-z"][^"]*|[a-z]([^"]*[^a-z0-9_"][^"]*)|)":' log || true
    awk '{ line = $0; if (gsub(/[{[]/, "", line) > 8) print NR ":" $0 }' log
} | sort -t : -k 1,1n -u >maybe
jq -rR 'capture("^(?<number>[0-9]+):(?<line>.*)$") | .number as $number | .line | (try [fromjson] catch []) | select(length > 0)
  | .[0] | select(
      any(..; . == null or (type == "number" and (. != floor or fabs > 9007199254740991)))
      or any(.. | objects | keys_unsorted[]; test("^[a-z][a-z0-9_]*$") | not)
      or any(paths(type == "object" or type == "array"); length > 7))
  | $number' maybe >odd || cannot "jq cannot read the log"

# jq also takes raw control characters and bytes that are no UTF-8, which are no JSON: such lines are torn.
{
    tr '\000-\010\013\014\016-\037' '\001' <log | grep -a -n "$(printf '\001')" | cut -d : -f 1
    LC_ALL=C.UTF-8 grep -a -n -v -x '.*' log | cut -d : -f 1
} >nojson
grep -a -n '[^ -~]' log | cut -d : -f 1 >unprintable

# The same lines in the one encoding: equal bytes rule out doubled keys, other spacing, other escapes, another order.
jq -cSaR 'try fromjson catch "torn"' log >encoded || cannot "jq cannot read the log"
if cmp -s log encoded; then
    cp hashes rehashed
else
    digests encoded >rehashed
fi

# ---- 4. The chain -----------------------------------------------------------------------------------------------------
: >enclosed
paste hashes log.lengths rehashed said | awk -F '\t' -v unended="$unended" '
function told(severity, code, line, text) {
    printf "%s %s line %d: %s\n", severity, code, line, text
    if (severity == "FAIL") failed++
    else if (severity == "WARN") warned++
}
function torn_run_ends(recovered,    i, facts) { # what follows a run of torn lines must be the record that explains it
    facts = first_torn - 1
    for (i = 1; i <= torn; i++) facts = facts "/" (first_torn + i - 1) ":" torn_length[i] ":" torn_hash[i]
    for (i = 1; i <= torn; i++)
        if (facts == recovered && first_torn > 1) told("INFO", "TORN_SEALED", first_torn + i - 1, "a torn write, explained by line " NR)
        else told("FAIL", "BAD_LINE", first_torn + i - 1, "no record, and line " NR " does not explain it")
    torn = 0
}
BEGIN {
    while ((getline number < "nojson") > 0) nojson[number] = 1
    while ((getline number < "unprintable") > 0) unprintable[number] = 1
    while ((getline number < "odd") > 0) is_odd[number] = 1
    before = good = sprintf("%064d", 0)
}
{
    hash = $1; size = $2; again = $3; kind = $4; prev = $5; seq = $6; log_id = $7
    phase = $10; op = $11; reconciled = $12; recovered = $13; stated = $14; joined = $15
    if (NR in nojson) kind = "torn"
    end_before = total; head_before = head
    total += size; head = hash
    if (kind == "torn" && size <= 65536) {
        if (torn == 0) first_torn = NR
        torn++; torn_hash[torn] = hash; torn_length[torn] = size
        before = hash
        next
    }
    after_torn = torn > 0
    if (torn > 0) torn_run_ends(recovered)
    else if ($9 == "log.recovered") told("FAIL", "SCHEMA", NR, "it tells of torn lines that are not there")
    if (kind != "record" || hash != again || size > 65536 || NR in is_odd || NR in unprintable)
        told("FAIL", "BAD_LINE", NR, "not in the one encoding of a record")
    if (kind == "record") {
        if (prev != before) told("FAIL", "CHAIN_BREAK", NR, "prev is " prev ", the line before is " before)
        else if (after_torn && joined != "" && joined != "-" && joined != "=" good)
            told("FAIL", "CHAIN_BREAK", NR, "head is not the hash of the line before the torn ones, " good)
        if (seq + 0 != NR + ahead) {
            if (seq + 0 != NR) told("FAIL", "SEQ", NR, "seq is " seq)
            ahead = seq - NR
        }
        if (the_log == "") the_log = log_id
        if (log_id != the_log) told("FAIL", "FOREIGN_LOG", NR, "of log " log_id ", not " the_log)
        if (stated != "-") print NR, stated >"enclosed"
        if ($8 + 0 > 1) { newer++; print "NEWER line " NR ": written by a newer imgkit" }
        if ((NR == 1) != ($9 == "case.opened" || $9 == "log.opened"))
            told("FAIL", "SCHEMA", NR, "line 1 opens the log, and no other line does")
        if (phase == "intent") {
            if (op in state) told("FAIL", "SCHEMA", NR, "a second intent of operation " op)
            else { state[op] = "open"; opened[op] = NR }
        }
        if (phase == "outcome") {
            if (!(op in state)) told("FAIL", "OUTCOME_NO_INTENT", NR, "operation " op)
            else if (state[op] == "closed") told("FAIL", "SCHEMA", NR, "a second outcome of operation " op)
            else {
                if (state[op] == "reconciled") told("WARN", "LATE_OUTCOME", NR, "after it had been reconciled")
                state[op] = "closed"
            }
        }
        if (reconciled != "-") {
            if (!(reconciled in state)) told("FAIL", "OUTCOME_NO_INTENT", NR, "operation " reconciled)
            else if (state[reconciled] != "open") told("WARN", "LATE_OUTCOME", NR, "it was closed before")
            else state[reconciled] = "reconciled"
        }
    }
    before = good = hash
}
END {
    for (i = 1; i <= torn; i++)
        if (first_torn == 1) told("FAIL", "BAD_LINE", i, "no record, and a log has its first one from the start")
        else told("WARN", "TORN_TAIL", first_torn + i - 1, "a torn write that nothing explains yet")
    if (unended && torn == 0 && kind == "record") told("WARN", "TORN_TAIL", NR, "the last record lacks its line feed")
    for (op in state) if (state[op] == "open") told("WARN", "OPEN_INTENT", opened[op], "no outcome followed")
    if (unended) { total = end_before; head = head_before } # counted are complete lines
    printf "%d %d %d %d %d %s %s\n", failed, warned, newer, NR - unended, total, head, the_log >"totals"
}' >findings || cannot "awk cannot read the log"
cat findings
read -r failed warned newer lines bytes head the_log <totals

# ---- 5. The files beside it ---------------------------------------------------------------------------------------------
if [ -n "$folder" ]; then
    : >present
    : >names
    if [ -d "$folder/enclosures" ]; then
        (cd -- "$folder/enclosures" && find . -mindepth 1 ! -name '.*.tmp' ! -type d -prune -print0 \
            | xargs -0 -r sha256sum 2>/dev/null) >present || true
        (cd -- "$folder/enclosures" && find . -mindepth 1 -maxdepth 1 ! -name '.*.tmp' -print) | sort >names
    fi
    awk '
    FILENAME == "enclosed" { n = split($2, shas, ","); for (i = 1; i <= n; i++) if (!(shas[i] in line)) line[shas[i]] = $1; next }
    FILENAME == "present" { actual[substr($0, 67)] = substr($0, 1, 64); next }
    {
        name = substr($0, 3); sha = substr(name, 1, 64)
        if (!(sha in line) || (length(name) > 64 && substr(name, 65, 1) != ".")) {
            print "FAIL EXTRA_FILE: no line of the log names enclosures/" name
            next
        }
        seen[sha] = 1
        if (!("./" name in actual)) print "WARN ENCLOSURE_WITHHELD line " line[sha] ": cannot be read: " name
        else if (actual["./" name] != sha) print "FAIL ENCLOSURE_CHANGED line " line[sha] ": " name
    }
    END { for (sha in line) if (!(sha in seen)) print "WARN ENCLOSURE_WITHHELD line " line[sha] ": " sha }
    ' enclosed present names >beside
    cat beside
    failed=$((failed + $(grep -c '^FAIL' beside || true)))
    warned=$((warned + $(grep -c '^WARN' beside || true)))
fi

# ---- 6. Checkpoints: their chain, their files, and what they say of the first lines --------------------------------------
: >told
tell() { # severity, code, line or nothing, sentence
    if [ -n "$3" ]; then printf '%s %s line %d: %s\n' "$1" "$2" "$3" "$4"; else printf '%s %s: %s\n' "$1" "$2" "$4"; fi >>told
}
sha() { sha256sum <"$1" | cut -c 1-64; }
said() { sed -n "s/^$1: //p" "$2"; }

prefix() { # size, bytes, head, file: what somebody says of the first lines; "cut", "forked" or "same"
    if [ "$1" -gt "$lines" ]; then echo cut; return; fi
    if [ "$1" -lt 1 ] || [ "$(sed -n "$1p" hashes)" != "$3" ]; then echo forked; return; fi
    if [ "$(head -n "$1" log | wc -c)" -ne "$2" ] || [ "$(head -n "$1" log | sha256sum | cut -c 1-64)" != "$4" ]; then
        echo forked
        return
    fi
    echo same
}

is_body() { # exactly the lines of a checkpoint, in their order
    awk '
    BEGIN {
        split("n log case size bytes head file merkle prev time signer reason", name, " ")
        split("N U T N N H H H H D T T", kind, " ")
        hex = "^[0-9a-f]+$"
    }
    NR == 1 { if ($0 != "imgkit-checkpoint/v1") bad = 1; next }
    {
        key = name[NR - 1]; value = substr($0, length(key) + 3); k = kind[NR - 1]
        if (key == "" || index($0, key ": ") != 1 || value == "" || length(value) > 1024 || value ~ /[^ -~]/) bad = 1
        else if (k == "N" && value !~ /^(0|[1-9][0-9]*)$/) bad = 1
        else if (k == "H" && (length(value) != 64 || value !~ hex)) bad = 1
        else if (k == "U" && (length(value) != 36 || value !~ /^[0-9a-f-]+$/)) bad = 1
        else if (k == "D" && (length(value) != 27 || value !~ /^[0-9:T.-]+Z$/)) bad = 1
    }
    END { exit bad || NR != 13 }' "$1" && [ "$(tail -c 1 "$1" | od -An -tx1 | tr -d ' ')" = 0a ]
}

# One row for each record of a checkpoint: line, n, size, bytes, head, file, prev, body, signature; and of each stamp.
awk -F '\t' '$1 == "record" && ($6 == "log.checkpointed" || $6 == "log.anchored") { print NR, $6 }' said >wanted
awk 'FILENAME == "wanted" { want[$1] = $2; next } FNR in want { printf "%d\t%s\t%s\n", FNR, want[FNR], $0 }' wanted log >kept
jq -rR 'split("\t") as $row | ($row[2:] | join("\t") | fromjson? // {}).data as $data | select($data | type == "object")
  | if $row[1] != "log.anchored" then
      [($data.n | if . == null or type == "number" then . else "?" end), $data.size, $data.bytes, $data.head, $data.file, $data.prev,
       $data.body, $data.signature, $data.fingerprint]
    elif ($data.file | type) == "string" and ($data.sha256 | type) == "string" then
      [($data.file | sub("^checkpoints/"; "")), $data.sha256, $data.n, $data.sums, $data.time, $data.serial]
    else empty end
  | [$row[1], $row[0]] + map(if . == null or . == "" then "-" else tostring | gsub("[^!-~]"; "?") end) | join(" ")' kept >recorded || cannot "jq cannot read the log"
# What the records state that stands in the bodies, too, as it stands there.
jq -rR 'split("\t") as $row | select($row[1] == "log.checkpointed") | ($row[2:] | join("\t") | fromjson? // {}).data as $data
  | select($data | type == "object") | ("size", "bytes", "head", "file", "merkle", "prev", "signer", "reason") as $key
  | select($data | has($key)) | $data[$key] | tostring | if test("[^ -~]") then tojson else . end
  | "\($row[0]) \($key): \(.)"' kept >statements || cannot "jq cannot read the log"
grep '^log.checkpointed ' recorded | cut -d ' ' -f 2- >numbered || true
awk '$2 == "?" { print $1 }' numbered >unnumbered
while read -r line; do tell FAIL CHECKPOINT_CHAIN "$line" "records a checkpoint without a number"; done <unnumbered
awk '{ if ($2 !~ /^-?[0-9]+$/) $2 = known + 1; if ($2 > known) known = $2; print }' numbered >records
grep '^log.anchored ' recorded | cut -d ' ' -f 2- >stamps || true
the_case=$(head -n 1 log | jq -r 'try (.data.number // "-" | tostring | .[0:200]) catch "-"' 2>/dev/null || echo -)
last_recorded=$(awk 'BEGIN { n = 0 } $2 + 0 > n { n = $2 } END { print n }' records)
awk '{ n = $2 == "-" ? known + 1 : $2; if (n != known + 1) print $1, n, known; if (n > known) known = n }' records >jumps
while read -r line n known; do tell FAIL CHECKPOINT_CHAIN "$line" "records checkpoint $n after checkpoint $known"; done <jumps

: >numbers
: >listed
mkdir cp
if [ -n "$folder" ] && [ -d "$folder/checkpoints" ]; then
    find "$folder/checkpoints" -mindepth 1 -maxdepth 1 ! -name '.*.tmp' -print | sed 's,.*/,,' >listed
    find "$folder/checkpoints" -mindepth 1 -maxdepth 1 -type f ! -name '.*.tmp' -exec ln -s -t cp -- {} +
    # What a crash left unnamed, and a line names by its digest.
    find "$folder/checkpoints" -mindepth 1 -maxdepth 1 -type f -name '.*.tmp' -print >asides
    while read -r path; do
        name=$(printf '%s\n' "${path##*/}" | sed -n 's/^\.\([0-9]\{6,\}\..*\)\.[0-9a-f-]\{36\}\.tmp$/\1/p')
        if [ -z "$name" ] || [ -e "cp/$name" ]; then continue; fi
        case $name in
            *.sums) ;;
            *) if ! grep -q "$(sha "$path")" records stamps; then continue; fi ;;
        esac
        ln -s -- "$path" "cp/$name"
        echo "$name" >>listed
    done <asides
    sort -o listed listed
fi
# shellcheck disable=SC2094  # it is only read
while read -r name; do
    number=$(printf '%s\n' "$name" | sed -n 's/^\([0-9]\{6,\}\)\(\.txt\|\.txt\.sig\|\.sums\|\.sums\.[A-Za-z0-9._-]*\.tsr\)$/\1/p')
    plain=$(printf '%s\n' "$number" | sed 's/^0*//')
    if [ -z "$plain" ] || [ "$(printf '%06d' "$plain")" != "$number" ]; then
        tell FAIL EXTRA_FILE '' "checkpoints/$name is no file of a checkpoint"
    elif ! grep -q "^$number\\.txt\$" listed && ! awk -v n="$plain" '$2 == n { found = 1 } END { exit !found }' records; then
        tell FAIL EXTRA_FILE '' "checkpoints/$name belongs to no checkpoint"
    else
        echo "$plain" >>numbers
    fi
done <listed
awk '$2 != "-" { print $2 }' records >>numbers
sort -n -u numbers >all

signature() { # n, line, body, signature, principal, time: prints "trusted", "own", "unknown" or nothing, and tells what is wrong
    list=$signers
    if [ -z "$list" ] && [ -s "$folder/allowed_signers" ] && [ -f "$folder/allowed_signers" ]; then list=$folder/allowed_signers; fi
    at=$(printf '%s' "$6" | sed 's/\..*//; s/[^0-9]//g')
    if small_order "$4"; then tell FAIL WEAK_KEY "$2" "the signature of checkpoint $1 is of a key of small order"; return 0; fi
    if [ -n "$list" ] && ssh-keygen -Y verify -f "$list" -I "$5" -n custody@imgkit -s "$4" -O verify-time="$at" \
        ${revoked:+-r "$revoked"} <"$3" >/dev/null 2>&1; then
        if [ -n "$signers" ] && [ -z "$signers_inside" ]; then echo trusted; else echo own; fi
    elif ! ssh-keygen -Y check-novalidate -n custody@imgkit -s "$4" <"$3" >/dev/null 2>&1; then
        tell FAIL BAD_SIGNATURE "$2" "the signature of checkpoint $1 is none of these bytes"
    elif [ -n "$list" ] && [ -n "$revoked" ] && ssh-keygen -Y verify -f "$list" -I "$5" -n custody@imgkit -s "$4" \
        -O verify-time="$at" <"$3" >/dev/null 2>&1; then
        tell FAIL KEY_REVOKED "$2" "the key that signed checkpoint $1 is revoked"
    elif [ -z "$list" ]; then
        echo own
    elif is_listed "$list" "$5" || [ -n "$(ssh-keygen -Y find-principals -f "$list" -s "$4" 2>/dev/null)" ]; then
        tell FAIL BAD_SIGNATURE "$2" "checkpoint $1 is not signed by a key of $5"
    else
        echo unknown
    fi
}

is_listed() ( # whether a list of signers has keys for a principal
    set -f
    awk '/^[ \t]*(#|$)/ { next } /^[ \t]*"/ { split($0, part, "\""); print part[2]; next } { print $1 }' "$1" | tr ',' '\n' >patterns
    while read -r pattern; do
        # shellcheck disable=SC2254  # it is a pattern
        case $2 in $pattern) exit 0 ;; esac
    done <patterns
    exit 1
)

small_order() { # an Ed25519 key of small order has a signature that fits every message
    point=$(grep -a -v '^-' "$1" | tr -d '[:space:]' | base64 -d 2>/dev/null | od -An -v -tx1 -j 14 -N 51 2>/dev/null | tr -d ' \n')
    case $point in 0000000b7373682d6564323535313900000020*) point=${point#??????????????????????????????????????} ;; *) return 1 ;; esac
    ones=ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff
    nil=000000000000000000000000000000000000000000000000000000000000
    case $point in
        00"$nil"00 | 00"$nil"80 | 01"$nil"00 | 01"$nil"80 | ec"$ones"7f | ec"$ones"ff | ed"$ones"7f | ed"$ones"ff | ee"$ones"7f | ee"$ones"ff) ;;
        26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc[08]5) ;;
        c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03[7f]a) ;;
        *) return 1 ;;
    esac
}

stamp() { # n, line, name, sums, time, agrees
    reply=cp/$3
    openssl ts -reply -in "$reply" -text >reply.txt 2>/dev/null || : >reply.txt
    # openssl does not look at what follows a reply; there must be nothing.
    takes=$(openssl asn1parse -inform DER -in "$reply" 2>/dev/null | sed -n '1s/.* hl=\([0-9]*\) *l= *\([0-9]*\) .*/\1 + \2/p')
    if [ "$((${takes:-0}))" -ne "$(wc -c <"$reply")" ]; then : >reply.txt; fi
    moment=$(sed -n 's/^Time stamp: //p' reply.txt)
    imprint=$(sed -n '/^Message data:/,/^Serial/s/^ *[0-9a-f]* - \([-0-9a-f ]*[0-9a-f]\)  .*/\1/p' reply.txt | tr -d ' \n-')
    if [ -z "$moment" ] || [ ! -f "$4" ] || [ "$imprint" != "$(sha "$4")" ]; then
        tell FAIL BAD_TIMESTAMP "$2" "checkpoints/$3 is no stamp of the sums of checkpoint $1"
        return
    fi
    seconds=$(date -d "$moment" +%s)
    if [ -n "$roots" ] && ! openssl ts -verify -data "$4" -in "$reply" -CAfile "$roots" -attime "$seconds" >/dev/null 2>&1; then
        tell FAIL BAD_TIMESTAMP "$2" "checkpoints/$3 is not by an authority that the given roots vouch for"
        return
    fi
    row=$(awk -v name="$3" -v sha="$(sha "$reply")" '$2 == name { row = $3 == sha ? $1 " " $4 " " $5 " " $6 " " $7 : "" } END { print row }' stamps)
    if [ -n "$row" ]; then
        read -r at_line said_n said_sums said_time said_serial <<EOF
$row
EOF
        serial=$(sed -n 's/^Serial number: 0x//p' reply.txt | tr '[:upper:]' '[:lower:]' | sed 's/^0*//')
        if [ "$said_serial" != - ]; then said_serial=$(printf '%s\n' "$said_serial" | tr '[:upper:]' '[:lower:]' | sed 's/^0*//'); fi
        if { [ "$said_n" != - ] && [ "$said_n" != "$1" ]; } || { [ "$said_sums" != - ] && [ "$said_sums" != "$imprint" ]; } \
            || { [ "$said_time" != - ] && [ "${said_time%%[.Z]*}" != "$(date -d "$moment" +%Y-%m-%dT%H:%M:%S)" ]; } \
            || { [ "$said_serial" != - ] && [ "$said_serial" != "$serial" ]; }; then
            tell FAIL BAD_TIMESTAMP "$at_line" "the line says of checkpoints/$3 what it is not"
        fi
    fi
    if [ -n "$5" ] && [ $((seconds - $(date -d "$5" +%s))) -gt 86400 ]; then
        tell WARN TIMESTAMP_LATE "$2" "checkpoint $1 says $5, the authority $moment"
    fi
    if [ "$6" = 1 ]; then
        if [ -z "$roots" ] || [ -n "$roots_inside" ]; then stamps_own=1; fi
        dated=$size
    fi
}

before=0 before_size=0 before_body=$(printf '%064d' 0) signed=0 dated=0 unsigned='' keys_own='' stamps_own='' last_size=0 last_line=''
while read -r n <&3; do
    name=$(printf '%06d' "$n")
    body=cp/$name.txt sums=cp/$name.sums sig=cp/$name.txt.sig
    row=$(awk -v n="$n" '$2 == n { print; exit }' records)
    line='' r_size='' r_bytes='' r_head='' r_file='' r_prev='' r_body='' r_sig=- r_key=-
    if [ -n "$row" ]; then read -r line _ r_size r_bytes r_head r_file r_prev r_body r_sig r_key <<EOF
$row
EOF
    fi
    agrees=1 size=$r_size time='' principal=''
    if [ -z "$row" ] && [ "$n" -gt "$last_recorded" ]; then
        tell FAIL TRUNCATED '' "checkpoint $n was recorded, and no line says so: the log was longer"
    elif [ -z "$row" ]; then
        tell FAIL CHECKPOINT_CHAIN '' "no line records checkpoint $n"
    fi
    if [ -n "$folder" ]; then
        for file in "$body" "$sums" "$sig"; do
            if [ ! -f "$file" ] && { [ "$file" != "$sig" ] || { [ -n "$row" ] && [ "$r_sig" != - ]; }; }; then
                tell FAIL CHECKPOINT_CHAIN "$line" "checkpoints/${file##*/} is not there"
            fi
        done
        if [ -f "$sig" ] && [ -n "$row" ] && [ "$r_sig" = - ]; then
            tell FAIL EXTRA_FILE "$line" "checkpoints/$name.txt.sig: the line says that nobody signed"
        fi
    fi
    if [ -f "$body" ]; then
        own=$(sha "$body")
        if [ -f "$sums" ]; then
            { echo "$own  $name.txt"; if [ -f "$sig" ]; then echo "$(sha "$sig")  $name.txt.sig"; fi; } >expected
            if ! cmp -s expected "$sums"; then tell FAIL SUMS "$line" "checkpoints/$name.sums is not what sha256sum says"; fi
        fi
        if is_body "$body"; then
            size=$(said size "$body") time=$(said time "$body") principal=$(said signer "$body")
            if [ "$(said n "$body")" != "$n" ] || [ "$(said log "$body")" != "$the_log" ] || [ "$(said case "$body")" != "$the_case" ]; then
                tell FAIL CHECKPOINT_CHAIN "$line" "checkpoints/$name.txt is of another log or case"
                agrees=0
            fi
            r_prev=$(said prev "$body")
        else
            tell FAIL CHECKPOINT_CHAIN "$line" "checkpoints/$name.txt is no checkpoint"
            agrees=0
        fi
        sed -n "s/^${line:-none} //p" statements >stated
        if is_body "$body" && { { [ "${r_body:--}" != - ] && [ "$r_body" != "$own" ]; } || grep -q -v -x -F -f "$body" stated; }; then
            tell FAIL CHECKPOINT_CHAIN "$line" "checkpoints/$name.txt is not what the line says of it"
            agrees=0
        fi
    else
        own=$r_body
    fi
    if [ "$n" -ne $((before + 1)) ]; then
        tell FAIL CHECKPOINT_CHAIN "$line" "checkpoint $((before + 1)) before it left neither file nor line"
    elif [ "${r_prev:--}" != - ] && [ "$r_prev" != "$before_body" ]; then
        tell FAIL CHECKPOINT_CHAIN "$line" "checkpoint $n says that the one before it was another"
    fi
    if [ -n "$size" ]; then
        if [ "$size" -le "$before_size" ]; then tell FAIL CHECKPOINT_CHAIN "$line" "checkpoint $n speaks of no more lines than the one before it"; fi
        if [ -n "$line" ] && [ "$size" -ge "$line" ]; then tell FAIL TRUNCATED "$line" "the checkpoint recorded here speaks of $size lines before it"; fi
        if [ -f "$body" ] && [ -n "$principal" ]; then
            found=$(prefix "$size" "$(said bytes "$body")" "$(said head "$body")" "$(said file "$body")")
        else
            if [ "$r_file" = - ] && [ "$size" -ge 1 ]; then r_file=$(head -n "$size" log | sha256sum | cut -c 1-64); fi
            found=$(prefix "$size" "$r_bytes" "$r_head" "$r_file")
        fi
        case $found in
            cut)
                agrees=0
                if [ -z "$row" ] && [ "$n" -gt "$last_recorded" ]; then :
                elif [ -z "$line" ] || [ "$size" -lt "$line" ]; then tell FAIL TRUNCATED "$line" "a checkpoint speaks of $size lines, the log has $lines"; fi
                ;;
            forked) agrees=0; tell FAIL FORKED "$line" "a checkpoint says otherwise of lines 1 to $size" ;;
        esac
        before_size=$size last_size=$size last_line=$line
    else
        agrees=0
    fi
    if [ -f "$body" ] && [ -f "$sig" ]; then
        need ssh-keygen
        if [ -n "$principal" ]; then
            verdict=$(signature "$n" "$line" "$body" "$sig" "$principal" "$time")
            key=$(ssh-keygen -Y check-novalidate -n custody@imgkit -s "$sig" <"$body" 2>/dev/null | sed -n 's/.* key \(SHA256:.*\)/\1/p')
            if [ -n "$verdict" ] && { { [ "$r_sig" != - ] && [ "$(sha "$sig")" != "$r_sig" ]; } \
                || { [ "$r_key" != - ] && [ "$r_key" != "$key" ]; }; }; then
                tell FAIL BAD_SIGNATURE "$line" "the signature of checkpoint $n is not the one that the line names"
                verdict=
            fi
            if [ "$verdict" = unknown ]; then
                tell WARN UNKNOWN_SIGNER "$line" "the list of signers does not know $principal, who signed checkpoint $n"
                verdict=
            fi
            if [ "$verdict" = own ]; then keys_own=1; fi
            if [ -n "$verdict" ] && [ "$agrees" = 1 ]; then signed=$size; fi
        fi
    elif [ "$r_sig" = - ]; then
        if [ -z "$unsigned" ]; then unsigned=$n unsigned_line=$line; fi
    fi
    grep "^$name\\.sums\\..*\\.tsr\$" listed >replies || true
    while read -r reply_name <&4; do
        need openssl
        stated=$(awk -v name="$reply_name" '$2 == name { row = $1 " " $3 } END { print row }' stamps)
        if [ -z "$stated" ] && [ -n "$row" ]; then
            tell FAIL EXTRA_FILE '' "no line of the log names checkpoints/$reply_name"
        elif [ -n "$stated" ] && [ "${stated#* }" != "$(sha "cp/$reply_name")" ]; then
            tell FAIL BAD_TIMESTAMP "${stated% *}" "checkpoints/$reply_name is not what the line names"
        fi
        holds=0
        if [ "$agrees" = 1 ] && [ -f "$sums" ] && cmp -s expected "$sums"; then holds=1; fi
        stamp "$n" "$line" "$reply_name" "$sums" "$time" "$holds"
    done 4<replies
    before=$n before_body=$own
done 3<all
if [ -n "$folder" ]; then
    while read -r line name _; do
        if ! grep -q -x -F -- "$name" listed; then tell FAIL CHECKPOINT_CHAIN "$line" "checkpoints/$name is not there"; fi
    done <stamps
fi
if [ -n "$unsigned" ]; then tell WARN UNSIGNED_CHECKPOINT "$unsigned_line" "nobody signed checkpoint $unsigned, and maybe others"; fi
if [ -n "$keys_own" ]; then tell WARN SELF_ASSERTED '' "who signed only this folder says: give a list of signers with -s"; fi
if [ -n "$stamps_own" ]; then tell WARN SELF_ASSERTED '' "time stamps vouch for themselves: give certificates with -t"; fi
last_act=$(awk -F '\t' '$1 == "record" && $6 !~ /^(log\.checkpointed|log\.anchored|receipt\.given|receipt\.taken)$/ { n = NR } END { print n + 0 }' said)
if [ "$last_act" -gt "$signed" ] || [ "$signed" -eq 0 ]; then
    tell WARN UNSIGNED_TAIL "$lines" "no trusted signature covers lines $((signed + 1)) to $lines"
fi
if [ "$last_size" -gt "$dated" ]; then tell WARN TIMESTAMP_MISSING "$last_line" "no time stamp says when lines $((dated + 1)) to $last_size were there"; fi

# ---- 7. Receipts -----------------------------------------------------------------------------------------------------------
receipt() { # r_size, r_bytes, r_head, r_file
    case $(prefix "$r_size" "$r_bytes" "$r_head" "$r_file") in
        cut) tell FAIL TRUNCATED '' "a receipt is for $r_size lines, the log has $lines" ;;
        forked) tell FAIL FORKED "$r_size" "a receipt says otherwise of lines 1 to $r_size" ;;
    esac
}
if [ ! -s receipts ]; then tell WARN NO_RECEIPT '' "no receipt held by somebody else was compared: give one with -k"; fi
while read -r _ r_log r_size r_bytes r_head r_file; do
    if [ "$r_log" != "$the_log" ]; then
        tell FAIL FORKED '' "the receipt is of log $r_log"
        continue
    fi
    receipt
done <receipts
sort -u inside >once
while read -r _ r_log r_size r_bytes r_head r_file; do
    if [ "$r_log" = "$the_log" ]; then receipt; fi
done <once
cat told
failed=$((failed + $(grep -c '^FAIL' told || true)))
warned=$((warned + $(grep -c '^WARN' told || true)))

# ---- 8. The answer --------------------------------------------------------------------------------------------------------
echo "log $the_log, $lines lines, $bytes bytes"
echo "head $head"
if [ "$failed" -gt 0 ]; then
    echo "WRONG: $failed findings say that this log is not what it was ($warned warnings)"
    exit 1
fi
if [ "$newer" -gt 0 ]; then
    echo "UNDECIDED: written by a newer imgkit; take its verify.sh"
    exit 3
fi
echo "IN ORDER: one unbroken chain of $lines lines ($warned warnings)."
if [ ! -s receipts ]; then
    echo "A tail cut off, or a log written anew as a whole, is found only with a head that somebody else wrote down: compare it."
fi
