# The watch, in place of the periodic job, with alerts. Nomad 1.7 or newer, with Vault. The set-up is in
# deploy/README.md. Try it: nomad job validate deploy/nomad/wgaudit-watch.nomad.hcl

job "wgaudit-watch" {
  type        = "service"
  datacenters = ["dc1"]

  # Never two: the second one would wait for the state's lock. So the old one ends before the new one begins.
  update {
    max_parallel     = 1
    canary           = 0
    health_check     = "checks"
    min_healthy_time = "10s"
    healthy_deadline = "5m"
  }

  group "watch" {
    count = 1

    # The memory of what was told. Without it each start pages everything again: never an empty folder.
    # It has to be one machine's own disk; SQLite does not work on NFS.
    volume "state" {
      type      = "host"
      source    = "wgaudit-state"
      read_only = false
    }

    restart {
      attempts = 5
      interval = "10m"
      delay    = "10s"
      mode     = "delay"
    }

    task "wgaudit" {
      driver = "docker"
      user   = "65532:65532"

      # SIGTERM ends the watch within watch.stop_within (5 s): what is not sent by then waits in the outbox.
      kill_signal  = "SIGTERM"
      kill_timeout = "30s"

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

        args = ["watch", "--config", "/secrets/wgaudit.toml", "--lock-wait", "120"]
      }

      # The page is on this machine's loopback, where Consul's agent may not be: so it is asked from within. Alive: the
      # loop turns, whatever Consul does. Ready: the registry was read whole once.
      service {
        name = "wgaudit-watch"

        check {
          name     = "alive"
          type     = "script"
          command  = "curl"
          args     = ["--fail", "--silent", "--show-error", "--max-time", "5", "http://127.0.0.1:9586/-/healthy"]
          interval = "30s"
          timeout  = "10s"

          check_restart {
            limit = 3
            grace = "60s"
          }
        }

        check {
          name     = "ready"
          type     = "script"
          command  = "curl"
          args     = ["--fail", "--silent", "--show-error", "--max-time", "5", "http://127.0.0.1:9586/-/ready"]
          interval = "10s"
          timeout  = "10s"
        }
      }

      volume_mount {
        volume      = "state"
        destination = "/var/lib/wgaudit"
      }

      vault {
        role = "wgaudit"
      }

      # One file a secret, below /secrets, which is memory of this task alone. The secret in Vault has
      # these fields; nothing of it goes into the environment. What changed there is read anew by SIGHUP.
      template {
        destination   = "secrets/consul-token"
        data          = "{{ with secret \"kv/data/wgaudit\" }}{{ .Data.data.consul_token }}{{ end }}"
        change_mode   = "signal"
        change_signal = "SIGHUP"
        perms         = "0400"
        uid           = 65532
        gid           = 65532
      }

      template {
        destination   = "secrets/id_ed25519"
        data          = <<-TEMPLATE
        {{ with secret "kv/data/wgaudit" }}{{ .Data.data.id_ed25519 }}{{ end }}
        TEMPLATE
        change_mode   = "signal"
        change_signal = "SIGHUP"
        perms         = "0400"
        uid           = 65532
        gid           = 65532
      }

      template {
        destination   = "secrets/pagerduty-key"
        data          = "{{ with secret \"kv/data/wgaudit\" }}{{ .Data.data.pagerduty_key }}{{ end }}"
        change_mode   = "signal"
        change_signal = "SIGHUP"
        perms         = "0400"
        uid           = 65532
        gid           = 65532
      }

      template {
        destination   = "secrets/slack-url"
        data          = "{{ with secret \"kv/data/wgaudit\" }}{{ .Data.data.slack_url }}{{ end }}"
        change_mode   = "signal"
        change_signal = "SIGHUP"
        perms         = "0400"
        uid           = 65532
        gid           = 65532
      }

      template {
        destination   = "secrets/heartbeat-url"
        data          = "{{ with secret \"kv/data/wgaudit\" }}{{ .Data.data.heartbeat_url }}{{ end }}"
        change_mode   = "signal"
        change_signal = "SIGHUP"
        perms         = "0400"
        uid           = 65532
        gid           = 65532
      }

      template {
        destination   = "secrets/known_hosts"
        data          = <<-TEMPLATE
        {{ with secret "kv/data/wgaudit" }}{{ .Data.data.known_hosts }}{{ end }}
        TEMPLATE
        change_mode   = "signal"
        change_signal = "SIGHUP"
        perms         = "0400"
        uid           = 65532
        gid           = 65532
      }

      template {
        destination   = "secrets/wgaudit.toml"
        change_mode   = "signal"
        change_signal = "SIGHUP"
        perms         = "0400"
        uid           = 65532
        gid           = 65532
        data          = <<-CONFIG
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

        [watch]
        listen = "127.0.0.1:9586"

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
        memory = 1024
      }
    }
  }
}
