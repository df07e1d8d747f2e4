//! Lint: what is wrong or doubtful about a ruleset, and what to do about it.
