//! The human's side of the ceremony: the code is entered, the request is looked at, and decided.

pub(crate) mod enter_code;
pub(crate) mod review;
pub(crate) mod review_page;
