//! One configuration: defaults < file < environment < flags ([`load::Sources`]). An unknown key is an error that names
//! the nearest known one.

pub mod brand;
pub mod error;
pub mod load;
pub mod settings;
pub mod url;
pub mod values;
pub(crate) mod variables;
