//! Pages of a list: what one holds and where the next one is. Absent: HTTP.

use serde_json::Value;
use url::Url;

use super::http::Answer;
use super::message::shown;
use super::read::ReadError;
use super::rows;
use super::wire;
use crate::model::AlertTime;

/// A page of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The rows that could be read, in Microsoft's order.
    pub rows: Vec<T>,
    /// How many rows could not be read and are left out.
    pub unreadable: usize,
    /// How many of those have something like our tag in them: they may be about an action of ours.
    pub unreadable_tagged: usize,
    /// The next page; `None` after the last.
    pub next: Option<PageToken>,
    /// The answer's `Date`: Microsoft's clock.
    pub date: Option<AlertTime>,
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
    /// Below this path are its lists.
    pub(super) root: &'static str,
    /// Which links to a next page are followed.
    pub(super) links: Links,
}

/// Which links to a next page are followed. Whatever it names, our token goes to the configured host only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Links {
    /// Those of any host: real answers of MDE name other hosts of Microsoft than the one that was asked.
    OfAnyHost,
    /// Those of the configured host, and of this origin, which the API has when it is asked without a proxy.
    OfOwnHostOr(&'static str),
}

impl Links {
    fn lead_to(self, origin: &Url, url: &Url) -> bool {
        match self {
            Self::OfAnyHost => true,
            Self::OfOwnHostOr(other) => {
                url.origin() == origin.origin() || Url::parse(other).is_ok_and(|other| url.origin() == other.origin())
            }
        }
    }
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
        let mut read_page = Page { rows: Vec::new(), unreadable: 0, unreadable_tagged: 0, next, date: answer.date() };
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
            return Ok(Some(PageToken { number, at: followed(api, link)? }));
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

/// The position that `link` leads to. Its host is never asked, so that no link can carry our token elsewhere.
fn followed(api: &Api, link: &str) -> Result<Position, ReadError> {
    let astray =
        |why: &str| ReadError::Unreadable { message: format!("the link to the next page {why}: {}", shown(link)) };
    let outside = || astray(&format!("is not below {}", api.root));
    let url = api.origin.join(link).map_err(|_| outside())?;
    if !api.links.lead_to(&api.origin, &url) {
        return Err(astray("leads to another host"));
    }
    let prefix = api.origin.path().trim_end_matches('/');
    let path = url.path();
    let path = path.strip_prefix(prefix).filter(|rest| rest.starts_with(api.root)).unwrap_or(path);
    if !path.starts_with(api.root) {
        return Err(outside());
    }
    Ok(Position::Link { path: path.to_owned(), query: url.query().map(str::to_owned) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn origin() -> Url {
        "https://proxy.example/mde".parse().unwrap()
    }

    fn api() -> Api {
        Api { origin: origin(), root: "/api/", links: Links::OfAnyHost }
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
            "http://evil.example/api/alerts?$skip=2&x=a%20b",
            "//evil.example/api/alerts?$skip=2&x=a%20b",
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
    fn a_link_out_of_the_api_is_an_error() {
        let links = [
            "https://evil.example/collect?$skip=2",
            "/api/../secrets",
            "/api/%2e%2e/secrets",
            "/mde",
            "data:text/plain,x",
            "?$skip=2",
            "http://[",
        ];
        for link in links {
            let error = read(&query(2), None, &json!({"value": [1], "@odata.nextLink": link})).unwrap_err();
            assert!(matches!(error, ReadError::Unreadable { .. }), "{link}: {error:?}");
        }
    }

    #[test]
    fn graphs_links_are_followed_to_its_own_host_and_no_other() {
        let graph = Api {
            origin: "https://proxy.example/graph".parse().unwrap(),
            root: "/v1.0/",
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
        ] {
            assert!(matches!(to(link), Err(ReadError::Unreadable { .. })), "{link}");
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
