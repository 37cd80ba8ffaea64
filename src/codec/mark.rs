//! What values begin with that are not simply in the compact form.

/// The first byte of a value that is not in the compact form. A value in the compact form that
/// happens to begin with it is marked as such; few do.
pub(super) const MARK: u8 = 0xF7;

/// What follows the mark: the compact form, of a value that begins with the mark by itself;
pub(super) const ESCAPED: u8 = 0;
/// the named form;
pub(super) const NAMED: u8 = 1;
/// or the named form, as people would read it.
pub(super) const READABLE: u8 = 2;
