//! Placeholder until the field module lands.
use serde::{Deserialize, Serialize};
/// A value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldValue(pub serde_json::Value);
/// Facts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FieldFacts {}
