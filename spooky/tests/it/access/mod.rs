//! The access log: one line for every request, whatever its end (docs/reference/logs.md#the-access-log).

mod connections;
mod destinations;
mod ends;
mod qlog;

use crate::proxy::Proxy;
use std::collections::HashMap;

/// The fields of a plain line by name.
struct Line(HashMap<String, String>);

impl Line {
    fn parse(line: &str) -> Self {
        let (_, fields) = line.split_once(" INFO access: ").expect("the beginning of a line");
        let fields = fields.split(' ').map(|field| field.split_once('=').expect("a name and a value"));
        Self(fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    fn field(&self, name: &str) -> &str {
        self.0.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.0))
    }

    /// Checks fields, given as `name=value` with spaces between them.
    fn check(&self, expected: &str) {
        for field in expected.split(' ') {
            let (name, value) = field.split_once('=').unwrap();
            assert_eq!(self.field(name), value, "{name} in {:?}", self.0);
        }
    }

    fn millis(&self, name: &str) -> f64 {
        let value = self.field(name);
        assert_eq!(value.split_once('.').map(|(_, decimals)| decimals.len()), Some(3), "{name}={value}");
        value.parse().unwrap()
    }
}

/// Waits for this many lines, and returns all of them.
async fn lines(proxy: &mut Proxy, count: usize) -> Vec<Line> {
    let lines = proxy.program.access_log(count).await;
    assert_eq!(lines.len(), count, "{lines:#?}");
    lines.iter().map(|line| Line::parse(line)).collect()
}

/// Waits for a single line.
async fn line(proxy: &mut Proxy) -> Line {
    lines(proxy, 1).await.remove(0)
}
