//! client/library
