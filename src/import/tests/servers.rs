//! Servers that are reached at another address, or take smaller batches.

use super::*;

/// A2: whether both are the same server is for the user to say, never to be guessed.
#[test]
fn a_log_that_went_to_another_address_waits_for_a_word() {
    let mut bench = Bench::new();
    bench.write("a.log", lines(0..3));
    bench.imported("a.log");
    bench.append("a.log", &lines(3..5));
    let first = std::mem::replace(&mut bench.server, Server::start());
    for _ in 0..2 {
        let error = bench.import("a.log").expect_err("it may be the same server");
        let ImportError::Elsewhere { before, .. } = &error else { panic!("{error}") };
        assert_eq!(*before, first.url);
        assert!(error.to_string().contains("--moved-from"), "{error}");
        assert_eq!(bench.server.requests(), 0);
    }
    bench.write("b.log", line(9));
    assert_eq!(bench.imported("b.log").posted, 1, "other logs go there");
    assert_eq!(bench.import_for("other", "a.log").expect("nor of this customer").posted, 5);

    let moved_from = format!("{}/", first.url);
    for (posted, before) in [(2, 3), (0, 5)] {
        let summary = bench.import_from(Some(&moved_from), "acme", "a.log").expect("it moved");
        assert_eq!((summary.posted, summary.lines_before), (posted, before));
    }
    assert_eq!(bench.imported("a.log").lines_before, 5, "said once, it is known");
}

#[test]
fn a_server_of_small_batches_gets_small_batches() {
    let mut bench = Bench::new();
    let content = [&lines(0..700), "\n", "no log\n", &lines(700..1_500)].concat();
    bench.write("a.log", content);
    bench.server.takes_at_most(10_000);
    let summary = bench.imported("a.log");
    assert_eq!((summary.posted, summary.bad, summary.blank), (1_500, 1, 1));
    bench.assert_counted(1_500);
    let halved = bench.server.requests() - usize::try_from(summary.batches).expect("few");
    assert!((1..=8).contains(&halved), "it learns: refused {halved} times");

    bench.append("a.log", &lines(1_500..1_501));
    assert_eq!(bench.imported("a.log").posted, 1);
    bench.assert_counted(1_501);
}

#[test]
fn an_import_of_small_batches_goes_on_where_it_was_killed() {
    let mut bench = Bench::new();
    bench.write("a.log", lines(0..1_000));
    bench.server.takes_at_most(20_000);
    // Refused and halved until it fits; then the answer to the second part is not seen.
    let until_it_fits = [Reply::Accept, Reply::Accept, Reply::Accept, Reply::Accept];
    bench.server.then(until_it_fits);
    bench.server.then([Reply::AcceptAndHangUp]);
    bench.server.then((0..1_000).map(|_| Reply::Status(503)));
    let error = bench.import("a.log").expect_err("it stays away");
    assert!(matches!(error, ImportError::GaveUp { .. }), "{error}");
    let counted = bench.server.entries().len();
    assert!((1..1_000).contains(&counted), "{counted}");
    bench.server.forget_replies();
    bench.imported("a.log");
    bench.assert_counted(1_000);
}

/// A2: what was sent once may be counted, and smaller batches would have other keys.
#[test]
fn a_batch_that_may_be_counted_is_never_halved() {
    let mut bench = Bench::new();
    bench.write("a.log", lines(0..100));
    bench.server.then([Reply::AcceptAndHangUp, Reply::Status(413)]);
    let error = bench.import("a.log").expect_err("it is too large now");
    assert!(matches!(error, ImportError::Refused { status: 413, .. }), "{error}");
    bench.server.then([Reply::Status(413)]);
    let error = bench.import("a.log").expect_err("still");
    assert!(matches!(error, ImportError::TooLarge { .. }), "{error}");
    bench.imported("a.log");
    bench.assert_counted(100);
}

#[test]
fn an_entry_that_no_batch_can_hold_is_an_error() {
    let mut bench = Bench::new();
    bench.write("a.log", lines(0..9));
    bench.server.takes_at_most(10);
    let error = bench.import("a.log").expect_err("not even one");
    assert!(matches!(error, ImportError::TooLarge { entries: 1, .. }), "{error}");
    assert!(error.to_string().contains("limits.body_bytes"), "{error}");
}
