//! Log lines as JSON objects.

use serde_json::{Map, Value};
use std::fmt;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

/// Formats one line: `ts` (RFC 3339, microseconds), `level`, `target`, `msg`, then the fields of the event by their names.
pub(crate) struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut ts = String::new();
        SystemTime.format_time(&mut Writer::new(&mut ts))?;
        let mut line = Object(Map::new());
        event.record(&mut line);
        line.put("ts", ts.into());
        line.put("level", level(*event.metadata().level()).into());
        line.put("target", event.metadata().target().into());
        writeln!(writer, "{}", Value::Object(line.0))
    }
}

fn level(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

struct Object(Map<String, Value>);

impl Object {
    fn put(&mut self, name: &str, value: Value) {
        let name = if name == "message" { "msg" } else { name };
        self.0.insert(name.to_owned(), value);
    }
}

impl Visit for Object {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field.name(), format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_an_object_with_the_fields_in_their_types() {
        let lines = Lines::default();
        let sink = lines.clone();
        let subscriber = tracing_subscriber::fmt().event_format(JsonLines).with_writer(move || sink.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(target: "part", count = 3_u64, is_on = true, name = "a\"b", "Two\nlines of {}", "text");
        });
        let written = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(written.matches('\n').count(), 1, "one line: {written}");
        let line: Map<String, Value> = serde_json::from_str(&written).unwrap();
        let expected = serde_json::json!({
            "ts": line["ts"], "level": "warn", "target": "part", "msg": "Two\nlines of text",
            "count": 3, "is_on": true, "name": "a\"b",
        });
        assert_eq!(Value::Object(line.clone()), expected);
        let ts = line["ts"].as_str().unwrap();
        assert!(ts.len() == "2026-01-01T00:00:00.000000Z".len() && ts.ends_with('Z'), "{ts}");
    }
}
