//! Whom the kernel takes when memory is short.

use serde::{Deserialize, Serialize};

use crate::sys::resources::raise_oom_score;

/// The least that a process has for `oom_score_adj`. `None`: what it has inherited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OomScore(Option<i16>);

impl OomScore {
    /// With it a process is taken before all that have none, however much these have: the kernel
    /// counts it as if it had all memory besides.
    const MOST: i16 = 1000;

    pub(crate) fn new(least: Option<i16>) -> Self {
        Self(least.map(|least| least.clamp(-Self::MOST, Self::MOST)))
    }

    /// Sets that of this process, which those inherit that it starts. Where the system refuses it
    /// there is nothing that could be done instead.
    pub(crate) fn apply(self) {
        if let Some(least) = self.0 {
            let _ = raise_oom_score(least);
        }
    }
}

impl Default for OomScore {
    fn default() -> Self {
        Self(Some(Self::MOST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_would_refuse_is_cut() {
        assert_eq!(OomScore::new(Some(i16::MAX)), OomScore::default());
        assert_eq!(OomScore::new(Some(i16::MIN)), OomScore(Some(-1000)));
        assert_eq!(OomScore::new(None), OomScore(None));
    }
}
