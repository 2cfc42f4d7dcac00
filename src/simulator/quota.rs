//! How many calls the service takes: exact sliding windows, counted on arrival, for each API and each
//! application in a tenant. Source: the "rate limitations" of each page of the API.
//!
//! A call that the quota refuses is not counted, so that `Retry-After` is the truth for a caller that heeds
//! it. Everything else that arrives with a valid token is counted, whatever it is answered.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::model::{AlertTime, Window};

use super::moment;
use super::route::Api;

/// Who draws on a quota.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Account {
    pub(super) tenant: String,
    pub(super) client: String,
}

/// The windows and what was counted in them.
#[derive(Debug)]
pub(super) struct Quota {
    windows: Vec<Window>,
    windows_of: BTreeMap<Api, Vec<Window>>,
    arrivals: HashMap<(Account, Api), VecDeque<AlertTime>>,
}

impl Quota {
    pub(super) fn new(windows: Vec<Window>, windows_of: BTreeMap<Api, Vec<Window>>) -> Self {
        Self { windows, windows_of, arrivals: HashMap::new() }
    }

    pub(super) fn set(&mut self, api: Api, windows: Vec<Window>) {
        self.windows_of.insert(api, windows);
    }

    /// Counts one call.
    ///
    /// # Errors
    /// The whole seconds after which a call would be taken, when this one is one too many.
    pub(super) fn count(&mut self, account: &Account, api: Api, now: AlertTime) -> Result<(), u64> {
        let windows = self.windows_of.get(&api).unwrap_or(&self.windows);
        let arrivals = self.arrivals.entry((account.clone(), api)).or_default();
        let longest = windows.iter().map(|window| window.per.duration()).max().unwrap_or_default();
        let horizon = now.saturating_sub(longest);
        while arrivals.front().is_some_and(|at| *at <= horizon) {
            arrivals.pop_front();
        }
        let free_at = windows.iter().filter_map(|window| free_at(arrivals, window, now)).max();
        let Some(free_at) = free_at else {
            arrivals.push_back(now);
            return Ok(());
        };
        let wait = moment::between(now, free_at);
        Err(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
    }
}

/// When `window` takes a call again; `None` when it takes one now.
fn free_at(arrivals: &VecDeque<AlertTime>, window: &Window, now: AlertTime) -> Option<AlertTime> {
    let calls = usize::try_from(window.calls).unwrap_or(usize::MAX);
    // The call that has to leave the window is the one `calls` before the newest.
    let leaving = arrivals.len().checked_sub(calls).and_then(|index| arrivals.get(index))?;
    let free_at = moment::after(*leaving, window.per.duration());
    (free_at > now).then_some(free_at)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn quota(windows: &[(u32, &str)]) -> Quota {
        let windows = windows.iter().map(|(calls, per)| Window { calls: *calls, per: per.parse().unwrap() }).collect();
        Quota::new(windows, BTreeMap::new())
    }

    fn account(client: &str) -> Account {
        Account { tenant: "t".to_owned(), client: client.to_owned() }
    }

    fn at(millis: u64) -> AlertTime {
        moment::after(AlertTime::from_ticks(0), Duration::from_millis(millis))
    }

    #[test]
    fn the_window_slides_and_retry_after_is_the_truth() {
        let mut quota = quota(&[(2, "10s")]);
        let app = account("a");
        assert_eq!(quota.count(&app, Api::Restrict, at(0)), Ok(()));
        assert_eq!(quota.count(&app, Api::Restrict, at(4_000)), Ok(()));
        assert_eq!(quota.count(&app, Api::Restrict, at(4_500)), Err(6));
        assert_eq!(quota.count(&app, Api::Restrict, at(9_999)), Err(1));
        assert_eq!(quota.count(&app, Api::Restrict, at(10_000)), Ok(()));
        assert_eq!(quota.count(&app, Api::Restrict, at(10_001)), Err(4));
    }

    #[test]
    fn the_narrowest_of_several_windows_holds() {
        let mut quota = quota(&[(2, "1s"), (3, "60s")]);
        let app = account("a");
        for millis in [0, 1, 1_000] {
            assert_eq!(quota.count(&app, Api::Alerts, at(millis)), Ok(()));
        }
        assert_eq!(quota.count(&app, Api::Alerts, at(2_000)), Err(58));
    }

    #[test]
    fn apis_and_applications_are_counted_apart() {
        let mut quota = quota(&[(1, "60s")]);
        assert_eq!(quota.count(&account("a"), Api::Alerts, at(0)), Ok(()));
        assert_eq!(quota.count(&account("a"), Api::Machines, at(0)), Ok(()));
        assert_eq!(quota.count(&account("b"), Api::Alerts, at(0)), Ok(()));
        assert_eq!(quota.count(&account("a"), Api::Alerts, at(1)), Err(60));
    }

    #[test]
    fn an_api_can_have_windows_of_its_own() {
        let mut quota = quota(&[(1, "60s")]);
        quota.set(Api::Restrict, vec![Window { calls: 2, per: "2s".parse().unwrap() }]);
        let app = account("a");
        assert_eq!(quota.count(&app, Api::Restrict, at(0)), Ok(()));
        assert_eq!(quota.count(&app, Api::Restrict, at(0)), Ok(()));
        assert_eq!(quota.count(&app, Api::Restrict, at(0)), Err(2));
    }
}
