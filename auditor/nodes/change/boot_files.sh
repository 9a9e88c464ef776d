# -- files: one address in the place of another in the files that bring a device up
#
# Those of wg-quick, netplan, NetworkManager and systemd-networkd. Only the bytes of the address change, and only
# where a plain line gives it to this device; other places are named, and left. No content of a file is ever
# printed: only its name, and numbers of lines.

most_files=200      # of one folder
most_bytes=16777216 # of one file

rewrite() {
    old=$1 new=$2
    # Others than root do not see these files, and would take that for none.
    [ "$(id -u)" = 0 ] || fail sudo "root is needed for files (set ssh.sudo = true, or ssh.user = \"root\")"
    # All files are looked at before the first is written.
    for act in check_file write_file; do
        netplan=
        consider wg-quick etc "/etc/wireguard/$device.conf"
        every netplan .yaml /etc/netplan /run/netplan /usr/lib/netplan
        every keyfile .nmconnection /etc/NetworkManager/system-connections \
            /run/NetworkManager/system-connections /usr/lib/NetworkManager/system-connections
        every networkd .network /etc/systemd/network /run/systemd/network \
            /usr/local/lib/systemd/network /usr/lib/systemd/network
    done
}

# every KIND SUFFIX FOLDER…: considers each file of that suffix; one that a folder before it has is never read.
every() {
    kind=$1 suffix=$2 masked=$newline
    shift 2
    folders="$*"
    for folder in $folders; do
        list "$folder" "$suffix" || continue
        IFS=$newline
        set -- $listed
        unset IFS
        for path; do
            name=${path##*/}
            case $masked in *"$newline$name$newline"*) continue ;; esac
            masked=$masked$name$newline
            above=
            consider "$kind" "$(place "$path")" "$path"
            [ "$kind" != networkd ] || drop_ins "$name"
        done
    done
}

# drop_ins NAME: those of one .network file, whose device theirs is.
drop_ins() {
    above=$owner seen=$newline
    [ "$above" != none ] || return 0
    for place_of in $folders; do
        list "$place_of/$1.d" .conf || continue
        IFS=$newline
        set -- "$1" $listed
        unset IFS
        for path; do
            [ "$path" != "$1" ] || continue
            part=${path##*/}
            case $seen in *"$newline$part$newline"*) continue ;; esac
            seen=$seen$part$newline
            consider networkd "$(place "$path")" "$path"
        done
    done
    above=
}

# list FOLDER SUFFIX: sets listed, a path a line; 1: there are none.
list() {
    listed=
    [ -d "$1" ] || return 1
    set +f
    set -- "$1" "$1"/*"$2"
    set -f
    if [ $# -gt $((most_files + 1)) ]; then
        file=$1
        leave many 0
        return 1
    fi
    shift
    for path; do
        case $path in
        *"$newline"*) continue ;; # no program of these reads such a name from a list of ours
        esac
        [ ! -e "$path" ] || listed=$listed$path$newline
    done
    [ "$listed" ]
}

# place PATH: who wrote it, by its folder.
place() {
    case $1 in
    /run/systemd/network/10-netplan-* | /run/NetworkManager/system-connections/netplan-*) echo generated ;;
    /run/*) echo made ;;
    /usr/*) echo vendor ;;
    *) echo etc ;;
    esac
}

# consider KIND PLACE PATH: does `act` to the file if it is there, is this device's, and names either address.
# Sets owner: whether it is this device's (yes, no, unknown), or none: it is not read at all.
consider() {
    scanned=$1 from=$2 file=$3 owner=none
    if [ -L "$file" ]; then
        file=$(readlink -f "$3" 2>&1) || fail failed "$3 cannot be followed: $file"
        case $file in /usr/* | /nix/*) from=vendor ;; esac
    fi
    [ -f "$file" ] || return 0
    size=$(wc -c <"$file") || fail failed "$file cannot be read"
    if [ "$size" -gt $most_bytes ]; then
        leave large 0
        return 0
    fi
    if [ "$(tr -d '\000' <"$file" | wc -c)" -ne "$size" ]; then
        # NetworkManager and netplan do not read it either.
        case $scanned in wg-quick | networkd) fail refused "$file is not a text file" ;; esac
        return 0
    fi
    scan "$scanned" "$file"
    whose
    [ "$owner" != no ] && [ "$hits$named$left" ] || return 0
    told=$file
    while :; do
        case $file in *[!A-Za-z0-9_.,:@%+=/\ -]*) file=${file%/*} ;; *) break ;; esac
    done
    if [ "$file" != "$told" ]; then
        leave name 0
        return 0
    fi
    if [ "$owner" = unknown ]; then
        # Another device may well have a route to that address, or a gateway of it.
        [ ! "$hits" ] || leave whose 0
        return 0
    fi
    if [ "$hits" ] && [ "$named" ]; then
        case $scanned in wg-quick | networkd) fail refused "$file names both $old and $new: take $old out by hand" ;; esac
        leave both 0
        return 0
    fi
    case $scanned:$from:$hits$named in netplan:etc:?*) netplan=yes ;; esac
    case $from:$netplan in
    etc:* | generated:yes) $act ;;
    *) if [ "$hits$left" ]; then leave "${from%generated}" 0; else $act; fi ;;
    esac
}

# leave WHY LINE: names a file that a person must change; LINE 0: all of it.
leave() {
    [ "$act" != write_file ] || facts="${facts}byhand ${1:-made} $2 $file$newline"
}

check_file() {
    :
}

write_file() {
    if [ "$hits" ]; then
        swap
        [ "$scanned" != keyfile ] || facts="${facts}note reload $file$newline"
    fi
    [ ! "$hits$named" ] || facts="${facts}file $file$newline"
    [ -z "$saves" ] || facts="${facts}note save-config $file$newline"
    for number in $left; do
        leave line "$number"
    done
}

# whose: sets owner by what the file says of its device, plainly or with simple wildcards.
whose() {
    owner=unknown
    case $scanned in
    wg-quick | netplan) owner=yes ;;
    keyfile)
        case $names:$type in
        " $device:"*) owner=yes ;;
        ' '*) owner=no ;;
        :?*) [ "$type" = wireguard ] || owner=no ;;
        esac
        ;;
    networkd)
        [ ! "$names" ] || owner=no
        for word in $names; do
            case $word in
            *[!A-Za-z0-9_=+.*?-]*) owner=unknown ;;
            *) case $device in $word) owner=yes && break ;; esac ;;
            esac
        done
        # A drop-in adds to what its file says.
        case $above:$names in
        yes:*) owner=yes ;;
        no:) owner=no ;;
        unknown:*) [ "$owner" = yes ] || owner=unknown ;;
        esac
        ;;
    esac
}

# scan KIND FILE: sets hits (OFFSET:LENGTH of each address that is OLD), named (NEW stands there), names and type
# (of the device), saves (SaveConfig is on), left (numbers of lines that name OLD otherwise).
scan() {
    hits= named= names= type= saves= left=
    found=$(awk -v kind="$1" -v old="$old" -v new="$new" -v device="$device" "$scanner" "$2" 2>&1) ||
        fail failed "awk: $found"
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
        type) type=$2 ;;
        save) saves=yes ;;
        left) left="$left $2" ;;
        *) fail failed "awk: $line" ;;
        esac
    done
}

# Each program's own reading of its files: wg-quick folds case, ends a line at `#`, and takes lists with commas;
# systemd-networkd does none of that, and knows comments only as whole lines; a key file of NetworkManager has one
# address in a value, before its gateway; of netplan's YAML only block style and lists in one line are followed.
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
    # addresses TEXT AT ONCE: the tokens of a value that begins at this byte of the file, or its first one alone;
    # whether OLD is among them.
    function addresses(text, at, once,    token, slash, bare, here) {
        here = 0
        while (match(text, /[^ \t\r\f\v,;]+/)) {
            token = substr(text, RSTART, RLENGTH)
            at += RSTART - 1
            text = substr(text, RSTART + RLENGTH)
            slash = index(token, "/")
            bare = slash ? substr(token, 1, slash - 1) : token
            if (full(bare) == full_old) { print "hit " at ":" length(bare); here = 1 }
            else if (full(bare) == full_new) print "new"
            at += length(token)
            if (once) { if (mentions(text)) tell(NR); break }
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
    function tell(number) {
        if (lines_left++ < 5) print "left " number
    }
    function ours() { return depth > 2 && name[1] == "network" && name[3] == device }
    # yaml TEXT AT: one line of YAML that begins at this byte of the file.
    function yaml(text, at,    indent, quote, colon, key, value) {
        if (text ~ /^[ \t\r]*(#|$)/) return
        if (text ~ /^(---|[.][.][.])/) { if (depth) odd = 1; depth = 0; return }
        # Anchors and aliases give one line to several devices; a tab is no indentation.
        if (text ~ /^ *\t/ || text ~ /(^|[ \t,:{-])[&*][A-Za-z0-9_]/) odd = 1
        if (index(text, device)) device_seen = 1
        # A comment begins before every quote, or has none behind it.
        quote = match(text, quotes)
        if (match(text, /[ \t]#/) && (!quote || RSTART < quote) || match(text, comment))
            text = substr(text, 1, RSTART - 1)
        match(text, /^ */)
        indent = RLENGTH
        if (text ~ /^ *-([ \t]|$)/) {
            while (depth && level[depth] > indent) depth--
            if (depth == 4 && ours() && name[4] == "addresses" && value_of[4] == "") {
                value = substr(text, indent + 2)
                if (value ~ plain_item) { gsub(quotes, " ", value); sub(/:[ \t\r]*$/, " ", value) }
                if (value !~ /["{&*!]/ && addresses(value, at + indent + 1, 1)) return
            }
        } else if (colon = match(text, /:([ \t\r]|$)/)) {
            key = trimmed(substr(text, 1, colon - 1))
            gsub(quotes, "", key)
            value = substr(text, colon + 1)
            while (depth && level[depth] >= indent) depth--
            depth++
            level[depth] = indent; name[depth] = key; value_of[depth] = trimmed(value)
            if (depth < 3 && value ~ /^[ \t]*\{/) odd = 1
            if (depth == 4 && ours() && key == "addresses" && value ~ /^[ \t]*\[[^][{}&*!]*\][ \t\r]*$/) {
                gsub(/[][]/, " ", value)
                gsub(quotes, " ", value)
                if (addresses(value, at + colon, 0)) return
            }
        }
        if (!mentions(text)) return
        if (!depth) odd = 1
        if (!ours()) outside[++outsides] = NR
        else if (name[4] != "peers" || depth == 3) tell(NR)
    }
    BEGIN {
        full_old = full(old)
        full_new = full(new)
        quotes = "[" sprintf("%c", 39) "\"]"
        comment = "[ \t]#[^" substr(quotes, 2) "*$"
        plain_item = "^[ \t]*" quotes "?[0-9A-Fa-f:.]+(/[0-9]+)?" quotes "?:?[ \t\r]*$"
    }
    {
        start = offset
        offset += length($0) + 1
        text = $0
        if (kind == "netplan") { yaml(text, start); next }
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
        } else if (kind == "keyfile") {
            if (section == "[connection]" && key == "interface-name") print "match " trimmed(value)
            if (section == "[connection]" && key == "type") print "type " trimmed(value)
            told = section ~ /^\[ipv[46]\]$/
            address = told && key ~ /^address(es)?[0-9]*$/
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
        if (address && equals && addresses(value, start + equals, kind == "keyfile")) next
        if (told && mentions(text)) tell(NR)
    }
    END { if (odd && device_seen) for (i = 1; i <= outsides; i++) tell(outside[i]) }
'

# swap: the file with NEW in place of each hit, beside it, then in its place; all other bytes as they were.
swap() {
    beside
    copy=$beside-$(echo "$old" | tr : -) before=$beside-$(echo "$new" | tr : -)
    fresh=$beside-new
    for hit in $hits; do
        size=$((size + ${#new} - ${hit#*:}))
    done
    rm -f "$fresh"
    if ! given_back; then
        if [ ! -e "$copy" ]; then
            said=$(cp -p "$file" "$fresh" 2>&1 && same_rights && mv -f "$fresh" "$copy" 2>&1) ||
                give_up "a copy of $file: $said"
        fi
        said=$(cp -p "$file" "$fresh" 2>&1 && same_rights) || give_up "$fresh: $said"
        said=$({ spliced "$file" "$new" "$hits" >"$fresh"; } 2>&1) || give_up "$fresh: $said"
        [ "$(wc -c <"$fresh")" -eq "$size" ] || give_up "$fresh has not the size that it must have"
        before=
    fi
    check_fresh
    flush "$fresh"
    said=$(mv -f "$fresh" "$file" 2>&1) || give_up "$file: $said"
    flush "${file%/*}"
    [ ! "$before" ] || rm -f "$before"
}

# Sets beside: how names of files beside this one begin. NetworkManager may read whatever is not hidden.
beside() {
    beside=$file.wgaudit
    [ "$scanned" != keyfile ] || beside=${file%/*}/.${file##*/}.wgaudit
}

# given_back: the way back. Where the file is what the copy from before became, fresh gets the bytes of the copy,
# whose spelling of an address may have been another one.
given_back() {
    [ -f "$before" ] && [ ! -L "$before" ] && command -v cmp >/dev/null 2>&1 || return 1
    ( # in a subshell: the copy is scanned the other way round
        there=$old old=$new new=$there
        scan "$scanned" "$before"
        [ "$hits" ] && spliced "$before" "$new" "$hits" | cmp -s - "$file"
    ) >/dev/null || return 1
    said=$(cp -p "$file" "$fresh" 2>&1 && same_rights) || give_up "$fresh: $said"
    said=$({ cat "$before" >"$fresh"; } 2>&1) || give_up "$fresh: $said"
    cmp -s "$before" "$fresh" || give_up "$fresh is not the copy that it was made from"
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

# spliced FILE TEXT HITS: the file with the text in place of each hit.
spliced() {
    from_byte=0
    for hit in $3; do
        at=${hit%:*}
        tail -c "+$((from_byte + 1))" "$1" 2>/dev/null | head -c $((at - from_byte)) || return 1
        printf %s "$2" || return 1
        from_byte=$((at + ${hit#*:}))
    done
    tail -c "+$((from_byte + 1))" "$1"
}

# What a later reader will find, before it is put in place.
check_fresh() {
    found=$(awk -v kind="$scanned" -v old="$old" -v new="$new" -v device="$device" "$scanner" "$fresh" 2>&1) ||
        give_up "awk: $found"
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
