"""Memory of alerting in the state database: standing incidents, notifications, the outbox and silences."""
