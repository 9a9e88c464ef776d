# One sweep every five minutes, with alerts. Nomad 1.7 or newer, with Vault. The set-up is in
# deploy/README.md. Try it: nomad job validate deploy/nomad/wgaudit.nomad.hcl

job "wgaudit" {
  type        = "batch"
  datacenters = ["dc1"]

  periodic {
    crons            = ["*/5 * * * *"]
    time_zone        = "UTC"
    prohibit_overlap = true
  }

  group "sweep" {
    # The memory of what was told. Without it each run pages everything again: never an empty folder.
    # It has to be one machine's own disk; SQLite does not work on NFS.
    volume "state" {
      type      = "host"
      source    = "wgaudit-state"
      read_only = false
    }

    # The next run is the retry.
    restart {
      attempts = 0
      mode     = "fail"
    }

    reschedule {
      attempts  = 0
      unlimited = false
    }

    task "wgaudit" {
      driver = "docker"
      user   = "65532:65532"

      # SIGTERM ends a sweep early: it still reports and hands over what it must tell.
      kill_signal  = "SIGTERM"
      kill_timeout = "90s"

      config {
        image           = "registry.example.net/wgaudit:0.1.0"
        cap_drop        = ["all"]
        security_opt    = ["no-new-privileges"]
        readonly_rootfs = true
        network_mode    = "host"

        mount {
          type     = "tmpfs"
          target   = "/tmp"
          readonly = false
        }

        # 1 (findings) and 3 (inconclusive) are told by the notifiers: the job has done its work. 2 and 4
        # fail it: then nobody was told.
        entrypoint = ["/bin/sh", "-c", "wgaudit \"$@\"; code=$?; case $code in 1|3) exit 0;; *) exit $code;; esac", "wgaudit"]
        args       = ["sweep", "--config", "/secrets/wgaudit.toml", "--alert", "--deadline", "600", "--no-progress"]
      }

      volume_mount {
        volume      = "state"
        destination = "/var/lib/wgaudit"
      }

      vault {
        role = "wgaudit"
      }

      # One file a secret, below /secrets, which is memory of this task alone. The secret in Vault has
      # these fields; nothing of it goes into the environment.
      template {
        destination = "secrets/consul-token"
        data        = "{{ with secret \"kv/data/wgaudit\" }}{{ .Data.data.consul_token }}{{ end }}"
        change_mode = "noop"
        perms       = "0400"
        uid         = 65532
        gid         = 65532
      }

      template {
        destination = "secrets/id_ed25519"
        data        = <<-TEMPLATE
        {{ with secret "kv/data/wgaudit" }}{{ .Data.data.id_ed25519 }}{{ end }}
        TEMPLATE
        change_mode = "noop"
        perms       = "0400"
        uid         = 65532
        gid         = 65532
      }

      template {
        destination = "secrets/pagerduty-key"
        data        = "{{ with secret \"kv/data/wgaudit\" }}{{ .Data.data.pagerduty_key }}{{ end }}"
        change_mode = "noop"
        perms       = "0400"
        uid         = 65532
        gid         = 65532
      }

      template {
        destination = "secrets/slack-url"
        data        = "{{ with secret \"kv/data/wgaudit\" }}{{ .Data.data.slack_url }}{{ end }}"
        change_mode = "noop"
        perms       = "0400"
        uid         = 65532
        gid         = 65532
      }

      template {
        destination = "secrets/heartbeat-url"
        data        = "{{ with secret \"kv/data/wgaudit\" }}{{ .Data.data.heartbeat_url }}{{ end }}"
        change_mode = "noop"
        perms       = "0400"
        uid         = 65532
        gid         = 65532
      }

      template {
        destination = "secrets/known_hosts"
        data        = <<-TEMPLATE
        {{ with secret "kv/data/wgaudit" }}{{ .Data.data.known_hosts }}{{ end }}
        TEMPLATE
        change_mode = "noop"
        perms       = "0400"
        uid         = 65532
        gid         = 65532
      }

      template {
        destination = "secrets/wgaudit.toml"
        change_mode = "noop"
        perms       = "0400"
        uid         = 65532
        gid         = 65532
        data        = <<-CONFIG
        [consul]
        url = "http://127.0.0.1:8500"
        token_file = "/secrets/consul-token"
        prefix = "wireguard/nodes/"
        datacenters = ["*"]

        [ssh]
        user = "wgaudit"
        sudo = true
        probe = "installed"
        identity_files = ["/secrets/id_ed25519"]
        agent = false
        known_hosts = "/secrets/known_hosts"

        [mesh]
        device = "wg0"
        pools = ["10.0.0.0/8"]

        [state]
        path = "/var/lib/wgaudit/wgaudit.db"

        [alerts]
        heartbeat_url_file = "/secrets/heartbeat-url"

        [[notifiers]]
        name = "oncall"
        type = "pagerduty"
        routing_key_file = "/secrets/pagerduty-key"
        min_severity = "error"

        [[notifiers]]
        name = "ops-channel"
        type = "slack"
        url_file = "/secrets/slack-url"
        CONFIG
      }

      resources {
        cpu    = 500
        memory = 512
      }
    }
  }
}
