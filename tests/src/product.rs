//! Product.
