//! The rules of the core, one by one.

mod allowances;
mod altered;
mod backup;
mod control;
mod figures;
mod leases;
mod restore;
mod schedule;
mod submit;
mod transforms;
mod workers;
