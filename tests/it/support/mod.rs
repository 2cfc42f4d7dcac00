//! A daemon over a simulator, both real, and builders with good defaults.

mod app;
pub mod binary;
mod world;

pub use app::{TestApp, TestAppBuilder};
pub use world::{RANSOMWARE, alert, machine, machine_id, ransomware};
