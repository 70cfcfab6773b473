//! The rules of the core, one by one.

mod backup;
mod leases;
mod restore;
mod submit;
mod workers;
