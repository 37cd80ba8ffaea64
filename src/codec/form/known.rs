//! The forms of types that are no argument and no result of a function.

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::{LazyLock, PoisonError, RwLock};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::choice::Choice;

/// The form of values of this type, the same each time. There are no more of them than the program
/// has types, so they are never freed.
pub(crate) fn choice_for<T: Serialize + DeserializeOwned + 'static>() -> &'static Choice {
    static KNOWN: LazyLock<RwLock<HashMap<TypeId, &'static Choice>>> =
        LazyLock::new(RwLock::default);
    let of_type = TypeId::of::<T>();
    let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner).get(&of_type).copied();
    known.unwrap_or_else(|| {
        let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
        known.entry(of_type).or_insert_with(|| Box::leak(Box::new(Choice::of::<T>())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_has_one_choice() {
        assert!(std::ptr::eq(choice_for::<u64>(), choice_for::<u64>()));
        assert!(!std::ptr::eq(choice_for::<u64>(), choice_for::<String>()));
    }
}
