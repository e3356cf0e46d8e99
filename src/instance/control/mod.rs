//! The control socket: how other processes of this computer reach the one that holds the data.

pub mod client;
pub mod dispatch;
pub mod framing;
pub mod request;
pub mod socket;
pub mod status;
