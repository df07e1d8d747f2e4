//! How a message's body lies in the queue file: a long one is compressed, because what the file takes in costs more than compressing it does.

use rusqlite::{
    Row,
    types::{ToSqlOutput, Value},
};
use std::{cell::RefCell, io};
use zstd::bulk::{Compressor, Decompressor};

/// A body shorter than this, in bytes, is stored as it is.
const LEAST: usize = 512;
/// The fastest level that still finds what the events of a batch share.
const LEVEL: i32 = -3;
/// The most bytes that a stored body unpacks to. Nothing longer is ever sent.
const MOST: usize = 4 * 1024 * 1024;

thread_local! {
    // Making them clears some hundred kilobytes each.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// A body as its two columns hold it, of which one is empty.
#[derive(Debug)]
pub enum Body {
    Plain(String),
    Packed(Vec<u8>),
}

impl Body {
    /// Compresses a body when that is worth it.
    pub fn new(text: String) -> Self {
        if text.len() < LEAST {
            return Self::Plain(text);
        }
        let packed = COMPRESSOR.with_borrow_mut(|kept| {
            let compressor = match kept {
                Some(compressor) => compressor,
                None => kept.insert(Compressor::new(LEVEL)?),
            };
            compressor.compress(text.as_bytes())
        });
        match packed {
            Ok(packed) if packed.len() < text.len() => Self::Packed(packed),
            _ => Self::Plain(text),
        }
    }

    /// The column `body`.
    pub fn plain(&self) -> &str {
        match self {
            Self::Plain(text) => text,
            Self::Packed(_) => "",
        }
    }

    /// The column `packed`.
    pub fn packed(&self) -> ToSqlOutput<'_> {
        match self {
            Self::Plain(_) => ToSqlOutput::Owned(Value::Null),
            Self::Packed(bytes) => ToSqlOutput::from(bytes.as_slice()),
        }
    }
}

/// The body that the two columns at these places hold.
pub fn read(row: &Row<'_>, plain: usize, packed: usize) -> rusqlite::Result<String> {
    let Some(bytes) = row.get_ref(packed)?.as_blob_or_null()? else {
        return row.get(plain);
    };
    let text = DECOMPRESSOR.with_borrow_mut(|kept| {
        let decompressor = match kept {
            Some(decompressor) => decompressor,
            None => kept.insert(Decompressor::new()?),
        };
        let length = Decompressor::upper_bound(bytes).unwrap_or(MOST).min(MOST);
        let plain = decompressor.decompress(bytes, length)?;
        String::from_utf8(plain).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
    });
    text.map_err(|e| rusqlite::Error::FromSqlConversionFailure(packed, rusqlite::types::Type::Blob, Box::new(e)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::{Connection, params};

    fn there_and_back(text: &str) -> String {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE message (body TEXT NOT NULL, packed BLOB) STRICT").unwrap();
        let body = Body::new(text.to_owned());
        connection.execute("INSERT INTO message VALUES (?1, ?2)", params![body.plain(), body.packed()]).unwrap();
        connection.query_row("SELECT body, packed FROM message", [], |row| read(row, 0, 1)).unwrap()
    }

    #[test]
    fn every_body_comes_back_as_it_was_sent() {
        let long = r#"{"type":"track","event":"Plan Compared","userId":"u-1"},"#.repeat(200);
        for text in ["", "short", "ü", &long, &"ü".repeat(256), &"x".repeat(1_000_000)] {
            assert_eq!(there_and_back(text), text);
        }
    }

    #[test]
    fn what_repeats_itself_takes_little_and_what_is_short_is_readable_in_the_file() {
        let long = r#"{"type":"track","event":"Plan Compared","userId":"u-1"},"#.repeat(200);
        let Body::Packed(packed) = Body::new(long.clone()) else { panic!("it is stored as it is") };
        assert!(packed.len() * 10 < long.len(), "{} of {} bytes", packed.len(), long.len());
        assert!(matches!(Body::new("short".to_owned()), Body::Plain(text) if text == "short"));
    }

    #[test]
    fn damaged_bytes_are_an_error() {
        let connection = Connection::open_in_memory().unwrap();
        let read = connection.query_row("SELECT '', x'28b52ffd00'", [], |row| read(row, 0, 1));
        assert!(read.is_err());
    }
}
