//! What a worker and its parent write to and read from at any time.

pub(crate) mod claim;
pub(crate) mod layout;
pub(crate) mod record;
pub(crate) mod window;
pub(crate) mod words;
