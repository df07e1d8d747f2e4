//! Levels, transitions and history
