//! Tracking calls over HTTPS become durable messages
