//! What a worker sends beside its frames: descriptors of the memory that they name, or too few of
//! them, too many, others, or such as are no memory.

use std::thread;

use super::*;
use crate::parent::sink::FrameSink;
use crate::sys::descriptor::{Descriptor, wait_for_hangup};
use crate::sys::pipe::{ParentInput, pipe};
use crate::sys::socket::{control_socket, send_descriptors};
use crate::testing::fuzzing::split;

/// Far more than it takes until something is closed.
const LIMIT: Duration = Duration::from_mins(1);
/// How many segments there are. In the frames of an input their places stand for their inodes,
/// which are others each time.
const PLACES: u8 = 4;
const LENGTH_OF_EACH: u64 = 100;
/// What stands for memory that frames do not name; what is more is none.
const UNNAMED: u8 = 100;
/// The most descriptors that come with an input.
const MOST_SENT: u8 = 40;

type Name = (u32, i32, u64, u64);
type OfLent = (Name, Vec<((Name, u64, u64), u32)>);
type OfOffer = (u64, Name, Option<u64>);

fn name(place: u8) -> Name {
    (u32::MAX, 5, LENGTH_OF_EACH, place.into())
}

fn id(place: u8) -> u64 {
    1000 + u64::from(place)
}

fn lent(desk: u8, memory: &[(u8, u32)]) -> Vec<u8> {
    let memory = memory.iter().map(|(place, usage)| ((name(*place), id(*place), 0), *usage));
    let lent: OfLent = (name(desk), memory.collect());
    frame(Kind::Lent, &lent, &[])
}

fn offer(segment: u64, place: u8, instead_of: Option<u64>) -> Vec<u8> {
    let offer: OfOffer = (segment, name(place), instead_of);
    frame(Kind::SegmentOffer, &offer, &[])
}

fn reply() -> Vec<u8> {
    let header = ReplyHeader { run_time: 7_000, task: TaskId(300), outcome: Outcome::Returned };
    frame(Kind::Reply, &header, &encoded(&"a result"))
}

/// The frames, and what is sent before them.
fn input(sent: &[u8], number: u8, frames: &[Vec<u8>]) -> Vec<u8> {
    let count = u8::try_from(sent.len()).unwrap();
    [&[count], sent, &stream(number, frames)].concat()
}

fn seeds() -> Seeds {
    let two = || lent(0, &[(1, 0), (2, 1)]);
    let many: Vec<_> = (0..MOST_SENT).map(|n| n % PLACES).collect();
    Seeds::new("beside")
        .with("lent", input(&[0, 1, 2], PIECES, &[two(), reply()]))
        .with("lent-again", input(&[0, 1, 0, 1], PIECES, &[lent(0, &[(1, 0), (1, 0)]), two()]))
        .with("offer", input(&[3], PIECES | MENDED, &[offer(2, 3, None)]))
        .with("offers", input(&[3, 2], PIECES, &[offer(2, 3, Some(SEGMENT)), offer(3, 2, None)]))
        .with("none", input(&[], PIECES, &[two(), offer(2, 3, None), reply()]))
        .with("others", input(&[UNNAMED; 3], PIECES, &[two(), reply()]))
        .with("too-many", input(&many, PIECES, &[two(), reply(), offer(2, 3, None)]))
        .with("no-memory", input(&[0, 1, 255, 2], PIECES, &[two(), reply()]))
        .with("no-memory-offered", input(&[255], PIECES | MENDED, &[offer(2, 3, None)]))
}

/// What there is to be sent.
struct Belongings {
    memory: Vec<Segment>,
    unnamed: Segment,
    /// Closed with the last copy of the other end.
    strange: Descriptor,
}

impl Belongings {
    fn new(strange: Descriptor) -> Self {
        let create = || Segment::create(LENGTH_OF_EACH.try_into().unwrap()).unwrap();
        let memory = (0..PLACES).map(|_| create()).collect();
        Self { memory, unnamed: create(), strange }
    }

    /// As before anybody has written there.
    fn reset(&self) {
        for (place, segment) in (0..).zip(&self.memory) {
            let [first, second, ..] = segment.words();
            first.store(id(place), Ordering::Relaxed);
            second.store(0, Ordering::Relaxed);
        }
    }

    fn descriptor(&self, which: u8) -> Descriptor {
        match which {
            0..UNNAMED => self.memory[usize::from(which % PLACES)].descriptor().unwrap(),
            UNNAMED => self.unnamed.descriptor().unwrap(),
            _ => self.strange.try_clone().unwrap(),
        }
    }

    /// The same frames, with the inodes.
    fn named(&self, mut stream: &[u8]) -> Vec<u8> {
        let mut named = Vec::new();
        while let Some((length, rest)) = frame_start(stream)
            && let Some((body, others)) = rest.split_at_checked(length)
        {
            let known = self.with_inodes(body);
            named.extend(known.unwrap_or_else(|| stream[..LENGTH + length].to_vec()));
            stream = others;
        }
        [&named, stream].concat()
    }

    fn with_inodes(&self, body: &[u8]) -> Option<Vec<u8>> {
        match split_kind(body).ok()? {
            (Kind::Lent, body) => {
                let ((mut desk, mut memory), rest) = split_header::<OfLent>(body).ok()?;
                self.set_inode(&mut desk);
                for ((name, ..), _) in &mut memory {
                    self.set_inode(name);
                }
                Some(frame(Kind::Lent, &(desk, memory), rest))
            }
            (Kind::SegmentOffer, body) => {
                let ((segment, mut name, instead_of), rest) = split_header::<OfOffer>(body).ok()?;
                self.set_inode(&mut name);
                Some(frame(Kind::SegmentOffer, &(segment, name, instead_of), rest))
            }
            _ => None,
        }
    }

    fn set_inode(&self, (_, _, _, inode): &mut Name) {
        let place = usize::try_from(*inode).ok();
        if let Some(segment) = place.and_then(|place| self.memory.get(place)) {
            *inode = segment.name().inode();
        }
    }
}

impl Link<'_> {
    /// Its worker has sent these; returns the worker's end.
    fn meet(&mut self, sent: &[Descriptor]) -> Descriptor {
        let (ours, theirs) = control_socket().unwrap();
        self.outlet = Outlet::new(FrameSink::new(ParentInput::Socket(ours)).unwrap());
        send_descriptors(&theirs, sent).unwrap();
        theirs
    }

    /// Until there is no more, or it is killed for it.
    fn hear(&mut self, stream: &[u8], size: usize) -> io::Result<()> {
        for piece in stream.chunks(size) {
            self.inbox.extend_from_slice(piece);
            while match self.next_step()? {
                LinkStep::Message(message) => {
                    consume(message);
                    true
                }
                step => !matches!(step, LinkStep::Wait),
            } {}
        }
        Ok(())
    }
}

#[tokio::test]
async fn what_a_worker_sends_beside_frames() {
    let (launch, uplink) = (Arc::new(launch()), uplink());
    let mut link = Link::new(Arc::clone(&launch), &uplink, spawn(&launch).unwrap());
    let (segment, (reader, writer)) = (Segment::create(100).unwrap(), pipe().unwrap());
    let own = Belongings::new(writer);
    seeds().fuzz((MOST, 64), |input| {
        let (count, rest) = split(input);
        let (sent, rest) = rest.split_at(usize::from(count % (MOST_SENT + 1)).min(rest.len()));
        let (number, stream) = split_stream(rest);
        own.reset();
        link.begin_anew(&segment, false);
        let descriptors: Vec<_> = sent.iter().map(|which| own.descriptor(*which)).collect();
        let _worker = link.meet(&descriptors);
        let heard = link.hear(&own.named(&stream), usize::from(number & PIECES) + 1);
        if heard.is_ok() {
            // What is no memory was not passed over.
            let left = link.outlet.receive(usize::MAX).into_iter();
            let strange = left.filter_map(|fd| Peer::child(1).receive(vec![fd]).err()).count();
            assert_eq!(strange, sent.iter().filter(|which| **which > UNNAMED).count());
        }
    });
    drop((link, own));
    let (gone, all_closed) = std::sync::mpsc::channel();
    thread::spawn(move || {
        wait_for_hangup(reader, None);
        gone.send(()).unwrap();
    });
    all_closed.recv_timeout(LIMIT).expect("something is not closed");
}

#[tokio::test]
async fn what_is_named_and_sent_is_there() {
    let (launch, uplink) = (Arc::new(launch()), uplink());
    let mut link = Link::new(Arc::clone(&launch), &uplink, spawn(&launch).unwrap());
    let (segment, own) = (Segment::create(100).unwrap(), Belongings::new(pipe().unwrap().1));
    own.reset();
    link.begin_anew(&segment, false);
    let _worker = link.meet(&[0, 1, 2, 3].map(|which| own.descriptor(which)));
    let frames = [lent(0, &[(1, 0), (2, 1)]), offer(2, 3, None)].concat();
    link.hear(&own.named(&frames), 7).unwrap();
    assert_eq!(link.borrowed.descriptors().len(), 2);
    assert_eq!(own.memory[0].count(), 1, "the desk is told");
    assert!(link.loans.trim(), "the offer is accepted");
}
