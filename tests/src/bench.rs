//! The benchmark: Ringvault, the raw driver, DSBulk and cqlsh on the same tables of the same node, one behind the other, each
//! in a process of its own.
//!
//! - [`data`]: the tables; [`yardstick`]: what the raw driver reaches
//! - [`measure`]: one process: wall time, CPU seconds, peak memory, and which cores it may use
//! - [`subjects`]: what is measured, as command lines; [`rivals`]: where DSBulk and cqlsh come from
//! - [`report`]: medians and ratios as a table and a picture
//!
//! Absent on purpose: any judgement. It prints figures; what they must be stands with the people who read them.

pub mod data;
pub mod measure;
pub mod report;
pub mod rivals;
pub mod subjects;
pub mod yardstick;
