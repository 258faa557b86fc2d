//! A whole line: the time and the origin of a record, then its fields.

use super::{
    fields::Record,
    format::{Journal, Json},
    timestamp::Timestamp,
};
use crate::journal;
use spooky_config::{AccessField, LogFormat};
use std::time::Duration;

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineFormat {
    /// For people or programs, ended by a newline.
    Text(LogFormat),
    /// An entry of the journal, ended by an empty line. Its message is the text without the time.
    Journal(LogFormat),
}

/// The time of a line.
pub(super) struct Time<'a> {
    pub(super) timestamp: &'a mut Timestamp,
    /// Counted from 1970.
    pub(super) unix: Duration,
}

impl LineFormat {
    pub(super) fn write<R: Record>(self, out: &mut Vec<u8>, record: &R, fields: &[AccessField], time: &mut Time<'_>) {
        match self {
            Self::Text(LogFormat::Plain) => {
                time.timestamp.write(out, time.unix);
                out.extend_from_slice(b"  INFO ");
                out.extend_from_slice(R::TARGET.as_bytes());
                out.push(b':');
                record.write_plain(out, fields);
            }
            Self::Text(LogFormat::Json) => write_json(out, record, fields, time),
            Self::Journal(message) => {
                journal::begin_entry(out, R::TARGET, tracing::Level::INFO);
                out.extend_from_slice(b"MESSAGE=");
                match message {
                    LogFormat::Plain => {
                        let start = out.len();
                        record.write_plain(out, fields);
                        out.remove(start); // the space before the first field
                    }
                    LogFormat::Json => write_json(out, record, fields, time),
                }
                out.push(b'\n');
                record.write::<Journal>(out, fields);
            }
        }
        out.push(b'\n');
    }
}

fn write_json<R: Record>(out: &mut Vec<u8>, record: &R, fields: &[AccessField], time: &mut Time<'_>) {
    out.extend_from_slice(b"{\"ts\":\"");
    time.timestamp.write(out, time.unix);
    out.extend_from_slice(b"\",\"level\":\"info\",\"target\":\"");
    out.extend_from_slice(R::TARGET.as_bytes());
    out.extend_from_slice(b"\",\"msg\":\"");
    out.extend_from_slice(R::MESSAGE.as_bytes());
    out.push(b'"');
    record.write::<Json>(out, fields);
    out.push(b'}');
}
