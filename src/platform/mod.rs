//! What the operating system gives: time, randomness, memory, files only their owner can read.

pub mod huge_pages;
pub mod private_files;
pub mod private_folder;
pub mod runtime;
