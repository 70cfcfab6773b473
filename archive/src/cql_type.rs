//! CQL types, parsed from the text of `system_schema.columns.type` and `system_schema.types.field_types`.

use std::sync::Arc;

/// A CQL type. Frozen or not does not change a value's bytes, so it is not kept here; see `ColumnLayout::multi_cell`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the names are CQL's own
pub enum CqlType {
    Ascii,
    BigInt,
    Blob,
    Boolean,
    Counter,
    Date,
    Decimal,
    Double,
    Duration,
    Float,
    Inet,
    Int,
    SmallInt,
    Text,
    Time,
    Timestamp,
    TimeUuid,
    TinyInt,
    Uuid,
    VarInt,
    List(Box<CqlType>),
    Set(Box<CqlType>),
    Map(Box<CqlType>, Box<CqlType>),
    Tuple(Vec<CqlType>),
    /// Element type and dimension.
    Vector(Box<CqlType>, u16),
    Udt(Arc<UdtType>),
}

/// A user-defined type with its fields in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdtType {
    /// Unquoted.
    pub name: String,
    /// Unquoted name and type.
    pub fields: Vec<(String, CqlType)>,
}
