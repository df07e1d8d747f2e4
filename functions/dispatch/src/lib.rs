//! Triggers, deliveries, Slack and signed webhooks
