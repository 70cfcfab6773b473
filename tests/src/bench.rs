//! The benchmark: Ringvault, the raw driver, DSBulk and cqlsh on the same tables of the same node, one behind the other, each
//! in a process of its own.
//!
//! - [`options`]: what the command takes; [`scenarios`]: what it can measure, a file each
//! - [`data`]: the tables; [`yardstick`]: what the raw driver reaches; [`foreground`]: a steady load beside something else
//! - [`measure`]: one process: wall time, CPU seconds, peak memory, and which cores it may use
//! - [`settle`]: waits until servers are done with what came before
//! - [`subjects`]: what is measured, as command lines; [`rivals`]: where DSBulk and cqlsh come from
//! - [`record`]: a measured run as a line of a log; [`report`]: medians and ratios of them as tables and a picture
//!
//! Absent on purpose: any judgement. It prints figures; what they must be stands with the people who read them.

pub mod data;
pub mod foreground;
pub mod measure;
pub mod options;
pub mod record;
pub mod report;
pub mod rivals;
pub mod scenarios;
pub mod settle;
pub mod subjects;
pub mod yardstick;
