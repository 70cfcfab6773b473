//! What servers describe in a way that they would not read back, said right. Seen in Cassandra 4.0 to 5.0.6: a function body that
//! holds `$$` or ends with `$` between `$$`, and the unquoted mixed-case name of a masking function.

use ringvault_archive::schema::{SchemaKind, SchemaObject};

use super::{
    Result, generate,
    lex::{self, Kind},
    model::KeyspaceModel,
    rename::Edits,
    statement::Statement,
};

/// The object as the server reads it back.
///
/// # Errors
/// `Invalid` where its statement can't be read.
pub fn repaired(object: SchemaObject, model: &KeyspaceModel) -> Result<SchemaObject> {
    let cql = match object.kind {
        SchemaKind::Function => function(&object, model)?,
        SchemaKind::Table => masks(&object.cql),
        SchemaKind::Keyspace
        | SchemaKind::Type
        | SchemaKind::Aggregate
        | SchemaKind::Index
        | SchemaKind::View
        | SchemaKind::Trigger
        | SchemaKind::Role
        | SchemaKind::Membership
        | SchemaKind::Grant => None,
    };
    Ok(match cql {
        None => object,
        Some(cql) => SchemaObject { cql, ..object },
    })
}

/// Written anew where the statement doesn't end with the body that the server keeps.
fn function(object: &SchemaObject, model: &KeyspaceModel) -> Result<Option<String>> {
    let mut named = model.functions.iter().filter(|f| generate::is_signature(&object.name, &f.name, &f.argument_types));
    let Some(function) = named.next() else { return Ok(None) };
    let statement = Statement::parse(&object.cql)?;
    let tokens = statement.tokens();
    let at = tokens.iter().position(|token| token.kind == Kind::Text);
    let says_it = at.is_some_and(|at| at + 1 == tokens.len() && tokens[at].value() == function.body);
    Ok((!says_it).then(|| generate::create_function(&model.name, function)))
}

/// `MASKED WITH Shop.Mask(…)`: names as they are, in quotes where they need them.
fn masks(cql: &str) -> Option<String> {
    let tokens = lex::tokens(cql);
    let mut edits = Edits::default();
    for part in tokens.windows(5) {
        let is_mask = part[0].is_word("masked") && part[1].is_word("with") && part[3].is_symbol('.');
        for name in [&part[2], &part[4]] {
            if is_mask && name.kind == Kind::Word {
                edits.put(name, name.text);
            }
        }
    }
    let repaired = edits.applied(cql);
    (repaired != cql).then_some(repaired)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::model::FunctionModel;

    fn repair(kind: SchemaKind, name: &str, cql: &str, body: &str) -> String {
        let function = FunctionModel {
            name: "plus".into(),
            argument_names: vec!["s".into()],
            argument_types: vec!["int".into()],
            body: body.into(),
            called_on_null_input: true,
            language: "java".into(),
            return_type: "int".into(),
        };
        let model = KeyspaceModel { name: "Shop".into(), functions: vec![function], ..KeyspaceModel::default() };
        let object = SchemaObject { kind, keyspace: "Shop".into(), name: name.into(), table: None, cql: cql.into() };
        repaired(object, &model).expect("fine").cql
    }

    #[test]
    fn a_body_that_dollars_would_cut_is_written_in_quotes() {
        let described = |body: &str| {
            format!(
                "CREATE FUNCTION \"Shop\".plus(s int)\n    CALLED ON NULL INPUT\n    RETURNS int\n    LANGUAGE java\n    AS $${body}$$"
            )
        };
        for body in ["return s; // $", "return \"$$\".length();", "return 1; $$; DROP TABLE x; $$"] {
            let repaired = repair(SchemaKind::Function, "plus(int)", &described(body), body);
            let tokens = lex::tokens(&repaired);
            assert_eq!(tokens.last().expect("a body").value(), body);
        }
        let fine = described("return s; // it's");
        assert_eq!(repair(SchemaKind::Function, "plus(int)", &fine, "return s; // it's"), fine);
    }

    #[test]
    fn the_name_of_a_masking_function_keeps_its_case() {
        let cql = "CREATE TABLE \"Shop\".t (k int PRIMARY KEY, v text MASKED WITH Shop.Mask('Shop.x'), w text MASKED WITH system.mask_default())";
        assert_eq!(
            repair(SchemaKind::Table, "t", cql, ""),
            "CREATE TABLE \"Shop\".t (k int PRIMARY KEY, v text MASKED WITH \"Shop\".\"Mask\"('Shop.x'), w text MASKED WITH system.mask_default())"
        );
    }
}
