//! Writes the samples of a family in the Prometheus text format or as OpenMetrics.

use super::{
    definitions::{Definition, Kind},
    sample::{Sample, Syntax, Value},
};
use std::fmt::Write as _;

/// Appends a family under `name`, which is one of its names.
pub(super) fn write_family(out: &mut String, name: &str, definition: &Definition, samples: &[Sample], syntax: Syntax) {
    let family = match syntax {
        Syntax::OpenMetrics if definition.kind == Kind::Counter => name.strip_suffix("_total").unwrap_or(name),
        _ => name,
    };
    // Writing to a string cannot fail.
    let _ = writeln!(out, "# HELP {family} {}\n# TYPE {family} {}", definition.help, definition.kind.name());
    for Sample { labels, value } in samples {
        let labels = labels_of(definition, labels);
        let braced = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let _ = match value {
            Value::Integer(value) => writeln!(out, "{name}{braced} {value}"),
            Value::Float(value) => writeln!(out, "{name}{braced} {value}"),
            Value::Histogram(sum) => {
                let separator = if labels.is_empty() { "" } else { "," };
                for (bound, count) in sum.classic.cumulated() {
                    let _ = writeln!(out, "{name}_bucket{{{labels}{separator}le=\"{bound}\"}} {count}");
                }
                let _ = writeln!(out, "{name}_sum{braced} {}", sum.classic.sum().as_secs_f64());
                writeln!(out, "{name}_count{braced} {}", sum.classic.count())
            }
        };
    }
}

/// Returns labels as `name="value",...`.
fn labels_of(definition: &Definition, values: &[String]) -> String {
    let mut text = String::new();
    for (name, value) in definition.labels.iter().zip(values) {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(name);
        text.push_str("=\"");
        for character in value.chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                other => text.push(other),
            }
        }
        text.push('"');
    }
    text
}
