# Runs on a node, as root, and makes one change to a WireGuard device's addresses, files or peers.
#
# What follows it are `boot_files.sh`, `maintenance.sh` and a last line that calls `main`.
# POSIX sh with wg, ip, awk and the base system's file tools; docs/security.md tells all that it does. No
# private or preshared key is ever asked for or printed, and no content of a file. Whatever fails becomes
# one `error REASON DETAIL` line; an answer counts only if `begin` and `end` frame it.
#
#   wgaudit-repair/1 look DEVICE
#   wgaudit-repair/1 add DEVICE KEY NEW OLD           the device holds NEW too, with the length that OLD has
#   wgaudit-repair/1 drop DEVICE KEY OLD NEW          the device no longer holds OLD; NEW stays
#   wgaudit-repair/1 rewrite DEVICE KEY OLD NEW       the device's files name NEW where they named OLD
#   wgaudit-repair/1 peer DEVICE KEY PEER [PREFIX…]   the device routes exactly these prefixes to this peer
#   wgaudit-repair/1 maintenance DEVICE KEY ask|on|off  Consul's maintenance mode of the node
#
# KEY is the public key that the device must have. Each change may be repeated: what is done already is fine.

version=wgaudit-repair/1
newline='
'
tab='	'
LC_ALL=C
PATH=${PATH:+$PATH:}/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH
umask 077
set -f
# What was begun is brought to its end, whatever becomes of the connection.
trap '' HUP INT PIPE TERM
facts=
promoted=

# fail REASON DETAIL: ends the answer; only the detail's first line, and only its beginning.
fail() {
    put_back
    printf 'error %s %.200s\n%s end\n' "$1" "${2%%"$newline"*}" "$version"
    exit 1
}

# explain TEXT: ends the answer with what wg or ip said when it failed, told apart by who must act.
explain() {
    case $1 in
    *"Operation not permitted"* | *"Permission denied"*)
        fail sudo "root is needed (set ssh.sudo = true, or ssh.user = \"root\"): $1" ;;
    *"No such device"* | *"Unable to access interface"* | *"Cannot find device"* | *"does not exist"*)
        fail no-device "$1" ;;
    esac
    fail failed "$1"
}

# --- the words of a request ---

# The same is checked before they are sent; here nothing is taken on trust.
check_device() {
    case $1 in '' | -* | . | .. | *[!A-Za-z0-9_=+.-]*) fail unreadable "not a device's name" ;; esac
    [ ${#1} -le 15 ] || fail unreadable "not a device's name"
}

check_key() {
    case $1 in *[!A-Za-z0-9+/=]* | *=?*) fail unreadable "not a public key" ;; *=) ;; *) fail unreadable "not a public key" ;; esac
    [ ${#1} = 44 ] || fail unreadable "not a public key"
}

# check_address TEXT: sets family.
check_address() {
    [ ${#1} -le 39 ] || fail unreadable "not an address"
    case $1 in
    *[!0-9a-f:.]* | .* | *. | *..* | *.*.*.*.*) fail unreadable "not an address" ;;
    *:*.* | *.*:*) fail unreadable "not an address" ;;
    *:*:*) family=6 ;;
    *.*.*.*) family=4 ;;
    *) fail unreadable "not an address" ;;
    esac
}

check_prefix() {
    case $1 in */*) ;; *) fail unreadable "not a prefix" ;; esac
    check_address "${1%%/*}"
    case ${1#*/} in [0-9] | [1-9][0-9] | 1[0-2][0-9]) ;; *) fail unreadable "not a prefix" ;; esac
}

# check_pair A B: two different addresses of one family, which family then is.
check_pair() {
    check_address "$1"
    first=$family
    check_address "$2"
    [ "$first" = "$family" ] || fail refused "$1 and $2 are not of one family"
    [ "$1" != "$2" ] || fail refused "$1 is both the old and the new address"
}

# --- the device ---

read_key() {
    command -v wg >/dev/null 2>&1 || fail no-wg "wg was not found; install wireguard-tools"
    command -v ip >/dev/null 2>&1 || fail failed "ip was not found; install iproute2"
    command -v awk >/dev/null 2>&1 || fail failed "awk was not found; install mawk or gawk"
    key=$(wg show "$device" public-key 2>&1) || explain "${key:-wg show public-key failed}"
    case $key in
    '') fail no-device "wg shows nothing for device $device" ;;
    '(none)') fail no-device "device $device has no key" ;;
    *[!A-Za-z0-9+/=]*) fail unreadable "wg show public-key: $key" ;;
    esac
}

# expect KEY: a server that answers in another's place is not changed.
expect() {
    check_key "$1"
    [ "$key" = "$1" ] || fail wrong-host "$device here has another public key than the registration"
}

# Sets lines to the device's addresses as ip tells them, one a line; link-local ones are nobody's business.
read_addresses() {
    listing=$(ip -o addr show dev "$device" 2>&1) || explain "ip addr: $listing"
    lines=
    IFS=$newline
    set -- $listing
    unset IFS
    for line; do
        set -- $line
        case $1 in *[!0-9:]*) fail unreadable "ip addr: $line" ;; esac
        case $3:$4 in inet:169.254.* | inet6:[fF][eE][89abAB]?:* | inet6:::[fF][fF][fF][fF]:*) continue ;; esac
        case $3 in inet | inet6) lines=$lines$line$newline ;; esac
    done
}

# holds ADDRESS: whether it stands in lines; sets length and flags (all of its words).
holds() {
    wanted=$1
    IFS=$newline
    set -- $lines
    unset IFS
    for line; do
        set -- $line
        [ "${4%%/*}" = "$wanted" ] || continue
        length=${4#"$wanted"}
        length=${length#/}
        flags=" $* "
        return 0
    done
    return 1
}

# An address that has a peer is a link of its own kind: neither its length nor its routes are as elsewhere.
plain() {
    case $flags in *" peer "*) fail refused "$wanted is a point-to-point address: change it by hand" ;; esac
    [ -n "$length" ] || fail unreadable "ip tells no length for $wanted"
}

# usable ADDRESS: ends the answer unless the device holds it and it can be spoken from.
usable() {
    holds "$1" || fail "$2" "$device does not hold $1"
    case $flags in *" tentative "* | *" dadfailed "*) fail "$2" "$device holds $1, but it is not usable: $flags" ;; esac
}

# put ADDRESS LENGTH FLAGS: adds an address to the device; sets said.
put() {
    option=
    case $3 in *" noprefixroute "*) option=noprefixroute ;; esac
    case $1 in
    # There are no neighbours on a WireGuard device that could be asked; without asking it can be used at once.
    *:*) said=$(ip addr add "$1/$2" dev "$device" nodad $option 2>&1) && return ;;
    esac
    said=$(ip addr add "$1/$2" dev "$device" $option 2>&1)
}

# --- add ---

add() {
    new=$1 old=$2
    read_addresses
    if ! holds "$new"; then
        holds "$old" || fail refused "$device holds neither $new nor $old"
        plain
        elsewhere=$(ip -o addr show to "$new" 2>&1) || explain "ip addr: $elsewhere"
        [ -z "$elsewhere" ] || fail refused "another device of this node holds $new: $elsewhere"
        put "$new" "$length" "$flags" || explain "ip addr add: $said"
        for pause in 0 1 1 1; do
            sleep $pause
            read_addresses
            # Without nodad (an ip that does not know it) the kernel takes a moment.
            holds "$new" && case $flags in *" tentative "*) ;; *) break ;; esac
        done
    fi
    usable "$new" failed
}

# --- drop ---

drop() {
    old=$1 keep=$2
    read_addresses
    usable "$keep" refused
    holds "$old" || return 0
    plain
    old_length=$length
    before=$lines
    if [ "$family" = 4 ]; then
        promote
        move_routes refused
    fi
    tries=0
    while holds "$old"; do
        # The same address may be there with two lengths.
        [ $tries -lt 4 ] || fail failed "$device still holds $old"
        tries=$((tries + 1))
        said=$(ip addr del "$old/$length" dev "$device" 2>&1) || explain "ip addr del: $said"
        read_addresses
    done
    bring_back
    [ "$family" != 4 ] || move_routes failed
    put_back
    usable "$keep" failed
}

# With the first address of a subnet the kernel deletes all others of it, unless it is told to promote one.
promote() {
    case $lines in *" secondary "*) ;; *) return 0 ;; esac
    first=
    IFS=$newline
    set -- $lines
    unset IFS
    for line; do
        case $line in *" secondary "*) ;; *" $old/"*) first=yes ;; esac
    done
    [ "$first" ] || return 0
    knob=/proc/sys/net/ipv4/conf/$device/promote_secondaries
    was=$(cat "$knob" 2>&1) || fail refused "$knob: $was"
    [ "$was" != 1 ] || return 0
    { echo 1 >"$knob"; } 2>/dev/null
    [ "$(cat "$knob" 2>&1)" = 1 ] || fail refused "$knob cannot be set to 1: $keep might go with $old"
    promoted=$was
}

put_back() {
    [ -z "$promoted" ] || { echo "$promoted" >"$knob"; } 2>/dev/null
    promoted=
}

# Whatever the kernel took along is added again at once.
bring_back() {
    IFS=$newline
    set -- $before
    unset IFS
    for line; do
        set -- $line
        address=${4%%/*}
        words=" $* "
        [ "$address" != "$old" ] && ! holds "$address" || continue
        length=${words#* "$address"/}
        length=${length%% *}
        if ! put "$address" "$length" "$words"; then
            refusal=$said
            # A node without an address would be out of reach: better the old one again than none.
            [ "$address" != "$keep" ] || put "$old" "$old_length" ' ' || refusal="$refusal; nor could $old: $said"
            fail failed "the kernel took $address along with $old, and it could not be added again: $refusal"
        fi
        facts="${facts}note added-back $address$newline"
        read_addresses
    done
}

# A route that names OLD as its source would go with it, or keep a source that is no longer ours. Each gets
# NEW as its source; the kernel replaces a route without a moment in between. Said again afterwards, it
# changes nothing, or brings back what went all the same.
move_routes() {
    if [ "$1" = refused ]; then
        routes=$({ ip -4 -o route show table all 2>&1 || echo "!ip route failed"; } | awk -v old="$old" '
            /^!/ || (index($0 " ", " src " old " ") && !/^(local|broadcast|anycast|multicast) /)
        ') || fail failed "awk failed"
        case $routes in *!*) fail failed "ip route: ${routes#*!}" ;; esac
    fi
    reason=$1
    IFS=$newline
    set -- $routes
    unset IFS
    for line; do
        words= last=
        for word in $line; do
            case $last:$word in
            "src:$old") word=$keep ;;
            # States of a route, not words of a request.
            *:linkdown | *:dead | *:offload | *:trap | *:rt_offload | *:rt_trap | *:rt_offload_failed | *:\\) continue ;;
            esac
            words="$words $word"
            last=$word
        done
        said=$(ip -4 route replace $words 2>&1) || fail "$reason" "route$words: $said"
        [ "$reason" != refused ] || case $line in *" proto kernel "*) ;; *) facts="${facts}note route$words$newline" ;; esac
    done
}

# --- peer ---

peer() {
    peer=$1
    shift
    check_key "$peer"
    list= wanted='(none)' # as `wg` shows a peer that gets nothing: the way back may need that
    for prefix; do
        check_prefix "$prefix"
        list=$list,$prefix
    done
    [ $# -eq 0 ] || wanted=$(printf '%s\n' "$@" | sort -u) || fail failed "sort failed"
    read_peer
    [ -n "$routed" ] || fail refused "$device has no such peer"
    [ "$routed" != "$wanted" ] || return 0
    said=$(wg set "$device" peer "$peer" allowed-ips "${list#,}" 2>&1) || explain "wg set: $said"
    read_peer
    [ "$routed" = "$wanted" ] || fail failed "the peer has other allowed-ips than those that were set"
}

# Sets routed to the peer's prefixes, sorted, one a line; empty: there is no such peer.
read_peer() {
    routed=$({ wg show "$device" allowed-ips 2>&1 || echo '!wg show allowed-ips failed'; } | {
        awk -F "$tab" -v peer="$peer" '/^!/; $1 == peer { gsub(" ", "\n", $2); print $2 }' || echo '!awk failed'
    } | { sort -u || echo '!sort failed'; })
    case $routed in *!*) fail failed "${routed#*!}" ;; esac
}

# --- the answer ---

state() {
    read_key
    read_addresses
    printf 'key %s\n' "$key"
    IFS=$newline
    set -- $lines
    unset IFS
    for line; do
        set -- $line
        printf 'address %s\n' "$4"
    done
    printf %s "$facts"
}

main() {
    # A shell's start-up files may leave half a line behind: begin on a line of its own.
    printf '\n%s begin\n' "$version"
    [ "$1" = "$version" ] || fail unreadable "this script is $version"
    verb=$2 device=$3
    check_device "$device"
    read_key
    if [ "$verb" != look ]; then
        expect "$4"
        shift 4
    fi
    case $verb:$# in
    look:3) ;;
    add:2 | drop:2 | rewrite:2)
        check_pair "$1" "$2"
        $verb "$1" "$2"
        ;;
    peer:[1-9]*) peer "$@" ;;
    maintenance:1) maintenance "$1" ;;
    *) fail unreadable "not a request of $version" ;;
    esac
    state
    printf 'done %s\n%s end\n' "$verb" "$version"
    exit 0
}
