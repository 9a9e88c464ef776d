"""Examples of each command: calls that a reader can copy, shown by `--help` and in docs/cli.md."""

from __future__ import annotations

EXAMPLES = {
    "sweep": """
        wgaudit sweep
        wgaudit sweep --format json --output report.json --fail-on error
        wgaudit sweep --format markdown --replay tonight.json.gz
        wgaudit sweep --format html --output report.html
        wgaudit sweep --record tonight.json.gz
        wgaudit sweep --replay fixtures/incident/snapshot.json.gz
        wgaudit sweep --alert --deadline 600 --no-progress     # by a timer
        wgaudit sweep --region sin --severity critical
        wgaudit sweep --watch
        wgaudit sweep --metrics /var/lib/prometheus/node-exporter/wgaudit.prom
    """,
    "watch": """
        wgaudit watch
        wgaudit watch --config /etc/wgaudit/wgaudit.toml --lock-wait 60    # a unit
        wgaudit watch --no-page
        wgaudit watch --listen unix:///run/wgaudit-watch/page.sock
    """,
    "collector": """
        wgaudit collector --region fra
        wgaudit collector --config /etc/wgaudit/collector.toml --region fra
    """,
    "collectors": """
        wgaudit collectors
        wgaudit collectors --format json
    """,
    "explain": """
        wgaudit explain 10.0.0.1
        wgaudit explain edge-sin-1@dc1 10.20.0.7 --all
        wgaudit explain split-routing consul-timeout    # what they mean
        wgaudit explain U8fP9qA1 --replay fixtures/incident/snapshot.json.gz
    """,
    "affected": """
        wgaudit affected 10.0.0.1
        wgaudit affected sin --replay fixtures/incident/snapshot.json.gz
        wgaudit affected 10.0.0.1 --format csv --output affected.csv
    """,
    "ask": """
        wgaudit ask 10.0.0.1
        wgaudit ask edge-sin-1 --from ams --from worker-nrt-1
        wgaudit ask 10.0.0.1 --all --format json
    """,
    "nodes": """
        wgaudit nodes
        wgaudit nodes --region sin --check missing-peer -o wide
        wgaudit nodes --replay fixtures/incident/snapshot.json.gz --format json
        wgaudit nodes -o hosts | ssh-keyscan -t ed25519 -f - > known_hosts.new
    """,
    "drain": """
        wgaudit drain edge-sin-1 edge-fra-1 --reason "who answers?"
        wgaudit drain 10.0.0.1 --dry-run       # all that are registered with it
        wgaudit drain 5d1c0e --yes             # the nodes of a finding
    """,
    "undrain": """
        wgaudit undrain edge-sin-1
        wgaudit undrain --all
    """,
    "alerts forget": """
        wgaudit alerts forget chat
    """,
    "alerts list": """
        wgaudit alerts list
        wgaudit alerts list --format json
    """,
    "alerts preview": """
        wgaudit alerts preview --replay tonight.json.gz --notifier oncall
    """,
    "alerts retry": """
        wgaudit alerts retry           # every dead letter
        wgaudit alerts retry 17 18     # these two
    """,
    "alerts test": """
        wgaudit alerts test            # every notifier
        wgaudit alerts test oncall     # this one
    """,
    "silence add": """
        wgaudit silence add --address 10.0.0.1 --for 2h --comment OPS-123
        wgaudit silence add --region sin --for 1d --comment "sin is rebuilt"
    """,
    "silence expire": """
        wgaudit silence expire 3f9c
    """,
    "silence list": """
        wgaudit silence list --all
        wgaudit silence list --format json
    """,
    "history": """
        wgaudit history
        wgaudit history --limit 200 --all
        wgaudit history --format json
    """,
    "history node": """
        wgaudit history node edge-fra-9
        wgaudit history node 10.0.0.9 --format json
    """,
    "history show": """
        wgaudit history show 5d1c0e
    """,
    "timeline": """
        wgaudit timeline
        wgaudit timeline 5d1c0e --format markdown --output post-mortem.md
        wgaudit timeline --since 2026-12-01T03:00 --until 2026-12-01T09:00
        wgaudit timeline --journal plan.json.journal
    """,
    "diff": """
        wgaudit diff last-1 last
        wgaudit diff before.json.gz after.json.gz
        wgaudit diff before.json.gz after.json.gz --format json
    """,
    "plan": """
        wgaudit plan
        wgaudit plan --output plan.json
        wgaudit plan --keep worker-ams-1 --to edge-fra-1=10.32.0.40
        wgaudit plan --address 10.20.0.7 -v
        wgaudit plan --address 10.20.0.7 --format shell --output repair.sh
        wgaudit plan --replay fixtures/incident/snapshot.json.gz
    """,
    "apply": """
        wgaudit apply plan.json --dry-run
        wgaudit apply plan.json
        wgaudit apply plan.json --resume
        wgaudit apply plan.json --rollback --all
    """,
    "adopt": """
        wgaudit adopt --replay today.json.gz
        wgaudit adopt --check
    """,
    "verify": """
        wgaudit verify edge-sin-1
        wgaudit verify edge-sin-1 worker-iad-1 --all --format json
    """,
    "check": """
        wgaudit check record.json --node edge-fra-9
        wgaudit check record.json --node edge-fra-9 --live
        wgaudit check export.json --replay today.json.gz --format json
        wgaudit check hub.json --node hub-sin-1 --allow first-address
    """,
    "allocate": """
        wgaudit allocate --node edge-fra-9 --region fra --public-key KEY
    """,
    "release": """
        wgaudit release --node edge-fra-9
    """,
    "restore": """
        wgaudit restore edge-fra-9
        wgaudit restore edge-fra-9@dc1 --dry-run
    """,
    "demo": """
        wgaudit demo
        wgaudit demo --nodes 200 --seed 7 --format json
        wgaudit demo --keep
        wgaudit demo --repair
        wgaudit demo --watch
        wgaudit demo --collectors
    """,
    "init": """
        wgaudit init
        CONSUL_HTTP_ADDR=consul.example.net:8500 wgaudit init
        wgaudit init --yes --consul-url https://consul:8501 --pool 10.0.0.0/8
        wgaudit init --file export.json --field public_key=wg.pubkey
    """,
    "config check": """
        wgaudit config check
        wgaudit config check --config /etc/wgaudit/wgaudit.toml
    """,
    "config schema": """
        wgaudit config schema --output wgaudit.schema.json
    """,
    "config show": """
        wgaudit config show --set
        wgaudit config show consul ssh.user
        wgaudit config show --format json
    """,
    "doctor": """
        wgaudit doctor
        wgaudit doctor --node edge-sin-1
        wgaudit doctor --nodes all --format json
    """,
    "completion": """
        wgaudit completion bash > ~/.local/share/bash-completion/completions/wgaudit
        wgaudit completion zsh > "${fpath[1]}/_wgaudit"
        wgaudit completion fish > ~/.config/fish/completions/wgaudit.fish
    """,
    "probe-script": """
        wgaudit probe-script --config /etc/wgaudit/wgaudit.toml > wgaudit-probe
    """,
}
"""By command; a group without a meaning of its own needs none."""
