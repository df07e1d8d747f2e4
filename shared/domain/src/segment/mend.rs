//! Characters that JSON can write and that later readers refuse.

use std::borrow::Cow;

/// Replaces half surrogate pairs (a script that cuts a text in the middle of an emoji writes them) and the two
/// non-characters U+FFFE and U+FFFF (no queue takes them) by U+FFFD. Everything else stays as it is, byte for byte.
///
/// ```
/// assert_eq!(domain::segment::mend(r#"{"title": "fine \ud83d\ude00"}"#), r#"{"title": "fine \ud83d\ude00"}"#);
/// assert_eq!(domain::segment::mend(r#"{"title": "cut \ud83d"}"#), r#"{"title": "cut \ufffd"}"#);
/// ```
pub fn mend(text: &str) -> Cow<'_, str> {
    // One character at a time is searched for much faster than one of several.
    let text = if text.contains('\u{FFFE}') || text.contains('\u{FFFF}') {
        Cow::Owned(text.replace(is_noncharacter, "\u{FFFD}"))
    } else {
        Cow::Borrowed(text)
    };
    let wrong = wrong_escapes(&text);
    if wrong.is_empty() {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for at in wrong {
        out.push_str(text.get(from..at).unwrap_or_default());
        out.push_str("\\ufffd");
        from = at + ESCAPE;
    }
    out.push_str(text.get(from..).unwrap_or_default());
    Cow::Owned(out)
}

/// Bytes of an escape such as `\ud83d`.
const ESCAPE: usize = 6;

fn is_noncharacter(c: char) -> bool {
    matches!(c, '\u{FFFE}' | '\u{FFFF}')
}

/// Where the escapes begin that stand for no character.
fn wrong_escapes(text: &str) -> Vec<usize> {
    let mut wrong = Vec::new();
    let mut at = 0;
    while let Some(found) = text.get(at..).and_then(|rest| rest.find('\\')) {
        at += found;
        match escaped(text, at) {
            Some(0xD800..=0xDBFF) => match escaped(text, at + ESCAPE) {
                Some(0xDC00..=0xDFFF) => at += 2 * ESCAPE,
                _ => {
                    wrong.push(at);
                    at += ESCAPE;
                }
            },
            Some(0xDC00..=0xDFFF | 0xFFFE | 0xFFFF) => {
                wrong.push(at);
                at += ESCAPE;
            }
            Some(_) => at += ESCAPE,
            // Another escape, or a backslash before a character of several bytes, which is no JSON.
            None => {
                at += 2;
                while at < text.len() && !text.is_char_boundary(at) {
                    at += 1;
                }
            }
        }
    }
    wrong
}

/// The number that a `\u` escape at this place writes.
fn escaped(text: &str, at: usize) -> Option<u32> {
    let digits = text.get(at..at + ESCAPE)?.strip_prefix("\\u")?;
    if digits.bytes().all(|b| b.is_ascii_hexdigit()) { u32::from_str_radix(digits, 16).ok() } else { None }
}
