//! Contracts, scenarios, races, properties and real clients
