//! Routes, each with the words only a human can give it: served by a [`Router`], described by an [`ApiRouter`]. So
//! a start describes nothing; that waits until somebody asks for the document.

use crate::service::services::App;
use Verb::{Delete, Get, Patch, Post};
use aide::{
    axum::{
        ApiRouter,
        routing::{delete_with, get_with, patch_with, post_with},
    },
    operation::{OperationHandler, OperationInput, OperationOutput},
    transform::TransformOperation,
};
use axum::{
    Router,
    handler::Handler,
    routing::{MethodFilter, on},
};

#[derive(Clone, Copy)]
pub enum Verb {
    Get,
    Post,
    Patch,
    Delete,
}

pub trait Routes: Sized {
    fn new() -> Self;

    fn on<H, I, O, T>(
        self,
        verb: Verb,
        path: &str,
        handler: H,
        describe: impl FnOnce(TransformOperation<'_>) -> TransformOperation<'_>,
    ) -> Self
    where
        H: Handler<T, App> + OperationHandler<I, O>,
        I: OperationInput,
        O: OperationOutput,
        T: 'static;

    fn and(self, others: Self) -> Self;

    /// What all of them are about, one of [`TAGS`](super::openapi::terms::TAGS).
    fn tagged(self, tag: &str) -> Self;
}

impl Routes for Router<App> {
    fn new() -> Self {
        Self::new()
    }

    fn on<H, I, O, T>(self, verb: Verb, path: &str, handler: H, _: impl FnOnce(TransformOperation<'_>) -> TransformOperation<'_>) -> Self
    where
        H: Handler<T, App> + OperationHandler<I, O>,
        I: OperationInput,
        O: OperationOutput,
        T: 'static,
    {
        let method = match verb {
            Get => MethodFilter::GET,
            Post => MethodFilter::POST,
            Patch => MethodFilter::PATCH,
            Delete => MethodFilter::DELETE,
        };
        self.route(path, on(method, handler))
    }

    fn and(self, others: Self) -> Self {
        self.merge(others)
    }

    fn tagged(self, _: &str) -> Self {
        self
    }
}

impl Routes for ApiRouter<App> {
    fn new() -> Self {
        Self::new()
    }

    fn on<H, I, O, T>(
        self,
        verb: Verb,
        path: &str,
        handler: H,
        describe: impl FnOnce(TransformOperation<'_>) -> TransformOperation<'_>,
    ) -> Self
    where
        H: Handler<T, App> + OperationHandler<I, O>,
        I: OperationInput,
        O: OperationOutput,
        T: 'static,
    {
        let described = match verb {
            Get => get_with(handler, describe),
            Post => post_with(handler, describe),
            Patch => patch_with(handler, describe),
            Delete => delete_with(handler, describe),
        };
        self.api_route(path, described)
    }

    fn and(self, others: Self) -> Self {
        self.merge(others)
    }

    fn tagged(self, tag: &str) -> Self {
        self.with_path_items(|item| item.tag(tag))
    }
}
