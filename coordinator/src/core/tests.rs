//! The rules of the core, one by one.

mod altered;
mod backup;
mod leases;
mod restore;
mod submit;
mod transforms;
mod workers;
