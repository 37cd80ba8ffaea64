//! Which functions kill their workers.

/// After so many deaths in a row tasks of a function are suspects.
const ENOUGH: u32 = 2;

/// Deaths in a row of the workers that ran tasks of a function, for the few that have any.
#[derive(Debug, Default)]
pub(super) struct DeathStreaks(Vec<(u32, u32)>);

impl DeathStreaks {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The worker of a task of this function has died.
    pub(super) fn died(&mut self, function: u32) {
        match self.0.iter_mut().find(|(known, _)| *known == function) {
            Some((_, deaths)) => *deaths = deaths.saturating_add(1),
            None => self.0.push((function, 1)),
        }
    }

    /// A task of this function has ended in its worker.
    pub(super) fn survived(&mut self, function: u32) {
        self.0.retain(|(known, _)| *known != function);
    }

    pub(super) fn is_suspect(&self, function: u32) -> bool {
        self.0.iter().any(|(known, deaths)| *known == function && *deaths >= ENOUGH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_suspect_after_deaths_in_a_row() {
        let mut streaks = DeathStreaks::default();
        streaks.died(7);
        streaks.died(8);
        assert!(!streaks.is_suspect(7) && !streaks.is_suspect(9));
        streaks.died(7);
        assert!(streaks.is_suspect(7) && !streaks.is_suspect(8));
        streaks.survived(7);
        streaks.died(7);
        assert!(!streaks.is_suspect(7));
        streaks.survived(7);
        streaks.survived(8);
        assert!(streaks.is_empty());
    }
}
