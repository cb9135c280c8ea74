#!/bin/sh
# Checks a custody log with stock tools, without imgkit.
#
#   sh verify.sh                    the case folder that this file lies in
#   sh verify.sh FOLDER             another case folder
#   sh verify.sh custody.jsonl      a log alone
#
# Needs: sha256sum split head tail od (coreutils), awk, cmp (diffutils), grep, xargs (findutils), jq 1.6 or later.
# Reads only: nothing outside a temporary folder is written. Use the copy of a tool that you trust, and read this file
# first: whoever can change the log can change the script beside it.
#
# Exit: 0 nothing wrong found, 1 something is wrong, 3 could not look. Codes are those of docs/verification-policy.md.
# Not checked here: whether each record has all fields of its type, its clocks, attachments, checkpoints, receipts.

set -eu
LC_ALL=C
export LC_ALL

cannot() { echo "verify.sh: $*" >&2; exit 3; }

for tool in sha256sum split head tail od awk cmp grep xargs jq mktemp; do
    command -v "$tool" >/dev/null || cannot "this needs $tool, which is not installed"
done

case $# in
    0) place=$(dirname -- "$0") ;;
    1) place=$1 ;;
    *) cannot "usage: verify.sh [FOLDER or custody.jsonl]" ;;
esac
if [ -d "$place" ]; then log=$place/custody.jsonl; else log=$place; fi
if [ ! -f "$log" ] || [ ! -r "$log" ]; then cannot "no readable custody log at $log"; fi
folder=
case $log in
    */custody.jsonl) folder=${log%/custody.jsonl} ;;
    custody.jsonl) folder=. ;;
esac
if [ -n "$folder" ]; then folder=$(cd -- "$folder" && pwd); fi

T=$(mktemp -d) || cannot "no temporary folder"
trap 'rm -rf -- "$T"' EXIT
trap 'exit 3' HUP INT TERM

# ---- 1. A copy, so that every tool sees the same bytes -------------------------------------------------------------
cat -- "$log" >"$T/log" || cannot "cannot read $log"
unended=0
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
mkdir lines again
split -a 9 -d -l 1 log lines/
(cd lines && printf '%s\0' * | xargs -0 sha256sum) | cut -c 1-64 >hashes
(cd lines && printf '%s\0' * | xargs -0 wc -c) | awk '$2 != "total" { print $1 }' >lengths

# ---- 3. What each line says: one row a line, "torn" where it is no JSON at all --------------------------------------
jq -rR '
  def odd:   # null, numbers that are no integers within +-(2^53-1), keys and nesting that the format does not have
    any(..; . == null or (type == "number" and (. != floor or fabs > 9007199254740991)))
    or any(.. | objects | keys_unsorted[]; test("^[a-z][a-z0-9_]*$") | not)
    or any(paths(type == "object" or type == "array"); length > 7);
  def enclosed:   # digests of the enclosures that a record names
    [ (select(.type == "note.added" or .type == "enclosure.added") | .data.sha256?),
      (.. | objects | select((.enclosure? | type) == "string") | .sha256?) ]
    | map(select(type == "string")) | unique | join(",");
  def named:      # what a log.recovered says of torn lines
    "\(.last_good?)" + ([.torn[]? | "/\(.line):\(.bytes):\(.sha256)"] | add // "");
  (try [fromjson] catch []) as $read
  | if ($read | length) == 0 or test("^[ \t\r]*$") then ["torn"]
    elif ($read[0] | type) != "object" then ["other"]
    else $read[0]
      | ["record", .prev, .seq, .log, .v, .type, .phase, .op,
         (if .type == "op.reconciled" then .data.op? else "" end),
         (if .type == "log.recovered" then .data | named else "" end),
         odd, enclosed]
    end
  | map(tostring | if . == "" then "-" else . end) | @tsv' log >said || cannot "jq cannot read the log"

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
    split -a 9 -d -l 1 encoded again/
    (cd again && printf '%s\0' * | xargs -0 sha256sum) | cut -c 1-64 >rehashed
fi

# ---- 4. The chain -----------------------------------------------------------------------------------------------------
: >enclosed
paste hashes lengths rehashed said | awk -F '\t' -v unended="$unended" '
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
    before = sprintf("%064d", 0)
}
{
    hash = $1; size = $2; again = $3; kind = $4; prev = $5; seq = $6; log_id = $7
    phase = $10; op = $11; reconciled = $12; recovered = $13; odd = $14; stated = $15
    if (NR in nojson) kind = "torn"
    end_before = total; head_before = head
    total += size; head = hash
    if (kind == "torn" && size <= 65536) {
        if (torn == 0) first_torn = NR
        torn++; torn_hash[torn] = hash; torn_length[torn] = size
        before = hash
        next
    }
    if (torn > 0) torn_run_ends(recovered)
    else if ($9 == "log.recovered") told("FAIL", "SCHEMA", NR, "it tells of torn lines that are not there")
    if (kind != "record" || hash != again || size > 65536 || odd == "true" || NR in unprintable)
        told("FAIL", "BAD_LINE", NR, "not in the one encoding of a record")
    if (kind == "record") {
        if (prev != before) told("FAIL", "CHAIN_BREAK", NR, "prev is " prev ", the line before is " before)
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
    before = hash
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
    for other in checkpoints receipts; do
        if [ -n "$(ls -A -- "$folder/$other" 2>/dev/null)" ]; then echo "NOTE: the files in $other/ were not checked; see README.txt"; fi
    done
fi

# ---- 6. The answer --------------------------------------------------------------------------------------------------------
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
echo "A tail cut off, or a log written anew as a whole, is found only with a head that somebody else wrote down: compare it."
