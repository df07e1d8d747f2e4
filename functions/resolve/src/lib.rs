//! Identities become leads, leads join accounts
