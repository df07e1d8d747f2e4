//! From the bytes of a request to text.

use crate::answer::Problem;
use flate2::read::MultiGzDecoder;
use http::{HeaderMap, header};
use std::{borrow::Cow, io::Read};

/// Refuses what is too large before anything is done with it. Compressed text is never larger than what it stands for
/// but for a few bytes, so that the same limit serves.
pub fn check_size(body: &[u8], max: usize) -> Result<(), Problem> {
    if body.len() > max { Err(too_large(max)) } else { Ok(()) }
}

fn too_large(max: usize) -> Problem {
    Problem::too_large(format!("the body must be at most {max} bytes"))
}

/// The text of a body of at most `max` bytes, decompressed where the headers say so. The content type is not asked:
/// browsers send `text/plain` to be spared a preflight.
pub fn text<'a>(headers: &HeaderMap, body: &'a [u8], max: usize) -> Result<Cow<'a, str>, Problem> {
    let encoding = headers.get(header::CONTENT_ENCODING).map(|value| value.as_bytes().trim_ascii().to_ascii_lowercase());
    match encoding.as_deref() {
        None | Some(b"" | b"identity") => Ok(Cow::Borrowed(std::str::from_utf8(body).map_err(not_text)?)),
        Some(b"gzip" | b"x-gzip") => {
            let text = String::from_utf8(inflate(body, max)?).map_err(|error| not_text(error.utf8_error()))?;
            Ok(Cow::Owned(text))
        }
        Some(_) => Err(Problem::malformed("the content encoding must be gzip, or none")),
    }
}

fn inflate(body: &[u8], max: usize) -> Result<Vec<u8>, Problem> {
    let mut inflated = Vec::with_capacity(body.len().saturating_mul(4).min(max));
    // One byte more than is allowed tells a body that is too large from one that just fits, whatever it would inflate to.
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    match MultiGzDecoder::new(body).take(limit).read_to_end(&mut inflated) {
        Ok(_) if inflated.len() > max => Err(too_large(max)),
        Ok(_) => Ok(inflated),
        Err(_) => Err(Problem::malformed("the gzip body is damaged or cut short")),
    }
}

fn not_text(error: std::str::Utf8Error) -> Problem {
    Problem::malformed(format!("the body must be UTF-8: it goes wrong after {} bytes", error.valid_up_to()))
}
