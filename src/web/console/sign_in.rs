//! The page of the sign-in form. What becomes of the form is in [`crate::web::access`].

use askama::Template;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::assets;
use super::form::Asked;
use super::layout::{Page, problem_of};

#[derive(Template)]
#[template(path = "sign_in.html")]
pub(super) struct SignIn {
    /// Where to go after it.
    next: String,
    /// What is told about the last try.
    notice: Option<String>,
}

impl SignIn {
    fn css(&self) -> &'static str {
        assets::css()
    }
}

const REFUSED: &str = "That token does not hold: it is unknown, revoked or expired.";

pub(super) async fn show(asked: Asked) -> Page<SignIn> {
    let next = asked.get("next").unwrap_or("/").to_owned();
    Page(SignIn { next, notice: asked.get("refused").map(|_| REFUSED.to_owned()) })
}

/// Shows the form again with what a refusal of it says, such as that there were too many.
pub(super) async fn readable(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    match problem_of(response).await {
        Ok(response) => response,
        Err((mut parts, problem)) => {
            let page = SignIn { next: "/".to_owned(), notice: Some(problem.detail) };
            let page = Page(page).into_response();
            parts.headers.extend(page.headers().clone());
            Response::from_parts(parts, page.into_body())
        }
    }
}
