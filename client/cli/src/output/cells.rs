//! Row lines (archive/FORMAT.md) taken apart for people, and put into JSON lines, always as text: nothing is parsed into
//! numbers and written anew, so what is shown is what stands there.

/// A row line: its columns and what is known of their times.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    columns: Vec<(&'a str, &'a str)>,
    shared: Option<(&'a str, Option<&'a str>)>,
    own: Vec<(&'a str, &'a str)>,
}

impl<'a> Row<'a> {
    /// Takes a line apart. One that is no row line gives what can be read of it.
    pub(crate) fn of(line: &'a str) -> Self {
        let mut row = Self { columns: Vec::new(), shared: None, own: Vec::new() };
        for (name, value) in members(line) {
            if name == "\"$\"" {
                row.read_times(value);
            } else {
                row.columns.push((name, value));
            }
        }
        row
    }

    fn read_times(&mut self, times: &'a str) {
        let times = members(times);
        let find = |name: &str| times.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        self.shared = find("\"w\"").map(|written| (written, find("\"x\"")));
        self.own = find("\"c\"").map(members).unwrap_or_default();
    }

    /// A column's JSON, as it stands in the line; nothing for null.
    pub(crate) fn value(&self, column: &str) -> Option<&'a str> {
        let name = quoted(column);
        self.columns.iter().find(|(key, _)| *key == name).map(|(_, value)| *value)
    }

    /// A column's times, for people; empty where none are known.
    pub(crate) fn times(&self, column: &str) -> String {
        let name = quoted(column);
        if let Some((_, entry)) = self.own.iter().find(|(key, _)| *key == name) {
            let entry = members(entry);
            let find = |name: &str| entry.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
            return match find("\"e\"") {
                Some(elements) => format!("written and expiring by element {elements}"),
                None => times(find("\"w\""), find("\"x\"")),
            };
        }
        match self.shared {
            Some((written, expiry)) => times(Some(written), expiry),
            None => String::new(),
        }
    }

    /// The primary key: the columns of these names that the line has, as an object.
    pub(crate) fn key(&self, names: &[String]) -> String {
        let parts = names.iter().filter_map(|name| Some(format!("{}:{}", quoted(name), self.value(name)?)));
        format!("{{{}}}", parts.collect::<Vec<_>>().join(","))
    }
}

fn times(written: Option<&str>, expiry: Option<&str>) -> String {
    let written = match written {
        None | Some("null") => "written at an unknown time".to_owned(),
        Some(written) => format!("written {written}"),
    };
    match expiry {
        None => written,
        Some(expiry) => format!("{written}, expires {expiry}"),
    }
}

/// A column's name as a key of a row line.
fn quoted(column: &str) -> String {
    let name = if column.starts_with('$') { format!("${column}") } else { column.to_owned() };
    serde_json::Value::String(name).to_string()
}

/// The members of a JSON object, keys with their quotes, in order; both as they stand there.
fn members(object: &str) -> Vec<(&str, &str)> {
    let inner = object.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default();
    let (mut found, mut start, mut colon, mut depth) = (Vec::new(), 0, None, 0_u32);
    let (mut in_text, mut escaped) = (false, false);
    for (at, byte) in inner.bytes().chain([b',']).enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b':' if depth == 0 && colon.is_none() => colon = Some(at),
            b',' if depth == 0 => {
                if let Some(colon) = colon.take() {
                    found.push((inner[start..colon].trim(), inner[colon + 1..at].trim()));
                }
                start = at + 1;
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"pk":1,"c}k":"a,\"b:","v":2.50,"m":{"x":[1,{"y":2}]},"$$":"0x","$":{"w":17,"x":99,"c":{"v":{"w":18},"m":{"e":[[1],[2,3]]}}}}"#;

    #[test]
    fn a_line_is_taken_apart_as_it_stands() {
        let row = Row::of(LINE);
        assert_eq!(row.value("v"), Some("2.50"));
        assert_eq!(row.value("m"), Some(r#"{"x":[1,{"y":2}]}"#));
        assert_eq!(row.value("$"), Some("\"0x\""));
        assert_eq!(row.value("absent"), None);
        assert_eq!(row.key(&["pk".into(), "c}k".into(), "none".into()]), r#"{"pk":1,"c}k":"a,\"b:"}"#);
    }

    #[test]
    fn a_cell_has_its_own_times_or_the_shared_ones() {
        let row = Row::of(LINE);
        assert_eq!(row.times("v"), "written 18");
        assert_eq!(row.times("$"), "written 17, expires 99");
        assert_eq!(row.times("m"), "written and expiring by element [[1],[2,3]]");
        assert_eq!(Row::of(r#"{"pk":1}"#).times("v"), "");
        assert_eq!(Row::of(r#"{"pk":1,"$":{"w":null,"x":5}}"#).times("v"), "written at an unknown time, expires 5");
    }

    #[test]
    fn what_is_no_line_does_no_harm() {
        for text in ["", "{", "}", "{}", "[1,2]", "{\"a\"", "{\"a\":", "{,,}", "{\"a\\", "ä{ö:ü}"] {
            let _ = Row::of(text).key(&["a".to_owned()]);
        }
    }
}
