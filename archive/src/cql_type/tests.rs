//! Tests of the type parser.

use ringvault_proto::error::ErrorKind;

use super::*;

fn user_type(name: &str, fields: &[(&str, &str)]) -> v1::UserType {
    let fields = fields
        .iter()
        .map(|(name, cql_type)| v1::Column {
            name: (*name).to_owned(),
            r#type: (*cql_type).to_owned(),
            ..v1::Column::default()
        })
        .collect();
    v1::UserType { name: name.to_owned(), fields }
}

fn parsed(text: &str) -> CqlType {
    CqlType::parse(text, &UserTypes::default()).expect(text)
}

fn refused(text: &str) -> String {
    let error = CqlType::parse(text, &UserTypes::default()).expect_err(text);
    assert_eq!(error.kind(), ErrorKind::Invalid);
    error.to_string()
}

#[test]
fn every_native_type_is_read_and_written() {
    for (name, class, native) in &NATIVE_TYPES {
        assert_eq!(parsed(name), *native);
        assert_eq!(native.to_string(), *name);
        assert_eq!(parsed(&format!("'{MARSHAL_PACKAGE}{class}'")), *native);
    }
    assert_eq!(parsed("varchar"), CqlType::Text);
}

#[test]
fn nested_types_are_read_and_written() {
    let text = "map<text, frozen<map<frozen<list<int>>, frozen<tuple<uuid, vector<float, 3>>>>>>";
    let cql_type = parsed(text);
    assert_eq!(cql_type.to_string(), text);
    assert_eq!(parsed("frozen<set<frozen<tuple<int>>>>"), CqlType::Set(Box::new(CqlType::Tuple(vec![CqlType::Int]))));
    assert_eq!(parsed("vector<vector<float,3>,2>").vector_element_bytes(), Some(24));
}

#[test]
fn frozen_matters_only_outermost() {
    let frozen = |text| CqlType::parse_column(text, &UserTypes::default()).expect("a type").1;
    assert!(frozen("frozen<list<int>>"));
    assert!(!frozen("list<frozen<list<int>>>"));
}

#[test]
fn class_forms_are_read() {
    let marshal = |text: &str| parsed(&text.replace('~', MARSHAL_PACKAGE));
    assert_eq!(marshal("'~VectorType(~FloatType , 3)'"), CqlType::Vector(Box::new(CqlType::Float), 3));
    assert_eq!(marshal("~ReversedType(~DurationType)"), CqlType::Duration);
    assert_eq!(
        marshal("list<'~FrozenType(~MapType(~UTF8Type,~TupleType(~Int32Type,~ByteType)))'>"),
        parsed("list<frozen<map<text, frozen<tuple<int, tinyint>>>>>")
    );
}

#[test]
fn user_types_are_resolved_in_any_order_and_by_quoted_name() {
    let types = UserTypes::from_message(&[
        user_type("person", &[("home", "frozen<\"My \"\"Type\">"), ("names", "list<text>")]),
        user_type("My \"Type", &[("Straße", "text"), ("$", "int")]),
    ])
    .expect("types");
    let cql_type = CqlType::parse("map<int, frozen<person>>", &types).expect("a type");
    assert_eq!(cql_type.to_string(), "map<int, frozen<person>>");
    let CqlType::Map(_, person) = cql_type else { panic!("a map") };
    let CqlType::Udt(person) = *person else { panic!("a user type") };
    assert_eq!(person.fields[0].1.to_string(), "\"My \"\"Type\"");
    assert_eq!(types.get("My \"Type").expect("known").fields[1], ("$".to_owned(), CqlType::Int));
}

#[test]
fn what_is_not_known_is_refused_by_name() {
    assert!(refused("'org.apache.cassandra.db.marshal.DynamicCompositeType(s=>x)'").contains("DynamicCompositeType"));
    assert!(refused("'com.example.Money'").contains("'com.example.Money' is a custom type"));
    assert!(refused("frozen<list<address>>").contains("\"address\""));
    assert!(refused("empty").contains("\"empty\""));
    for text in
        ["", "list<", "list<int", "list<int>>", "map<int>", "vector<int>", "vector<int, 0>", "vector<int, 99999>"]
    {
        assert!(refused(text).contains("can't be understood"), "{text}");
    }
    for text in ["\"open", "'", "tuple<>", "int int", "frozen<>", "list<int;>", "größe"] {
        refused(text);
    }
}

#[test]
fn nesting_is_bounded() {
    let nested = |levels: usize| format!("{}int{}", "list<".repeat(levels), ">".repeat(levels));
    parsed(&nested(TYPE_NESTING_MAX - 1));
    assert!(refused(&nested(TYPE_NESTING_MAX)).contains("deeper than 64"));
    refused(&nested(100_000));
    refused(&"frozen<".repeat(100_000));
}

#[test]
fn user_types_that_hold_each_other_or_nest_too_deep_are_refused() {
    let rings = [user_type("a", &[("b", "frozen<b>")]), user_type("b", &[("a", "list<frozen<a>>")])];
    assert!(UserTypes::from_message(&rings).expect_err("a ring").to_string().contains("holds itself"));
    // Each type holds the next twice: walked naively that is 2^n steps.
    let chain = |links: usize| -> Vec<_> {
        (0..links)
            .map(|i| {
                let next = if i + 1 == links { "int".to_owned() } else { format!("frozen<t{}>", i + 1) };
                user_type(&format!("t{i}"), &[("a", &next), ("b", &next)])
            })
            .collect()
    };
    UserTypes::from_message(&chain(TYPE_NESTING_MAX / 2)).expect("deep but allowed");
    let mut reversed = chain(5_000);
    UserTypes::from_message(&reversed).expect_err("too deep");
    reversed.reverse();
    UserTypes::from_message(&reversed).expect_err("too deep from the innermost on");
}
