//! Compressed bodies to plain ones.
//!
//! Pure, and bounded whatever the bytes say: output is asked for before it is made, and a window
//! that a frame claims to need is looked at first.

use std::io::{ErrorKind, Read};

use brotli_decompressor::Decompressor;
use bytes::Bytes;
use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use crate::limits;

/// How a body is compressed, as `content-encoding` says (RFC 9110, section 8.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
    Identity,
    /// RFC 1952; several members follow one another.
    Gzip,
    /// RFC 8878, with the windows that RFC 9659 allows.
    Zstd,
    /// RFC 1950; some senders leave its frame away and send RFC 1951.
    Deflate,
    /// RFC 7932.
    Brotli,
}

/// Why a body was not unpacked.
#[derive(Debug)]
pub enum UnpackError<E> {
    /// The body is not what its encoding says, or is not all there.
    Broken(std::io::Error),
    /// It has more plain bytes than it may have.
    TooLarge,
    /// There is no room for more of it.
    Refused(E),
}

impl Encoding {
    /// The encoding of a name, in lower case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "identity" | "" => Some(Self::Identity),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "zstd" => Some(Self::Zstd),
            "deflate" => Some(Self::Deflate),
            "br" => Some(Self::Brotli),
            _ => None,
        }
    }

    /// The plain bytes, at most `max` of a compressed body. `make_room` is asked before they take
    /// more memory, with all the bytes that they may take then.
    ///
    /// # Errors
    /// [`UnpackError`]: the bytes are wrong or too many, or `make_room` said no.
    pub fn unpack<E>(
        self,
        body: Bytes,
        max: usize,
        make_room: impl FnMut(usize) -> Result<(), E>,
    ) -> Result<Bytes, UnpackError<E>> {
        let first = (body.len() * limits::UNPACKED_TIMES).max(limits::UNPACK_BYTES_MIN);
        match self {
            Self::Identity => Ok(body),
            Self::Gzip => read(MultiGzDecoder::new(&*body), first, max, make_room),
            Self::Zstd => {
                let decoder = zstd::Decoder::with_buffer(&*body).and_then(|mut decoder| {
                    decoder.window_log_max(limits::UNPACK_WINDOW_LOG_MAX).map(|()| decoder)
                });
                read(decoder.map_err(UnpackError::Broken)?, first, max, make_room)
            }
            Self::Deflate if has_zlib_header(&body) => {
                let mut decoder = ZlibDecoder::new(&*body);
                let plain = read(&mut decoder, first, max, make_room)?;
                all_of_it(decoder.into_inner()).map(|()| plain)
            }
            Self::Deflate => {
                let mut decoder = DeflateDecoder::new(&*body);
                let plain = read(&mut decoder, first, max, make_room)?;
                all_of_it(decoder.into_inner()).map(|()| plain)
            }
            Self::Brotli => {
                read(Decompressor::new(&*body, BROTLI_BUFFER_BYTES), first, max, make_room)
            }
        }
    }
}

const BROTLI_BUFFER_BYTES: usize = 4 * 1024;

/// Method 8, and a check over the first two bytes (RFC 1950, section 2.2).
fn has_zlib_header(body: &[u8]) -> bool {
    match body {
        [method, flags, ..] => {
            method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]).is_multiple_of(31)
        }
        _ => false,
    }
}

/// What follows the end of the stream would be lost without a word.
fn all_of_it<E>(rest: &[u8]) -> Result<(), UnpackError<E>> {
    if rest.is_empty() {
        return Ok(());
    }
    let error = std::io::Error::other("there is more behind the end of the stream");
    Err(UnpackError::Broken(error))
}

fn read<E>(
    mut decoder: impl Read,
    first: usize,
    max: usize,
    mut make_room: impl FnMut(usize) -> Result<(), E>,
) -> Result<Bytes, UnpackError<E>> {
    let mut plain = Vec::new();
    let mut filled = 0;
    // One byte more than may be there tells the end from too much.
    while filled <= max {
        if filled == plain.len() {
            let room = (filled * 2).max(first).min(max + 1);
            make_room(room).map_err(UnpackError::Refused)?;
            plain.reserve_exact(room - filled);
            plain.resize(room, 0);
        }
        match decoder.read(&mut plain[filled..]) {
            Ok(0) => {
                plain.truncate(filled);
                // What is left over would be held, uncounted, as long as the batch.
                plain.shrink_to_fit();
                return Ok(plain.into());
            }
            Ok(bytes) => filled += bytes,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(UnpackError::Broken(error)),
        }
    }
    Err(UnpackError::TooLarge)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(plain).expect("into memory");
        encoder.finish().expect("into memory")
    }

    fn zstd(plain: &[u8]) -> Vec<u8> {
        zstd::encode_all(plain, 1).expect("into memory")
    }

    fn unpack(encoding: Encoding, body: &[u8], max: usize) -> Result<Bytes, String> {
        let all = |_| Ok::<_, Infallible>(());
        encoding.unpack(body.to_vec().into(), max, all).map_err(|error| match error {
            UnpackError::Broken(error) => error.to_string(),
            UnpackError::TooLarge => "too large".into(),
            UnpackError::Refused(never) => match never {},
        })
    }

    #[test]
    fn what_was_packed_comes_out() {
        for length in [0, 1, 4_095, 4_096, 4_097, 300_000] {
            let plain: Vec<u8> =
                (0..length).map(|n: u32| n.wrapping_pow(2).to_be_bytes()[1]).collect();
            for (encoding, packed) in [
                (Encoding::Identity, plain.clone()),
                (Encoding::Gzip, gzip(&plain)),
                (Encoding::Zstd, zstd(&plain)),
            ] {
                assert_eq!(unpack(encoding, &packed, plain.len()), Ok(plain.clone().into()));
            }
        }
    }

    #[test]
    fn parts_follow_one_another() {
        let both = |pack: fn(&[u8]) -> Vec<u8>| [pack(b"[1,"), pack(b"2]")].concat();
        assert_eq!(unpack(Encoding::Gzip, &both(gzip), 9), Ok("[1,2]".into()));
        assert_eq!(unpack(Encoding::Zstd, &both(zstd), 9), Ok("[1,2]".into()));
    }

    /// L1: not a byte more than the limit, and no memory beyond it.
    #[test]
    fn a_bomb_ends_at_the_limit() {
        let bomb = vec![0; 100 << 20];
        for (encoding, packed) in [(Encoding::Gzip, gzip(&bomb)), (Encoding::Zstd, zstd(&bomb))] {
            let mut most = 0;
            let watch = |room: usize| {
                most = most.max(room);
                Ok::<_, Infallible>(())
            };
            let refused = encoding.unpack(packed.into(), 1 << 20, watch);
            assert!(matches!(refused, Err(UnpackError::TooLarge)), "{encoding:?}");
            assert_eq!(most, (1 << 20) + 1);
        }
        assert_eq!(unpack(Encoding::Gzip, &gzip(b"12345"), 5), Ok("12345".into()));
        assert_eq!(unpack(Encoding::Gzip, &gzip(b"123456"), 5), Err("too large".into()));
    }

    #[test]
    fn no_room_is_an_answer() {
        let room = |bytes| if bytes > 10_000 { Err("full") } else { Ok(()) };
        let refused = Encoding::Zstd.unpack(zstd(&vec![b' '; 20_000]).into(), 1 << 20, room);
        assert!(matches!(refused, Err(UnpackError::Refused("full"))));
    }

    #[test]
    fn what_is_cut_off_or_followed_by_something_else_is_refused() {
        for (encoding, packed) in
            [(Encoding::Gzip, gzip(b"[1,2,3]")), (Encoding::Zstd, zstd(b"[1,2,3]"))]
        {
            for end in 1..packed.len() {
                assert!(unpack(encoding, &packed[..end], 99).is_err(), "{encoding:?} to {end}");
            }
            assert!(unpack(encoding, &[&packed[..], b"x"].concat(), 99).is_err(), "{encoding:?}");
            assert!(unpack(encoding, b"[1,2,3]", 99).is_err(), "{encoding:?}");
        }
    }

    /// L1: a frame that wants a window of 128 MiB does not get it.
    #[test]
    fn large_windows_are_refused() {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("into memory");
        encoder.window_log(27).expect("valid");
        encoder.write_all(b"[]").expect("into memory");
        let packed = encoder.finish().expect("into memory");
        let error = unpack(Encoding::Zstd, &packed, 99).expect_err("too large a window");
        assert!(error.contains("memory"), "{error}");
    }
}
