# Runs on a node and prints its WireGuard state, in the words of docs/security.md and nothing else.
#
# POSIX sh with wg, ip, awk, sort and head; nothing is written, nothing is kept. Only single fields are asked
# for: the forms of `wg show` that print private or preshared keys stand nowhere in here. Whatever fails
# becomes one `error REASON DETAIL` line; an answer counts only if `begin` and `end` frame it. It ends within
# `seconds`, with all that it started, and holds no more than a bounded part of what any program prints.
#
# What comes before this text says:
#   device           the WireGuard device
#   mode             digest: the sha256 of the route table is told; text: the table itself; base: its digest, the digest
#                    of the table with some keys' prefixes left out, and these prefixes; follow: the digest, again and
#                    again, until the connection ends
#   $*               in mode base, its last words: the ends of those keys
#   seconds          the time after which nothing of this may be left; in mode follow, of each call under sudo
#   beat             in mode follow, the seconds after which it speaks though nothing changed
#   interval         in mode follow, the seconds between two looks
#   run_wg, run_ip   functions that run these two programs, wherever they are, in place of a subshell
#   wg_command       for a message, where it is not wg
#   endpoints        yes: the peers' endpoints too; met: these, and how long ago each peer's last handshake was
#   transfer         yes: the digest comes with the peers that are sent to in vain, which takes 4 or 20 seconds more; mode
#                    follow tells them in any case
#   sudo             yes: wg runs under `sudo -n`
#   region_command   run by sh, prints the node's region; empty: not asked for
#   address_devices  further devices whose addresses inside `pools` are the node's own
#   pools            prefixes as bits: 4 or 6, and then so many zeros and ones; where there are some, a digest or base
#                    comes with the node's routes inside them that hide mesh addresses (see shadowed)
#   hints            what such routes begin with: 256 times the first number and the second, from and to, or a text. Then
#                    only is told whether there may be one, for looking closely takes a good part of this text
#   installed        yes: authorized_keys forces this file; SSH_ORIGINAL_COMMAND says mode, endpoints and ends of keys
#
# An installed file is this text as it stands. What travels over stdin is the same lines without comments,
# without indentation, and without the parts between `# only NAME:` and `# end NAME` that were not asked for.

version=wgaudit-probe/1
# only installed:
# Of the one request that older scripts do not know. What is printed has one form, whatever was asked.
following=wgaudit-probe/2
# end installed
# only follow:
inside=
# end follow
newline='
'
tab='	'
LC_ALL=C
PATH=${PATH:+$PATH:}/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH
set -f
# A table of half a million lines; what is longer is none.
most=33554432
# Routes of a node: some 70,000.
most_routes=4000000
# Words, unquoted where they run.
as_root=
# only base:
varying=$*
varying=${varying#*base }
varying=${varying#endpoints }
varying=${varying#met }
# end base
not_found='wg was not found; install wireguard-tools'
[ -z "$wg_command" ] || not_found="ssh.wg_command was not found: $wg_command"

# fail REASON DETAIL [STATUS]: ends the answer; only the detail's first line, and only its beginning.
fail() {
    printf 'error %s %.200s\n' "$1" "${2%%"$newline"*}"
    finish "${3:-1}"
}

finish() {
    # only follow:
    [ ! "$inside" ] || exit "$1"
    # end follow
    printf '%s end\n' "$version"
    kill $watch 2>/dev/null
    exit "$1"
}

# watch: ends all that is left of this script once its time is up or the script itself is gone. It holds none of
# the script's streams. Under sshd the script leads its group, which outlives it; what has left the group is
# found as its offspring. What sudo started is not ours to end: see become_root.
watch() {
    trap 'kill $!; exit' TERM
    while parent=$$; do
        ! read -r line </proc/self/stat || {
            line=${line##*) }
            parent=${line#* }
            parent=${parent%% *}
        }
        [ "$parent" = $$ ] && [ "$limit" -gt 0 ] || break
        sleep 1 &
        wait $!
        limit=$((limit - 1))
    done
    end_all
}

# end_all: kills the script and all that it started. `parent`: the script's number, while it is there.
end_all() {
    if [ "$parent" = $$ ]; then
        set +f
        read -r me line </proc/self/stat
        # What is stopped starts nothing more while it is counted.
        kill -STOP $(offspring)
        kill -KILL $(offspring)
    fi
    kill -KILL -$$
}

# offspring: the numbers of this script and of all that it started, but for the one that watches.
offspring() {
    cat /proc/[0-9]*/stat | awk -v top=$$ -v me="$me" '
        { pid = $1; sub(/.*\) . /, ""); up[pid] = $1 }
        END {
            for (pid in up) {
                for (at = pid; at in up && at != top; at = up[at]) {}
                if (at == top && pid != me) { print pid }
            }
        }
    '
}

# explain TEXT: ends the answer with what wg or sudo said when it failed, told apart by who must act. Warnings
# come first, and the last line is what ended it.
explain() {
    set -- "${1##*"$newline"}"
    case $1 in
    # only sudo:
    sudo:*"command not found"*) fail no-wg "$1" ;;
    sudo:* | *"not in the sudoers file"* | *"may not run sudo"*) fail sudo "$1" ;;
    *"not allowed to execute"* | *"not allowed to run sudo"*) fail sudo "$1" ;;
    # end sudo
    *"Operation not permitted"* | *"Permission denied"*)
        fail sudo "wg needs CAP_NET_ADMIN (set ssh.sudo = true, or ssh.user = \"root\"): $1" ;;
    *"Operation not supported"*)
        fail unreadable "another kind of device (set ssh.wg_command, to awg perhaps): $1" ;;
    *"No such device"* | *"Unable to access interface"*) fail no-device "$1" ;;
    esac
    fail unreadable "$1"
}

# ask FIELD: wg's word on one field of the device. What it says beside it is nobody's business while it is well.
ask() {
    (run_wg show "$device" "$1" 2>/dev/null) || echo "!wg show $1: exit $?" >&3
}

# failed FIELD HOW: ends the answer; wg is asked once more, for what it says when it fails.
failed() {
    said=$( (run_wg show "$device" "$1" 2>&1 >/dev/null) | head -c 4000)
    explain "${said:-$2}"
}

# told OUTPUT FIELD: ends the answer if "!" stands in it, which is how a pipeline's parts complain.
told() {
    case $1 in
    *"!awk failed"*) fail unreadable "awk failed" ;;
    *"!sort failed"*) fail unreadable "sort failed" ;;
    *"!more than"*) fail unreadable "wg show $2: more than $most bytes" ;;
    *"!wg show $2: exit "*)
        code=${1##*"!wg show $2: exit "}
        failed "$2" "wg show $2: exit ${code%%"$newline"*}"
        ;;
    *!*)
        said=${1#*!}
        explain "${said%%"$newline"*}"
        ;;
    esac
}

# only installed:
read_request() {
    [ "$installed" = yes ] || return 0
    endpoints=no
    request=${SSH_ORIGINAL_COMMAND-}
    varying=
    interval=5
    transfer=no
    # Of the ends of keys, only what keys are written with is let in.
    case $request in
    "$version base "*)
        varying=${request#"$version base "}
        request="$version base"
        case "$varying " in
        "endpoints "*) varying=${varying#endpoints} request="$version base endpoints" ;;
        "met "*) varying=${varying#met} request="$version base met" ;;
        esac
        case $varying in *[!A-Za-z0-9+/\ ]*) request= ;; esac
        [ ${#varying} -le 10000 ] || request=
        ;;
    "$following follow "*)
        interval=${request#"$following follow "}
        request="$following follow"
        case $interval in
        endpoints) interval=5 request="$request endpoints" ;;
        *" endpoints") interval=${interval% endpoints} request="$request endpoints" ;;
        esac
        case $interval in 0* | *[!0-9]* | '' | ????*) request= ;; *) [ "$interval" -le 300 ] || request= ;; esac
        ;;
    esac
    # Compared as a whole, never split, expanded or evaluated.
    case $request in
    "$version digest") mode=digest ;;
    "$version text") mode=text ;;
    "$version digest endpoints") mode=digest endpoints=yes ;;
    "$version text endpoints") mode=text endpoints=yes ;;
    "$version digest met") mode=digest endpoints=met ;;
    "$version text met") mode=text endpoints=met ;;
    "$version digest transfer") mode=digest transfer=yes ;;
    "$version base") mode=base ;;
    "$version base endpoints") mode=base endpoints=yes ;;
    "$version base met") mode=base endpoints=met ;;
    "$following follow") mode=follow ;;
    "$following follow endpoints") mode=follow endpoints=yes ;;
    *) fail unreadable "refused: this key may ask for \"$version digest\" or \"$version text\" only; ssh.probe must be \"installed\"" 64 ;;
    esac
}
# end installed

# only sudo:
# Root's child is not ours to end, so root's `timeout` does it, where there is one and sudo lets it run. That is
# asked beforehand: a refusal of the command itself would stand in root's mail.
become_root() {
    [ "$sudo" = yes ] || return 0
    command -v sudo >/dev/null 2>&1 || fail sudo "sudo is not installed"
    as_root='sudo -n'
    timeout -s KILL 1 true 2>/dev/null || return 0
    (as_root="sudo -n -l timeout -s KILL $seconds" && run_wg show "$device" public-key) >/dev/null 2>&1
    [ $? = 1 ] || as_root="sudo -n timeout -s KILL $seconds"
}
# end sudo

# ip_addr DEVICE: what ip says of a device and its addresses, and its status.
ip_addr() {
    (run_ip addr show dev "$1" 2>&1)
    echo "exit $?"
}

# read_key: the key, in one go with the device's listing: each pipeline costs the node more than what it says.
read_key() {
    listing=$({ (run_wg show "$device" public-key 2>/dev/null); echo " $?"; ip_addr "$device"; } | head -c 400000)
    key=${listing%%"$newline"*}
    listing=${listing#*"$newline"}
    # A line that has no end, or is not there, has the status in it.
    case $key in
    *" "*) code=${key##* } key=${key% *} ;;
    *)
        code=${listing%%"$newline"*}
        listing=${listing#*"$newline"}
        case $code in " "*) code=${code# } ;; *) code= ;; esac
        ;;
    esac
    case $code in
    0) ;;
    127) fail no-wg "$not_found" ;;
    *[!0-9]* | '') fail unreadable "wg show public-key: $key" ;;
    *) failed public-key "${key:-wg show public-key: exit $code}" ;;
    esac
    case $key in
    '') fail no-device "wg shows nothing for device $device" ;;
    '(none)') fail no-device "device $device has no key" ;;
    *[!A-Za-z0-9+/=]*) fail unreadable "wg show public-key: $key" ;;
    esac
    printf 'key %s\n' "$key"
}

# listed: splits ip's status off the listing, and returns it.
listed() {
    code=${listing##*exit }
    listing=${listing%exit *}
    case $code in *[!0-9]* | '') fail unreadable "ip addr: more than can be read" ;; esac
    return "$code"
}

# each: adds `link up`, `link down` and `address ADDRESS` to lines for each line of the listing that says so, with or
# without -o; link-local and IPv4-mapped addresses are no mesh's. ip may say that addresses changed while it read them, and exit with 0: then some may be missing.
each() {
    lines=
    IFS=$newline
    set -- $listing
    unset IFS
    for line; do
        case $line in
        *"ump was interrupted"* | *"ump terminated"*) fail unreadable "ip addr: $line" ;;
        [!0-9\ "$tab"]*) continue ;;
        esac
        set -- $line
        case $1 in
        *[!0-9:]*) ;;
        *)
            case $3 in
            *,UP,* | '<UP,'* | *',UP>' | '<UP>') lines=${lines}link\ up$newline ;;
            '<'*) lines=${lines}link\ down$newline ;;
            esac
            shift 2
            ;;
        esac
        case $1:${2%%/*} in
        inet:169.254.* | inet6:[fF][eE][89abAB]?:* | inet6:::[fF][fF][fF][fF]:*) ;;
        inet:* | inet6:*) lines=${lines}address\ ${2%%/*}$newline ;;
        esac
    done
}

# The device's state and own addresses, as answer lines, and the addresses as lines of the table.
read_addresses() {
    listed || {
        [ $code != 127 ] || fail unreadable "ip was not found; install iproute2"
        fail no-device "ip addr: $listing"
    }
    each
    # only address_devices:
    found=$lines
    for other in $address_devices; do
        listing=$(ip_addr "$other" | head -c 400000)
        listed || case $listing in
        *"does not exist"* | *"can't find device"*) continue ;;
        *) fail unreadable "ip addr: $listing" ;;
        esac
        each
        found=$found$(printf %s "$lines" | inside_pools)$newline || fail unreadable "awk failed"
    done
    lines=$found
    # end address_devices
    own=
    IFS=$newline
    set -- $lines
    unset IFS
    for line; do
        set -- $line
        case $own in *"$tab$2/"*) continue ;; esac
        case $1:$2 in
        address:*:*) own=$own$key$tab$2/128$newline ;;
        address:*) own=$own$key$tab$2/32$newline ;;
        esac
        echo "$line"
    done
    own=${own:-"$key$tab(none)$newline"}
}

# only address_devices:
inside_pools() {
    awk -v pools="$pools" '
        function bits(value, width,  text) {
            for (; width > 0; width--) { text = value % 2 text; value = int(value / 2) }
            return text
        }
        function hex(word,  value, i) {
            for (i = 1; i <= length(word); i++) { value = value * 16 + index("0123456789abcdef", substr(word, i, 1)) - 1 }
            return bits(value, 16)
        }
        function half(words, count,  part, i, text) {
            count = split(words, part, ":")
            for (i = 1; i <= count; i++) { text = text hex(part[i]) }
            return text
        }
        BEGIN { count = split(pools, pool, " ") }
        $1 != "address" || $2 ~ /^127\./ || $2 == "::1" { next }
        $2 ~ /:.*\./ { next }
        {
            if ($2 ~ /:/) {
                $2 = tolower($2)
                at = index($2, "::")
                text = at ? half(substr($2, 1, at - 1)) : half($2)
                rest = at ? half(substr($2, at + 2)) : ""
                while (length(text) + length(rest) < 128) { text = text "0" }
                text = 6 text rest
            } else {
                split($2, part, ".")
                text = 4 bits(part[1], 8) bits(part[2], 8) bits(part[3], 8) bits(part[4], 8)
            }
            for (i = 1; i <= count; i++) { if (index(text, pool[i]) == 1) { print; next } }
        }
    '
}
# end address_devices

# only region_command:
read_region() {
    [ -n "$region_command" ] || return 0
    region=$({ sh -c "$region_command"; echo " $?"; } | head -c 4000)
    code=${region##* }
    region=${region% *}
    case $code in *[!0-9]* | '') fail unreadable "the region command printed more than one line" ;; esac
    while [ "$region" != "${region%"$newline"}" ]; do region=${region%"$newline"}; done
    [ "$code" = 0 ] || fail unreadable "the region command failed (exit $code)${region:+: $region}"
    case $region in *"$newline"*) fail unreadable "the region command printed more than one line" ;; esac
    printf 'region %s\n' "$region"
}
# end region_command

# only endpoints:
# `key<tab>ip:port` becomes `endpoint key ip:port`, and at last their number; of `met` with the seconds since the last
# handshake, or - for none, behind it. Descriptor 3: see routes.
read_endpoints() {
    [ "$endpoints" != no ] || return 0
    now=
    # only met:
    [ "$endpoints" != met ] || now=$(date +%s) || fail unreadable "date failed"
    # end met
    { complaints=$({ met | head -c $most | endpoint_lines >&4; } 3>&1); } 4>&1
    told "$complaints" endpoints
}

met() {
    # only met:
    [ "$endpoints" != met ] || ask latest-handshakes
    # end met
    ask endpoints
}

endpoint_lines() {
    awk -F '\t' -v most=$most -v now="$now" '
        { size += length($0) + 1 }
        NF != 2 {
            if (!seen++) { print "!" substr($0, 1, 200) | "cat >&3"; close("cat >&3") }
            next
        }
        $2 ~ /^[0-9]+$/ { at[$1] = $2; next }
        $2 != "(none)" {
            age = ""
            if (now != "") {
                age = now - at[$1]
                age = at[$1] + 0 == 0 ? " -" : age < 0 ? " 0" : " " age
            }
            print "endpoint " $1 " " $2 age
            n++
        }
        END {
            if (size >= most) { print "!more than " most " bytes" | "cat >&3" }
            print "endpoints " n + 0
        }
    ' || echo '!awk failed' >&3
}
# end endpoints

# only transfer:
# sample NEED: compares what went to each peer, and what came back, with the last sample. The new one is in `samples`
# then, and in `transfers` are the answer lines; the first one shows nothing yet. NEED: so many times of 15 seconds and
# more a peer must have shown the same; 0: "wait", where one may show it.
sample() {
    now=$(date +%s) || now=
    compared=$({
        {
            printf %s "$samples"
            ask latest-handshakes
            ask transfer
        } | head -c $most | compare "$1" >&4
    } 4>&1 3>&1)
    case $now:$compared in
    :*) transfers="transfers unread date failed" samples= ;;
    *!*)
        compared=${compared#*!}
        transfers="transfers unread ${compared%%"$newline"*}"
        samples=
        ;;
    *)
        transfers=${compared%%"${newline}samples"*}
        transfers=${transfers#"$newline"}
        samples=${compared#*"${newline}samples$newline"}$newline
        ;;
    esac
}

# compare: the last sample and what has happened since; then the lines of `wg show`. WireGuard renews a handshake within
# two minutes only if it sent data and heard nothing for 15 seconds, not even the keepalive by which a peer that has no
# answer says that it received. So one that stops renewing, or hears more than handshakes and keepalives, is well; and
# one that shakes hands no more is down.
compare() {
    awk -F '\t' -v now="$now" -v need="$1" '
        $1 == "since" { since = $2; next }
        $1 == "was" { was_in[$2] = $3; was_out[$2] = $4; shook[$2] = $5; hits[$2] = $6 + 0; said[$2] = $7; next }
        NF == 2 { hands[$1] = $2; next }
        NF == 3 { came[$1] = $2; went[$1] = $3 }
        END {
            seconds = now - since
            explained = 272 * (int(seconds / 15) + 1) + 32 * (int(seconds / 10) + 1)
            whole = since != "" && seconds >= 15
            if (since != "" && !whole && need > 0) { now = since }
            for (key in went) {
                sent = went[key] - was_out[key]
                received = came[key] - was_in[key]
                age = now - hands[key]
                if (need == 0) {
                    if (age <= 180 && sent >= 96 && sent > received && received <= explained) { told = "\nwait" }
                    continue
                }
                early = hands[key] > shook[key] && shook[key] > 0 && hands[key] - shook[key] < 100
                if (!whole) {
                    if (since != "") { came[key] = was_in[key]; went[key] = was_out[key]; hands[key] = shook[key] }
                } else if (sent < 0 || received < 0 || age > 180) {
                    hits[key] = 0
                } else if (early && received <= explained && sent > explained) {
                    hits[key] = hits[key] > 0 ? hits[key] + 1 : 1
                    if (hits[key] == 1) { said[key] = "" }
                    if (hits[key] >= need && said[key] == "") { said[key] = sprintf("%.0f %.0f %d", sent, received, seconds) }
                } else if (early && !(hits[key] > 0 && received <= explained)) {
                    hits[key] = hits[key] < 0 ? hits[key] - 1 : -1
                    if (hits[key] == -1) { said[key] = "" }
                    if (-hits[key] >= need && said[key] == "") { said[key] = sprintf("%.0f %.0f %d", sent, received, seconds) }
                } else if (hits[key] < 0 || received > explained) {
                    hits[key] = 0
                }
                if (!hits[key]) { said[key] = "" }
                if (said[key] != "" && lines < 1000) {
                    for (i = ++lines; i > 1 && line[i - 1] > key; i--) { line[i] = line[i - 1] }
                    line[i] = key
                }
                if (came[key] != "0" || went[key] != "0" || hands[key] != "0") {
                    state = "was\t" key "\t" came[key] "\t" went[key] "\t" hands[key] "\t" hits[key] "\t" said[key]
                    kept[++states] = state
                }
            }
            for (i = 1; i <= lines; i++) { told = told "\ntransfer " line[i] " " said[line[i]] }
            if (need > 0) { told = told "\ntransfers " lines + 0 }
            print told
            print "samples"
            print "since\t" now
            for (i = 1; i <= states; i++) { print kept[i] }
        }
    ' || echo '!awk failed' >&3
}

# read_transfers: two samples some seconds apart, and a third one where a peer may be sent to in vain.
read_transfers() {
    [ "$transfer" = yes ] || return 0
    samples=
    sample 1
    if [ "$transfers" = "transfers 0" ]; then
        first=$samples
        sleep 4
        sample 0
        case $transfers in
        wait)
            samples=$first
            sleep 16
            sample 1
            ;;
        '') transfers="transfers 0" ;;
        esac
    fi
    printf '%.70000s\n' "$transfers"
}
# end transfer

# The route table as canonical text is `routes | head | canonical | sorted`. A pipeline's status is its last
# command's alone, so each of them says on descriptor 3 that it failed.

# routes: the node's routes, where they are asked for, the device's own lines and its peers' allowed-ips.
routes() {
    # only routes:
    [ ! "$pools" ] || [ "$mode" = text ] || ip_routes
    # end routes
    printf %s "$own"
    ask allowed-ips
}

# only routes:
# ip_routes: what ip says of all routes, up to a bound: a router may have a million.
ip_routes() {
    printf '\troutes\n'
    {
        case $pools in
        *6*) (run_ip route show table all 2>&1) ;;
        *) (run_ip -4 route show table all 2>&1) ;;
        esac || echo "${tab}failed: ip route: exit $?"
    } 2>/dev/null | head -c $most_routes
    printf '\n\tend\n'
}

# shadowed: takes the lines on hidden addresses out of sum, and prints them as answer lines, with their number. A route
# among several tables decides only if the rules lead to it: the kernel is asked for its way to one address of each.
shadowed() {
    [ "$pools" ] && [ "$hash" ] || return 0
    number=0
    unread=
    while :; do
        line=${sum%%"$newline"*}
        case $line in
        # only shadows:
        "shadow "*)
            set -- $line
            way=$( (run_ip route get "${6%/*}" 2>&1) | head -c 1000)
            for other in $device $address_devices; do
                case $2:$way in
                local:* | broadcast:* | *:local\ * | *:blackhole\ * | *:unreachable\ * | *:prohibit\ *) ;;
                *" dev $other "*) line= ;;
                esac
            done
            [ ! "$line" ] || { echo "$line"; number=$((number + 1)); }
            ;;
        # end shadows
        "shadows "*) unread=$line ;;
        *) break ;;
        esac
        sum=${sum#*"$newline"}
    done
    printf '%.200s\n' "${unread:-shadows $number}"
}
# end routes

# canonical: one prefix a line. What looks wrong is told; who reads the text looks at each line closely. The node's
# routes come first, if at all; then what they hide of what the peers have is told, beside the table.
canonical() {
    awk -F '\t' -v most=$most -v most_routes=$most_routes -v pools="$pools" -v own=" $device $address_devices " -v key="$key" -v hints="$hints" '
        { size += length($0) + 1 }
        # only shadows:
        # bits: 4 or 6 and the bits of an address; "" for what is none. Tables keep this quick: there may be thousands.
        function bits(address,  part, count, at, i, text, rest) {
            if (!(0 in octet)) { for (i = 0; i < 256; i++) { octet[i] = binary(i) } }
            if (address ~ /^[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+$/) {
                split(address, part, ".")
                return 4 octet[part[1] + 0] octet[part[2] + 0] octet[part[3] + 0] octet[part[4] + 0]
            }
            if (address !~ /^[0-9a-fA-F:]+$/ || address !~ /:/) { return "" }
            address = tolower(address)
            at = index(address, "::")
            text = at ? words(substr(address, 1, at - 1)) : words(address)
            rest = at ? words(substr(address, at + 2)) : ""
            while (length(text) + length(rest) < 128) { text = text "00000000" }
            return 6 text rest
        }
        function binary(value,  text, i) {
            for (i = 0; i < 8; i++) { text = value % 2 text; value = int(value / 2) }
            return text
        }
        function words(text,  part, count, value, i, j, found) {
            count = split(text, part, ":")
            for (i = 1; i <= count; i++) {
                value = 0
                for (j = 1; j <= length(part[i]); j++) {
                    value = value * 16 + index("0123456789abcdef", substr(part[i], j, 1)) - 1
                }
                found = found octet[int(value / 256)] octet[value % 256]
            }
            return found
        }
        # route: keeps a route inside a pool. Of equal ones the least metric counts; local: the table before all others;
        # main: what leads the way next, the longest first; other: whatever tables rules may lead to.
        function route(line,  word, count, i, kind, prefix, device, table, metric, at, size, text, place) {
            count = split(line, word, " ")
            if (word[1] == "nexthop") {
                for (i = 2; i < count; i++) { if (word[i] == "dev" && newest != "" && leads[newest] == "-") { lead(newest, word[i + 1]) } }
                return
            }
            newest = ""
            kind = "unicast"
            i = 1
            if (word[1] ~ /^[a-z]+$/ && word[1] != "default") { kind = word[1]; i = 2 }
            if (kind !~ /^(unicast|local|broadcast|blackhole|unreachable|prohibit)$/) { return }
            prefix = word[i]
            device = "-"
            metric = 0
            table = "main"
            for (i++; i <= count; i++) {
                if (word[i] == "dev" && device == "-") { device = word[++i] }
                else if (word[i] == "table") { table = word[++i] }
                else if (word[i] == "metric") { metric = word[++i] + 0 }
                else if (word[i] == "dead") { return }
            }
            at = index(prefix, "/")
            size = at ? substr(prefix, at + 1) + 0 : prefix ~ /:/ ? 128 : 32
            text = substr(bits(at ? substr(prefix, 1, at - 1) : prefix), 1, size + 1)
            for (i = 1; i <= pool_count; i++) { if (index(text, pool[i]) == 1) { break } }
            if (text == "" || i > pool_count) { return }
            table = table == "local" ? "local" : table == "main" || table == "default" ? "main" : "other"
            if (kind ~ /^[^lu]/ || kind == "unreachable") { device = kind == "broadcast" ? device : "-" }
            if (table == "other" && is_own(device)) { return }
            place = table " " text
            if (place in leads && (cost[place] < metric || (cost[place] == metric && mesh[place]))) { return }
            name[place] = kind " " prefix (at ? "" : prefix ~ /:/ ? "/128" : "/32")
            cost[place] = metric
            lead(place, device)
            newest = place
            if (!(size in sizes)) { sizes[size]; for (i = ++size_count; i > 1 && sized[i - 1] < size; i--) { sized[i] = sized[i - 1] } sized[i] = size }
        }
        function lead(place, device) {
            leads[place] = device
            mesh[place] = is_own(device)
            if (!mesh[place]) { foreign = 1 }
        }
        function is_own(device) { return index(own, " " device " ") > 0 }
        function longest(table, text,  i, place) {
            for (i = 1; i <= size_count; i++) {
                place = table " " substr(text, 1, sized[i] + 1)
                if (length(text) > sized[i] && place in leads) { return place }
            }
            return ""
        }
        # hide: counts a prefix of a peer, if it is one address, under the route that hides it.
        function hide(prefix,  text, place, other, at) {
            at = index(prefix, "/")
            if (substr(prefix, at + 1) != (prefix ~ /:/ ? 128 : 32)) { return }
            text = bits(substr(prefix, 1, at - 1))
            place = longest("local", text)
            if (place != "") {
                if (mesh[place]) { return }
                # The bridge that has this address hides the others around it.
                other = longest("main", text)
                if (other != "" && leads[other] == leads[place]) { place = other }
            } else {
                place = longest("main", text)
                if (place == "" || mesh[place]) { place = longest("other", text) }
                if (place == "" || mesh[place]) { return }
            }
            if (!(place in hidden)) { hides[++hiding] = place }
            # The same whatever order the peers come in.
            at = ++hidden[place]
            if (at > 64) { at = 64; if (prefix > sample[place, 64]) { return } }
            for (; at > 1 && sample[place, at - 1] > prefix; at--) { sample[place, at] = sample[place, at - 1] }
            sample[place, at] = prefix
        }
        # end shadows
        # only routes:
        NR == 1 && $0 == "\troutes" { reading = 1; pool_count = split(pools, pool, " "); next }
        reading && $0 == "\tend" { reading = 0; next }
        reading { routes_size += length($0) + 1 }
        reading && /^\tfailed: / { unread = substr($0, 10) }
        reading && /interrupted|terminated/ { unread = $0 }
        # end routes
        # only hints:
        reading && hints != "" {
            n = split(own, cidr, " ")
            for (i = 1; i <= n; i++) { if (index($0 " ", " dev " cidr[i] " ")) { next } }
            sub(/^[a-z]+ /, "")
            split($0, part, /[. \/]/)
            first = part[1] * 256 + part[2]
            n = split(hints, cidr, " ")
            for (i = 1; i <= n; i++) {
                split(cidr[i], range, "-")
                if (range[2] == "" ? index($0, cidr[i]) == 1 : first >= range[1] && first <= range[2]) { hinted = 1 }
            }
        }
        # end hints
        # only shadows:
        reading && hints == "" && unread == "" { route($0) }
        foreign && !reading && $1 != key {
            n = split($2, cidr, " ")
            for (i = 1; i <= n; i++) { hide(cidr[i]) }
        }
        # end shadows
        # only routes:
        reading { next }
        # end routes
        # Nearly every line is a key of 44 characters with one prefix: it is not taken apart.
        index($0, FS) == 45 && !index($0, " ") { print; next }
        index($0, FS) != 45 || !/\t[0-9a-fA-F:.\/ ]+$/ {
            if (!seen++) { print "!" substr($0, 1, 200) | "cat >&3"; close("cat >&3") }
            next
        }
        {
            n = split($2, cidr, " ")
            for (i = 1; i <= n; i++) print $1 FS cidr[i]
        }
        END {
            if (size >= most) { print "!more than " most " bytes" | "cat >&3" }
            # only routes:
            if (routes_size >= most_routes) { unread = "more than " most_routes " bytes of routes" }
            gsub("!", ".", unread)
            if (unread != "") { print "shadows unread " substr(unread, 1, 180) | "cat >&3" }
            else if (hinted) { print "shadows perhaps" | "cat >&3" }
            # end routes
            # only shadows:
            for (i = 1; unread == "" && i <= hiding; i++) {
                place = leads[hides[i]]
                gsub(/[^A-Za-z0-9_.:@-]/, "?", place)
                line = "shadow " name[hides[i]] " " place " " hidden[hides[i]]
                for (n = 1; n <= hidden[hides[i]] && n <= 64; n++) { line = line " " sample[hides[i], n] }
                print line | "sort | head -n 16 >&3"
            }
            # end shadows
        }
    ' || echo '!awk failed' >&3
}

sorted() {
    sort -u || echo '!sort failed' >&3
}

find_hash() {
    for hash in sha256sum 'shasum -a 256' 'openssl dgst -sha256' ''; do
        ! command -v ${hash%% *} >/dev/null 2>&1 || break
    done
    sum=
}

# hex: `HEX  -` from sha256sum and shasum, `SHA2-256(stdin)= HEX` from openssl.
hex() {
    sum=${sum%%"$newline"*}
    sum=${sum#*= }
    sum=${sum%% *}
    [ ${#sum} = 64 ] || sum=none
}

# only digest:
send_digest() {
    find_hash
    [ ! "$hash" ] || sum=$({ routes | head -c $most | canonical | sorted | $hash; } 3>&1)
    told "$sum" allowed-ips
    # only routes:
    shadowed
    # end routes
    hex
    printf 'digest %s\n' $sum
}
# end digest

# only base:
# With many contested addresses nearly every node has a table of its own, but for the prefixes of few keys. What is
# hashed as the base is the table with such a key's lines as the key alone.
send_base() {
    find_hash
    [ ! "$hash" ] || sum=$({ routes | head -c $most | canonical | sorted | divided; } 3>&1)
    told "$sum" allowed-ips
    # only routes:
    shadowed
    # end routes
    rest=${sum#*"$newline"}
    hex
    base=$sum sum=$rest
    hex
    printf 'digest %s\n' $sum
    [ $sum != none ] || return 0
    printf 'base %s\nvarying\n' $base
    case $rest in *"$newline"*) printf '%s\n' "${rest#*"$newline"}" ;; esac
}

# divided: digest of the base, digest of the table, and the prefixes of each varying key in it, a line a key; -
# says that there is none, and an IPv4 address stands for the prefix of itself alone.
divided() {
    awk -v hash="$hash" -v varying="$varying" '
        BEGIN {
            base = hash " "
            n = split(varying, tail, " ")
            for (i = 1; i <= n; i++) { varies[tail[i]] }
        }
        { print | hash }
        !(substr($0, 40, 4) in varies) { print | base; next }
        {
            key = substr($0, 1, 44)
            prefix = substr($0, 46)
            if (prefix == "(none)") { prefix = "-" }
            if (prefix ~ /^[0-9.]+\/32$/) { prefix = substr(prefix, 1, length(prefix) - 3) }
            if (key == last) {
                said = said " " prefix
            } else {
                print key | base
                said = said (last == "" ? "" : "\n") prefix
                last = key
            }
        }
        END {
            printf "" | hash
            printf "" | base
            # The one that was started last first: it may hold the other one open.
            close(base)
            close(hash)
            if (last != "") { print said }
        }
    ' || echo '!awk failed' >&3
}
# end base

# only text:
send_text() {
    printf 'table\n'
    { complaints=$({ routes | head -c $most | canonical | sorted >&4; } 3>&1); } 4>&1
    told "$complaints" allowed-ips
}
# end text

# only follow:
# follow: glances each `interval` seconds, looks where that shows something else, and says what it sees when that is new,
# or else, after a look each `beat` seconds, that it is not. What is new is met once more soon, and spoken of in any case:
# a new answer, or a beat that confirms it. A failed look is an answer like others. It ends with its connection, and after
# some hours: the other side begins anew.
follow() {
    life=$((10800 + $$ % 3600))
    hang_up </dev/null >/dev/null 2>&1 &
    watch=$!
    lifetime </dev/null >/dev/null 2>&1 &
    watch="$watch $!"
    # only sudo:
    become_root
    # end sudo
    find_hash
    [ "$hash" ] || fail follow "no sha256sum, shasum or openssl: without a digest every look would be a whole table"
    # only transfer:
    samples=
    transfers=
    sampled=yes
    # only sudo:
    # A refusal of the command itself would stand in root's mail each time.
    for field in transfer latest-handshakes; do
        case $as_root in
        sudo*) (as_root="sudo -n -l${as_root#sudo -n}" && run_wg show "$device" "$field") >/dev/null 2>&1 || sampled=no ;;
        esac
    done
    # end sudo
    # end transfer
    begun=yes
    soon=
    said=
    held=
    quiet=$beat
    while [ $life -gt 0 ]; do
        met=$(glance)
        if [ "$met" ] && [ "$met" = "$held" ] && [ $quiet -lt $beat ]; then
            [ ! "$soon" ] || printf '%s beat\n' "$version"
            soon=
            rest
            continue
        fi
        # only region_command:
        # It may cost anything: only as often as a word is due.
        [ $quiet -lt $beat ] || region_line=$(inside=yes && read_region)
        # end region_command
        # only transfer:
        [ $quiet -lt $beat ] || [ $sampled = no ] || sample 2
        # end transfer
        seen=$(inside=yes && look)
        # only transfer:
        seen=$seen${transfers:+"$newline$transfers"}
        # end transfer
        # only region_command:
        seen=$seen${region_line:+"$newline$region_line"}
        # end region_command
        # A glance stands for a look that it was the same before and after.
        [ "$met" = "$held" ] || [ "$met" = "$(glance)" ] || met=
        held=$met
        if [ "$seen" != "$said" ]; then
            [ "$begun" ] || printf '\n%s begin\n' "$version"
            printf '%s\n%s end\n' "$seen" "$version"
            begun=
            said=$seen
            soon=yes
            quiet=0
            life=$((life - 1))
            sleep 0.7 2>/dev/null || sleep 1
            continue
        fi
        if [ "$soon" ] || [ $quiet -ge $beat ]; then
            printf '%s beat\n' "$version"
            soon=
            quiet=0
        fi
        rest
    done
    printf '%s done\n' "$version"
    inside=yes
    kill $watch 2>/dev/null
    finish 0
}

rest() {
    sleep "$interval"
    quiet=$((quiet + interval))
    life=$((life - interval))
}

# glance: a hash of the peers' prefixes and the addresses, as they are printed, whatever that is. Each call of wg has
# the whole device read, so the key, which nobody changes on a device that stays, is left to the looks.
glance() {
    {
        (run_wg show "$device" allowed-ips 2>/dev/null)
        echo "exit $?"
        ip_addr "$device"
        # only routes:
        # What is told of a route may count down.
        case $pools in
        *6*) ip_routes | awk '{ sub(/ expires [0-9]+sec/, "") } 1' ;;
        ?*) ip_routes ;;
        esac
        # end routes
        # only address_devices:
        for other in $address_devices; do ip_addr "$other"; done | awk '!/valid_lft/'
        # end address_devices
    } | head -c $most | sort | $hash
}

# look: the state and the digest of the table, as answer lines.
look() {
    read_key
    read_addresses
    # only endpoints:
    # What is kept and compared has a bound.
    [ "$endpoints" = no ] || read_endpoints | head -c 4000000
    # end endpoints
    send_digest
}

# hang_up: ends everything when nobody holds the other end of the script's own input any more. Nothing is sent there.
hang_up() {
    while read -r line; do :; done <&5
    parent=$$
    end_all
}

# lifetime: ends everything, were it to hang, a while after it should have ended by itself.
lifetime() {
    trap 'kill $!; exit' TERM
    sleep $((life + 900)) 5<&- &
    wait $!
    parent=$$
    end_all
}
# end follow

main() {
    # A shell's start-up files may leave half a line behind: begin on a line of its own.
    printf '\n%s begin\n' "$version"
    # only installed:
    read_request
    # end installed
    # only follow:
    [ "$mode" != follow ] || follow
    # end follow
    limit=$seconds
    # only transfer:
    [ "$transfer" != yes ] || limit=$((seconds + 22))
    # end transfer
    watch </dev/null >/dev/null 2>&1 &
    watch=$!
    # only sudo:
    become_root
    # end sudo
    read_key
    read_addresses
    # only region_command:
    read_region
    # end region_command
    # only endpoints:
    read_endpoints
    # end endpoints
    # only transfer:
    read_transfers
    # end transfer
    "send_$mode"
    finish 0
}

# The last line: a text cut short on its way defines functions and does nothing.
main 5<&0 </dev/null
