#!/bin/sh
# Checks disclosed lines of a custody log with stock tools: sh, coreutils, sed, awk; ssh-keygen for the signature.
#
#   sh check.sh [ALLOWED_SIGNERS]
#
# ALLOWED_SIGNERS is your own list of whom you trust (see ssh-keygen(1)); without it nobody vouches for the signature.
# Not checked here: time stamps, revoked keys, weak ones but for Ed25519 keys of small order; that the records say the same of
# their number, log and neighbours as the paths do.
# Exit code 0: in order. 1: something is not what it says. 3: could not look. Nothing is written.

set -eu
export LC_ALL=C TZ=UTC
signers=${1:-}
case $signers in "" | /*) ;; *) signers=$PWD/$signers ;; esac
cd -- "$(dirname -- "$0")"

say() { printf '%s\n' "$1"; } # an echo would take what a hostile name holds for escapes
cannot() { say "CANNOT: $1" >&2; exit 3; }
failed=0
wrong() { say "FAIL $1"; failed=1; }

# ---- The checkpoint -------------------------------------------------------------------------------------------------------
set -- checkpoints/*.txt
[ $# -eq 1 ] && [ -f "$1" ] || cannot "there must be exactly one checkpoint"
body=$1
if grep -q '[^ -~]' "$body"; then cannot "the checkpoint has bytes that none has"; fi
stem=${body%.txt}
of() { sed -n "s/^$1: //p" "$body"; }
awk 'NR == 1 && $0 != "imgkit-checkpoint/v1" { exit 1 }
     NR > 1 && $1 != substr("n:log:case:size:bytes:head:file:merkle:prev:time:signer:reason:", at + 1, length($1)) { exit 1 }
     NR > 1 { at += length($1) }
     END { if (NR != 13) exit 1 }' "$body" || cannot "$body is no checkpoint"
log=$(of log) size=$(of size) root=$(of merkle) head=$(of head) signer=$(of signer)
case $size in "" | *[!0-9]* | 0*) cannot "$body is no checkpoint" ;; esac

small_order() { # whether a signature is of one of the keys that threats.md lists
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

name=${body##*/}
if [ -f "$body.sig" ]; then set -- "$name" "$name.sig"; else set -- "$name"; fi
(cd checkpoints && sha256sum "$@") | cmp -s - "$stem.sums" || wrong "SUMS: $stem.sums is not of these files"
if [ ! -f "$body.sig" ]; then
    if [ -n "$signers" ]; then wrong "UNSIGNED_CHECKPOINT: nobody signed the checkpoint"
    else say "WARN UNSIGNED_CHECKPOINT: nobody signed the checkpoint"; fi
elif ! command -v ssh-keygen >/dev/null; then
    cannot "there is no ssh-keygen to check the signature with"
elif small_order "$body.sig"; then
    wrong "WEAK_KEY: an Ed25519 key of small order has a signature that fits every message"
elif [ -n "$signers" ]; then # a key must have been good at the time that the checkpoint states, whenever this is checked
    at=$(of time | sed 's/\..*//; s/[^0-9]//g')
    ssh-keygen -Y verify -f "$signers" -I "$signer" -n custody@imgkit -s "$body.sig" -O verify-time="$at" <"$body" \
        || wrong "BAD_SIGNATURE: not one that $signers trusts for $signer"
else
    ssh-keygen -Y check-novalidate -n custody@imgkit -s "$body.sig" <"$body" || wrong "BAD_SIGNATURE: $body.sig"
    say "WARN SELF_ASSERTED: nobody vouches for this key; name a list of signers of your own"
fi

# ---- The lines ------------------------------------------------------------------------------------------------------------
octal() { # two hashes in hex as escapes for printf
    awk -v hex="$1$2" 'BEGIN {
        for (i = 1; i < length(hex); i += 2)
            printf "\\%03o", 16 * (index("0123456789abcdef", substr(hex, i, 1)) - 1) \
                + index("0123456789abcdef", substr(hex, i + 1, 1)) - 1
    }'
}
node() { printf "\\001$(octal "$1" "$2")" | sha256sum | cut -c1-64; }

count=$(wc -l <paths.txt)
[ "$count" -gt 0 ] && [ "$(wc -l <lines.jsonl)" -eq "$count" ] || cannot "lines.jsonl and paths.txt do not belong together"
if grep -vqxE '[1-9][0-9]{0,14}( [0-9a-f]{64})*' paths.txt; then cannot "paths.txt is damaged"; fi
at=0
before=0
while read -r number path; do
    at=$((at + 1))
    if [ "$number" -le "$before" ] || [ "$number" -gt "$size" ]; then
        wrong "SEQ line $number: not in order, or not below the checkpoint"
    fi
    hash=$({ printf '\000'; sed -n "${at}p" lines.jsonl; } | sha256sum | cut -c1-64)
    index=$((number - 1)) last=$((size - 1)) short=0
    for sibling in $path; do
        if [ "$last" -eq 0 ]; then short=1; break; fi
        if [ $((index & 1)) -eq 1 ] || [ "$index" -eq "$last" ]; then
            hash=$(node "$sibling" "$hash")
            while [ $((index & 1)) -eq 0 ] && [ "$index" -ne 0 ]; do index=$((index >> 1)) last=$((last >> 1)); done
        else
            hash=$(node "$hash" "$sibling")
        fi
        index=$((index >> 1)) last=$((last >> 1))
    done
    if [ "$short" -eq 1 ] || [ "$last" -ne 0 ] || [ "$hash" != "$root" ]; then
        wrong "MERKLE line $number: does not belong to the checkpoint"
    fi
    if [ "$number" -eq "$size" ] && [ "$(sed -n "${at}p" lines.jsonl | sha256sum | cut -c1-64)" != "$head" ]; then
        wrong "MERKLE line $number: is not the head that the checkpoint names"
    fi
    before=$number
done <paths.txt

set -- "$stem".sums.*.tsr
if [ -f "$1" ]; then say "NOT CHECKED: time stamps, for want of certificates that you trust; README.txt says how"; fi
say "log $log, checkpoint $(of n) of $(of time): $count of its $size lines"
if [ "$failed" -ne 0 ]; then
    say "WRONG: what was disclosed is not what the checkpoint covers"
    exit 1
fi
say "IN ORDER: each line stood in the log at its number when the checkpoint was made."
