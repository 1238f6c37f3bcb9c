//! What the loops promise: in which order messages leave, and that nothing leaves after a failure.

use std::io::ErrorKind;
use std::thread;

use crossbeam_channel::TryRecvError;
use tokio::sync::oneshot;

use super::*;
use crate::claim::{ClaimSync, KeyRetention};
use crate::delta::Delta;
use crate::ids::{AcceptTime, Group};
use crate::journal::{ArchiveRetention, Journal};
use crate::partition::PartitionId;
use crate::recovery::{Recovered, Recovery};
use crate::sequencer::Outcome;
use crate::status::Ceilings;
use crate::store::Retention;
use crate::testing::{DataDir, ManualClock, Op, RULES, SeededEntropy, batch, submission};

const PARTITIONS: u16 = 2;
const FOREVER: Duration = Duration::MAX;

/// The loops of a recovered engine, and the other ends of their queues.
struct Loops {
    dir: DataDir,
    sequencer: SequencerLoop,
    to_sequencer: Sender<SequencerMessage>,
    checkpointer: CheckpointLoop,
    /// Where the checkpointer's requests for a barrier arrive.
    barriers: Receiver<SequencerMessage>,
    workers: Vec<Receiver<WorkerMessage>>,
    taken_back: Receiver<TakeBack>,
}

/// `room` is how many messages a worker's queue takes.
fn start(room: usize) -> Loops {
    let dir = DataDir::new();
    let clock: Arc<dyn Clock> = Arc::<ManualClock>::default();
    let ceilings = Ceilings { free_bytes: 0, journal_bytes: u64::MAX, memory_bytes: u64::MAX };
    let status = Arc::new(Status::new(PARTITIONS, ceilings));
    let recovery = Recovery {
        disk: dir.disk(),
        layout: dir.layout.clone(),
        clock: Arc::clone(&clock),
        entropy: Arc::<SeededEntropy>::default(),
        status: Arc::clone(&status),
        partitions: PARTITIONS,
        rules: RULES,
        retention: Retention::FOREVER,
        checkpoint_memory_bytes: usize::MAX,
        archive: ArchiveRetention::Off,
        segment_bytes: limits::SEGMENT_BYTES,
        store_cache_bytes: 1 << 20,
        until: Group(u64::MAX),
        repair: false,
    };
    let Recovered { store, claims, mut keeper, group, epoch, accepted, .. } =
        recovery.run().expect("an empty directory");
    let journal = Journal::begin(Box::new(move || keeper.prepare()), group).expect("a segment");
    let keys = KeyRetention { age: FOREVER, keys_max: u64::MAX };
    let (to_workers, workers): (Vec<_>, Vec<_>) = (0..PARTITIONS).map(|_| bounded(room)).unzip();
    let (to_sequencer, inbox) = bounded(9);
    let (sequencer, barriers) = bounded(9);
    let (reclaim, taken_back) = bounded(9);
    // Nobody sends a command; the loop is called step by step.
    let (_control, commands) = bounded(1);
    let settings = EngineSettings {
        checkpoint_interval: FOREVER,
        checkpoint_journal_bytes: u64::MAX,
        checkpoint_memory_bytes: u64::MAX,
        keys,
    };
    Loops {
        sequencer: SequencerLoop {
            sequencer: Sequencer::new(claims, journal, RULES, PARTITIONS, keys, accepted),
            inbox,
            workers: to_workers.clone(),
            pages: PageMaker { orders: bounded(1).0, made: bounded(1).1 },
            clock: Arc::clone(&clock),
            status: Arc::clone(&status),
        },
        to_sequencer,
        checkpointer: CheckpointLoop {
            checkpointer: Checkpointer {
                disk: dir.disk(),
                layout: dir.layout.clone(),
                store,
                retention: recovery.retention,
            },
            settings,
            epoch,
            commands,
            sequencer,
            workers: to_workers,
            reclaim,
            clock,
            status,
        },
        barriers,
        workers,
        taken_back,
        dir,
    }
}

impl Loops {
    /// Sends a batch that touches so many minutes, enough of them all partitions.
    fn submit(&self, key: &str, minutes: u32) -> oneshot::Receiver<Outcome> {
        let entries: Vec<_> = (0..minutes).map(|minute| (minute, "/")).collect();
        let (submission, answer) = submission("c", key, &batch(&entries));
        let message = SequencerMessage::Submit(Box::new(submission));
        self.to_sequencer.send(message).expect("the loop has not ended");
        answer
    }
}

/// Q1: a query that is sent after the answer stands in each queue behind the batch.
#[test]
fn an_answer_leaves_after_the_last_dispatch() {
    let loops = start(0);
    let mut answer = loops.submit("k", 100);
    let Loops { sequencer, to_sequencer, workers, .. } = loops;
    // Queues go with the test that fails, and the sequencer with its queues.
    thread::scope(move |scope| {
        let ended = scope.spawn(move || sequencer.run());
        for worker in &workers {
            thread::sleep(Duration::from_millis(30));
            assert!(answer.try_recv().is_err(), "a worker has not been given the batch yet");
            let apply = worker.recv().expect("the batch");
            assert!(matches!(apply, WorkerMessage::Apply(_)), "{apply:?}");
        }
        assert!(matches!(answer.blocking_recv(), Ok(Outcome::Accepted(_))));
        drop(to_sequencer);
        ended.join().expect("no panic").expect("no failure");
    });
}

/// A1: what could not be synced is neither answered nor counted.
#[test]
fn a_failed_sync_lets_nothing_out() {
    let loops = start(9);
    let answer = loops.submit("k", 100);
    loops.dir.disk.fail(Op::SyncData, ".segment", ErrorKind::Other);
    let Loops { sequencer, workers, to_sequencer, .. } = loops;
    drop(to_sequencer);
    assert!(sequencer.run().is_err());
    assert!(answer.blocking_recv().is_err(), "no answer");
    assert!(workers.iter().all(|worker| worker.try_recv().is_err()), "no dispatch");
}

/// S1: a barrier stands behind all of the groups before it and before all after it, in each
/// queue, and is told by the last of those before.
#[test]
fn a_barrier_cuts_every_queue_between_the_same_groups() {
    let loops = start(9);
    let mut answers = vec![loops.submit("before", 100)];
    let (handed_over, _deltas) = bounded(9);
    let (placed, cut) = bounded(9);
    let request = BarrierRequest { epoch: Epoch(2), handed_over, placed, seal: false };
    loops.to_sequencer.send(SequencerMessage::Barrier(request)).expect("room");
    answers.push(loops.submit("after", 100));
    let Loops { sequencer, to_sequencer, workers, .. } = loops;
    drop(to_sequencer);
    sequencer.run().expect("no failure");
    for worker in &workers {
        let messages: Vec<_> = worker.try_iter().collect();
        let [WorkerMessage::Apply(_), WorkerMessage::Barrier(..), WorkerMessage::Apply(_)] =
            messages[..]
        else {
            panic!("{messages:?}");
        };
    }
    assert_eq!(cut.recv().expect("placed").0.group, Group(1));
    assert!(answers.into_iter().all(|answer| answer.blocking_recv().is_ok()));
}

/// Makes a checkpoint, with hands that give over what workers and sequencer would.
fn checkpoint(loops: &mut Loops) -> Result<(), EngineError> {
    let Loops { checkpointer, barriers, .. } = loops;
    let barriers = &*barriers;
    thread::scope(|scope| {
        scope.spawn(move || {
            let Ok(SequencerMessage::Barrier(request)) = barriers.recv() else { return };
            for partition in (0..PARTITIONS).map(PartitionId) {
                let delta = Arc::<Delta>::default();
                request.handed_over.send(HandedOver { partition, delta }).expect("room");
            }
            let placed = BarrierPlaced {
                group: Group(7),
                accepted: AcceptTime(0),
                claims: ClaimSync::default(),
                sealed: vec![Sealed { sequence: 1, last_group: Group(6) }],
                uptime: Duration::ZERO,
            };
            request.placed.send((placed, 0)).expect("room");
        });
        checkpointer.checkpoint(false).map(drop)
    })
}

/// S2, Q1: workers let go, and segments are reclaimed, once the checkpoint is durable.
#[test]
fn a_checkpoint_tells_workers_and_keeper() {
    let mut loops = start(9);
    checkpoint(&mut loops).expect("the disk works");
    for worker in &loops.workers {
        let messages: Vec<_> = worker.try_iter().collect();
        assert!(matches!(messages[..], [WorkerMessage::Committed(Epoch(2))]), "{messages:?}");
    }
    let TakeBack { segments, .. } = loops.taken_back.try_recv().expect("the sealed segment");
    assert_eq!(segments, [Sealed { sequence: 1, last_group: Group(6) }]);
}

/// S2, Q1: a checkpoint that may not be durable lets nothing go.
#[test]
fn a_failed_checkpoint_lets_nothing_go() {
    let mut loops = start(9);
    loops.dir.disk.fail(Op::SyncData, "store.redb", ErrorKind::Other);
    assert!(checkpoint(&mut loops).is_err());
    for worker in &loops.workers {
        assert!(matches!(worker.try_recv(), Err(TryRecvError::Empty)), "workers keep it");
    }
    assert!(loops.taken_back.try_recv().is_err(), "the journal is kept");
}
