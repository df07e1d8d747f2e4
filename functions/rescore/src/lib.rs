//! Finds accounts and deliveries that are due
