//! What workers say that break the protocol.

/// A lie, or nonsense.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lie {
    /// Bytes that are no frame.
    Garbage,
    /// A frame that is too large.
    Huge,
    /// A reply to a task that nobody has.
    UnknownTask,
    /// The last reply once more.
    SecondReply,
    /// A reply to a task that is not its turn.
    OutOfOrder,
    /// A reply as to a chunk, or the other way round.
    OtherKind,
    /// A goodbye that nobody asked for.
    Goodbye,
    /// It has no turn any more.
    SecondReady,
    /// Rubbish where tasks are claimed.
    Scribble { word: usize, value: u64 },
    /// Progress of a task that it does not run.
    Progress,
    /// Far more values than a task may emit, of its own, of another one or of a chunk.
    Emit,
}
