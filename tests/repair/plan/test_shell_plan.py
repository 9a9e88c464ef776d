"""The plan as a script: what it runs, in which order, and that nothing out of the registry breaks out of it."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.errors import UsageError
from auditor.repair.moves import Contested, LeftOut, RepairPlan
from auditor.repair.plan.shell_plan import script
from auditor.values.address_claims import RepairPolicy
from auditor.values.addresses import format_prefix
from auditor.values.drains import DrainMeans, DrainPolicy
from tests.fleets import Mesh
from tests.repair.plans import PAIR, pair, planned

# `consul` and `ssh` as files: a key-value folder, and a node whose device is a list of addresses.
CONSUL = r"""#!/bin/sh
echo "consul $*" >> "$STORE/calls"
cas='' detailed='' datacenter=''
shift
verb=$1; shift
while :; do
    case $1 in
    -modify-index=*) cas=${1#*=}; shift ;;
    -cas | -datacenter=*) shift ;;
    -detailed) detailed=yes; shift ;;
    *) break ;;
    esac
done
file=$STORE/$(printf '%s' "$1" | tr / _)
index=0
[ -e "$file" ] && index=$(cat "$file.index")
if [ "$verb" = get ]; then
    [ -e "$file" ] || exit 1
    [ -z "$detailed" ] || printf 'CreateIndex      1\nKey              %s\nModifyIndex      %s\nValue  ' "$1" "$index"
    cat "$file"; echo
else
    [ "$cas" = "$index" ] || { echo "Error! Did not write to $1: CAS failed"; exit 1; }
    cat > "$file"; echo $((index + 1)) > "$file.index"
fi
"""
CURL = r"""#!/bin/sh
grep -q X-Consul-Token
for url; do :; done
key=${url#*/v1/kv/}
file=$STORE/$(printf '%s' "${key%%\?cas=0*}" | tr / _)
if [ -e "$file" ]; then echo false; else printf '%s' "$7" > "$file"; echo 1 > "$file.index"; echo true; fi
"""
SSH = r"""#!/bin/sh
echo "$*" >> "$STORE/calls"
[ "$1 $2" = "-n --" ] || exit 99
export PATH="$STORE/node:$PATH"
exec sh -c "$4"
"""
IP = r"""#!/bin/sh
case "$*" in
"-o addr show dev wg0") sed 's/.*/5: wg0    inet & scope global wg0/' "$STORE/device" ;;
"addr add "*) echo "$3" >> "$STORE/device" ;;
"addr del "*)
    grep -vxF "$3" "$STORE/device" > "$STORE/next"
    [ ! -e "$STORE/takes-all" ] || : > "$STORE/next"
    mv "$STORE/next" "$STORE/device"
    ;;
*) exit 98 ;;
esac
"""
WG = '#!/bin/sh\n[ "$*" = "show wg0 public-key" ] || exit 97\ncat "$STORE/key"\n'
FIXED = '#!/bin/sh\nexec "$@"\n'


class Bench:
    """A folder in which the script runs with stubs in place of what would leave the machine."""

    def __init__(self, folder: Path, made: RepairPlan) -> None:
        self.store = folder / "store"
        commands, node = folder / "bin", self.store / "node"
        for each in (self.store, commands, node):
            each.mkdir(parents=True, exist_ok=True)
        for place, text in (
            (commands / "consul", CONSUL),
            (commands / "curl", CURL),
            (commands / "ssh", SSH),
            (node / "sudo", FIXED),
            (node / "ip", IP),
            (node / "wg", WG),
            (node / "cat", '#!/bin/sh\ncase $1 in /proc/*) echo 0 ;; *) exec /bin/cat "$@" ;; esac\n'),
        ):
            place.write_text(text)
            place.chmod(0o755)
        self.text = ""
        self.planned(made)
        (self.store / "promote").write_text("0\n")
        self.environment = {
            "PATH": f"{commands}:{os.environ['PATH']}",
            "STORE": str(self.store),
            "LC_ALL": "C.UTF-8",
        }

    def planned(self, made: RepairPlan) -> None:
        """Takes the script of a plan."""
        # /proc of this machine is not for tests to write.
        self.text = script(made).replace(
            "/proc/sys/net/ipv4/conf/$1/promote_secondaries", f"{self.store}/promote"
        )

    def holds(self, key: str, value: str, index: int) -> None:
        file = self.store / key.replace("/", "_")
        file.write_text(value)
        Path(f"{file}.index").write_text(str(index))

    def run(self, answers: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/sh", "-c", self.text],
            input=answers,
            text=True,
            capture_output=True,
            check=False,
            timeout=30,
            env=self.environment,
            cwd=self.store,
        )

    @property
    def device(self) -> list[str]:
        return (self.store / "device").read_text().split()

    def value(self, key: str) -> str:
        return (self.store / key.replace("/", "_")).read_text()

    @property
    def calls(self) -> str:
        return (self.store / "calls").read_text()


@pytest.fixture
def made() -> RepairPlan:
    """One move, from 10.7.0.9."""
    return planned(pair())


@pytest.fixture
def bench(tmp_path: Path, made: RepairPlan) -> Bench:
    bench = Bench(tmp_path, made)
    [move] = made.moves
    bench.holds(move.where, f'{{"ip": "{PAIR}", "note": "not 10.7.0.99"}}', 20)
    (bench.store / "device").write_text(f"{PAIR}/16\n")
    (bench.store / "key").write_text(f"{move.public_key}\n")
    return bench


def test_the_script_is_one_that_sh_can_read(made: RepairPlan) -> None:
    assert subprocess.run(["/bin/sh", "-n"], input=script(made), text=True, check=False).returncode == 0


def test_confirmed_step_by_step_it_moves_the_node(made: RepairPlan, bench: Bench) -> None:
    new = format_prefix(made.moves[0].new)
    done = bench.run("y\n" * 6)
    assert done.returncode == 0, done.stdout + done.stderr
    assert bench.device == [f"{new}/16"]
    assert bench.value("wireguard/nodes/new") == f'{{"ip": "{new}", "note": "not 10.7.0.99"}}'
    assert made.moves[0].public_key in bench.value(f"wireguard/claims/{new}")
    calls = bench.calls
    assert calls.index("addr add") < calls.index("-modify-index=20") < calls.index('addr show dev "$1"')
    assert "ssh" not in calls
    assert "-n -- underlay.new " in calls


def test_a_new_address_that_went_with_the_old_one_is_added_again_at_once(
    made: RepairPlan, bench: Bench
) -> None:
    """A kernel without promote_secondaries drops what hangs on a primary address."""
    (bench.store / "takes-all").touch()
    assert bench.run("y\n" * 6).returncode == 0
    assert bench.device == [f"{format_prefix(made.moves[0].new)}/16"]
    assert (bench.store / "promote").read_text() == "0\n"


@pytest.mark.parametrize("answers", ["", "n\n", "y\nn\n", "y\ny\nn\n", "y\ny\ny\nn\n", "y\ny\ny\ny\ny\n"])
def test_whatever_is_not_confirmed_stops_it_with_the_old_address_still_there(
    bench: Bench, answers: str
) -> None:
    stopped = bench.run(answers)
    assert stopped.returncode != 0
    assert "STOPPED at new" in stopped.stderr
    assert f"{PAIR}/16" in bench.device


def test_stopped_anywhere_it_goes_on_from_there_when_run_again(made: RepairPlan, bench: Bench) -> None:
    bench.run("y\ny\ny\nn\n")
    again = bench.run("y\n" * 3)
    assert again.returncode == 0, again.stdout + again.stderr
    assert bench.device == [f"{format_prefix(made.moves[0].new)}/16"]


def test_files_that_name_the_old_address_are_named_and_not_shown(bench: Bench) -> None:
    for name, text in (("50-wg.yaml", f"key: PLANTED {PAIR}/16\n"), ("other.yaml", f"PLANTED 1{PAIR}/16\n")):
        (bench.store / "plan").mkdir(exist_ok=True)
        (bench.store / "plan" / name).write_text(text)
    bench.text = bench.text.replace("/etc/netplan", f"{bench.store}/plan")
    said = bench.run("y\n" * 6).stdout
    assert f"{bench.store}/plan/50-wg.yaml\n" in said
    assert "other.yaml" not in said
    assert "PLANTED" not in said


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda bench: bench.holds("wireguard/nodes/new", f'{{"ip": "{PAIR}"}}', 21),
            "was written since the plan",
        ),
        (lambda bench: (bench.store / "key").write_text("another\n"), "has another key"),
        (lambda bench: (bench.store / "device").write_text("10.7.0.99/16\n"), "holds neither"),
        (lambda bench: bench.holds("wireguard/nodes/new", '{"ip": ["::"]}', 20), "does not name"),
    ],
)
def test_what_is_not_as_planned_stops_it(bench: Bench, change: object, says: str) -> None:
    change(bench)  # type: ignore[operator]
    stopped = bench.run("y\n" * 9)
    assert stopped.returncode != 0
    assert says in stopped.stderr


def test_a_claim_of_somebody_else_stops_it_before_anything_is_changed(made: RepairPlan, bench: Bench) -> None:
    bench.holds(f"wireguard/claims/{format_prefix(made.moves[0].new)}", "theirs", 7)
    assert bench.run("y\n" * 9).returncode != 0
    assert bench.device == [f"{PAIR}/16"]


HOSTILE = st.one_of(
    st.sampled_from(
        [
            "$(touch pwned)",
            "`touch pwned`",
            "'; touch pwned; '",
            '"; touch pwned; "',
            "\ntouch pwned\n",
            "a\r\ntouch pwned",
            "-oProxyCommand=touch${IFS}pwned",
            "$((touch pwned))",
            "\\'; touch pwned #",
            "%s%n",
            "* ~ {a,b} \x00 \x1b[2J",
            "\u2028touch pwned",
        ]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
)


@given(name=HOSTILE, where=HOSTILE, host=HOSTILE, region=HOSTILE, why=HOSTILE)
@settings(max_examples=40, deadline=None)
def test_nothing_out_of_the_registry_breaks_out(
    tmp_path_factory: pytest.TempPathFactory, name: str, where: str, host: str, region: str, why: str
) -> None:
    """Run with every step confirmed: only the stubs are called, whatever the words are."""
    folder = tmp_path_factory.mktemp("hostile")
    made = planned(Mesh().node("a", PAIR, index=1).node("b", PAIR, index=2))
    [contested] = made.contested
    [move] = contested.moves
    node = move.node._replace(name=name)
    hostile = replace(move, node=node, where=where, host=host, region=region, why=why)
    left = (LeftOut(move.old, node, why),)
    made = replace(
        made,
        contested=(Contested(move.old, (node,), replace(contested.keeper, why=why), (hostile,), left),),
        notes=(why,),
        verdict=why,
    )
    try:
        bench = Bench(folder, made)
    except UsageError:
        return  # refused: no script is a safe script
    (bench.store / "device").write_text(f"{PAIR}/16\n")
    (bench.store / "key").write_text(f"{move.public_key}\n")
    assert subprocess.run(["/bin/sh", "-n"], input=bench.text, text=True, check=False).returncode == 0
    bench.run("y\n" * 9)
    assert not list(folder.rglob("pwned"))


@pytest.mark.parametrize("host", ["-oProxyCommand=x", "a b", "$(x)", "", "10.7.0.9", "[fe80::1%eth0"])
def test_a_host_that_ssh_should_not_be_given_is_left_to_be_filled_in(made: RepairPlan, host: str) -> None:
    [contested] = made.contested
    [move] = contested.moves
    odd = replace(move, host=host, node=move.node._replace(name="-odd"))
    text = script(replace(made, contested=(replace(contested, moves=(odd,)),)))
    assert "host=''   # fill in" in text


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("edge.example.net", "edge.example.net"),
        ("edge:2222", "ssh://edge:2222"),
        ("[fe80::1]:22", "'ssh://[fe80::1]:22'"),
    ],
)
def test_a_port_goes_to_ssh_as_it_takes_one(made: RepairPlan, host: str, told: str) -> None:
    [contested] = made.contested
    moves = (replace(contested.moves[0], host=host),)
    assert f"host={told}\n" in script(replace(made, contested=(replace(contested, moves=moves),)))


def test_a_device_that_is_no_device_gives_no_script(made: RepairPlan) -> None:
    with pytest.raises(UsageError, match="device"):
        script(replace(made, device="wg0; touch pwned"))


def test_the_same_plan_gives_the_same_script(made: RepairPlan) -> None:
    assert script(made) == script(planned(pair()))


# -- out of production

OUT, BACK = ("drain", "it's", "{node}"), ("drain", "--back", "{address}")


def test_a_drain_is_confirmed_before_the_move_and_its_undrain_after_the_check(bench: Bench) -> None:
    made = planned(pair(), RepairPolicy(drain=DrainPolicy(DrainMeans.COMMAND, OUT, BACK)))
    bench.planned(made)
    tool = bench.store.parent / "bin" / "drain"
    tool.write_text('#!/bin/sh\necho "drain $*" >> "$STORE/calls"\n')
    tool.chmod(0o755)
    done = bench.run("y\n" * 8)
    assert done.returncode == 0, done.stdout + done.stderr
    calls = bench.calls
    assert calls.index("drain it's new\n") < calls.index("addr add")
    assert calls.index("addr del") < calls.index(f"drain --back {format_prefix(made.moves[0].new)}\n")


def test_a_drain_that_fails_stops_the_script_before_the_move(bench: Bench) -> None:
    made = planned(pair(), RepairPolicy(drain=DrainPolicy(DrainMeans.COMMAND, ("false",), ("true",))))
    bench.planned(made)
    done = bench.run("y\n" * 8)
    assert done.returncode == 1
    assert "STOPPED at new: out of production: false" in done.stderr
    assert bench.device == [f"{PAIR}/16"]


def test_consul_s_maintenance_is_asked_for_on_the_node_and_nomad_by_hand(bench: Bench) -> None:
    text = script(planned(pair(), RepairPolicy(drain=DrainPolicy(DrainMeans.CONSUL_MAINTENANCE))))
    assert "consul maint -enable -reason=wgaudit-plan-" in text
    assert "consul maint -disable" in text
    text = script(planned(pair(), RepairPolicy(drain=DrainPolicy(DrainMeans.NOMAD_ELIGIBILITY))))
    assert "make new ineligible in Nomad, by hand, now" in text
