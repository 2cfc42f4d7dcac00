//! The contract of what HTTP offers: each route together with what is said of it, and the document that says
//! it all (OpenAPI 3.1).
//!
//! A route can only be added with what makes its [`Doc`], so none is without words. The words are put together when
//! the document is asked for: made at every start, they would stay in memory for nobody. Absent: the handlers. Begin
//! at [`Routes`]; what a list can be narrowed by is in [`parameters`].

mod doc;
mod document;
pub(super) mod parameters;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, on};

use super::Web;
pub(super) use doc::{Doc, REPLAYED};
pub(super) use document::{HOOK_BEARER, HOOK_SIGNATURE, document};

/// What is offered at one path by one method.
struct Offered {
    method: Method,
    path: String,
    doc: MakesDoc,
}

/// Makes what is said of a route.
type MakesDoc = Box<dyn FnOnce() -> Doc>;

/// Routes, each with what is said of it.
#[derive(Default)]
pub(super) struct Routes {
    router: Router<Arc<Web>>,
    offered: Vec<Offered>,
}

impl Routes {
    /// These routes and one that looks.
    pub(super) fn get<H: Handler<T, Arc<Web>>, T: 'static>(
        self,
        path: &str,
        handler: H,
        doc: impl FnOnce() -> Doc + 'static,
    ) -> Self {
        self.with(Method::GET, MethodFilter::GET, path, handler, Box::new(doc))
    }

    /// These routes and one that changes something.
    pub(super) fn post<H: Handler<T, Arc<Web>>, T: 'static>(
        self,
        path: &str,
        handler: H,
        doc: impl FnOnce() -> Doc + 'static,
    ) -> Self {
        self.with(Method::POST, MethodFilter::POST, path, handler, Box::new(doc))
    }

    fn with<H: Handler<T, Arc<Web>>, T: 'static>(
        mut self,
        method: Method,
        filter: MethodFilter,
        path: &str,
        handler: H,
        doc: MakesDoc,
    ) -> Self {
        self.router = self.router.route(path, on(filter, handler));
        self.offered.push(Offered { method, path: path.to_owned(), doc });
        self
    }

    /// These routes and those of another room.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.offered.extend(other.offered);
        self
    }

    /// The routes alone, to be served.
    pub(super) fn into_router(self) -> Router<Arc<Web>> {
        self.router
    }

    /// What is said of these routes, with `prefix` before each path.
    fn said_under(self, prefix: &str) -> impl Iterator<Item = Offered> {
        self.offered.into_iter().map(move |one| Offered { path: format!("{prefix}{}", one.path), ..one })
    }
}
