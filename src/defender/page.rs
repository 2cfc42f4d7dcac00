//! Pages of a list: what one holds and where the next one is. Absent: HTTP.

use serde_json::Value;
use url::Url;

use super::http::Answer;
use super::message::shown;
use super::read::ReadError;
use super::rows;
use super::wire;
use crate::model::action::tag_of;
use crate::model::{ActionId, AlertTime};

/// A page of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The rows that could be read, in Microsoft's order.
    pub rows: Vec<T>,
    /// Rows that are of another time or kind than was asked for and are left out.
    pub misfits: Vec<Misfit>,
    /// How many rows could not be read and are left out.
    pub unreadable: usize,
    /// How many of those have something like our tag in them: they may be about an action of ours.
    pub unreadable_tagged: usize,
    /// The next page; `None` after the last.
    pub next: Option<PageToken>,
    /// The answer's `Date`: Microsoft's clock.
    pub date: Option<AlertTime>,
}

/// A row that is not of what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// Microsoft's id of it, bounded; empty where it has none.
    pub id: String,
    /// The action of ours that its comment names.
    pub tag: Option<ActionId>,
    /// What does not fit.
    pub why: &'static str,
    /// Whether it may be that action's all the same: all but a row that names another type.
    pub may_be_ours: bool,
}

impl<T> Page<T> {
    /// A list without rows.
    pub(super) const fn empty() -> Self {
        Self { rows: Vec::new(), misfits: Vec::new(), unreadable: 0, unreadable_tagged: 0, next: None, date: None }
    }

    /// Leaves out the rows that `misfit` finds not to be of what was asked for.
    pub(super) fn held_to(mut self, misfit: impl Fn(&T) -> Option<Misfit>) -> Self {
        let rows = std::mem::take(&mut self.rows);
        for row in rows {
            match misfit(&row) {
                Some(misfit) => self.misfits.push(misfit),
                None => self.rows.push(row),
            }
        }
        self
    }
}

impl Misfit {
    /// A row whose id and comment are these.
    pub(super) fn new(id: &str, comment: &str, why: &'static str) -> Self {
        Self { id: shown(id), tag: tag_of(comment), why, may_be_ours: true }
    }
}

/// Why a row of the time `at` is not of those from `since` up to `until`.
pub(super) fn out_of_time(
    at: Option<AlertTime>,
    since: Option<AlertTime>,
    until: Option<AlertTime>,
) -> Option<&'static str> {
    let at = at?;
    if since.is_some_and(|since| at < since) {
        return Some("it is older than what was asked for");
    }
    until.is_some_and(|until| at >= until).then_some("it is newer than what was asked for")
}

/// Where a page of a list begins, to be given back as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageToken {
    number: u32,
    at: Position,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Position {
    /// After so many rows.
    Skip(u64),
    /// Where the API's own link leads, on the host that we are configured for.
    Link { path: String, query: Option<String> },
}

impl PageToken {
    /// How many pages come before this one.
    pub(super) const fn number(&self) -> u32 {
        self.number
    }
}

/// The most pages of one list that are read.
pub(super) const MAX_PAGES: u32 = 200;

/// Where an API is, and what of it is read.
#[derive(Debug, Clone)]
pub(super) struct Api {
    /// Its origin; a path prefix of it is kept.
    pub(super) origin: Url,
    /// Which links to a next page are followed.
    pub(super) links: Links,
}

/// Which links to a next page are followed. Whatever it names, our token goes to the configured host only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Links {
    /// Those of the configured host, and of the API's own hosts: real answers of MDE name another of them than the one
    /// that was asked.
    OfOwnHostOrMde,
    /// Those of the configured host, and of this origin, which the API has when it is asked without a proxy.
    OfOwnHostOr(&'static str),
}

impl Links {
    fn lead_to(self, origin: &Url, url: &Url) -> bool {
        let is_own = url.origin() == origin.origin();
        match self {
            Self::OfOwnHostOrMde => is_own || is_host_of_mde(url),
            Self::OfOwnHostOr(other) => is_own || Url::parse(other).is_ok_and(|other| url.origin() == other.origin()),
        }
    }
}

/// The domains that all hosts of the MDE API are in. Source: its page on supported regions and the government clouds.
const MDE_DOMAINS: [&str; 3] =
    [".securitycenter.microsoft.com", ".security.microsoft.com", ".securitycenter.microsoft.us"];

fn is_host_of_mde(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
    let is_known = MDE_DOMAINS.iter().any(|domain| {
        host.strip_suffix(domain)
            .is_some_and(|rest| rest == "api" || rest.starts_with("api-") || rest.ends_with(".api"))
    });
    url.scheme() == "https" && url.port().is_none() && is_known
}

/// A list that an API offers.
#[derive(Debug, Clone)]
pub(super) struct ListQuery {
    /// Its path below the API's origin.
    pub(super) path: &'static str,
    /// OData conditions.
    pub(super) filter: Option<String>,
    /// Whether evidence has to be asked for, which is wanted with alerts.
    pub(super) with_evidence: bool,
    /// The most rows of a page, at least 1.
    pub(super) top: u32,
}

/// The OData condition for what `field` says to be of `since` and later, and of before `until`.
pub(super) fn between(field: &str, since: Option<AlertTime>, until: Option<AlertTime>) -> Option<String> {
    let since = since.map(|since| format!("{field} ge {since}"));
    let until = until.map(|until| format!("{field} lt {until}"));
    match (since, until) {
        (Some(since), Some(until)) => Some(format!("{since} and {until}")),
        (since, until) => since.or(until),
    }
}

impl ListQuery {
    /// The address of a page below `origin`.
    ///
    /// # Errors
    /// [`ReadError::TooManyPages`] when so many pages were read already.
    pub(super) fn url(&self, origin: &Url, page: Option<&PageToken>) -> Result<Url, ReadError> {
        if page.is_some_and(|page| page.number >= MAX_PAGES) {
            return Err(ReadError::TooManyPages { limit: MAX_PAGES });
        }
        let mut url = origin.clone();
        let prefix = origin.path().trim_end_matches('/');
        if let Some(PageToken { at: Position::Link { path, query }, .. }) = page {
            url.set_path(&format!("{prefix}{path}"));
            url.set_query(query.as_deref());
            return Ok(url);
        }
        url.set_path(&format!("{prefix}{}", self.path));
        // Keys keep their '$' and blanks become %20, which the strictest OData servers take.
        let mut parts = Vec::new();
        parts.extend(self.filter.as_ref().map(|filter| format!("$filter={filter}")));
        parts.extend(self.with_evidence.then(|| "$expand=evidence".to_owned()));
        parts.push(format!("$top={}", self.top));
        if let Some(PageToken { at: Position::Skip(rows), .. }) = page {
            parts.push(format!("$skip={rows}"));
        }
        url.set_query(Some(&parts.join("&")));
        Ok(url)
    }

    /// The page in an answer, each row read by `read`, which gives `None` for a row that it can not read.
    ///
    /// # Errors
    /// [`ReadError::Unreadable`] when the body is no list, or its link leads out of the API.
    pub(super) fn page<T>(
        &self,
        api: &Api,
        page: Option<&PageToken>,
        (answer, body): (&Answer, &[u8]),
        read: impl Fn(Value) -> Option<T>,
    ) -> Result<Page<T>, ReadError> {
        let list = rows::list(&wire::text(body)).ok_or_else(|| {
            let message = format!("{} bytes of HTTP {} are no list of the API", body.len(), answer.status);
            ReadError::Unreadable { message }
        })?;
        let link = list.beside.get("@odata.nextLink").and_then(Value::as_str).filter(|link| !link.is_empty());
        let next = self.next(api, page, list.rows.len(), link)?;
        let mut read_page = Page { next, date: answer.date(), ..Page::empty() };
        for (row, tagged) in list.rows.into_iter().zip(list.tagged) {
            match row.and_then(&read) {
                Some(row) => read_page.rows.push(row),
                None => {
                    read_page.unreadable += 1;
                    read_page.unreadable_tagged += usize::from(tagged);
                }
            }
        }
        Ok(read_page)
    }

    fn next(
        &self,
        api: &Api,
        page: Option<&PageToken>,
        count: usize,
        link: Option<&str>,
    ) -> Result<Option<PageToken>, ReadError> {
        let number = page.map_or(1, |page| page.number.saturating_add(1));
        if let Some(link) = link {
            return Ok(Some(PageToken { number, at: self.followed(api, link)? }));
        }
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        if count < u64::from(self.top) {
            return Ok(None);
        }
        // After links without a count of ours there is nothing to skip by.
        let before = match page.map(|page| &page.at) {
            None => 0,
            Some(Position::Skip(rows)) => *rows,
            Some(Position::Link { .. }) => return Ok(None),
        };
        Ok(Some(PageToken { number, at: Position::Skip(before.saturating_add(count)) }))
    }
}

impl ListQuery {
    /// The position that `link` leads to. It must stay on the list's own host and path; what its query says is
    /// Microsoft's to decide. Our token goes to the configured host only, whatever the link names.
    fn followed(&self, api: &Api, link: &str) -> Result<Position, ReadError> {
        let astray =
            |why: &str| ReadError::Astray { message: format!("the link to the next page {why}: {}", shown(link)) };
        let url = api.origin.join(link).map_err(|_| astray("is no address"))?;
        if !api.links.lead_to(&api.origin, &url) {
            return Err(astray("leads to another host"));
        }
        let path = url.path().trim_end_matches('/');
        let prefixed = format!("{}{}", api.origin.path().trim_end_matches('/'), self.path);
        if !path.eq_ignore_ascii_case(self.path) && !path.eq_ignore_ascii_case(&prefixed) {
            return Err(astray(&format!("leads out of {}", self.path)));
        }
        let Some(query) = url.query().filter(|query| !query.is_empty()) else {
            return Err(astray("leads back to the beginning"));
        };
        Ok(Position::Link { path: self.path.to_owned(), query: Some(query.to_owned()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn origin() -> Url {
        "https://proxy.example/mde".parse().unwrap()
    }

    fn api() -> Api {
        Api { origin: origin(), links: Links::OfOwnHostOrMde }
    }

    fn query(top: u32) -> ListQuery {
        ListQuery {
            path: "/api/alerts",
            filter: Some("lastUpdateTime ge 2026-11-24T05:00:00.1234567Z".to_owned()),
            with_evidence: true,
            top,
        }
    }

    fn read(query: &ListQuery, page: Option<&PageToken>, body: &Value) -> Result<Page<Value>, ReadError> {
        read_of(&api(), query, page, body)
    }

    fn read_of(api: &Api, query: &ListQuery, page: Option<&PageToken>, body: &Value) -> Result<Page<Value>, ReadError> {
        let answer = Answer {
            status: 200,
            retry_after: None,
            date: None,
            received_at: jiff::Timestamp::UNIX_EPOCH,
            body: Ok(Vec::new()),
        };
        query.page(api, page, (&answer, body.to_string().as_bytes()), Some)
    }

    #[test]
    fn a_range_of_time_is_a_condition_on_each_end_that_it_has() {
        let at = |text| Some(AlertTime::parse(text).unwrap());
        let (one, two) = (at("2026-11-24T05:00:00.1234567Z"), at("2026-11-24T06:00:00Z"));
        assert_eq!(between("t", None, None), None);
        assert_eq!(between("t", None, two).unwrap(), "t lt 2026-11-24T06:00:00Z");
        assert_eq!(between("t", one, two).unwrap(), "t ge 2026-11-24T05:00:00.1234567Z and t lt 2026-11-24T06:00:00Z");
    }

    #[test]
    fn a_query_is_written_as_strict_servers_take_it() {
        let filter = "(type eq 'A' or type eq 'B')".to_owned();
        let quoted = ListQuery { filter: Some(filter), with_evidence: false, ..query(5) };
        assert_eq!(
            query(100).url(&origin(), None).unwrap().as_str(),
            "https://proxy.example/mde/api/alerts?$filter=lastUpdateTime%20ge%202026-11-24T05:00:00.1234567Z&$expand=evidence&$top=100"
        );
        assert_eq!(
            quoted.url(&origin(), None).unwrap().query(),
            Some("$filter=(type%20eq%20%27A%27%20or%20type%20eq%20%27B%27)&$top=5")
        );
    }

    #[test]
    fn a_full_page_is_followed_by_a_skip_and_a_short_one_by_nothing() {
        let query = query(2);
        let first = read(&query, None, &json!({"value": [1, 2]})).unwrap();
        let next = first.next.unwrap();
        assert!(query.url(&origin(), Some(&next)).unwrap().as_str().ends_with("&$top=2&$skip=2"));
        let second = read(&query, Some(&next), &json!({"value": [3, 4]})).unwrap();
        let next = second.next.unwrap();
        assert!(query.url(&origin(), Some(&next)).unwrap().as_str().ends_with("&$skip=4"));
        assert_eq!(read(&query, Some(&next), &json!({"value": [5]})).unwrap().next, None);
        assert_eq!(read(&query, Some(&next), &json!({"value": []})).unwrap().next, None);
    }

    #[test]
    fn a_link_is_followed_on_our_own_host_only() {
        let links = [
            "https://api-us3.securitycenter.microsoft.com/api/alerts?$skip=2&x=a%20b",
            "https://eu.api.security.microsoft.com/api/alerts?$skip=2&x=a%20b",
            "https://api-gov.securitycenter.microsoft.us/api/alerts/?$skip=2&x=a%20b",
            "/api/alerts?$skip=2&x=a%20b",
            "https://proxy.example/mde/api/alerts?$skip=2&x=a%20b",
        ];
        for link in links {
            let page = read(&query(2), None, &json!({"value": [1], "@odata.nextLink": link})).unwrap();
            let url = query(2).url(&origin(), page.next.as_ref()).unwrap();
            assert_eq!(url.as_str(), "https://proxy.example/mde/api/alerts?$skip=2&x=a%20b", "{link}");
        }
    }

    #[test]
    fn a_link_out_of_its_own_list_is_an_error() {
        let links = [
            "https://evil.example/collect?$skip=2",
            "https://evil.example/api/alerts?$skip=2",
            "//evil.example/api/alerts?$skip=2",
            "http://api.securitycenter.microsoft.com/api/alerts?$skip=2",
            "https://api.securitycenter.microsoft.com:444/api/alerts?$skip=2",
            "https://api.securitycenter.microsoft.com.evil.example/api/alerts?$skip=2",
            "https://evil-api.securitycenter.microsoft.com.example/api/alerts?$skip=2",
            "https://proxy.example:8443/mde/api/alerts?$skip=2",
            "/api/machines?$skip=2",
            "/api/alerts/1?$skip=2",
            "https://proxy.example/mde/api/machineactions?$skip=2",
            "/api/alerts",
            "/api/../secrets",
            "/api/%2e%2e/secrets",
            "/mde",
            "data:text/plain,x",
            "?$skip=2",
            "http://[",
        ];
        for link in links {
            let error = read(&query(2), None, &json!({"value": [1], "@odata.nextLink": link})).unwrap_err();
            assert!(matches!(error, ReadError::Astray { .. }), "{link}: {error:?}");
        }
    }

    #[test]
    fn graphs_links_are_followed_to_its_own_host_and_no_other() {
        let graph = Api {
            origin: "https://proxy.example/graph".parse().unwrap(),
            links: Links::OfOwnHostOr("https://graph.microsoft.com"),
        };
        let query = ListQuery { path: "/v1.0/security/alerts_v2", filter: None, with_evidence: false, top: 2 };
        assert_eq!(
            query.url(&graph.origin, None).unwrap().as_str(),
            "https://proxy.example/graph/v1.0/security/alerts_v2?$top=2"
        );
        let to = |link: &str| read_of(&graph, &query, None, &json!({"value": [1], "@odata.nextLink": link}));
        for link in [
            "https://graph.microsoft.com/v1.0/security/alerts_v2?$skiptoken=x",
            "https://proxy.example/graph/v1.0/security/alerts_v2?$skiptoken=x",
            "/v1.0/security/alerts_v2?$skiptoken=x",
        ] {
            let url = query.url(&graph.origin, to(link).unwrap().next.as_ref()).unwrap();
            let expected = "https://proxy.example/graph/v1.0/security/alerts_v2?$skiptoken=x";
            assert_eq!(url.as_str(), expected, "{link}");
        }
        for link in [
            "https://evil.example/v1.0/security/alerts_v2?$skiptoken=x",
            "http://graph.microsoft.com/v1.0/security/alerts_v2",
            "https://graph.microsoft.com:444/v1.0/security/alerts_v2",
            "//evil.example/v1.0/security/alerts_v2",
            "https://graph.microsoft.com/beta/security/alerts_v2",
            "https://graph.microsoft.com/v1.0/security/incidents?$skiptoken=x",
        ] {
            assert!(matches!(to(link), Err(ReadError::Astray { .. })), "{link}");
        }
    }

    #[test]
    fn a_list_without_end_is_given_up() {
        let query = query(1);
        let mut token = None;
        for _ in 0..MAX_PAGES {
            query.url(&origin(), token.as_ref()).unwrap();
            token = read(&query, token.as_ref(), &json!({"value": [1]})).unwrap().next;
            assert!(token.is_some());
        }
        assert_eq!(query.url(&origin(), token.as_ref()), Err(ReadError::TooManyPages { limit: MAX_PAGES }));
    }

    #[test]
    fn rows_that_can_not_be_read_are_counted_but_still_fill_a_page() {
        let body = json!({"value": [1, "x"]});
        let answer = Answer {
            status: 200,
            retry_after: None,
            date: None,
            received_at: jiff::Timestamp::UNIX_EPOCH,
            body: Ok(Vec::new()),
        };
        let page = query(2).page(&api(), None, (&answer, body.to_string().as_bytes()), |row| row.as_i64()).unwrap();
        assert_eq!((page.rows, page.unreadable), (vec![1], 1));
        assert!(page.next.is_some());
    }
}
