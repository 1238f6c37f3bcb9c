//! Dispatch, hand-over, commit and query under the interleavings that shuttle tries (Q1, S1).
//!
//! Workers, dispatch, checkpointer, store and query are the real ones; only what carries messages
//! between them is replaced: shuttle's threads and queues stand for the loops of `engine`. Where a
//! message has a crossbeam sender in it, its receiver is polled, so that no thread ever blocks
//! where shuttle cannot see it. redb runs within one step: a commit is there or it is not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{TryRecvError, bounded};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::sync::Mutex;
use shuttle::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use shuttle::{Config, Runner, thread};

use super::disk::SimDisk;
use crate::checkpoint::Checkpointer;
use crate::claim::ClaimSync;
use crate::counts::Parts;
use crate::disk::{Disk, Layout};
use crate::ids::{AcceptTime, CustomerId, Epoch, Group};
use crate::partition::PartitionId;
use crate::query::{self, Busy, By, Filter, Range, Ranked, Source};
use crate::sequencer::{BarrierPlaced, dispatch};
use crate::store::{Retention, Store};
use crate::testing::{RULES, batch, customer, now_at, summary};
use crate::window::{Minute, Span, WindowSize};
use crate::worker::{
    AcceptedBatch, CustomersOverlay, CustomersRequest, HandedOver, Overlay, OverlayRequest,
    PartitionWorker, WorkerMessage,
};

const PARTITIONS: u16 = 2;
/// Messages that a worker's queue holds; few, so that the sequencer has to wait for it.
const INBOX: usize = 2;
const SENDERS: u32 = 2;
const BATCHES_PER_SENDER: u32 = 3;
const CHECKPOINTS: u64 = 3;
/// Each batch has one entry in each of these; both workers own some of them.
const MINUTES: std::ops::Range<u32> = 60..64;
const DAY: Span = Span { from: Minute(0), to: Minute(1_440) };

/// A rule of the engine's loops that the model leaves out, to show that it would be noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LeftOut {
    Nothing,
    /// The answer leaves after the dispatch.
    DispatchBeforeAnswer,
    /// The barrier reaches all workers between the same two groups.
    Alignment,
    /// Workers let go of what they handed over only once it is committed.
    CommitBeforeCommitted,
}

/// What the sequencer is told.
enum ToSequencer {
    Submit(u32, Sender<()>),
    Barrier(Epoch, crossbeam_channel::Sender<HandedOver>, Sender<Group>),
}

/// What all threads of one run share.
struct Engine {
    customer: CustomerId,
    workers: Vec<SyncSender<WorkerMessage>>,
    store: Arc<Store>,
    left_out: LeftOut,
    /// Batches that were answered.
    acknowledged: Mutex<BTreeSet<u32>>,
    /// The group of each batch.
    groups: Mutex<BTreeMap<u32, Group>>,
}

/// Takes the next message of a queue that shuttle does not know.
fn poll<T>(inbox: &crossbeam_channel::Receiver<T>) -> T {
    loop {
        match inbox.try_recv() {
            Ok(message) => return message,
            Err(TryRecvError::Empty) => thread::yield_now(),
            Err(TryRecvError::Disconnected) => panic!("a worker has ended without an answer"),
        }
    }
}

fn path_of(batch: u32) -> String {
    format!("GET /{batch}")
}

impl Source for Engine {
    fn overlays(
        &self,
        customer: &CustomerId,
        span: Span,
        parts: Parts,
    ) -> Result<Vec<Overlay>, Busy> {
        Ok(self.ask_workers(|reply| {
            let customer = customer.clone();
            WorkerMessage::Overlay(OverlayRequest { customer, span, parts, reply })
        }))
    }

    fn customers(&self, span: Span) -> Result<Vec<CustomersOverlay>, Busy> {
        Ok(self.ask_workers(|reply| WorkerMessage::Customers(CustomersRequest { span, reply })))
    }

    fn store(&self) -> &Store {
        &self.store
    }
}

impl Engine {
    fn ask_workers<A>(
        &self,
        question: impl Fn(crossbeam_channel::Sender<Vec<A>>) -> WorkerMessage,
    ) -> Vec<A> {
        let (reply, answers) = bounded(self.workers.len());
        for worker in &self.workers {
            worker.send(question(reply.clone())).expect("workers live longest");
        }
        self.workers.iter().flat_map(|_| poll(&answers)).collect()
    }

    fn send(&self, worker: usize, message: WorkerMessage) {
        self.workers[worker].send(message).expect("workers live longest");
    }

    fn barrier(&self, epoch: Epoch, reply: &crossbeam_channel::Sender<HandedOver>) {
        for worker in 0..self.workers.len() {
            self.send(worker, WorkerMessage::Barrier(epoch, reply.clone()));
        }
    }

    /// As the loop of the sequencer: drain, sequence, dispatch, answer; then the barrier.
    fn sequence(&self, inbox: &Receiver<ToSequencer>) {
        let mut group = Group(0);
        while let Ok(first) = inbox.recv() {
            let (mut submitted, mut barrier) = (Vec::new(), None);
            let mut next = Some(first);
            while let Some(message) = next {
                match message {
                    ToSequencer::Submit(batch, reply) => submitted.push((batch, reply)),
                    ToSequencer::Barrier(epoch, handed_over, placed) => {
                        barrier = Some((epoch, handed_over, placed));
                        break;
                    }
                }
                next = inbox.try_recv().ok();
            }
            if !submitted.is_empty() {
                group = group.next();
                self.sequence_group(group, submitted);
            }
            if let Some((epoch, handed_over, placed)) = barrier {
                if self.left_out != LeftOut::Alignment {
                    self.barrier(epoch, &handed_over);
                }
                placed.send(group).expect("the checkpointer waits");
            }
        }
    }

    fn sequence_group(&self, group: Group, submitted: Vec<(u32, Sender<()>)>) {
        let answer = |replies: Vec<Sender<()>>| {
            replies.iter().for_each(|reply| reply.send(()).expect("the sender waits"));
        };
        let (batches, mut replies): (Vec<_>, Vec<_>) = submitted.into_iter().unzip();
        let accept = |number: &u32| {
            self.groups.lock().expect("whole").insert(*number, group);
            let path = format!("/{number}");
            let entries: Vec<_> = MINUTES.map(|minute| (minute, path.as_str())).collect();
            let (customer, summary) = (self.customer.clone(), summary(&batch(&entries)));
            AcceptedBatch { customer, summary, dead: None, permit: Box::new(()) }
        };
        let batches = batches.iter().map(accept).collect();
        if self.left_out == LeftOut::DispatchBeforeAnswer {
            answer(std::mem::take(&mut replies));
        }
        for (partition, apply) in dispatch(batches, Group(1), AcceptTime(0), RULES, PARTITIONS) {
            self.send(partition.0.into(), WorkerMessage::Apply(apply));
        }
        answer(replies);
    }

    /// As the loop of the checkpointer: barrier, hand-over, commit, committed.
    fn checkpoint(&self, checkpointer: &Checkpointer, sequencer: &Sender<ToSequencer>) {
        for epoch in (1..=CHECKPOINTS).map(Epoch) {
            let (handed_over, deltas) = bounded(self.workers.len());
            let (placed, cut) = channel();
            let request = ToSequencer::Barrier(epoch, handed_over.clone(), placed);
            sequencer.send(request).expect("the sequencer lives longer");
            let group = cut.recv().expect("the sequencer answers");
            if self.left_out == LeftOut::Alignment {
                self.barrier(epoch, &handed_over);
            }
            let deltas: Vec<_> = self.workers.iter().map(|_| poll(&deltas).delta).collect();
            let committed = || {
                for worker in 0..self.workers.len() {
                    self.send(worker, WorkerMessage::Committed(epoch));
                }
            };
            if self.left_out == LeftOut::CommitBeforeCommitted {
                committed();
            }
            let (claims, sealed) = (ClaimSync::default(), Vec::new());
            let (accepted, uptime) = (AcceptTime(0), Duration::ZERO);
            let placed = BarrierPlaced { group, accepted, claims, sealed, uptime };
            let written = checkpointer.write(epoch, &placed, &deltas, None, now_at(90));
            written.expect("the disk works");
            self.holds_exactly(group);
            if self.left_out != LeftOut::CommitBeforeCommitted {
                committed();
            }
        }
    }

    /// S1: the store holds the batches of all groups up to the checkpoint's, and no others.
    fn holds_exactly(&self, checkpoint: Group) {
        let snapshot = self.store.snapshot().expect("readable");
        let counted = MINUTES.map(|minute| {
            let window = snapshot.window(&self.customer, WindowSize::Minute, Minute(minute));
            window.expect("readable").unwrap_or_default()
        });
        let groups = self.groups.lock().expect("whole").clone();
        for window in counted {
            for (number, group) in &groups {
                let found = window.paths.iter().find(|(path, _)| *path == path_of(*number));
                let found = found.map_or(0, |(_, requests)| requests);
                let expected = u64::from(*group <= checkpoint);
                assert_eq!(found, expected, "S1: batch {number} of {group:?} at {checkpoint:?}");
            }
        }
    }

    /// Q1: what was acknowledged before is seen, and nothing twice.
    fn ask(&self, size: Option<WindowSize>) {
        let known = self.acknowledged.lock().expect("whole").clone();
        let whole = MINUTES.len() as u64;
        let mut seen: BTreeMap<String, u64> = BTreeMap::new();
        match size {
            Some(size) => {
                let range = Range::utc(&self.customer, size, DAY);
                let page = query::windows(self, &range, &Filter::All, RULES.keys);
                for (_, window) in page.expect("an answer").windows {
                    assert!(window.adds_up(), "W2");
                    for (path, requests) in window.paths.iter() {
                        let once = size != WindowSize::Minute || requests == 1;
                        assert!(once, "Q1: {path} counts {requests} in a minute");
                        *seen.entry(path.to_owned()).or_default() += requests;
                    }
                }
            }
            None => {
                let listed = query::customers(self, DAY, "").expect("an answer");
                let listed: u64 = listed.into_iter().map(|(_, requests)| requests).sum();
                let top = query::top(self, &self.customer, &Ranked::of(DAY, By::Path, 100));
                let top = top.expect("an answer");
                assert!(listed >= known.len() as u64 * whole, "Q1: {listed} are listed");
                assert!(listed <= top.requests, "Q1: {listed} are listed, {} known", top.requests);
                let rows = top.rows.into_iter();
                seen.extend(rows.map(|row| (row.key.into(), row.requests)));
            }
        }
        for (path, requests) in &seen {
            assert!(*requests <= whole, "Q1: {path} counts {requests} of {whole}, {size:?}");
        }
        for number in known {
            let found = seen.get(&path_of(number)).copied().unwrap_or(0);
            assert_eq!(found, whole, "Q1: batch {number} was acknowledged, {size:?}");
        }
    }

    /// Sends batches one by one, and asks after each answer.
    fn submit(&self, sender: u32, sequencer: &Sender<ToSequencer>) {
        for n in 0..BATCHES_PER_SENDER {
            let number = sender * BATCHES_PER_SENDER + n;
            let (reply, answer) = channel();
            sequencer.send(ToSequencer::Submit(number, reply)).expect("it lives longer");
            answer.recv().expect("an answer");
            self.acknowledged.lock().expect("whole").insert(number);
            self.ask(if n % 2 == 0 { Some(WindowSize::Minute) } else { None });
        }
    }
}

/// One run, from an empty store to the last answer.
fn run(disk: &SimDisk, left_out: LeftOut) {
    let disk: Arc<dyn Disk> = Arc::new(disk.fork());
    let layout = Layout::new("data");
    let store = Store::open(&disk, &layout, 1 << 20, RULES.keys).expect("the disk works");
    let store = Arc::new(store);
    let (mut workers, mut threads) = (Vec::new(), Vec::new());
    for partition in 0..PARTITIONS {
        let (sender, inbox) = sync_channel(INBOX);
        workers.push(sender);
        let mut worker = PartitionWorker::new(PartitionId(partition), Epoch(0), u64::MAX);
        threads.push(thread::spawn(move || {
            while let Ok(message) = inbox.recv() {
                worker.step(message);
            }
        }));
    }
    let engine = Arc::new(Engine {
        customer: customer("c"),
        workers,
        store: Arc::clone(&store),
        left_out,
        acknowledged: Mutex::default(),
        groups: Mutex::default(),
    });
    let (sequencer, inbox) = channel();
    let of = Arc::clone(&engine);
    threads.push(thread::spawn(move || of.sequence(&inbox)));

    let mut parties = Vec::new();
    for sender in 0..SENDERS {
        let (of, sequencer) = (Arc::clone(&engine), sequencer.clone());
        parties.push(thread::spawn(move || of.submit(sender, &sequencer)));
    }
    let retention = Retention::FOREVER;
    let checkpointer = Checkpointer { disk, layout, store, retention };
    let of = Arc::clone(&engine);
    parties.push(thread::spawn(move || of.checkpoint(&checkpointer, &sequencer)));
    engine.ask(Some(WindowSize::Hour));
    parties.into_iter().for_each(|party| party.join().expect("no party fails"));
    let acknowledged = engine.acknowledged.lock().expect("whole").len();
    assert_eq!(acknowledged, (SENDERS * BATCHES_PER_SENDER) as usize);
    engine.ask(Some(WindowSize::Hour));
    drop(engine);
    threads.into_iter().for_each(|thread| thread.join().expect("no thread fails"));
}

/// Schedules tried with each scheduler: a share, or `LOGMILL_SIM_FULL`.
fn schedules() -> usize {
    if std::env::var("LOGMILL_SIM_FULL").is_ok() { 200_000 } else { 3_000 }
}

fn seed() -> u64 {
    let given = std::env::var("LOGMILL_SIM_SEED").ok();
    given.map_or(1, |text| text.parse().expect("LOGMILL_SIM_SEED is a number"))
}

fn try_all(scheduler: impl Scheduler + 'static, left_out: LeftOut) {
    let base = SimDisk::default();
    let layout = Layout::new("data");
    base.create_dir(layout.root()).expect("an empty disk");
    let disk: Arc<dyn Disk> = Arc::new(base.clone());
    drop(Store::open(&disk, &layout, 1 << 20, RULES.keys).expect("an empty store"));
    let mut config = Config::new();
    // redb's trees are deeper than shuttle's usual threads.
    config.stack_size = 1 << 20;
    Runner::new(scheduler, config).run(move || run(&base, left_out));
}

/// Q1, S1: any thread may go on at any step.
#[test]
fn a_query_sees_each_acknowledged_batch_once_under_random_schedules() {
    try_all(RandomScheduler::new_from_seed(seed(), schedules()), LeftOut::Nothing);
}

/// Q1, S1: threads have priorities that change at few steps, which finds deeper orders.
#[test]
fn a_query_sees_each_acknowledged_batch_once_under_prioritised_schedules() {
    try_all(PctScheduler::new_from_seed(seed(), 3, schedules()), LeftOut::Nothing);
}

#[test]
#[should_panic(expected = "Q1: batch")]
fn an_answer_before_the_dispatch_is_noticed() {
    let left_out = LeftOut::DispatchBeforeAnswer;
    try_all(RandomScheduler::new_from_seed(seed(), schedules()), left_out);
}

#[test]
#[should_panic(expected = "S1: batch")]
fn a_barrier_that_is_not_aligned_is_noticed() {
    try_all(RandomScheduler::new_from_seed(seed(), schedules()), LeftOut::Alignment);
}

#[test]
#[should_panic(expected = "Q1: batch")]
fn a_hand_over_that_is_let_go_before_the_commit_is_noticed() {
    let left_out = LeftOut::CommitBeforeCommitted;
    try_all(RandomScheduler::new_from_seed(seed(), schedules()), left_out);
}
