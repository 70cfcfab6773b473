//! The part of [`super::every_type`] about time: writetimes and expiries that differ between rows, cells and elements.

use anyhow::Result;

use super::every_type::Maker;

/// A day in seconds; all TTLs here are long against a test run.
const DAY: u32 = 86_400;

pub(super) async fn make(maker: &Maker<'_>) -> Result<()> {
    maker
        .ddl(
            "CREATE TABLE KS.times (pk int, ck int, a text, b int, c blob, s text static, m map<text, text>, \
             st set<int>, l list<int>, u address, fl frozen<list<int>>, PRIMARY KEY (pk, ck))",
        )
        .await?;
    maker
        .ddl(&format!(
            "CREATE TABLE KS.default_ttl (pk int PRIMARY KEY, a text, m map<text, int>) WITH default_time_to_live = {}",
            10 * DAY
        ))
        .await?;
    let mut statements = rows();
    statements.extend(defaults());
    for statement in statements {
        let table = if statement.contains("default_ttl") { "default_ttl" } else { "times" };
        let named = statement.replace(&format!("{table} "), &format!("{} ", maker.table(table)));
        maker.cluster.run(&[&named]).await?;
    }
    Ok(())
}

fn rows() -> Vec<String> {
    let mut all: Vec<String> = vec![
        // One time for a whole row; a small one, a negative one, a recent one.
        "INSERT INTO times (pk, ck, a, b) VALUES (1, 1, 'one', 1) USING TIMESTAMP 1000".into(),
        "INSERT INTO times (pk, ck, a, b) VALUES (1, 2, 'negative', 1) USING TIMESTAMP -5".into(),
        "INSERT INTO times (pk, ck, a, b) VALUES (1, 3, 'now', 1)".into(),
        // Every cell of a row at another time, with another expiry, one without.
        "INSERT INTO times (pk, ck, a) VALUES (2, 1, 'first') USING TIMESTAMP 1000".into(),
        format!("UPDATE times USING TIMESTAMP 2000 AND TTL {DAY} SET b = 2 WHERE pk = 2 AND ck = 1"),
        format!("UPDATE times USING TIMESTAMP 3000 AND TTL {} SET c = 0x03 WHERE pk = 2 AND ck = 1", 2 * DAY),
        "UPDATE times USING TIMESTAMP 4000 SET fl = [1, 2] WHERE pk = 2 AND ck = 1".into(),
        // A row without a row marker.
        "UPDATE times USING TIMESTAMP 1000 SET a = 'no marker' WHERE pk = 3 AND ck = 1".into(),
        format!("UPDATE times USING TTL {DAY} SET a = 'no marker, expires' WHERE pk = 3 AND ck = 2"),
        // Elements at other times than their collection, older ones below an assignment's deletion, some deleted.
        "INSERT INTO times (pk, ck, m, st) VALUES (4, 1, {'a': '1', 'b': '2'}, {1, 2}) USING TIMESTAMP 1000".into(),
        "UPDATE times USING TIMESTAMP 2000 SET m['c'] = '3', st = st + {3} WHERE pk = 4 AND ck = 1".into(),
        format!("UPDATE times USING TIMESTAMP 3000 AND TTL {DAY} SET m['a'] = 'expires' WHERE pk = 4 AND ck = 1"),
        "DELETE m['b'] FROM times USING TIMESTAMP 4000 WHERE pk = 4 AND ck = 1".into(),
        "UPDATE times USING TIMESTAMP 100 SET m['x'] = 'added only' WHERE pk = 4 AND ck = 2".into(),
        "UPDATE times USING TIMESTAMP 200 SET m['y'] = 'added only' WHERE pk = 4 AND ck = 2".into(),
        format!("UPDATE times USING TIMESTAMP 100 AND TTL {DAY} SET st = st + {{9}} WHERE pk = 4 AND ck = 2"),
        // Lists: assigned, appended later, prepended.
        "INSERT INTO times (pk, ck, l) VALUES (5, 1, [1, 2, 3]) USING TIMESTAMP 1000".into(),
        "INSERT INTO times (pk, ck, l) VALUES (5, 2, [1, 1, 2]) USING TIMESTAMP 1000".into(),
        "UPDATE times USING TIMESTAMP 2000 SET l = l + [3] WHERE pk = 5 AND ck = 2".into(),
        "UPDATE times USING TIMESTAMP 3000 SET l = [0] + l WHERE pk = 5 AND ck = 2".into(),
        format!("INSERT INTO times (pk, ck, l) VALUES (5, 3, [7]) USING TIMESTAMP 1000 AND TTL {DAY}"),
        // Fields of a UDT at their own times.
        "UPDATE times USING TIMESTAMP 1000 SET u = {street: 's', number: 1} WHERE pk = 6 AND ck = 1".into(),
        "UPDATE times USING TIMESTAMP 2000 SET u.number = 2 WHERE pk = 6 AND ck = 1".into(),
        format!("UPDATE times USING TIMESTAMP 3000 AND TTL {DAY} SET u.street = 't' WHERE pk = 6 AND ck = 1"),
        // Statics with a time and an expiry of their own; one in a partition without rows.
        "UPDATE times USING TIMESTAMP 1234 SET s = 'static' WHERE pk = 1".into(),
        format!("UPDATE times USING TIMESTAMP 1234 AND TTL {DAY} SET s = 'alone' WHERE pk = 7"),
        // Deleted and written again below and above the deletion.
        "INSERT INTO times (pk, ck, a) VALUES (8, 1, 'old') USING TIMESTAMP 1000".into(),
        "DELETE FROM times USING TIMESTAMP 2000 WHERE pk = 8 AND ck = 1".into(),
        "INSERT INTO times (pk, ck, b) VALUES (8, 1, 5) USING TIMESTAMP 3000".into(),
        "INSERT INTO times (pk, ck, a) VALUES (8, 1, 'hidden') USING TIMESTAMP 1500".into(),
    ];
    for ck in 0..200 {
        let ttl = DAY + 60 * ck;
        all.push(format!("INSERT INTO times (pk, ck, a, b) VALUES (9, {ck}, 'ttl', {ck}) USING TTL {ttl}"));
    }
    all
}

/// In a table with a default TTL a cell without expiry is the special case.
fn defaults() -> Vec<String> {
    vec![
        "INSERT INTO default_ttl (pk, a, m) VALUES (1, 'default', {'k': 1})".into(),
        "INSERT INTO default_ttl (pk, a, m) VALUES (2, 'for ever', {'k': 1}) USING TTL 0".into(),
        format!("INSERT INTO default_ttl (pk, a) VALUES (3, 'own') USING TTL {DAY}"),
        "UPDATE default_ttl USING TTL 0 SET a = 'mixed' WHERE pk = 4".into(),
        "UPDATE default_ttl SET m = {'k': 2} WHERE pk = 4".into(),
    ]
}
