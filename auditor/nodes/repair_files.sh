# The second half of repair.sh: puts one address in the place of another in the files of a device.
#
# wg-quick's file and those of systemd-networkd in /etc. Only the bytes of the address change. No content of a
# file is ever printed: only its name, and numbers of lines.

rewrite() {
    old=$1 new=$2
    # Others than root do not see these files, and would take that for none.
    [ "$(id -u)" = 0 ] || fail sudo "root is needed for files (set ssh.sudo = true, or ssh.user = \"root\")"
    # All files are looked at before the first is written.
    for act in check_file write_file; do
        consider wg-quick "/etc/wireguard/$device.conf"
        set +f
        set -- /etc/systemd/network/*.network
        set -f
        for path; do
            consider networkd "$path"
        done
    done
}

# consider KIND PATH: does `act` to the file if it is there, is this device's, and names either address.
consider() {
    file=$2
    if [ -L "$file" ]; then
        file=$(readlink -f "$2" 2>&1) || fail failed "$2 cannot be followed: $file"
    fi
    [ -f "$file" ] || return 0
    case $file in *[!A-Za-z0-9_.,:@%+=/\ -]*) fail refused "a file's name has characters that cannot be told: rename it" ;; esac
    size=$(wc -c <"$file") || fail failed "$file cannot be read"
    [ "$(tr -d '\000' <"$file" | wc -c)" -eq "$size" ] || fail refused "$file is not a text file"
    kind=$1
    scan "$kind" "$file"
    [ "$1" = wg-quick ] || ours || return 0
    [ "$hits$named" ] || return 0
    [ -z "$hits" ] || [ -z "$named" ] || fail refused "$file names both $old and $new: take $old out by hand"
    $act
}

check_file() {
    :
}

write_file() {
    [ -z "$hits" ] || swap
    facts="${facts}file $file$newline"
    [ -z "$saves" ] || facts="${facts}note save-config $file$newline"
    for number in $left; do
        facts="${facts}note left $number $file$newline"
    done
}

# ours: whether the words of [Match] Name= cover the device, plainly or with simple wildcards.
ours() {
    for word in $names; do
        case $word in *[!A-Za-z0-9_=+.*?-]*) continue ;; esac
        case $device in $word) return 0 ;; esac
    done
    return 1
}

# scan KIND FILE: sets hits (OFFSET:LENGTH of each address that is OLD), named (NEW stands there), names (of
# [Match]), saves (SaveConfig is on), left (numbers of lines that name OLD in another role).
scan() {
    hits= named= names= saves= left=
    found=$(awk -v kind="$1" -v old="$old" -v new="$new" "$scanner" "$2" 2>&1) || fail failed "awk: $found"
    IFS=$newline
    set -- $found
    unset IFS
    for line; do
        set -- $line
        case $1 in
        hit) hits="$hits $2" ;;
        new) named=yes ;;
        match) names="$names $2" ;;
        forget) names= ;;
        save) saves=yes ;;
        left) left="$left $2" ;;
        *) fail failed "awk: $line" ;;
        esac
    done
}

# Both programs' own reading of their files: wg-quick folds case, ends a line at `#`, and takes lists with
# commas; systemd-networkd does none of that, and knows comments only as whole lines.
scanner='
    # One spelling for each address; IPv4 has only one.
    function full(text,    half, head, tail, n, m, i, out) {
        text = tolower(text)
        if (text !~ /^[0-9a-f:]+$/ || text !~ /:/) return text
        if (split(text, half, "::") > 2) return text
        n = split(half[1], head, ":")
        m = index(text, "::") ? split(half[2], tail, ":") : 0
        out = ""
        for (i = 1; i <= n; i++) out = out ":" short(head[i])
        if (index(text, "::")) for (i = n + m; i < 8; i++) out = out ":0"
        for (i = 1; i <= m; i++) out = out ":" short(tail[i])
        return out
    }
    function short(group) {
        sub(/^0+/, "", group)
        return group == "" ? "0" : group
    }
    function trimmed(text) {
        sub(/^[ \t\r\f\v]+/, "", text)
        sub(/[ \t\r\f\v]+$/, "", text)
        return text
    }
    # addresses TEXT AT: the tokens of a value that begins at this byte of the file; whether OLD is among them.
    function addresses(text, at,    token, slash, bare, here) {
        here = 0
        while (match(text, /[^ \t\r\f\v,]+/)) {
            token = substr(text, RSTART, RLENGTH)
            at += RSTART - 1
            text = substr(text, RSTART + RLENGTH)
            slash = index(token, "/")
            bare = slash ? substr(token, 1, slash - 1) : token
            if (full(bare) == full_old) { print "hit " at ":" length(bare); here = 1 }
            else if (full(bare) == full_new) print "new"
            at += length(token)
        }
        return here
    }
    # Whether OLD stands there as a whole address.
    function mentions(text,    at, before) {
        before = " "
        while (at = index(text, old)) {
            if (at > 1) before = substr(text, at - 1, 1)
            text = substr(text, at + length(old))
            if (before !~ /[0-9A-Za-z.:]/ && text !~ /^[0-9A-Za-z.:]/) return 1
            before = substr(old, length(old))
        }
        return 0
    }
    BEGIN { full_old = full(old); full_new = full(new) }
    {
        start = offset
        offset += length($0) + 1
        text = $0
        if (kind == "wg-quick") {
            if (at = index(text, "#")) text = substr(text, 1, at - 1)
            text = tolower(text)
        } else if (text ~ /^[ \t]*[#;]/) next
        equals = index(text, "=")
        key = trimmed(equals ? substr(text, 1, equals - 1) : text)
        if (key ~ /^\[/) { section = key; next }
        value = equals ? substr(text, equals + 1) : ""
        if (kind == "wg-quick") {
            if (section != "[interface]") next
            if (key == "saveconfig") { if (trimmed(value) == "true") print "save"; next }
            address = key == "address"
            told = 1
        } else {
            if (section == "[Match]" && key == "Name") {
                if (trimmed(value) == "") print "forget"
                n = split(trimmed(value), word, /[ \t]+/)
                for (i = 1; i <= n; i++) print "match " word[i]
                next
            }
            address = key == "Address" && (section == "[Network]" || section == "[Address]")
            told = section ~ /^\[(Network|Address|Route|RoutingPolicyRule)\]$/
        }
        if (address && equals && addresses(value, start + equals)) next
        if (told && lines_left < 5 && mentions(text)) { print "left " NR; lines_left++ }
    }
'

# swap: the file with NEW in place of each hit, beside it, then in its place; all other bytes as they were.
swap() {
    copy=$file.wgaudit-$(echo "$old" | tr : -)
    fresh=$file.wgaudit-new
    for hit in $hits; do
        size=$((size + ${#new} - ${hit#*:}))
    done
    rm -f "$fresh"
    if [ ! -e "$copy" ]; then
        said=$(cp -p "$file" "$fresh" 2>&1 && same_rights && mv -f "$fresh" "$copy" 2>&1) || give_up "a copy of $file: $said"
    fi
    said=$(cp -p "$file" "$fresh" 2>&1 && same_rights) || give_up "$fresh: $said"
    said=$({ spliced >"$fresh"; } 2>&1) || give_up "$fresh: $said"
    [ "$(wc -c <"$fresh")" -eq "$size" ] || give_up "$fresh has not the size that it must have"
    check_fresh
    flush "$fresh"
    said=$(mv -f "$fresh" "$file" 2>&1) || give_up "$file: $said"
    flush "${file%/*}"
}

give_up() {
    rm -f "$fresh"
    fail failed "$1"
}

# Whoever reads the new file must be whoever could read the old one.
same_rights() {
    [ "$(rights "$file")" = "$(rights "$fresh")" ] || {
        echo "mode or owner could not be kept"
        return 1
    }
}

rights() {
    set -- $(ls -ldn "$1")
    echo "$1 $3 $4"
}

spliced() {
    from=0
    for hit in $hits; do
        at=${hit%:*}
        tail -c "+$((from + 1))" "$file" 2>/dev/null | head -c $((at - from)) || return 1
        printf %s "$new" || return 1
        from=$((at + ${hit#*:}))
    done
    tail -c "+$((from + 1))" "$file"
}

# What a later reader will find, before it is put in place.
check_fresh() {
    found=$(awk -v kind="$kind" -v old="$old" -v new="$new" "$scanner" "$fresh" 2>&1) || give_up "awk: $found"
    case "$newline$found" in
    *"${newline}hit "*) give_up "$fresh still names $old" ;;
    *"${newline}new"*) ;;
    *) give_up "$fresh does not name $new" ;;
    esac
}

# Best effort: the file system's own order is safe enough where there is no sync.
flush() {
    ! command -v sync >/dev/null 2>&1 || sync "$1" 2>/dev/null || sync
}

# The last line: a text cut short on its way defines functions and does nothing.
main "$@" </dev/null
