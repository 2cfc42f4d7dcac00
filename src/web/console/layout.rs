//! What all pages have around them, and how times, states and ids are written on them.

use std::fmt::{Display, Write as _};
use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use askama::filters::Safe;
use axum::body::to_bytes;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::response;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use jiff::Timestamp;

use super::form::{Asked, Done, Posted, encoded};
use super::{Problem, Web, assets};
use crate::model::view::{self, PauseView};
use crate::model::{Role, RuleId, State as Stage};
use crate::rules::RuleSet;
use crate::web::caller::Caller;

/// Rows of a page of a list.
pub(super) const ROWS: u32 = 50;

/// The pages of the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tab {
    Now,
    Actions,
    Devices,
    Alerts,
    Rules,
    Audit,
}

impl Tab {
    const ALL: [Self; 6] = [Self::Now, Self::Actions, Self::Devices, Self::Alerts, Self::Rules, Self::Audit];

    /// Its name in the navigation.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Now => "Now",
            Self::Actions => "Actions",
            Self::Devices => "Devices",
            Self::Alerts => "Alerts",
            Self::Rules => "Rules",
            Self::Audit => "Audit",
        }
    }

    /// Its address; what is below it belongs to it.
    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Now => "/",
            Self::Actions => "/actions",
            Self::Devices => "/devices",
            Self::Alerts => "/alerts",
            Self::Rules => "/rules",
            Self::Audit => "/audit",
        }
    }

    fn of(path: &str) -> Option<Self> {
        let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        Self::ALL.into_iter().find(|tab| tab.path().trim_start_matches('/') == first)
    }
}

/// What a page has around it. A handler takes it as an extractor.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    /// Who looks.
    pub(super) name: String,
    pub(super) role: Role,
    /// What a form carries to prove that it is of our page.
    pub(super) csrf: String,
    /// Whether there is a session to sign out of.
    pub(super) in_session: bool,
    /// The brake, when it is on.
    pub(super) pause: Option<PauseView>,
    /// The time of the page, by the daemon's clock.
    pub(super) now: Timestamp,
    /// `auto`, `light` or `dark`.
    pub(super) theme: &'static str,
    /// The address of this page, without what was done before.
    pub(super) here: String,
    /// What was done before.
    pub(super) done: Option<Done>,
    tab: Option<Tab>,
    pub(super) rules_hash: String,
    rules: Arc<RuleSet>,
}

impl Frame {
    fn new(web: &Web, caller: &Caller, pause: Option<PauseView>, parts: &Parts) -> Self {
        let (uri, rules) = (&parts.uri, web.work.rule_set());
        let asked = Asked::from_query(uri.query());
        Self {
            name: caller.person.name.clone(),
            role: caller.role,
            csrf: caller.csrf.clone().unwrap_or_default(),
            in_session: caller.csrf.is_some(),
            pause,
            now: web.work.now(),
            theme: theme(&parts.headers),
            here: format!("{}{}", uri.path(), asked.without("done")),
            done: Done::of(&asked),
            tab: Tab::of(uri.path()),
            rules_hash: rules.hash().to_owned(),
            rules,
        }
    }

    /// Every page of the navigation, and whether it is this one.
    pub(super) fn tabs(&self) -> impl Iterator<Item = (Tab, bool)> {
        Tab::ALL.into_iter().map(|tab| (tab, self.tab == Some(tab)))
    }

    /// Whether who looks may approve, reject, cancel, release, retry and pause.
    pub(super) fn may_operate(&self) -> bool {
        self.role >= Role::Operator
    }

    /// Whether who looks may restrict by hand and resume.
    pub(super) fn may_administer(&self) -> bool {
        self.role >= Role::Admin
    }

    /// The hidden fields of each form: that it is of our page, and where to go after it.
    pub(super) fn csrf_field(&self) -> Safe<String> {
        let (csrf, then) = (escaped(&self.csrf), escaped(&self.here));
        Safe(format!(
            "<input type=\"hidden\" name=\"csrf\" value=\"{csrf}\"><input type=\"hidden\" name=\"then\" value=\"{then}\">"
        ))
    }

    /// A rule by its title, with its id beside it; one that is not in force by its id. Without a rule a person chose.
    pub(super) fn rule(&self, id: &Option<RuleId>) -> Safe<String> {
        let Some(id) = id else { return Safe("by hand".to_owned()) };
        let title = self.rules.rule(id).map_or(id.as_str(), |rule| rule.title.as_str());
        Safe(format!("<span title=\"Rule {}\">{}</span>", escaped(id.as_str()), escaped(title)))
    }

    /// The field for why somebody changes something; `id` tells it from others of the page.
    pub(super) fn why_field(&self, id: &(impl Display + ?Sized)) -> Safe<String> {
        Safe(format!(
            "<div><label for=\"why-{id}\">Why</label><input type=\"text\" id=\"why-{id}\" name=\"why\" required \
             maxlength=\"1000\" autocomplete=\"off\"></div>"
        ))
    }

    /// A time as how long ago it was, with the exact one in its title.
    pub(super) fn ago(&self, at: &Timestamp) -> Safe<String> {
        let seconds = self.now.duration_since(*at).as_secs();
        let span = span(Duration::from_secs(seconds.unsigned_abs()));
        let text = match seconds {
            0 => "now".to_owned(),
            1.. => format!("{span} ago"),
            _ => format!("in {span}"),
        };
        time(*at, &text)
    }

    /// A time exactly, to the second.
    pub(super) fn at(&self, at: &Timestamp) -> Safe<String> {
        time(*at, &exact(*at))
    }

    /// How long it took from one time to another.
    pub(super) fn took(&self, from: &Timestamp, to: &Timestamp) -> String {
        let took = to.duration_since(*from).unsigned_abs();
        if took < Duration::from_secs(60) { format!("{:.1} s", took.as_secs_f64()) } else { span(took) }
    }

    pub(super) fn theme_after(&self) -> &'static str {
        match self.theme {
            "light" => "dark",
            "dark" => "auto",
            _ => "light",
        }
    }

    pub(super) fn css(&self) -> &'static str {
        assets::css()
    }

    pub(super) fn js(&self) -> &'static str {
        assets::js()
    }

    pub(super) fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    pub(super) fn rules_short(&self) -> String {
        short(&self.rules_hash)
    }
}

impl<S: Sync> FromRequestParts<S> for Frame {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let nobody = || Problem::new(StatusCode::FORBIDDEN, "it is not known who asks, so nothing is shown");
        parts.extensions.get::<Self>().cloned().ok_or_else(nobody)
    }
}

/// A page, rendered.
#[derive(Debug)]
pub(super) struct Page<T>(pub(super) T);

impl<T: Template> IntoResponse for Page<T> {
    fn into_response(self) -> Response {
        match self.0.render() {
            Ok(text) => Html(text).into_response(),
            Err(error) => {
                tracing::error!(%error, "a page of the console could not be rendered");
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "this is a defect of stanch: its log says more")
                    .into_response()
            }
        }
    }
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage {
    frame: Frame,
    problem: view::Problem,
}

/// Puts the frame into each request, and turns each refusal into a page within it.
pub(super) async fn framed(State(web): State<Arc<Web>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let caller = match Caller::from_request_parts(&mut parts, &web).await {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    let brake = web.work.store.brake().await;
    let frame = Frame::new(&web, &caller, brake.as_ref().ok().cloned().flatten(), &parts);
    let response = match brake {
        Ok(_) => {
            parts.extensions.insert(frame.clone());
            next.run(Request::from_parts(parts, body)).await
        }
        Err(error) => Problem::from(error).into_response(),
    };
    readable(frame, response).await
}

/// A problem document as a page; anything else as it is.
async fn readable(frame: Frame, response: Response) -> Response {
    match problem_of(response).await {
        Ok(response) => response,
        Err((mut parts, problem)) => {
            let page = Page(ProblemPage { frame, problem }).into_response();
            parts.headers.extend(page.headers().clone());
            Response::from_parts(parts, page.into_body())
        }
    }
}

/// The problem document that an answer is, with what else is said by it; any other answer as it is.
pub(super) async fn problem_of(response: Response) -> Result<Response, (response::Parts, view::Problem)> {
    let is_problem = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == "application/problem+json");
    if !is_problem {
        return Ok(response);
    }
    let (mut parts, body) = response.into_parts();
    let document = to_bytes(body, MOST_PROBLEM_BYTES).await.unwrap_or_default();
    let problem: view::Problem = serde_json::from_slice(&document).unwrap_or_else(|_| view::Problem {
        kind: "about:blank".to_owned(),
        title: parts.status.canonical_reason().unwrap_or("Error").to_owned(),
        status: parts.status.as_u16(),
        detail: String::new(),
    });
    parts.headers.remove(CONTENT_LENGTH);
    Err((parts, problem))
}

/// No refusal is longer.
const MOST_PROBLEM_BYTES: usize = 256 * 1024;

const THEMES: [&str; 3] = ["auto", "light", "dark"];

/// How long the theme is remembered, in seconds: a year.
const THEME_KEPT_SECS: u32 = 365 * 24 * 60 * 60;

/// The theme that the cookie of a browser names.
fn theme(headers: &HeaderMap) -> &'static str {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let named = pairs.find(|(name, _)| *name == "stanch_theme").map_or("auto", |(_, value)| value);
    THEMES.into_iter().find(|theme| *theme == named).unwrap_or("auto")
}

/// Remembers the theme in the browser.
pub(super) async fn choose_theme(Posted(asked): Posted) -> Result<Response, Problem> {
    let theme = asked.one_of("theme", &THEMES, |theme| theme)?.unwrap_or("auto");
    let cookie = format!("stanch_theme={theme}; Path=/; Max-Age={THEME_KEPT_SECS}; SameSite=Strict; HttpOnly");
    Ok((StatusCode::SEE_OTHER, [(SET_COOKIE, cookie), (LOCATION, asked.then("/"))]).into_response())
}

fn time(at: Timestamp, text: &str) -> Safe<String> {
    Safe(format!("<time datetime=\"{at}\" title=\"{} UTC\">{text}</time>", exact(at)))
}

/// A time to the second, in UTC.
fn exact(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// A span in its greatest units, as `3 min` or `2 h 5 min`.
pub(super) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, 0) => format!("{hours} h"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        (_, 0, _) => format!("{days} d"),
        _ => format!("{days} d {hours} h"),
    }
}

/// The first eight characters of an id or a hash.
pub(super) fn short(id: &str) -> String {
    id.chars().take(8).collect()
}

/// The last eight characters of an action's id: its beginning is the time, which many share.
pub(super) fn short_action(id: &impl Display) -> String {
    let id = id.to_string();
    let skip = id.chars().count().saturating_sub(8);
    id.chars().skip(skip).collect()
}

/// A word that a person knows a state, an outcome or a restriction by. Its colour is only a help.
pub(super) fn badge(word: &str) -> Safe<String> {
    let class: String = word.chars().filter(|letter| letter.is_ascii_alphanumeric() || *letter == '_').collect();
    Safe(format!("<span class=\"badge is-{class}\">{}</span>", escaped(&word.replace('_', " "))))
}

/// The badge of an action's state.
pub(super) fn state_badge(state: &Stage) -> Safe<String> {
    badge(state.as_str())
}

/// A link to an action by the end of its id.
pub(super) fn action_link(id: &impl Display) -> Safe<String> {
    Safe(format!("<a class=\"mono\" href=\"/actions/{id}\" title=\"Action {id}\">{}</a>", short_action(id)))
}

/// A link to a device by its name, or by the beginning of its id.
pub(super) fn device_link(id: &impl Display, tenant: &impl Display, name: &Option<String>) -> Safe<String> {
    let (id, tenant) = (id.to_string(), encoded(&tenant.to_string()));
    let shown = name.as_deref().map_or_else(|| format!("{}…", short(&id)), escaped);
    Safe(format!("<a href=\"/devices/{}?tenant={tenant}\" title=\"Device {0}\">{shown}</a>", encoded(&id)))
}

/// A link to an alert by its id.
pub(super) fn alert_link(id: &impl Display, tenant: &impl Display) -> Safe<String> {
    let (id, tenant) = (id.to_string(), encoded(&tenant.to_string()));
    Safe(format!("<a class=\"mono\" href=\"/alerts/{}?tenant={tenant}\">{}</a>", encoded(&id), escaped(&id)))
}

/// A text as it is to stand in HTML.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' | '<' | '>' | '"' | '\'' => {
                let _ = write!(safe, "&#{};", u32::from(letter));
            }
            _ => safe.push(letter),
        }
    }
    safe
}
