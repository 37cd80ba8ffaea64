//! Which form it is for the values of one type.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::error::{CodecError, Fault};
use super::rehearsal::rehearse;

/// How values are written; see [`value_forms`](crate::value_forms).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ValueForm {
    /// Without names, and as short as can be. Both sides go through the type in the same order.
    Compact,
    /// With the names of fields and variants, and with the kind of each value.
    Named {
        /// Why the compact form does not do, or who has asked for this one.
        reason: String,
    },
}

impl fmt::Display for ValueForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compact => f.write_str("compact"),
            Self::Named { reason } => write!(f, "named: {reason}"),
        }
    }
}

/// How the next values are written. It only grows: what was seen to need names stays in the named
/// form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::codec) enum ChoiceState {
    Open,
    /// Unless a value turns out not to fit.
    Compact,
    /// Even if one does not fit: that is an error.
    OnlyCompact,
    Named,
    Readable,
}

impl ChoiceState {
    const ALL: [Self; 5] =
        [Self::Open, Self::Compact, Self::OnlyCompact, Self::Named, Self::Readable];
}

/// The form of the arguments or the results of one function.
pub(crate) struct Choice {
    state: AtomicU8,
    rehearse: fn() -> Result<(), String>,
    reason: OnceLock<String>,
}

impl Choice {
    pub(crate) const fn of<T: Serialize + DeserializeOwned>() -> Self {
        Self {
            state: AtomicU8::new(ChoiceState::Open as u8),
            rehearse: rehearse::<T>,
            reason: OnceLock::new(),
        }
    }

    /// For values of any type, as for a function that is registered so.
    pub(in crate::codec) fn that_is(form: AskedForm) -> Self {
        let choice = Self::of::<()>();
        choice.ask(form);
        choice
    }

    /// What was asked for in `register!`.
    pub(crate) fn ask(&self, form: AskedForm) {
        match form {
            AskedForm::Compact => self.set(ChoiceState::OnlyCompact),
            AskedForm::Named => self.name("it was asked for in `register!`".to_owned()),
        }
    }

    /// What is known by now.
    pub(crate) fn form(&self) -> ValueForm {
        match self.state() {
            ChoiceState::Open | ChoiceState::Compact | ChoiceState::OnlyCompact => {
                ValueForm::Compact
            }
            ChoiceState::Named | ChoiceState::Readable => {
                ValueForm::Named { reason: self.reason.get().cloned().unwrap_or_default() }
            }
        }
    }

    /// Whether it is known to be the compact one, as it is for most types.
    #[inline]
    pub(in crate::codec) fn is_compact(&self) -> bool {
        self.state.load(Ordering::Relaxed) == ChoiceState::Compact as u8
    }

    #[inline(never)]
    pub(in crate::codec) fn state(&self) -> ChoiceState {
        let state = self.state.load(Ordering::Relaxed);
        if state == ChoiceState::Open as u8 {
            return self.decide();
        }
        ChoiceState::ALL[usize::from(state)]
    }

    #[cold]
    fn decide(&self) -> ChoiceState {
        match (self.rehearse)() {
            Ok(()) => self.set(ChoiceState::Compact),
            Err(reason) => self.name(reason),
        }
        ChoiceState::ALL[usize::from(self.state.load(Ordering::Relaxed))]
    }

    /// Goes by a value that the compact form has no place for, or says that it may not.
    #[cold]
    pub(in crate::codec) fn learn(&self, error: CodecError) -> Result<ChoiceState, CodecError> {
        match (self.state(), error.fault()) {
            (ChoiceState::OnlyCompact, _) => return Err(error),
            (_, Fault::NeedsText) => {
                let _ = self.reason.set(error.to_string());
                self.set(ChoiceState::Readable);
            }
            _ => self.name(error.to_string()),
        }
        Ok(self.state())
    }

    fn name(&self, reason: String) {
        let _ = self.reason.set(reason); // the first one has settled it
        self.set(ChoiceState::Named);
    }

    fn set(&self, state: ChoiceState) {
        self.state.fetch_max(state as u8, Ordering::Relaxed);
    }
}

impl fmt::Debug for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Choice").field("state", &self.state).finish_non_exhaustive()
    }
}

/// What `register!` may say of a function.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub enum AskedForm {
    Compact,
    Named,
}
