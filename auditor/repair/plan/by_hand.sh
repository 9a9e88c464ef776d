# Before you run it: read it. Every step is shown and asked for: y does it, s skips it (you did it already),
# anything else stops. It may be run again from the start: what is done already is seen and not done twice.
# It needs `consul` and `curl` (CONSUL_HTTP_ADDR, CONSUL_HTTP_TOKEN; with TLS CURL_CA_BUNDLE too), and `ssh` to
# the nodes over the underlay: over the mesh you may land on the wrong server.
set -eu

# What runs `ip` and `wg` on a node as root; empty if you log in as root.
: "${AS_ROOT=sudo}"
# Hosts of observers whose peers are to be set and looked at by this script, with blanks between. Empty: your own
# agent writes the peers, and the script waits for your word.
: "${OBSERVERS=}"

exec 3<&0
at='the beginning'

# On a stop, say where: the way back stands in the comment above each move.
stopped() {
    code=$?
    [ "$code" -eq 0 ] && return
    printf '\nSTOPPED at %s (exit code %s). Its way back stands in this script.\n' "$at" "$code" >&2
}
trap stopped EXIT

stop() { printf '%s\n' "$*" >&2; exit 1; }

# confirm TEXT: 0 do it, 1 skip it.
confirm() {
    at="$node: $1"
    printf '\n%s: %s\n    do it? [y, s = skip, else stop] ' "$node" "$1"
    IFS= read -r answer <&3 || answer=''
    case $answer in y) return 0 ;; s) return 1 ;; *) stop 'not confirmed' ;; esac
}

# on_node HOST COMMAND: the command is fixed text with checked values in it.
on_node() { ssh -n -- "$1" "$2"; }

# addresses HOST: what the device holds, as ADDRESS/LENGTH a line.
addresses() {
    on_node "$1" "$AS_ROOT ip -o addr show dev $device" |
        awk '$3 == "inet" || $3 == "inet6" { print $4 }'
}

# length_of ADDRESS: the length that it has on the node; "" if the node does not hold it.
length_of() {
    printf '%s\n' "$held" | awk -v want="$1" -v bits="$bits" '
        { split($0, part, "/"); if (part[1] == want) { print (part[2] == "" ? bits : part[2]); exit } }'
}

look() {
    at="$node: looking at its device"
    found=$(on_node "$host" "$AS_ROOT wg show $device public-key")
    [ "$found" = "$key" ] || stop "$node: $host has another key than the plan ($found); make a new plan"
    held=$(addresses "$host")
    old_length=$(length_of "$old")
    new_length=$(length_of "$new")
    [ -n "$old_length$new_length" ] || stop "$node: $host holds neither $old nor $new; make a new plan"
    length=${old_length:-$new_length}
    case $length in '' | *[!0-9]*) stop "$node: no prefix length: $length" ;; esac
}

# `consul kv put` cannot say "must not exist": it refuses an index of 0. So this one is asked for over HTTP.
create() {
    base=${CONSUL_HTTP_ADDR:-http://127.0.0.1:8500}
    case $base in *://*) ;; *) base=http://$base ;; esac
    printf 'header = "X-Consul-Token: %s"\n' "${CONSUL_HTTP_TOKEN:-}" |
        curl -fsS --config - -X PUT --data-binary "$claim" "$base/v1/kv/$claim_key?cas=0$dc_query"
}

claim() {
    at="$node: claiming $new"
    stored=$(consul kv get $dc "$claim_key" 2>/dev/null) || stored=''
    [ "$stored" = "$claim" ] && return 0
    if confirm "claim $new in Consul ($claim_key must not exist)"; then
        [ "$(create)" = true ] || stop "$claim_key is claimed by somebody else; make a new plan"
    fi
}

add() {
    [ -z "$new_length" ] || return 0
    if confirm "ip addr add $new/$length dev $device"; then
        on_node "$host" "$AS_ROOT ip addr add $new/$length dev $device"
    fi
}

register() {
    at="$node: its registration"
    index=$(consul kv get $dc -detailed "$where" | sed -n 's/^ModifyIndex *//p' | head -n 1)
    before=$(consul kv get $dc "$where")
    after=$(printf '%s' "$before" | sed "s#\"$old_pattern\(\\\\\{0,1\}/$bits\)\{0,1\}\"#\"$new\1\"#g")
    if [ "$before" = "$after" ]; then
        case $before in
        *"\"$new"*) return 0 ;;
        esac
        stop "$where does not name $old in quotes; change it by hand, by -cas, and skip this step"
    fi
    [ -z "$planned_index" ] || [ "$index" = "$planned_index" ] ||
        stop "$where was written since the plan (ModifyIndex $index, planned $planned_index); make a new plan"
    printf '\nbefore: %s\nafter:  %s\n' "$before" "$after"
    if confirm "write $where, if its ModifyIndex is still $index"; then
        printf '%s' "$after" | consul kv put $dc -cas -modify-index="$index" "$where" -
    fi
}

set_peer() { on_node "$1" "$AS_ROOT wg set $device peer $2 allowed-ips $3"; }

peers() {
    printf '\n%s: its peers must see, in this order:\n    wg set %s peer %s allowed-ips %s\n' \
        "$node" "$device" "$key" "$allowed"
    if [ -n "$keeper_key" ]; then
        printf '    wg set %s peer %s allowed-ips %s\n' "$device" "$keeper_key" "$keeper_allowed"
    fi
    if [ -z "$OBSERVERS" ]; then
        confirm 'the fleet has these peers now (look at some observers: wg show allowed-ips)' || stop 'wait for them'
        return 0
    fi
    if confirm "set them on: $OBSERVERS"; then
        for observer in $OBSERVERS; do
            set_peer "$observer" "$key" "$allowed"
            [ -z "$keeper_key" ] || set_peer "$observer" "$keeper_key" "$keeper_allowed"
        done
    fi
    observed
}

observed() {
    for observer in $OBSERVERS; do
        at="$node: looking at observer $observer"
        on_node "$observer" "$AS_ROOT wg show $device allowed-ips" |
            awk -v key="$key" -v want="$new/$bits" '
                $1 == key { for (i = 2; i <= NF; i++) if ($i == want) found = 1 } END { exit !found }' ||
            stop "$observer does not route $new to $node"
    done
}

files() {
    at="$node: its files"
    # Names of files alone: what stands in them is secret.
    line="(^|[^0-9A-Za-z.:])$old_pattern([^0-9A-Za-z.:]|\$)"
    named=$(on_node "$host" "$AS_ROOT grep -rlsE '$line' $file $folders || test \$? -le 2")
    if [ -z "$named" ]; then
        printf '\n%s: %s is named in none of: %s %s\n' "$node" "$old" "$file" "$folders"
        confirm 'what brings the device up gives it the new address' || stop 'the next boot would bring the old back'
        return 0
    fi
    printf '\n%s\n' "$named"
    printf 'Where %s makes a file in /run, its own file counts; a file of a package gets a changed one in /etc.\n' netplan
    confirm "write $new for $old where a file gives it to $device, by hand, now, and say y then" || return 0
}

# Dropping a primary address drops its secondaries too, unless promote_secondaries is set; and if the new one is
# gone all the same, it is added again at once.
drop() {
    held=$(addresses "$host")
    [ -n "$(length_of "$new")" ] || stop "$node does not hold $new: the old address stays"
    [ -n "$(length_of "$old")" ] || return 0
    if confirm "ip addr del $old/$length dev $device"; then
        on_node "$host" "$AS_ROOT sh -c '$drop_it' sh $device $old/$length $new/$length"
    fi
}

check() {
    held=$(addresses "$host")
    [ -n "$(length_of "$new")" ] || stop "$node does not hold $new"
    [ -z "$(length_of "$old")" ] || stop "$node still holds $old"
    observed
    printf '\n%s: moved from %s to %s\n' "$node" "$old" "$new"
}

# Sent to the node as it stands; without a single quote in it.
drop_it='f=/proc/sys/net/ipv4/conf/$1/promote_secondaries
was=$(cat "$f") || exit 1
echo 1 > "$f" || exit 1
ip addr del "$2" dev "$1"
code=$?
ip -o addr show dev "$1" | grep -qF " $3 " || ip addr add "$3" dev "$1" || code=1
echo "$was" > "$f"
exit $code'

# Out of production before the move, and back once it was checked; both are empty where the plan drains nobody.
out_of_production() { [ -z "$drain" ] || ! confirm "out of production: $drain_text" || eval "$drain"; }
into_production() { [ -z "$undrain" ] || ! confirm "back into production: $undrain_text" || eval "$undrain"; }

move() {
    look
    out_of_production
    if [ "$kind" = renumber ]; then claim; fi
    add
    if [ "$kind" = renumber ]; then register; fi
    peers
    files
    drop
    check
    into_production
}
