//! Words for everybody.

mod identity;

pub use self::identity::{AuthKey, CurrentProcess, current_process};
pub(crate) use self::identity::{
    Identity, Parent, ParentLink, adopt, children_are_daemons, next_path, parent,
};
