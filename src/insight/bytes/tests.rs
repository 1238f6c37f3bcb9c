//! The form of a summary does not change, and nothing else is taken for one.

use super::*;
use crate::testing::{batch_by, summary};

fn example() -> Summary {
    summary(&batch_by(&[
        (7, "/b", "curl/8.5.0"),
        (5, "/a", "curl/8.5.0"),
        (7, "/a", "Wget/1.21"),
        (900_000, "/é", ""),
        (7, "/b", "Wget/1.21"),
    ]))
}

/// The form is on disks: it does not change unseen.
#[test]
fn the_form_is_fixed() {
    let mut expected = vec![6];
    for name in ["GET /b", "curl", "GET /a", "Wget", "GET /é", "(none)"] {
        expected.push(u8::try_from(name.len()).expect("short"));
        expected.extend(name.as_bytes());
    }
    expected.extend([3]);
    expected.extend([5 << 1, 1, 2, 1, 1, 1, 1]);
    expected.extend([1 << 1, 2, 0, 2, 1, 1, 2, 1, 1, 1, 2]);
    expected.extend([0xb0, 0xee, 0x6d, 1, 4, 1, 1, 5, 1]);
    assert_eq!(example().to_bytes(), expected);
}

#[test]
fn what_is_written_is_read() {
    let (summary, bytes) = (example(), example().to_bytes());
    let read = Summary::from_bytes(&bytes).expect("it was written so");
    assert_eq!((read.entries, &read.windows), (5, &summary.windows));
    assert!(read.names.iter().eq(summary.names.iter()));
}

/// W2: what does not add up, or says something twice, was never written.
#[test]
fn what_was_never_written_is_not_taken() {
    let bytes = example().to_bytes();
    for end in 0..bytes.len() {
        assert!(Summary::from_bytes(&bytes[..end]).is_none(), "cut at {end}");
    }
    let refused: &[(&str, &[u8])] = &[
        ("more after it", &[1, 1, b'a', 1, 10, 1, 0, 1, 1, 0, 1, 0]),
        ("a name twice", &[2, 1, b'a', 1, b'a', 1, 10, 1, 0, 1, 1, 0, 1]),
        ("agents are not paths", &[1, 1, b'a', 1, 10, 1, 0, 2, 1, 0, 1]),
        ("no such name", &[1, 1, b'a', 1, 10, 1, 1, 1, 1, 0, 1]),
        ("nothing counted", &[1, 1, b'a', 1, 10, 1, 0, 0, 1, 0, 0]),
        ("no text", &[1, 1, 0xff, 1, 10, 1, 0, 1, 1, 0, 1]),
        ("a long form", &[1, 1, b'a', 1, 0x8a, 0, 1, 0, 1, 1, 0, 1]),
        ("responses that say nothing", &[1, 1, b'a', 1, 11, 0, 0, 1, 0, 1, 1, 0, 1]),
        ("more statuses than requests", &[1, 1, b'a', 1, 11, 0, 1, 200, 1, 2, 1, 0, 1, 1, 0, 1]),
        ("more names than bytes", &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        ("a minute past all", &[0, 1, 0xff, 0xff, 0xff, 0xff, 0x3f, 0, 0]),
    ];
    for (what, bytes) in refused {
        assert!(Summary::from_bytes(bytes).is_none(), "{what}");
    }
    let taken = Summary::from_bytes(&[1, 1, b'a', 1, 10, 1, 0, 1, 1, 0, 1]);
    assert!(taken.is_some_and(|summary| summary.entries == 1));
    let answered = [1, 1, b'a', 1, 11, 8, 1, 200, 1, 1, 1, 0, 1, 1, 0, 1];
    let taken = Summary::from_bytes(&answered).expect("one request, with 200 and 7 bytes");
    assert_eq!(taken.windows[0].responses.bytes(), Some(7));
    assert!(taken.windows[0].responses.statuses().eq([(200, 1)]));
    assert_eq!(taken.to_bytes(), answered);
}
