//! What whoever runs the deployment does and sees: accounts, figures, backups, and the schema of what is stored.

pub mod accounts;
pub mod backup;
pub mod migrations;
pub mod restore;
pub mod state;
pub mod stats;
