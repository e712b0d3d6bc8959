//! Entrepot: one registry server for every package format.
//!
//! The rooms of the house, from the outside in: [`http`] takes requests and [`access`] decides them; a format's handler
//! runs against the façade that [`registry`] implements over [`store`] and [`upstream`]; [`api`] manages it all.

pub mod access;
pub mod api;
pub mod cli;
pub mod clock;
pub mod config;
pub mod formats;
pub mod http;
pub mod jobs;
mod log;
pub mod metrics;
pub mod registry;
pub mod replicas;
pub mod server;
pub mod store;
pub mod ui;
pub mod upstream;
