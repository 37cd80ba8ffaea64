//! How quickly one learns what a worker has begun.

/// Whether what was sent to a worker can be taken back until it begins, and when it is known what
/// came of that, of a look at the front task, and of asking it to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Recallable {
    #[default]
    Never,
    /// Before the next event.
    AtOnce,
    /// Some day, and the worker may end before.
    Late,
}
