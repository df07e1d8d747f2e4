//! How a parcel's JSON is packed: compressed against a dictionary of what client libraries add to every event, because most
//! parcels are too short to repeat themselves.

use std::{cell::RefCell, io, sync::LazyLock};
use zstd::{
    bulk::{Compressor, Decompressor},
    dict::{DecoderDictionary, EncoderDictionary},
};

/// A parcel that unpacks to more than this was not written by us.
const MAX_UNPACKED: usize = 16 * 1024 * 1024;
/// Slower levels save less than they cost.
const LEVEL: i32 = 6;

/// The text against which parcels are compressed. What was stored with it can only be read with it: a better one is a second file
/// under the next number.
static DICTIONARY: &[u8] = include_bytes!("../data/parcel-dictionary-1.txt");
/// Bytes before the frame: the number, and the length of what was packed.
const HEAD: usize = 5;
/// The first byte of a parcel that was packed with [`DICTIONARY`]. A plain zstd frame begins with another.
const NUMBER: u8 = 1;
/// The first byte of a parcel that is not compressed.
const PLAIN: u8 = 0;

static FOR_PACKING: LazyLock<EncoderDictionary<'static>> = LazyLock::new(|| EncoderDictionary::copy(DICTIONARY, LEVEL));
static FOR_UNPACKING: LazyLock<DecoderDictionary<'static>> = LazyLock::new(|| DecoderDictionary::copy(DICTIONARY));

thread_local! {
    // Making a compressor clears some hundred kilobytes, which is more work than packing a parcel.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Packs bytes.
pub fn pack(plain: &[u8]) -> io::Result<Vec<u8>> {
    COMPRESSOR.with_borrow_mut(|kept| {
        let compressor = match kept {
            Some(compressor) => compressor,
            None => kept.insert(new_compressor()?),
        };
        let length = u32::try_from(plain.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut packed = vec![0; zstd::zstd_safe::compress_bound(plain.len()) + HEAD];
        let (head, frame) = packed.split_first_chunk_mut::<HEAD>().ok_or(io::ErrorKind::InvalidInput)?;
        let [number, bytes @ ..] = head;
        (*number, *bytes) = (NUMBER, length.to_le_bytes());
        let length = compressor.compress_to_buffer(plain, frame)?;
        packed.truncate(length + HEAD);
        Ok(packed)
    })
}

fn new_compressor() -> io::Result<Compressor<'static>> {
    let mut compressor = Compressor::with_prepared_dictionary(&FOR_PACKING)?;
    // The length stands before the frame; the magic number is the same in every parcel.
    compressor.include_contentsize(false)?;
    compressor.include_magicbytes(false)?;
    compressor.include_dictid(false)?;
    Ok(compressor)
}

/// Puts bytes into the form of a pack without compressing them.
pub fn unpacked(plain: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(plain.len() + 1);
    bytes.push(PLAIN);
    bytes.extend_from_slice(plain);
    bytes
}

/// Unpacks what [`pack`] or [`unpacked`] made.
pub fn unpack(packed: &[u8]) -> io::Result<Vec<u8>> {
    let unknown = || io::Error::new(io::ErrorKind::InvalidData, "packed in a form that this build does not know");
    if let Some((&PLAIN, plain)) = packed.split_first() {
        return Ok(plain.to_vec());
    }
    let ([NUMBER, length @ ..], frame) = packed.split_first_chunk::<HEAD>().ok_or_else(unknown)? else {
        return Err(unknown());
    };
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    if length > MAX_UNPACKED {
        return Err(unknown());
    }
    DECOMPRESSOR.with_borrow_mut(|kept| {
        let decompressor = match kept {
            Some(decompressor) => decompressor,
            None => {
                let mut made = Decompressor::with_prepared_dictionary(&FOR_UNPACKING)?;
                made.include_magicbytes(false)?;
                kept.insert(made)
            }
        };
        decompressor.decompress(frame, length)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn damaged_bytes_are_an_error() {
        for bytes in [&b""[..], b"\x01", b"\x02abc", b"\x01abcdefgh", b"\x28\xb5\x2f\xfd"] {
            assert!(unpack(bytes).is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_back(plain in proptest::collection::vec(any::<u8>(), 0..4_000), repeats in 1_usize..50) {
            let plain = plain.repeat(repeats);
            prop_assert_eq!(&unpack(&unpacked(&plain)).unwrap(), &plain);
            prop_assert_eq!(unpack(&pack(&plain).unwrap()).unwrap(), plain);
        }
    }
}
