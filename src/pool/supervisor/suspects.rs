//! Which functions kill their workers, by the tenants who call them.

use std::collections::VecDeque;

use crate::scheduler::TenantKey;

/// After so many deaths in a row tasks of a function are suspects.
const ENOUGH: u32 = 2;

/// So many are remembered, the latest ones.
const MOST: usize = 256;

/// A function and who called it: what is deadly for one tenant is not for another one.
type Caller = (u32, Option<TenantKey>);

/// Deaths in a row of the workers that ran a function for a tenant, for the few that have any.
#[derive(Debug, Default)]
pub(super) struct DeathStreaks(VecDeque<(Caller, u32)>);

impl DeathStreaks {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The worker of a task of this function has died.
    pub(super) fn died(&mut self, function: u32, tenant: Option<TenantKey>) {
        let caller = (function, tenant);
        let known = self.0.iter().position(|(known, _)| *known == caller);
        let deaths = known.and_then(|place| self.0.remove(place)).map_or(0, |(_, deaths)| deaths);
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back((caller, deaths.saturating_add(1)));
    }

    /// A task of this function has ended in its worker.
    pub(super) fn survived(&mut self, function: u32, tenant: Option<TenantKey>) {
        self.0.retain(|(known, _)| *known != (function, tenant));
    }

    pub(super) fn is_suspect(&self, function: u32, tenant: Option<TenantKey>) -> bool {
        let caller = (function, tenant);
        self.0.iter().any(|(known, deaths)| *known == caller && *deaths >= ENOUGH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_suspect_after_deaths_in_a_row() {
        let mut streaks = DeathStreaks::default();
        streaks.died(7, None);
        streaks.died(8, None);
        assert!(!streaks.is_suspect(7, None) && !streaks.is_suspect(9, None));
        streaks.died(7, None);
        assert!(streaks.is_suspect(7, None) && !streaks.is_suspect(8, None));
        streaks.survived(7, None);
        streaks.died(7, None);
        assert!(!streaks.is_suspect(7, None));
        streaks.survived(7, None);
        streaks.survived(8, None);
        assert!(streaks.is_empty());
    }

    #[test]
    fn what_is_deadly_for_one_tenant_is_not_suspect_for_others() {
        let mut streaks = DeathStreaks::default();
        (0..ENOUGH).for_each(|_| streaks.died(7, Some(1)));
        streaks.survived(7, Some(2));
        assert!(streaks.is_suspect(7, Some(1)));
        assert!(!streaks.is_suspect(7, Some(2)) && !streaks.is_suspect(7, None));
    }

    #[test]
    fn no_more_than_the_latest_are_remembered() {
        let mut streaks = DeathStreaks::default();
        for tenant in 0..10_000 {
            (0..ENOUGH).for_each(|_| streaks.died(7, Some(tenant)));
            streaks.died(8, None);
        }
        assert!(streaks.is_suspect(8, None), "it died again and again");
        assert_eq!(streaks.0.len(), MOST);
        assert!(streaks.is_suspect(7, Some(9_999)) && !streaks.is_suspect(7, Some(0)));
    }
}
